"""`autointerp score` on the command line."""

import re

import typer.main

from autointerp.apps.cli._app import build_app
from autointerp.questions.scorers import scorer, scorer_names


def test_the_help_says_how_many_questions_each_scorer_asks():
    root = typer.main.get_command(build_app())
    (option,) = (one for one in root.commands["score"].params if one.name == "contexts")
    said = option.show_default
    named = {
        name: int(count)
        for count, names in re.findall(r"(\d+)[ a-z]*\(([^)]+)\)", said)
        for name in names.split(", ")
    }
    others = int(re.search(r"else (\d+)", said)[1])
    asked = {name: scorer(name).COUNT for name in scorer_names()}
    assert {name: named.get(name, others) for name in asked} == asked
