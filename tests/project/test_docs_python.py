"""docs/python.md: its blocks, run in their order in one namespace, as in a notebook."""

import shutil
from pathlib import Path

import pytest
from matplotlib.figure import Figure

import autointerp
from tools.examples import blocks

pytest.importorskip("transformers")  # the last block builds a model

PAGE = Path(__file__).parents[2] / "docs" / "python.md"


@pytest.fixture(scope="module")
def notebook(tiny_subject: Path, tmp_path_factory: pytest.TempPathFactory):
    """What the page's code leaves: its names, in a folder with a small ./autointerp.toml."""
    folder = tmp_path_factory.mktemp("notebook")
    for file in tiny_subject.iterdir():
        shutil.copy(file, folder)
    text = PAGE.read_text("utf-8")
    names: dict[str, object] = {"__name__": "notebook", "folder": folder}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for line, block in blocks(text):
            # Padded, so that a traceback names the line of the page.
            exec(compile("\n" * (line - 1) + block, str(PAGE), "exec"), names)
    return names


def test_the_run_is_rated_described_and_scored(notebook):
    assert set(notebook["result"].counts.statuses) <= {"ok", "failed"}
    assert notebook["result"].counts.statuses["ok"] > 40
    # 12 of each studied source, 8 of each control.
    sources = notebook["result"].units
    assert {name: n for name, n in sources.items() if name in ("features", "neurons")} == {
        "features": 12,
        "neurons": 12,
    }
    assert set(sources.values()) == {12, 8}
    assert notebook["described"].units == sum(sources.values())
    assert notebook["outcome"].units > 0
    assert notebook["careful"].policy.budget_usd == 2


def test_the_comparison_and_the_frames_speak_of_the_same_units(notebook):
    groups = notebook["judgement"].groups
    ratings, units, contexts = (notebook[name] for name in ("ratings", "units", "contexts"))
    scored = ratings.dropna(subset="score")
    assert scored.groupby("source").size().to_dict() == {n: g.n for n, g in groups.items()}
    assert set(ratings.unit) <= set(units.unit)
    assert set(contexts.unit) <= set(units[units.source == "features"].unit)
    assert notebook["strongest"].activation == contexts.activation.max()
    assert list(notebook["cost"].columns) == ["rater", "calls", "usd"]


def test_the_report_is_written_and_its_figures_are_matplotlibs(notebook):
    folder = notebook["folder"]
    assert (folder / notebook["report"].page).is_file()
    assert notebook["report"].figures.keys() == notebook["figures"].keys()
    assert all(isinstance(figure, Figure) for figure in notebook["figures"].values())
    assert (folder / "scores.pdf").read_bytes().startswith(b"%PDF")


def test_the_shards_are_merged_to_a_run_that_holds_the_units_of_the_first(notebook):
    assert notebook["merged"].run == "shared"
    units = []
    for name in ("notebook", "shared"):
        with autointerp.open_run(name, folder=notebook["folder"] / "runs") as run:
            units.append(
                [
                    (one.summary, run.contexts([one.unit_id])[one.unit_id].values())
                    for one in run.sampled("features", 12)
                ]
            )
    assert len(units[0]) == 12
    assert [(summary, list(held)) for summary, held in units[0]] == [
        (summary, list(held)) for summary, held in units[1]
    ]


def test_the_model_in_memory_is_harvested_and_left_as_it_was(notebook):
    outcomes = {unit.summary.outcome for unit in notebook["harvested"]}
    assert len(notebook["harvested"]) == 20
    assert "eligible" in outcomes
    assert notebook["model"].training
    assert all(parameter.requires_grad for parameter in notebook["model"].parameters())


def test_the_page_names_all_public_names():
    text = PAGE.read_text("utf-8")
    assert [name for name in autointerp.__all__ if f"`{name}`" not in text] == []
