"""Units from files: what is decided for them, and that they are rated, reported and given back."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

from autointerp.errors import AutointerpError, ExchangeError, RunMismatch, StorageError
from autointerp.exchange import ForeignContext, ForeignUnit, ImportOptions, contexts
from autointerp.exchange._arrival import (
    BORROWED,
    assigned_draws,
    assigned_splits,
    forms,
    import_units,
    recognised,
)
from autointerp.pipeline.job import Job
from autointerp.pipeline.rate import rate
from autointerp.pipeline.report import report
from autointerp.questions.items import load_items
from autointerp.questions.rubric_files import load_rubric
from autointerp.store.run import Run, open_run

Call = Callable[..., Any]

RUBRIC = load_rubric("interpretability-1-5")
WORDS = ["cat", "river", "stone", "king", "letter", "city", "garden", "engine"]


def row(unit: str, source: str, number: int, word: str, activation: float) -> dict[str, Any]:
    """A window of eight tokens that fires on `word`, its fourth."""
    tokens = [f" {WORDS[(number + place) % 8]}s" for place in range(8)]
    tokens[3] = f" {word}"
    activations = [0.0] * 8
    activations[3] = activation
    return {
        "unit": unit,
        "source": source,
        "context": number,
        "tokens": tokens,
        "activations": activations,
    }


def rows_of(unit: str, source: str, firing: int = 24, silent: int = 20) -> list[dict[str, Any]]:
    word = WORDS[sum(map(ord, unit + source)) % 8]
    return [
        *(row(unit, source, n, word, 0.5 + n / 8) for n in range(firing)),
        *(row(unit, source, firing + n, "thing", 0.0) for n in range(silent)),
    ]


def table(path: Path, rows: list[dict[str, Any]]) -> Path:
    source = path.with_suffix(".json")
    source.write_text(json.dumps(rows))
    with duckdb.connect() as connection:
        connection.execute(
            "COPY (SELECT unit, source, context::INTEGER AS context, tokens,"
            f" activations::FLOAT[] AS activations FROM read_json('{source}'))"
            f" TO '{path}' (FORMAT parquet)"
        )
    source.unlink()
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Three units of `probes`, two of `lenses`, one of the control `random`, with silent rows."""
    named = [("4", "probes"), ("probes/7", "probes"), ("9-", "probes"), ("mean", "lenses")]
    rows = [r for unit, source in [*named, ("top", "lenses"), ("0", "random")]
            for r in rows_of(unit, source)]  # fmt: skip
    return table(tmp_path / "units.parquet", rows)


MARKDOWN = "| Token ID | Activation | Token | Context |\n| :--- | :--- | :--- | :--- |\n" + "".join(
    f"| {n} | {2 + n / 100:.2f} | `' {{word}}' ` | `' an old {{word}} saw {n} {WORDS[n % 8]}s'` |\n"
    for n in range(24)
)


@pytest.fixture
def markdown(tmp_path: Path) -> Path:
    """A features.md of three features, 24 contexts each."""
    path = tmp_path / "features.md"
    path.write_text(
        "\n\n".join(f"### Feature ID: {n}\n{MARKDOWN.format(word=WORDS[n])}" for n in (0, 1, 5))
    )
    return path


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def test_units_of_eight_contexts_are_rated_and_their_uncertainty_reaches_the_report(
    tmp_path: Path, runs: Path
):
    # Each of six features fires on one word; half of them in the last row on another one.
    def row(feature: int, number: int) -> str:
        word = WORDS[feature] if feature % 2 or number < 7 else "an"
        text = f"an old {WORDS[feature]} saw {number} {WORDS[number % 8]}s"
        return f"| {number} | {3 - number / 4:.2f} | `' {word}' ` | `' {text}' ` |\n"

    head = "".join(MARKDOWN.splitlines(keepends=True)[:2])
    path = tmp_path / "few.md"
    path.write_text(
        "\n\n".join(
            f"### Feature ID: {n}\n{head}{''.join(row(n, place) for place in range(8))}"
            for n in range(6)
        )
    )
    import_units(path, "few", runs=runs)
    rate(Job(run="few", runs=runs, rater="lexical"))
    made = report(["few"], tmp_path / "out", folder=runs)
    (judgement,) = made.material.judgements
    assert judgement.statuses == {"ok": 6}
    errors = judgement.score_errors
    assert errors is not None
    assert errors.units == 6
    assert 0 < errors.mean < 0.5
    told = (made.folder / "summary.md").read_text("utf-8")
    assert "Scores from few contexts." in told
    assert f"a standard error of {errors.mean:.2f}" in told
    page = made.page.read_text("utf-8")
    assert "that the unit is silent there is assumed, not computed" in page


