"""`autointerp train`: from a text to an SAE and its figures, and what is printed on the way."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from autointerp.apps.cli.train import measures_text, shown_on
from autointerp.subjects.training.events import FeaturesReset, StepsDone
from autointerp.subjects.training.measures import TrainingMeasures

Call = Callable[..., Any]


@pytest.fixture
def text(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    words = ["cat", "river", "stone", "king", "letter", "saw", "took", "the", "a", "red", "old"]
    file = tmp_path / "text.jsonl"
    documents = [" ".join(rng.choice(words, 60)) for _ in range(150)]
    file.write_text("".join(json.dumps({"text": document}) + "\n" for document in documents))
    return file


def test_a_text_becomes_a_tokenizer_a_transformer_and_an_sae(command_line: Call, text: Path):
    made = command_line("train", "tokenizer", text, "--vocabulary", 300)
    assert re.fullmatch(r"training/tokenizer.json: \d+ tokens\n", made.out)
    for name in ("train", "heldout"):
        made = command_line("train", "tokens", text, "--name", name)
        assert made.out.startswith(f"training/{name}.npz: ")
        assert made.out.endswith(" tokens, 150 documents\n")

    small = ("--d-model", 8, "--heads", 2, "--d-mlp", 16, "--context", 16)
    trained = command_line("train", "transformer", "--steps", 20, *small)
    assert trained.code == 0
    cut, *_, last = trained.out.splitlines()
    assert " windows of 16 tokens, " in cut
    assert last.startswith("transformer 20/20  loss ")
    again = command_line("train", "transformer", "--steps", 20, *small)
    assert again.out.startswith("resuming training/transformer.ckpt at step 20\n")

    trained = command_line("train", "sae", "--steps", 8, "--features", 24)
    lines = trained.out.splitlines()
    # After 1/8, 1/4, 3/8 and 1/2 of 8 steps.
    resets = [
        line.split(":")[0]
        for line in lines
        if line.endswith((" dead features reset", " dead feature reset"))
    ]
    assert resets == ["step 1", "step 2", "step 3", "step 4"]
    assert any(line.startswith("sae 8/8  loss ") for line in lines)
    assert "  loss recovered" in trained.out

    told = command_line("train", "report")
    assert told.out == trained.out[trained.out.index("over ") :]


@pytest.mark.parametrize(("total", "every"), [(10_300, 500), (1030, 100), (30, 10)])
def test_a_pipe_gets_a_line_every_500_steps_or_ten_and_one_at_the_end(
    total: int, every: int, capsys: pytest.CaptureFixture[str]
):
    with shown_on(Console(width=100)) as on:
        for done in range(10, total + 1, 10):
            on(StepsDone("sae", done, total, {"loss": 0.5}))
        on(FeaturesReset(total, 3))
    *lines, last = capsys.readouterr().out.splitlines()
    steps = sorted({*range(every, total + 1, every), total})
    assert lines == [f"sae {done}/{total}  loss 0.5" for done in steps]
    assert last == f"step {total}: 3 dead features reset"


def test_a_terminal_gets_a_bar(capsys: pytest.CaptureFixture[str]):
    with shown_on(Console(force_terminal=True, width=100)) as on:
        on(StepsDone("sae", 10, 20, {"loss": 0.5}))
        on(StepsDone("sae", 20, 20, {"loss": 0.25}))
    shown = capsys.readouterr().out
    assert "20/20" in shown
    assert "loss 0.25" in shown


def test_the_measures_are_figures_and_a_histogram_of_densities():
    measures = TrainingMeasures(
        tokens=1000,
        loss=3.0,
        loss_reconstructed=3.5,
        loss_zero=5.0,
        l0=2.5,
        dead=0.5,
        explained=0.9,
        feature_density=np.array([0.0, 0.02]),
        neuron_density=np.array([0.5, 0.5, 0.0]),
    )
    lines = measures_text(measures).splitlines()
    assert lines[0] == "over 1,000 held-out tokens:"
    assert "  loss recovered       0.750" in lines  # (5 - 3.5) / (5 - 3)
    assert "  dead                 50.0% of 2 features" in lines
    bars = {line[:12]: line.split()[3:] for line in lines if " to " in line}
    assert bars[" -2.0 to -1."] == ["█" * 18, "1", "0"]  # log10 0.02 = -1.7
    assert bars[" -0.5 to  0."] == ["0", "█" * 18, "2"]  # log10 0.5 = -0.3
    assert lines[-1].split() == ["never", "1", "1"]
