"""Show a run, or an item as its rater sees it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from autointerp.apps.cli import _options, readable_json, say

if TYPE_CHECKING:
    from autointerp.questions.rubric import Rubric
    from autointerp.records import Item, ItemContext
    from autointerp.store.run import Run


def command(
    run: _options.RunName,
    item: Annotated[
        str | None,
        typer.Argument(help="Id of an item, or its first letters.", show_default="the run itself"),
    ] = None,
    rubric: Annotated[
        str | None,
        typer.Option(
            help="Path of the rubric's file, where an older run does not hold it.",
            show_default=False,
        ),
    ] = None,
    as_json: _options.AsJson = False,
) -> None:
    """Show what a run holds, or one item as its rater sees it.

    Of an item, the rubric's text is printed, then the item's own. Items that carry every context
    of a unit, as those of the rater `lexical` do, are printed as one line of JSON for each context.
    The ids are the column `item` of `autointerp export`.

    Example: autointerp show main 3f2a
    """
    from autointerp.questions.items import load_items
    from autointerp.store.snapshots import open_to_read

    with open_to_read(run) as opened:
        for note in opened.notes:
            say(f"note: {note}", err=True)
        if item is None:
            from autointerp.pipeline.summary import summarise

            summary = summarise(opened)
            if as_json:
                typer.echo(json.dumps(summary.as_json(), indent=2))
            else:
                say(str(summary))
            return
        identifier, evidence, asked = _find(opened, item, rubric)
        (shown,) = load_items(opened, [identifier], asked)
    if as_json:
        from dataclasses import asdict

        fields = {**asdict(shown), "rubric": asked.id, "evidence": evidence}
        typer.echo(readable_json(fields))
        return
    say(_all_contexts(shown) if evidence == "all" else _prompt(asked, shown))


def _find(run: Run, item: str, rubric: str | None) -> tuple[str, str, Rubric]:
    """Return the id, the evidence and the rubric of the one item whose id starts with `item`.

    Raises BadInput if there is none, if there are several, or if the rubric at hand is not the
    one that the item was made with.
    """
    from autointerp.errors import BadInput, UnknownName
    from autointerp.questions.rubric import rubric_from
    from autointerp.questions.rubric_files import load_rubric

    rows = run.rows("SELECT item_id, evidence, rubric, rubric_digest FROM item ORDER BY item_id")
    matches = [row for row in rows if row[0].startswith(item)]
    if not rows:
        raise BadInput(
            f"run '{run.name}' has no items; `autointerp rate --run {run.name}` makes some"
        )
    if not matches:
        raise BadInput(
            f"no item of run '{run.name}' has an id that starts with '{item}'; "
            f"`autointerp export {run.name} --to csv` lists those that were rated, as `item`"
        )
    if len(matches) > 1:
        raise BadInput(f"item '{item}': {len(matches)} ids begin with it; give more letters")
    identifier, evidence, name, digest = matches[0]
    held = run.rubric_contents().get(digest)
    if rubric is None and held is not None:
        return identifier, evidence, rubric_from(held)
    try:
        asked = load_rubric(rubric or name)
    except UnknownName:
        asked = None
    if asked is None or asked.digest != digest:
        raise BadInput(
            f"item {identifier} was made with a rubric '{name}' (digest {digest[:12]}) that is not "
            f"{rubric or 'among the shipped ones'}; give its file as --rubric PATH"
        )
    return identifier, evidence, asked


def _prompt(rubric: Rubric, item: Item) -> str:

    return f"{rubric.system()}\n\n{rubric.user(item)}"


def _all_contexts(item: Item) -> str:
    described = [] if item.description is None else [_json({"description": item.description})]
    return "\n".join([*described, *(_json(_context(context)) for context in item.contexts)])


def _context(context: ItemContext) -> dict[str, object]:
    focus = context.focus
    assert focus is not None
    assert context.activations is not None
    return {
        "split": context.split,
        "silent": context.silent,
        "before": "".join(context.tokens[:focus]),
        "token": context.tokens[focus],
        "after": "".join(context.tokens[focus + 1 :]),
        "activations": [round(activation, 2) for activation in context.activations],
    }


def _json(fields: dict[str, object]) -> str:
    return json.dumps(fields, ensure_ascii=False)
