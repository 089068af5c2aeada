"""Write a file that a person rates elsewhere, without the model or a key."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from autointerp.apps.cli import _options, say
from autointerp.text import count


def command(
    run: _options.RunName,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.")],
    rubric: _options.RubricName = "interpretability-1-5",
    n: Annotated[
        int | None,
        typer.Option(
            "--n", "-n", min=1, help="Units of each source.", show_default="all of the run"
        ),
    ] = None,
    repeat_share: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of the items that are shown again, unannounced."),
    ] = 0.1,
    planned: Annotated[
        bool, typer.Option("--planned", help="Pack what `autointerp plan-humans` drew last.")
    ] = False,
    practice: _options.Practice = True,
    guess: _options.LastGuess = True,
    corpus: _options.CorpusText = False,
) -> None:
    """Write a pack: blind items, gold items and practice, in a file for a person elsewhere.

    The person rates it with `autointerp rate --pack FILE --rater human:NAME` and returns the file,
    which `autointerp ingest` merges into the run.

    Example: autointerp pack main -o for-ann.pack --n 40
    """
    from autointerp.errors import BadInput
    from autointerp.people.assign import contexts_text
    from autointerp.people.machine import parts_text
    from autointerp.people.packs import make_pack, units_to_pack
    from autointerp.people.session import Sitting, parts_of
    from autointerp.pipeline.patience import patiently
    from autointerp.pipeline.sit import read_again
    from autointerp.questions.rubric_files import load_rubric
    from autointerp.store.run import open_run

    sitting = Sitting(repeat_share=repeat_share, planned=planned, practice=practice, guess=guess)
    if output == Path("-"):
        raise BadInput("-o -: a pack stores the answers too, so it must be a file; give -o FILE")
    with patiently(lambda: open_run(run), lambda event: say(str(event), err=True)) as opened:
        read = read_again(opened) if corpus else None
        planned_session = make_pack(
            opened, load_rubric(rubric), units_to_pack(opened, n), sitting, output, read
        )
        subject = opened.settings.subject.name
    session = planned_session.session
    say(f"run '{run}', subject {subject}", err=True)
    say(
        f"{output}: {count(len(session.to_rate), 'item')} on {session.rubric.id}, "
        f"{planned_session.gold} of them gold, {len(session.training)} more for practice; "
        f"{parts_text(parts_of(session))}"
    )
    note = contexts_text(planned_session)
    if note:
        say(note)
    name = shlex.quote(output.name)
    say(f"they rate it with: autointerp rate --pack {name} --rater human:NAME")