# --------------------------------------------------------------------------------- the decisions


def context(text: str, activation: float, **fields: Any) -> ForeignContext:
    return ForeignContext((text, "."), (activation, 0.0), 0, **fields)


def test_contexts_explain_and_score_in_turn_from_the_strongest_on():
    made = [context("a", 1), context("b", 4), context("c", 0), context("d", 3), context("e", 0)]
    # b, d, a fire, strongest first; c and e are silent, and are dealt out apart
    assert assigned_splits(made) == ["explain", "explain", "explain", "score", "score"]


def test_a_share_other_than_half_is_dealt_out_evenly_too():
    made = [context(str(n), 9 - n) for n in range(8)]
    # a quarter of 8 is 2: the first of each four, from the strongest on
    assert assigned_splits(made, 0.25) == ["explain", "score", "score", "score"] * 2
    assert assigned_splits(made, 1.0) == ["explain"] * 8
    assert assigned_splits(made, 0.0) == ["score"] * 8


def test_the_same_text_is_never_in_both_splits():
    made = [context("a", 4), context("a", 3), context("b", 2), context("a", 1)]
    assert assigned_splits(made) == ["explain", "explain", "score", "explain"]


def test_contexts_of_one_document_are_in_one_split():
    made = [
        context(text, activation, place=(document, 0))
        for text, activation, document in [
            ("a", 5, 0), ("b", 4, 1), ("c", 3, 0), ("d", 2, 2), ("e", 0, 1),
        ]
    ]  # fmt: skip
    # a, b, d are the first of their documents, in turn; c goes where a is, e where b is
    assert assigned_splits(made) == ["explain", "score", "explain", "explain", "score"]


def test_a_split_that_the_file_gives_stays():
    made = [context("a", 4, split="score"), context("b", 3, split="score")]
    assert assigned_splits(made) == ["score", "score"]


def test_the_strongest_twenty_are_top_the_rest_of_intervals_the_silent_random():
    made = [context(str(n), n) for n in range(25)]  # n = 0 is silent
    draws = assigned_draws(made, ["explain"] * 25)
    assert draws == ["random", *["interval"] * 4, *["top"] * 20]


def test_a_draw_that_the_file_gives_stays():
    assert assigned_draws([context("a", 4, draw="random")], ["explain"]) == ["random"]


# ------------------------------------------------------------------------------------- the import


def test_the_forms_are_files_in_the_folder_and_one_is_recognised(file: Path, markdown: Path):
    assert {"contexts", "features-md"} <= set(forms())
    assert "ratings" not in forms()  # written, never read
    assert recognised(file) == "contexts"
    assert recognised(markdown) == "features-md"


def test_names_that_are_numbers_stay_and_others_are_counted_and_noted(file: Path, runs: Path):
    import_units(file, "r", runs=runs)
    with open_run("r", folder=runs, read_only=True) as run:
        found = run.rows("SELECT source, idx, sign, note FROM unit ORDER BY unit_id")
        sources = run.rows("SELECT source, size, is_control FROM source ORDER BY source")
    assert found == [
        ("probes", 4, 1, ""),
        ("probes", 7, 1, ""),
        ("probes", 9, -1, ""),
        ("lenses", 0, 1, "called 'mean'"),
        ("lenses", 1, 1, "called 'top'"),
        ("random", 0, 1, ""),
    ]
    assert sources == [("lenses", 2, False), ("probes", 3, False), ("random", 1, True)]


def test_every_context_keeps_its_activations_and_its_interval_follows_from_the_peak(
    file: Path, runs: Path
):
    import_units(file, "r", runs=runs)
    with open_run("r", folder=runs, read_only=True) as run:
        (unit,) = (unit for unit in run.units("probes") if unit.summary.unit.index == 4)
        stored = list(run.contexts([unit.unit_id])[unit.unit_id].values())
    assert unit.summary.peak == 0.5 + 23 / 8
    assert unit.summary.density is None
    assert unit.summary.tokens == 0
    assert [c.activation for c in stored[:24]] == [0.5 + n / 8 for n in range(24)]
    # 10 equal widths from 0 to 3.375: 0.5 is 1.48 widths up, 0.625 1.85, 3.375 the last
    assert [c.interval for c in stored[:2]] == [2, 2]
    assert stored[23].interval == 10
    assert all(c.silent and c.interval is None and c.draw == "random" for c in stored[24:])
    assert {c.split for c in stored[24:]} == {"explain", "score"}
    assert len({c.document for c in stored}) == len(stored)


