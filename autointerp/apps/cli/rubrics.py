"""List the rubrics."""

from __future__ import annotations

import typer

from autointerp.apps.cli import columns_text


def command() -> None:
    """List the shipped rubrics: what raters are asked, as --rubric ID or PATH.

    A rubric is one Markdown file; copy one and change it to ask a question of your own.

    Example: autointerp rubrics
    """
    from autointerp.questions.rubric_files import list_rubrics, rubrics_folder

    rows = [
        (rubric.id, str(rubric.version), f"{rubric.scores[0]} to {rubric.scores[-1]}", rubric.title)
        for rubric in list_rubrics()
    ]
    typer.echo(columns_text(("RUBRIC", "VERSION", "SCALE", "QUESTION"), rows))
    typer.echo(f"\nThe files are in {rubrics_folder()}")
