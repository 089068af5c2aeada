"""List the rubrics."""

from __future__ import annotations

import json

import typer

from autointerp.apps.cli import _options, columns_text, say


def command(as_json: _options.AsJson = False) -> None:
    """List the shipped rubrics, the questions that raters are asked; give one as --rubric ID.

    A rubric is one Markdown file. Copy one, change it, and give its path as --rubric PATH to ask a
    question of your own.

    Example: autointerp rubrics
    """
    from autointerp.questions.rubric_files import list_rubrics, rubrics_folder

    shipped = list_rubrics()
    if as_json:
        listed = [
            {
                "rubric": rubric.id,
                "version": rubric.version,
                "scores": list(rubric.scores),
                "question": rubric.title,
                "file": str(rubrics_folder() / f"{rubric.id}.md"),
            }
            for rubric in shipped
        ]
        typer.echo(json.dumps(listed, indent=2))
        return
    rows = [
        (rubric.id, str(rubric.version), f"{rubric.scores[0]} to {rubric.scores[-1]}", rubric.title)
        for rubric in shipped
    ]
    say(columns_text(("RUBRIC", "VERSION", "SCALE", "QUESTION"), rows))
    say(f"\nThe files are in {rubrics_folder()}")