def test_what_stands_beside_a_file_is_read_wherever_the_import_stands(
    tmp_path: Path, runs: Path, monkeypatch: pytest.MonkeyPatch
):
    for kind, line in {
        "activations": {"layer": "s", "index": "3", "tokens": ["a", "b"], "values": [0, 1.5]},
        "features": {"layer": "s", "index": "3", "frac_nonzero": 0.25},
    }.items():
        (tmp_path / kind).mkdir()
        (tmp_path / kind / "batch-0.jsonl").write_text(json.dumps(line))
    monkeypatch.chdir(tmp_path / "activations")
    for number, path in enumerate([".", "batch-0.jsonl"]):
        import_units(Path(path), f"r{number}", runs=runs)
        with open_run(f"r{number}", folder=runs, read_only=True) as run:
            assert run.rows("SELECT source, idx, density FROM unit") == [("s", 3, 0.25)]


def test_a_second_import_of_the_same_file_does_nothing(file: Path, runs: Path):
    first = import_units(file, "r", runs=runs)
    again = import_units(file, "r", runs=runs)
    assert (first.seen_before, again.seen_before) == (False, True)
    with open_run("r", folder=runs, read_only=True) as run:
        assert run.rows("SELECT count(*) FROM unit") == [(6,)]
        assert run.rows("SELECT form, units, contexts FROM imported") == [("contexts", 6, 6 * 44)]


def test_another_file_adds_its_units(file: Path, markdown: Path, runs: Path):
    import_units(file, "r", runs=runs)
    import_units(markdown, "r", options=ImportOptions(source="probes"), runs=runs)
    with open_run("r", folder=runs, read_only=True) as run:
        found = run.units("probes")
        assert sorted(unit.summary.unit.index for unit in found) == [0, 1, 4, 5, 7, 9]
        assert [unit.summary.order for unit in found] == list(range(6))
        assert run.rows("SELECT size FROM source WHERE source = 'probes'") == [(6,)]
        contexts_of = run.contexts([unit.unit_id for unit in found])
        documents = [c.document for one in contexts_of.values() for c in one.values()
                     if any(c.activations)]  # fmt: skip
        assert len(set(documents)) == len(documents)


def test_a_unit_that_the_run_has_from_another_file_is_refused(
    file: Path, tmp_path: Path, runs: Path
):
    import_units(file, "r", runs=runs)
    other = table(tmp_path / "other.parquet", rows_of("7", "probes"))
    with pytest.raises(RunMismatch, match="run 'r' holds probes/7 already, from another file"):
        import_units(other, "r", runs=runs)
    with open_run("r", folder=runs, read_only=True) as run:
        assert run.rows("SELECT count(*) FROM context") == [(6 * 44,)]


def test_a_run_that_was_harvested_takes_no_imports(file: Path, own_runs: Path, tiny_run_name: str):
    with pytest.raises(RunMismatch, match="import into another --run"):
        import_units(file, tiny_run_name, runs=own_runs)


def test_a_file_that_is_refused_leaves_no_run_behind(markdown: Path, runs: Path):
    with markdown.open("a") as text:
        text.write("\n### Feature ID: 0\n")
    with pytest.raises(ExchangeError, match="for the second time"):
        import_units(markdown, "r", runs=runs)
    assert not (runs / "r").exists()


def test_a_file_that_is_refused_takes_nothing_with_it_that_was_there(markdown: Path, runs: Path):
    with markdown.open("a") as text:
        text.write("\n### Feature ID: 0\n")
    (runs / "r").mkdir(parents=True)
    (runs / "r" / "notes.txt").write_text("somebody's")
    with pytest.raises(ExchangeError, match="for the second time"):
        import_units(markdown, "r", runs=runs)
    assert [path.name for path in (runs / "r").iterdir()] == ["notes.txt"]


def test_an_import_into_what_is_left_of_a_run_is_refused_and_takes_nothing(
    markdown: Path, runs: Path
):
    import_units(markdown, "mine", runs=runs)
    (runs / "mine" / "run.toml").unlink()
    (runs / "mine" / "journals").mkdir()
    (runs / "mine" / "journals" / "human-ann.jsonl").write_text("answers")
    before = sorted(path.name for path in (runs / "mine").rglob("*"))
    with pytest.raises(StorageError, match=r"run\.toml is missing"):
        import_units(markdown, "mine", runs=runs)
    assert sorted(path.name for path in (runs / "mine").rglob("*")) == before


def test_two_names_for_one_unit_are_refused(tmp_path: Path, runs: Path):
    path = table(tmp_path / "t.parquet", rows_of("7", "probes") + rows_of("probes/7", "probes"))
    with pytest.raises(
        ExchangeError, match="unit probes/7 is in the file under two names; remove one"
    ):
        import_units(path, "r", runs=runs)


