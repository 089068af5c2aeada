"""`autointerp train sae` on a Hugging Face model, from the command line to a loaded SAE."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.tiny_language_models import saved

from autointerp.store.run import open_run
from autointerp.subjects.formats import load_sae
from autointerp.subjects.training.recipe import read_record

Call = Callable[..., Any]
SHORT = ("--width", 32, "--k", 4, "--tokens", 512, "--batch", 64, "--buffer", 256, "--window", 16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    saved(folder / "llama", "llama")
    rng = np.random.default_rng(1)
    words = ["the", "cat", "sat", "on", "mat", "and", "dog"]
    texts = [" ".join(rng.choice(words, 20)) for _ in range(120)]
    lines = [json.dumps({"text": text}) + "\n" for text in texts]
    (folder / "text.jsonl").write_text("".join(lines))
    return folder


def arguments(folder: Path) -> tuple[Any, ...]:
    model, text = folder / "llama", folder / "text.jsonl"
    return ("train", "sae", "--model", model, "--corpus", text, "--site", "layers.1.mlp", *SHORT)


def test_an_sae_is_trained_measured_and_stored_as_saelens_does(command_line: Call, folder: Path):
    made = command_line(*arguments(folder), "-o", "sae")
    assert made.code == 0
    assert "sae 8/8  loss " in made.out
    assert "  loss recovered" in made.out
    assert made.out.endswith("sae: 32 features at layers.1.mlp, weights trained\n")
    assert {path.name for path in Path("sae").iterdir()} == {
        "cfg.json", "sae_weights.safetensors", "training.json",
    }  # fmt: skip
    loaded = load_sae("sae")
    assert (loaded.format, loaded.hook, loaded.sae.k) == ("saelens", "blocks.1.hook_mlp_out", 4)
    assert (loaded.model, loaded.context_size, loaded.prepend_bos) == ("llama", 16, True)
    torch.testing.assert_close(loaded.sae.W_dec.norm(dim=1), torch.ones(32))
    record = read_record(Path("sae"))
    assert record.recipe.corpus == str(folder / "text.jsonl")
    assert set(record.measures) >= {"loss_recovered", "l0", "dead_share", "variance_explained"}

    before = Path("sae/sae_weights.safetensors").read_bytes()
    again = command_line(*arguments(folder), "-o", "sae")
    assert again.out.startswith("sae holds this SAE already; nothing to do\n")
    assert Path("sae/sae_weights.safetensors").read_bytes() == before
    other = command_line(*arguments(folder), "--seed", 1, "-o", "sae")
    assert other.code == 2
    assert "sae holds an SAE trained with seed = 0, not 1" in other.err


def test_the_twin_has_the_same_recipe_and_other_weights(command_line: Call, folder: Path):
    """The whole way: an SAE, its twin, settings that name it, and a run that rates its units."""
    text = str(folder / "text.jsonl")
    assert command_line(*arguments(folder), "-o", "sae").code == 0
    made = command_line("train", "untrained", "sae", "-o", "twin", "--seed", 3)
    assert made.code == 0
    assert made.out.endswith("twin: 32 features at layers.1.mlp, weights rerandomised\n")
    trained, twin = read_record(Path("sae")), read_record(Path("twin"))
    assert twin.recipe == trained.recipe
    assert (twin.model.weights, twin.model.weights_seed) == ("rerandomised", 3)
    assert twin.model.digest != trained.model.digest
    one, other = (load_sae(name).sae for name in ("sae", "twin"))
    assert not torch.equal(one.W_dec, other.W_dec)

    again = command_line("train", "untrained", "sae", "-o", "twin", "--seed", 3)
    assert again.out.startswith("twin holds this SAE already; nothing to do\n")
    seed = command_line("train", "untrained", "sae", "-o", "twin", "--seed", 4)
    assert (seed.code, "weights_seed = 3, not 4" in seed.err) == (2, True)
    nested = command_line("train", "untrained", "twin", "-o", "next")
    assert (nested.code, "holds an SAE of a twin already" in nested.err) == (2, True)
    same = command_line("train", "untrained", "sae", "-o", "sae")
    assert (same.code, "is the folder of the trained model's SAE" in same.err) == (2, True)
    moved = folder / "other.jsonl"
    moved.write_text(Path(text).read_text() + '{"text": "more"}\n')
    wrong = command_line("train", "untrained", "sae", "-o", "x", "--corpus", moved)
    assert (wrong.code, "is not the text that the SAE in sae was trained on" in wrong.err) == (
        2,
        True,
    )
    saved(folder / "gpt2", "gpt2")
    wrong = command_line("train", "untrained", "sae", "-o", "x", "--model", folder / "gpt2")
    assert (wrong.code, wrong.err.count("\n")) == (2, 1)

    Path("autointerp.toml").write_text(
        f'[subject]\nmodel = "{folder / "llama"}"\nsite = "layers.1.mlp"\nsae = "sae"\n'
        f'untrained = "twin"\ncorpus = "{text}"\n\n[harvest]\nwindow = 16\n'
    )
    rated = command_line(
        "rate", "--source", "features", "--source", "untrained", "--n", 3, "--controls", 0,
        "--rater", "scripted:4", "--run", "twins",
    )  # fmt: skip
    assert rated.code == 0, rated.err
    with open_run("twins", read_only=True) as run:
        counts = dict(
            run.rows(
                "SELECT source, count(*) FROM current_rating JOIN key USING (item_id)"
                " JOIN unit USING (unit_id) WHERE status = 'ok' GROUP BY source"
            )
        )
    assert counts == {"features": 3, "untrained": 3}


def test_kept_embeddings_and_step0_exclude_each_other(command_line: Call, folder: Path):
    said = command_line("train", "untrained", "sae", "-o", "x", "--step0", "step0", "--seed", 1)
    assert (said.code, "--step0 draws no weights" in said.err) == (2, True)
    said = command_line("train", "untrained", folder, "-o", "x")
    assert (said.code, "holds no training.json" in said.err) == (2, True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--steps", 5), "--steps is for the one-layer transformer; give --tokens with --model"),
        (("--activation", "gelu"), "--activation 'gelu' must be relu or topk"),
        (("--activation", "relu", "--k", 3), "--k is for --activation topk"),
        (("--l1", 0.1), "--l1 is for --activation relu"),
        (("--k", 64), "--k 64 must not exceed the 32 latents of --width"),
        (("--batch", 0), "--batch 0 must be at least 1"),
        (("--buffer", 32), "--buffer 32 must hold a batch"),
        (("--tokens", 3), "--tokens 3 must be at least --batch 64"),
        (("--window", 1), "--window 1 must be at least 2"),
        (("--lr", "nan"), "--learning-rate nan: give a finite number"),
        (("--heldout", "nowhere.txt"), "no corpus at nowhere.txt"),
        (("--model", "nowhere.gguf"), "no GGUF file at nowhere.gguf"),
    ],
)
def test_an_option_that_cannot_be_is_one_line(
    command_line: Call, folder: Path, options: tuple[Any, ...], message: str
):
    said = command_line(*arguments(folder), *options, "-o", "sae")
    assert said.code == 2
    assert message in said.err
    assert said.err.count("\n") == 1


def test_an_option_of_any_model_is_not_passed_over_where_there_is_none(command_line: Call):
    said = command_line("train", "sae", "--tokens", 500)
    assert (said.code, said.out) == (2, "")
    assert "--tokens needs --model" in said.err


@pytest.mark.parametrize("lacking", ["--site", "--corpus"])
def test_what_is_missing_is_named(command_line: Call, folder: Path, lacking: str):
    given = [str(one) for one in arguments(folder)]
    place = given.index(lacking)
    said = command_line(*given[:place], *given[place + 2 :])
    assert said.code == 2
    assert f"{lacking} is missing" in said.err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "not a record of version 1"),
        ('{"version": 1}', "ModelRecord is missing"),
        ('{"version": 1, "model": {"name": 3}}', "ModelRecord.name = 3 is not valid"),
        ('{"version": 1, "model": {"name": "m"}, "recipe": {"x": 1}}', "unknown keys ['x']"),
        ('{"version": 1, "model": {"name": "m"}, "recipe": {"site": "s"}}', "lacks a key"),
    ],
)
def test_a_damaged_record_is_one_line(
    command_line: Call, folder: Path, tmp_path: Path, content: str, message: str
):
    (tmp_path / "training.json").write_text(content)
    said = command_line(*arguments(folder), "-o", tmp_path)
    assert said.code == 2
    assert message in said.err
    assert said.err.count("\n") == 1


def test_a_bos_that_the_tokenizer_says_nothing_of_is_noted(command_line: Call, folder: Path):
    bare = Path(shutil.copytree(folder / "llama", folder / "bare"))
    (bare / "tokenizer_config.json").unlink()
    made = command_line(*arguments(folder)[:3], bare, *arguments(folder)[4:], "-o", "sae")
    assert made.code == 0
    assert "say nothing of BOS: windows begin with <|endoftext|>" in " ".join(made.out.split())
    assert load_sae("sae").prepend_bos
