"""Write a file that another person rates elsewhere, without model or key."""

from __future__ import annotations

from pathlib import Path

import typer


def command(
    run: str = typer.Argument(..., help="Name of the run: runs/NAME."),
    output: Path = typer.Option(..., "--output", "-o", help="File to write."),
    rubric: str = typer.Option("interpretability-1-5", help="A rubric's id, or the path of one."),
    n: int = typer.Option(
        None, "--n", "-n", min=1, help="Units of each source.", show_default="all there are"
    ),
    repeat_share: float = typer.Option(
        0.1, min=0, max=1, help="Share of the items that come up once more, unannounced."
    ),
    planned: bool = typer.Option(
        False, "--planned", help="Pack what `autointerp plan-humans` drew last."
    ),
) -> None:
    """Write a pack: the run's items, blind, with gold items and practice, for a person elsewhere.

    They rate it with `autointerp rate --pack FILE --rater human:NAME` and send it back.

    Example: autointerp pack main -o for-ann.pack --n 40
    """
    from autointerp.errors import BadInput
    from autointerp.people.assign import fewer_contexts_text
    from autointerp.people.packs import make_pack, units_to_pack
    from autointerp.people.session import Sitting
    from autointerp.questions.rubric_files import load_rubric
    from autointerp.store.run import open_run

    sitting = Sitting(repeat_share=repeat_share, planned=planned)
    if output == Path("-"):
        raise BadInput("a pack stores the answers too, so it is a file: name it with -o FILE")
    with open_run(run) as opened:
        planned_session = make_pack(
            opened, load_rubric(rubric), units_to_pack(opened, n), sitting, output
        )
    session = planned_session.session
    typer.echo(
        f"{output}: {len(session.to_rate)} items on {session.rubric.id}, "
        f"{planned_session.gold} of them gold, {len(session.training)} more for practice"
    )
    note = fewer_contexts_text(planned_session.left_out)
    if note:
        typer.echo(note)
