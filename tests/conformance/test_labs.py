"""Every lab: its columns say what they hold, and its rows are those columns, of units asked for."""

from __future__ import annotations

import pytest
from support.conformance import modules_in

from autointerp import labs
from autointerp.errors import BadInput
from autointerp.findings.labs import UNIT_COLUMNS
from autointerp.labs import Read, check_row, described_lab, load_lab, options_of
from autointerp.questions.explain import eligible_units
from autointerp.store.run import open_run

NAMES = [name.replace("_", "-") for name in modules_in(labs)]


@pytest.mark.parametrize("name", NAMES)
def test_a_lab_describes_its_columns_in_a_literal_that_is_read_without_its_libraries(name):
    title, columns = described_lab(name)
    assert title
    assert columns == load_lab(name).COLUMNS
    assert not set(columns) & set(UNIT_COLUMNS)
    assert all(column.isidentifier() and text.strip() for column, text in columns.items())


@pytest.mark.parametrize("name", NAMES)
def test_options_have_defaults_of_a_type_that_text_can_be_read_as(name):
    options = options_of(name, {})
    assert all(type(value) in (int, float, str) for value in options.values())
    assert options_of(name, {key: str(value) for key, value in options.items()}) == options


@pytest.mark.parametrize("name", NAMES)
def test_the_rows_of_a_lab_are_json_in_its_columns_and_the_same_each_time(name, tiny_run):
    lab = load_lab(name)
    with open_run("tiny", folder=tiny_run, read_only=True) as run:
        units = list(eligible_units(run, n=4))
        rows, again = (
            [row for row in lab.run(run, units, options_of(name, {})) if not isinstance(row, Read)]
            for _ in range(2)
        )
    assert rows
    assert rows == again
    for row in rows:
        check_row(name, lab.COLUMNS, units, row)


@pytest.mark.parametrize("name", NAMES)
def test_a_lab_that_opens_the_subject_says_so_where_an_imported_run_has_none(name, tiny_run):
    lab = load_lab(name)
    with open_run("tiny", folder=tiny_run, read_only=True) as run:
        run.about["settings"]["subject"]["model"] = "imported"
        message = ""
        try:
            list(lab.run(run, list(eligible_units(run, n=2)), options_of(name, {})))
        except BadInput as error:
            message = str(error)
        # No message: the lab reads only what the run holds.
        assert not message or message.startswith(f"lab {name} needs the model, and run 'tiny'")
        assert not message or message.endswith(
            "name a run that `autointerp harvest` or `rate` made"
        )