def test_sources_with_contexts_of_unlike_length_are_named(tmp_path: Path, runs: Path):
    long, short = rows_of("1", "long"), rows_of("2", "short")
    for one in short:
        one["tokens"], one["activations"] = one["tokens"][2:5], one["activations"][2:5]
    path = table(tmp_path / "t.parquet", long + short)
    apart = import_units(path, "r", runs=runs)
    assert apart.unlike.startswith("Contexts of long have 8 tokens in the median, those of short 3")
    with open_run("r", folder=runs, read_only=True) as run:
        assert apart.unlike in run.rows("SELECT notes FROM imported")[0][0]
    cut = import_units(path, "cut", options=ImportOptions(each_side=1), runs=runs)
    assert cut.unlike == ""


def test_a_unit_that_never_fires_is_kept_as_dead(tmp_path: Path, runs: Path):
    rows = rows_of("1", "probes") + rows_of("2", "probes", firing=0)
    counts = import_units(table(tmp_path / "t.parquet", rows), "r", runs=runs)
    assert counts.units == {("probes", "eligible"): 1, ("probes", "dead"): 1}
    with open_run("r", folder=runs, read_only=True) as run:
        notes = run.rows("SELECT notes FROM imported")[0][0]
    assert notes == ["1 unit fires in none of its contexts and cannot be rated."]


def test_a_document_that_explains_and_scores_is_refused(tmp_path: Path, runs: Path):
    path = tmp_path / "t.parquet"
    with duckdb.connect() as connection:
        connection.execute(
            "COPY (SELECT '1' AS unit, 's' AS source, n AS context, ['a'] AS tokens,"
            " [1]::FLOAT[] AS activations, CASE n WHEN 0 THEN 'explain' ELSE 'score' END AS split,"
            f" 5 AS document, n AS position FROM range(2) t(n)) TO '{path}' (FORMAT parquet)"
        )
    with pytest.raises(ExchangeError, match="document 5 both to explain and to score"):
        import_units(path, "r", runs=runs)


# ---------------------------------------------------------------------------- lent silent contexts


def test_units_without_silent_contexts_are_lent_those_of_others(markdown: Path, runs: Path):
    counts = import_units(markdown, "r", runs=runs)
    assert counts.borrowed_for == 3
    with open_run("r", folder=runs, read_only=True) as run:
        for unit in run.units("features"):
            assert unit.summary.note == "silent contexts are other units', assumed silent"
            stored = run.contexts([unit.unit_id])[unit.unit_id].values()
            own = {c.document for c in stored if any(c.activations)}
            for split in ("explain", "score"):
                lent = [c for c in stored if c.split == split and c.silent]
                assert 0 < len(lent) <= BORROWED
                assert {c.draw for c in lent} == {"random"}
                assert not own & {c.document for c in lent}
            split_of = {}
            for c in stored:
                assert split_of.setdefault(c.document, c.split) == c.split


def test_a_unit_alone_in_its_file_is_lent_nothing(tmp_path: Path, runs: Path):
    counts = import_units(
        table(tmp_path / "t.parquet", rows_of("1", "probes", silent=0)), "r", runs=runs
    )
    assert counts.borrowed_for == 0


# ----------------------------------------------------------------------------- the command line


def test_one_context_is_counted_as_one(tmp_path: Path, command_line: Call):
    one = table(tmp_path / "one.parquet", rows_of("1", "probes")[:1])
    result = command_line("import", one, "--run", "mine")
    assert "run 'mine': 1 probes; 1 context, read as contexts" in result.out


def test_all_that_was_imported_is_rated_without_subject_or_numbers(
    file: Path, runs: Path, command_line: Call
):
    result = command_line("import", file, "--run", "mine")
    assert result.code == 0
    assert "run 'mine': 2 lenses, 3 probes, 1 random; 264 contexts, read as contexts" in result.out
    assert command_line("import", file, "--run", "mine").out == (
        f"run 'mine': {file} was imported before, nothing to do\n"
    )
    assert command_line("rate", "--run", "mine", "--rater", "scripted:4").code == 0
    with open_run("mine", folder=runs, read_only=True) as run:
        rated = run.rows(
            "SELECT source, count(*) FROM current_rating JOIN key USING (item_id)"
            " JOIN unit USING (unit_id) WHERE status = 'ok' GROUP BY source ORDER BY source"
        )
    assert rated == [("lenses", 2), ("probes", 3), ("random", 1)]
    again = command_line("rate", "--run", "mine", "--rater", "scripted:4")
    assert "nothing new" in again.err
    assert "imported" in command_line("runs").out


