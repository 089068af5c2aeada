"""What every command owes its user: JSON, quiet and verbose, whole help, steps that work."""

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.tiny_subject import tiny_run_units

from autointerp.apps import cli
from autointerp.apps.cli._app import build_app
from autointerp.extensions import names
from autointerp.pipeline.job import sources_by_role


def test_runs_and_what_a_run_holds_as_json(command_line: Any, own_runs: Path, tiny_run_name: str):
    units = sum(tiny_run_units().values())
    (listed,) = json.loads(command_line("runs", "--json").out)
    assert listed["run"] == tiny_run_name
    assert listed["asked"]["features"] == 8
    shown = json.loads(command_line("show", tiny_run_name, "--json").out)
    assert shown == listed
    assert shown["ratings"]["scripted:4"]["interpretability-1-5"] == {"ok": units}
    assert f"ratings    scripted:4 on interpretability-1-5: {units} ok" in (
        command_line("show", tiny_run_name).out
    )


def test_a_run_that_cannot_be_read_says_so_in_its_place(command_line: Any, own_runs: Path):
    (own_runs / "broken").mkdir()
    (own_runs / "broken" / "run.toml").write_text("not toml = = =")
    listed = {one["run"]: one for one in json.loads(command_line("runs", "--json").out)}
    assert listed["broken"]["problem"]
    assert not listed["tiny"]["problem"]


def test_an_item_as_json(command_line: Any, own_runs: Path, tiny_run_name: str):
    rows = command_line("export", tiny_run_name, "--to", "jsonl").out.splitlines()
    item = json.loads(rows[0])["item"]
    fields = json.loads(command_line("show", tiny_run_name, item, "--json").out)
    assert fields["id"] == item
    assert fields["rubric"] == "interpretability-1-5"
    assert fields["contexts"]


def test_a_plan_and_a_forecast_as_json(command_line: Any, tiny_settings: Path):
    plan = json.loads(command_line("plan", "--effect", 0.65, "--json").out)
    assert plan["units"] <= plan["units_to_ask"]
    asked = ("rate", "--subject", tiny_settings, "--n", 5, "--controls", 2, "--dry-run")
    forecast = json.loads(command_line(*asked, "--json").out)
    controls = dict.fromkeys(sources_by_role(controls=True), 2)
    assert forecast["missing"] == {"features": 5} | controls
    assert forecast["left"] == forecast["items"] == 5 + 2 * len(controls)
    assert "would harvest 5 features" in command_line(*asked).err
    for command in (("rate",), ("explain", "main"), ("score", "main")):
        refused = command_line(*command, "--json")
        assert (refused.code, "--dry-run" in refused.err) == (2, True)


@pytest.mark.parametrize("command", ["labs", "raters", "scorers", "sources"])
def test_extensions_as_json_are_those_of_the_list(command: str, command_line: Any):
    listed = [line.split()[0] for line in command_line(command).out.splitlines()[1:]]
    rows = json.loads(command_line(command, "--json").out)
    assert [row["name"] for row in rows] == listed
    assert all(row["description"] for row in rows)


def test_rubrics_as_json_name_their_files(command_line: Any):
    rubrics = {row["rubric"]: row for row in json.loads(command_line("rubrics", "--json").out)}
    assert rubrics["interpretability-1-5"]["scores"] == [1, 2, 3, 4, 5]
    assert all(Path(row["file"]).is_file() for row in rubrics.values())


def test_a_draw_for_people_as_json(command_line: Any, own_runs: Path, tiny_run_name: str):
    asked = ("plan-humans", "--n", 6, "--run", tiny_run_name)
    plan = json.loads(command_line(*asked, "--json").out)
    assert (plan["run"], plan["rater"], plan["items"]) == (tiny_run_name, "scripted:4", 6)
    assert sum(row["drawn"] for row in plan["strata"]) == 6
    assert all(row["probability"] == row["drawn"] / row["of"] for row in plan["strata"])


def test_a_dash_is_standard_output_and_never_a_file(
    command_line: Any, own_runs: Path, tiny_run_name: str, tiny_subject: Path
):
    dash = command_line("export", tiny_run_name, "--to", "csv", "-o", "-")
    assert dash.out == command_line("export", tiny_run_name, "--to", "csv").out
    assert dash.out.startswith("run,") or "item" in dash.out.splitlines()[0]
    settings = command_line(
        "init", "--model", tiny_subject / "transformer.safetensors", "--sae",
        tiny_subject / "sae.safetensors", "--corpus", tiny_subject / "corpus.npz", "-o", "-",
    )  # fmt: skip
    assert settings.code == 0, settings.err
    assert settings.out.startswith("[subject]")
    for arguments in (
        ("export", tiny_run_name, "--to", "neuronpedia", "-o", "-"),
        ("pack", tiny_run_name, "-o", "-"),
        ("report", tiny_run_name, "-o", "-"),
    ):
        refused = command_line(*arguments)
        assert refused.code == 2, arguments
        assert "-o" in refused.err
    assert not Path("-").exists()


def test_quiet_leaves_the_result_and_verbose_adds_the_time(command_line: Any, tiny_settings: Path):
    asked = ("rate", "--subject", tiny_settings, "--n", 3, "--controls", 0, "--rater", "scripted:4")
    quiet = command_line(*asked, "--run", "one", "-q").err.splitlines()
    assert quiet == ["run 'one': 3 features; scripted:4 on interpretability-1-5: 3 ok"]
    verbose = command_line(*asked, "--run", "two", "-v").err.splitlines()
    assert len(verbose) > 2
    assert all(line.startswith("[") and " s] " in line for line in verbose)
    assert any("] harvest " in line and line.endswith(" tokens") for line in verbose)


def test_the_step_that_init_names_works_when_it_is_typed(
    command_line: Any, tiny_subject: Path, tmp_path: Path
):
    folder = shutil.copytree(tiny_subject, tmp_path / "own")
    settings = ("-o", "ann's file.toml")
    for sae in ((), ("--sae", folder / "sae.safetensors")):
        made = command_line(
            "init", "--model", folder / "transformer.safetensors", "--corpus",
            folder / "corpus.npz", *sae, *settings, "--force",
        )  # fmt: skip
        assert made.code == 0, made.err
        step = made.out.splitlines()[-1].partition("next: autointerp ")[2]
        run = ("--run", f"sae{len(sae)}", "--n", 3, "--controls", 0)
        rated = command_line(*shlex.split(step), *run)
        assert rated.code == 0, rated.err


@pytest.mark.parametrize("name", names(cli))
def test_help_is_whole_at_80_columns(name: str, command_line: Any, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    _, _, listed = command_line("--help").out.partition("\n")
    assert "..." not in listed
    shown = command_line(name, "--help")
    assert shown.code == 0
    assert "…" not in shown.out.replace("[RUN…]", "")
    assert all(len(line) <= 80 for line in shown.out.splitlines())


def test_shells_can_complete_the_commands():
    app = build_app()
    assert app._add_completion