def test_some_of_what_was_imported_is_rated_where_source_and_number_say_so(
    file: Path, runs: Path, command_line: Call
):
    command_line("import", file, "--run", "mine")
    result = command_line(
        "rate", "--run", "mine", "--rater", "scripted:4", "-s", "probes", "-n", "2",
        "--controls", "0",
    )  # fmt: skip
    assert result.code == 0
    with open_run("mine", folder=runs, read_only=True) as run:
        assert run.rows("SELECT count(*) FROM current_rating") == [(2,)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--source", "probe"], "unknown source 'probe'; did you mean 'probes'? (known: lenses, "
         "probes, random); run 'mine' was imported"),
        (["--subject", "other.toml"], "--subject other.toml: run 'mine' was imported"),
        (["--seed", "3"], "--seed 3: run 'mine' was made with seed 0"),
        (["--n", "0"], "--n 0: ask for at least 1 unit"),
    ],
)  # fmt: skip
def test_what_an_imported_run_has_not_is_refused_in_one_line(
    file: Path, command_line: Call, options: list[str], message: str
):
    command_line("import", file, "--run", "mine")
    refused = command_line("rate", "--run", "mine", "--rater", "scripted:4", *options)
    assert refused.code == 2
    assert message in refused.err
    assert refused.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.parquet"], "no file or folder none.parquet"),
        (["notes.md"], "notes.md is of no form that can be imported (contexts, delphi, "
         "features-md, neuron-explainer, neuronpedia, saebench); say which it is with --format"),
        (["notes.md", "--format", "features-md"], "notes.md has no '### Feature ID: N'"),
        (["notes.md", "--format", "contexts"], "notes.md: "),
        (["notes.md", "--format", "neuronpedia"], "notes.md, line 1: not JSON"),
        (["notes.md", "--format", "delphi"], "notes.md holds no START_END.safetensors"),
        (["notes.md", "--format", "words"], "unknown format 'words' (known: contexts, delphi, "),
        (["notes.md", "--format", "ratings"], "--format ratings can only be exported"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_imported_is_refused_in_one_line(
    tmp_path: Path, runs: Path, command_line: Call, arguments: list[str], message: str
):
    (tmp_path / "notes.md").write_text("# Notes\n")
    refused = command_line("import", *arguments, "--run", "mine")
    assert refused.code == 2
    assert message in refused.err
    assert refused.err.count("\n") == 1
    assert not (runs / "mine").exists()


def test_lexical_rates_what_has_no_silent_contexts_and_the_report_says_on_what_it_rests(
    markdown: Path, runs: Path, command_line: Call
):
    from autointerp.findings.comparison import compare
    from autointerp.reports.panels import Material, Prose, Table, imported

    result = command_line("import", markdown, "--run", "ward")
    assert "3 of them came without silent contexts" in result.out
    command_line("rate", "--run", "ward", "--rater", "lexical")
    with open_run("ward", folder=runs, read_only=True) as run:
        assert run.rows("SELECT status, count(*) FROM current_rating GROUP BY ALL") == [("ok", 3)]
        comparison = compare(run)
        assert comparison.units.density.isna().all()
        blocks = imported.show(Material((comparison,), (run,)))
    warnings = [block.text for block in blocks if isinstance(block, Prose)]
    assert any("3 of 3 units came without silent contexts" in text for text in warnings)
    assert any("the tokens beside it count as silent" in text for text in warnings)
    (files,) = (block for block in blocks if isinstance(block, Table))
    assert files.rows[0][1:4] == ["features-md", "3", str(3 * 24 + 3 * 2 * BORROWED)]


def test_a_report_of_units_of_unknown_density_is_made(file: Path, command_line: Call):
    command_line("import", file, "--run", "mine")
    command_line("rate", "--run", "mine", "--rater", "scripted:4")
    made = command_line("report", "mine")
    assert made.code == 0, made.err


def test_a_report_of_a_harvested_run_says_nothing_of_imports(tiny_run: Path, tiny_run_name: str):
    from autointerp.findings.comparison import compare
    from autointerp.reports.panels import Material, imported

    with open_run(tiny_run_name, folder=tiny_run, read_only=True) as run:
        assert imported.show(Material((compare(run),), (run,))) == []


# -------------------------------------------------------------------------------------- and back


def prompts(run: Run) -> dict[tuple[Any, ...], str]:
    """Return what raters are shown of each unit, by unit and evidence."""
    keys = run.rows(
        "SELECT i.item_id, u.source, u.idx, u.sign FROM item i JOIN key USING (item_id)"
        " JOIN unit u USING (unit_id) WHERE i.evidence = 'shown'"
    )
    items = {item.id: item for item in load_items(run, [key[0] for key in keys], RUBRIC)}
    return {
        # id or secret stand round quoted text, and each run has its own
        key[1:]: RUBRIC.system() + RUBRIC.user(replace(items[key[0]], id="one", fence=""))
        for key in keys
    }


def test_a_harvested_run_that_goes_out_as_contexts_comes_back_with_the_same_items(
    own_runs: Path, tiny_run_name: str, tmp_path: Path, command_line: Call
):
    out = tmp_path / "contexts.parquet"
    assert command_line("export", tiny_run_name, "--to", "contexts", "-o", out).code == 0
    assert command_line("import", out, "--run", "back").code == 0
    assert command_line("rate", "--run", "back", "--rater", "scripted:4").code == 0
    with (
        open_run(tiny_run_name, folder=own_runs, read_only=True) as before,
        open_run("back", folder=own_runs, read_only=True) as after,
    ):
        was, now = prompts(before), prompts(after)
        assert len(was) > 16
        assert {unit: now[unit] for unit in was} == was
        # no context was decided again, and what was known of the units still is
        for query in (
            "SELECT u.source, u.idx, c.* EXCLUDE (context_id, unit_id, tokens, activations),"
            " c.tokens, c.activations FROM context c JOIN unit u USING (unit_id)"
            " ORDER BY ALL",
            "SELECT source, idx, sign, density, tokens, peak, note FROM unit"
            " WHERE outcome = 'eligible' ORDER BY ALL",
            "SELECT source, is_control FROM source ORDER BY ALL",
        ):
            assert after.rows(query) == before.rows(query)


def test_an_imported_run_goes_out_and_comes_back_with_the_same_units_and_contexts(
    markdown: Path, runs: Path, tmp_path: Path
):
    out = tmp_path / "contexts.parquet"
    import_units(markdown, "one", runs=runs)
    with open_run("one", folder=runs, read_only=True) as run:
        contexts.write(run, out)
    import_units(out, "two", runs=runs)
    for query in (
        "SELECT * FROM unit ORDER BY ALL",
        "SELECT * EXCLUDE (context_id), row_number() OVER"
        " (PARTITION BY unit_id ORDER BY context_id) FROM context ORDER BY ALL",
    ):
        with (
            open_run("one", folder=runs, read_only=True) as one,
            open_run("two", folder=runs, read_only=True) as two,
        ):
            assert one.rows(query) == two.rows(query)


def test_a_run_goes_out_to_neuronpedia_and_its_windows_come_back(
    own_runs: Path, tiny_run_name: str, tmp_path: Path, command_line: Call
):
    out = tmp_path / "exports"
    assert command_line("export", tiny_run_name, "--to", "neuronpedia", "-o", out).code == 0
    names = {path.name for path in out.iterdir()}
    assert {"features", "neurons", "planted", "random", "shuffled"} <= names
    assert {path.name for path in (out / "features").iterdir()} >= {"features", "activations"}
    assert command_line("import", out, "--run", "back").code == 0
    windows = (
        "SELECT u.source, u.idx, c.tokens, c.activations, c.focus FROM context c"
        " JOIN unit u USING (unit_id) ORDER BY ALL"
    )
    density = "SELECT source, idx, density, peak FROM unit WHERE outcome = 'eligible' ORDER BY ALL"
    with (
        open_run(tiny_run_name, folder=own_runs, read_only=True) as before,
        open_run("back", folder=own_runs, read_only=True) as after,
    ):
        was, now = (Counter(map(repr, run.rows(windows))) for run in (before, after))
        assert was <= now
        # a dense neuron has no silent context in one split or the other: there others' stand in
        lent = after.rows("SELECT count(*) FROM context WHERE silent")[0][0]
        own = before.rows("SELECT count(*) FROM context WHERE silent")[0][0]
        assert (now - was).total() == lent - own
        assert after.rows(density) == before.rows(density)


def test_the_same_run_gives_neuronpedia_the_same_bytes(
    tiny_run: Path, tiny_run_name: str, tmp_path: Path
):
    from autointerp.exchange import neuronpedia

    written = []
    for name in ("one", "two"):
        with open_run(tiny_run_name, folder=tiny_run, read_only=True) as run:
            neuronpedia.write(run, tmp_path / name)
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        written.append([(p.relative_to(tmp_path / name), p.read_bytes()) for p in files])
    assert written[0] == written[1]
    assert written[0]


@pytest.mark.parametrize(
    ("to", "remedy"),
    [("contexts", "name a file with -o FILE"), ("neuronpedia", "name it with -o FOLDER")],
)
def test_what_is_no_text_needs_a_place_to_go(
    own_runs: Path, tiny_run_name: str, command_line: Call, to: str, remedy: str
):
    refused = command_line("export", tiny_run_name, "--to", to)
    assert refused.code == 2
    assert remedy in refused.err


# ----------------------------------------------------------------------- names, texts and paths


def test_units_keep_their_names_in_tables_exports_and_the_report(
    file: Path, runs: Path, tmp_path: Path, command_line: Call
):
    import_units(file, "mine", runs=runs)
    with open_run("mine", folder=runs, read_only=True) as run:
        assert set(run.units_frame().unit) == {
            "lenses/mean", "lenses/top", "probes/4", "probes/7", "probes/9-", "random/0",
        }  # fmt: skip
    assert command_line("export", "mine", "--to", "contexts", "-o", "out.parquet").code == 0
    import_units(tmp_path / "out.parquet", "back", runs=runs)
    query = "SELECT source, idx, sign, note FROM unit ORDER BY ALL"
    with (
        open_run("mine", folder=runs, read_only=True) as one,
        open_run("back", folder=runs, read_only=True) as two,
    ):
        assert one.rows(query) == two.rows(query)
        assert set(two.units_frame().unit) == set(one.units_frame().unit)


def test_a_name_that_the_run_holds_is_refused(tmp_path: Path, runs: Path):
    import_units(table(tmp_path / "one.parquet", rows_of("mean", "s")), "mine", runs=runs)
    again = table(tmp_path / "two.parquet", rows_of("mean", "s", firing=30))
    with pytest.raises(RunMismatch, match="source 's' has a unit called 'mean' already"):
        import_units(again, "mine", runs=runs)


def test_lent_contexts_are_of_no_text_that_the_unit_has(markdown: Path, runs: Path):
    import_units(markdown, "mine", runs=runs)
    with open_run("mine", folder=runs, read_only=True) as run:
        for contexts in run.contexts([0, 1, 2]).values():
            own = ["".join(c.tokens) for c in contexts.values() if not c.silent]
            lent = ["".join(c.tokens) for c in contexts.values() if c.silent]
            assert lent
            assert not set(own) & set(lent)
            assert len(set(lent)) == len(lent)


def test_lone_surrogates_are_replaced_wherever_text_comes_in(tmp_path: Path, runs: Path):
    half = "\\ud83d"
    rows = [
        f'{{"layer": "s{half}", "index": "{n}", "tokens": [" a{half}"], "values": [1.0]}}'
        for n in range(2)
    ]
    folder = tmp_path / "activations"
    folder.mkdir()
    (folder / "batch-0.jsonl").write_text("\n".join(rows) + "\n")
    import_units(tmp_path, "mine", runs=runs)
    with open_run("mine", folder=runs, read_only=True) as run:
        assert run.rows("SELECT DISTINCT source FROM unit") == [("s\N{REPLACEMENT CHARACTER}",)]
        assert run.rows("SELECT DISTINCT tokens[1] FROM context WHERE NOT silent") == [
            (" a\N{REPLACEMENT CHARACTER}",)
        ]


@pytest.mark.parametrize("name", ["a[b]", "a*", "it's", "source=x", "~", "-x", "%d", "new\nline"])
def test_imports_exports_and_runs_may_have_any_path(
    name: str, file: Path, tmp_path: Path, command_line: Call
):
    folder = tmp_path / name
    folder.mkdir()
    file.rename(folder / "units.parquet")
    runs = Path(name) / "runs"
    import_units(Path(name) / "units.parquet", "mine", runs=runs)
    with open_run("mine", folder=runs) as run:
        assert run.rows("SELECT count(*) FROM unit") == [(6,)]
        assert contexts.write(run, Path(name) / f"{name}.parquet") == 6 * 44
    assert {p.name for p in folder.iterdir()} == {"runs", "units.parquet", f"{name}.parquet"}
    assert (folder / "runs" / "mine" / "run.duckdb").is_file()
    assert len(list(contexts.read(Path(name) / f"{name}.parquet", ImportOptions()))) == 6


@pytest.mark.parametrize("name", ["q?", "a\\b"])
def test_a_folder_that_duckdb_cannot_name_is_refused_in_one_line_and_left_as_it_was(
    name: str, file: Path, tmp_path: Path
):
    with pytest.raises(StorageError, match="in the path of a database; choose another folder"):
        import_units(file, "mine", runs=tmp_path / name)
    assert not (tmp_path / name).exists()


def test_windows_beyond_32_767_tokens_are_explained(tmp_path: Path, runs: Path):
    from autointerp.questions.explain import explain_trials
    from autointerp.questions.trials import add_trials

    rows = [
        {
            "unit": str(unit), "source": "s", "context": n,
            "tokens": [f" {n}", *["x"] * 40_000],
            "activations": [*[0.0] * 40_000, 1.0 + n + unit],
        }
        for unit in range(2)
        for n in range(3)
    ]  # fmt: skip
    import_units(table(tmp_path / "long.parquet", rows), "mine", runs=runs)
    with open_run("mine", folder=runs) as run:
        # An earlier version's table held 16 bits, and its schema had another digest.
        run.connection.execute("ALTER TABLE probe ALTER COLUMN lasts SET DATA TYPE SMALLINT[]")
        run.connection.execute("UPDATE state SET value = 'earlier' WHERE name = 'schema'")
    with open_run("mine", folder=runs) as run:
        trials = explain_trials(run, [0, 1], "shown")
        add_trials(run, trials)
        assert run.rows("SELECT max(list_max(lasts)) FROM probe") == [(40_001,)]


def test_an_imported_context_goes_where_its_near_copy_is_or_is_left_out():
    words = [f" w{n}" for n in range(60)]

    def context(begin: int, most: float, split=None) -> ForeignContext:
        tokens = tuple(words[begin : begin + 20])
        return ForeignContext(tokens, (most, *[0.0] * (len(tokens) - 1)), 0, split=split)

    # The third has fifteen words of the first, the fourth twelve of the second.
    contexts = [context(0, 9.0), context(30, 8.0), context(5, 7.0), context(22, 6.0)]
    assert assigned_splits(contexts) == ["explain", "score", "explain", "score"]
    # 20 words round the seam of two that are in different splits.
    between = ForeignContext((*words[5:17], *words[32:44]), (1.0, *[0.0] * 23), 0)
    assert assigned_splits([*contexts, between])[-1] is None
    # Where the file says the split, what its writer saw is not tried.
    given = [context(0, 9.0, "explain"), context(5, 8.0, "score"), context(30, 7.0, "score")]
    assert assigned_splits(given) == ["explain", None, "score"]


@pytest.mark.parametrize("name", ["latents/1_2.safetensors", "activations/batch-1.jsonl", "note"])
def test_a_pipe_in_a_folder_is_not_waited_for(tmp_path: Path, name: str):
    place = tmp_path / "folder" / name
    place.parent.mkdir(parents=True)
    os.mkfifo(place)
    with pytest.raises(ExchangeError, match=f"{re.escape(str(place))} is neither a file nor"):
        import_units(tmp_path / "folder", "main", runs=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_an_activation_that_no_run_can_store_is_refused(tmp_path: Path):
    # A float of 32 bits ends at 3.4e38, and `features.md` may say any number.
    path = tmp_path / "features.md"
    head = "| Token ID | Activation | Token | Context |\n|---|---|---|---|\n"
    path.write_text(f"### Feature ID: 1\n{head}| 1 | 1e39 | `'word'` | `'a word'` |\n")
    with pytest.raises(ExchangeError, match=r"has an activation of 1e\+39"):
        import_units(path, "main", runs=tmp_path / "runs")


def test_a_context_without_a_focus_is_about_its_strongest_token(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = ForeignContext(("the", " cat", " sat"), (0.0, 0.5, 2.0))
    monkeypatch.setattr(contexts, "read", lambda *_: [ForeignUnit("probes", "4", (one,))])
    import_units(file, "mine", "contexts", runs=tmp_path)
    with open_run("mine", folder=tmp_path) as run:
        assert run.rows("SELECT focus, interval FROM context") == [(2, 10)]


@pytest.mark.parametrize(
    ("yielded", "words"),
    [
        (None, "returned None; it must return an iterator of ForeignUnit"),
        ([{"unit": 1}], r"yielded a value of type dict; it must yield .*ForeignUnit"),
        ([ForeignUnit("features", "1", (None,))], "yielded None; it must yield .*ForeignContext"),  # type: ignore[arg-type]
    ],
)
def test_a_format_that_yields_something_else_is_named_and_leaves_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, yielded: Any, words: str
) -> None:
    monkeypatch.setattr(contexts, "read", lambda *_: yielded)
    (tmp_path / "a.jsonl").write_text("{}")
    with pytest.raises(AutointerpError, match=rf"format 'contexts': read\(\).*{words}"):
        import_units(tmp_path / "a.jsonl", "odd", "contexts", runs=tmp_path)
    assert not (tmp_path / "odd").exists()
