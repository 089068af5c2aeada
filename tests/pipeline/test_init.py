"""`init` says what it finds, asks only for what is not said, and never overwrites unasked."""

from __future__ import annotations

import io
import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from support.tiny_language_models import D_MODEL, saved
from support.tiny_subject import make_tiny_twin

from autointerp.apps.cli import init
from autointerp.errors import SubjectError
from autointerp.settings import load_settings
from autointerp.subjects.load import load_subject

SAE = ("W_enc", "b_enc", "W_dec", "b_dec")


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """In `tmp_path`: a model, a SAELens SAE that records where it was trained, a text."""
    saved(tmp_path / "tiny", "llama")
    tensors = [torch.randn(D_MODEL, 24), torch.zeros(24), torch.randn(24, D_MODEL)]
    weights = dict(zip(SAE, [*tensors, torch.zeros(D_MODEL)], strict=True))
    (tmp_path / "sae").mkdir()
    save_file(weights, tmp_path / "sae" / "sae_weights.safetensors")
    config = {"architecture": "topk", "k": 4, "d_in": D_MODEL, "d_sae": 24,
              "apply_b_dec_to_input": True, "normalize_activations": "none",
              "metadata": {"model_name": "tiny", "hook_name": "blocks.1.hook_mlp_out"}}  # fmt: skip
    (tmp_path / "sae" / "cfg.json").write_text(json.dumps(config))
    (tmp_path / "corpus.txt").write_text("the cat sat on the mat\n\nand the dog did too\n")
    return tmp_path


def options(parts: Path, *names: str) -> list[str]:
    places = {"model": "tiny", "sae": "sae", "corpus": "corpus.txt"}
    return [word for name in names for word in (f"--{name}", str(parts / places[name]))]


def test_what_the_files_say_is_told_and_written(parts: Path, command_line: Callable[..., Any]):
    found = command_line("init", *options(parts, "model", "sae", "corpus"))
    assert found.code == 0, found.err
    assert "SAE: saelens, topk of k 4, 16 → 24 latents, trained on tiny, layers.1.mlp" in found.out
    assert "site: layers.1.mlp, as the SAE's files say" in found.out
    assert "model: LlamaForCausalLM, 3 layers, vocabulary 300, context 64" in found.out
    assert "windows: begin with BOS" in found.out
    assert "corpus: text; its first document has" in found.out
    assert "'the cat sat" in found.out
    written = tomllib.loads((parts / "autointerp.toml").read_text())
    assert written == {
        "subject": {
            "model": "tiny", "site": "layers.1.mlp", "sae": "sae", "corpus": "corpus.txt",
        }
    }  # fmt: skip
    subject = load_subject(load_settings(str(parts / "autointerp.toml")).subject)
    assert subject.site == "layers.1.mlp"
    assert not list(parts.glob("*.new")) + list(parts.glob(".*.new"))


def test_a_file_that_is_there_is_overwritten_only_by_force(
    parts: Path, command_line: Callable[..., Any]
):
    (parts / "autointerp.toml").write_text("seed = 3\n")
    arguments = options(parts, "model", "sae", "corpus")
    found = command_line("init", *arguments)
    assert found.code == 2
    assert "autointerp.toml exists; give --force" in found.err
    assert (parts / "autointerp.toml").read_text() == "seed = 3\n"
    assert command_line("init", *arguments, "--force").code == 0
    assert command_line("init", *arguments, "-o", "other/x.toml").code == 0
    written = tomllib.loads((parts / "other" / "x.toml").read_text())["subject"]
    assert written["sae"] == str(parts / "sae")  # outside of the file's folder


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["sae", "corpus"], "cannot load model: no tiny here"),
        (["model", "sae"], "--corpus: the files do not say it; give it"),
        (["model", "corpus"], "--site: the files do not say it; give it"),
        (["corpus"], "--model: the files do not say it; give it"),
    ],
)
def test_what_is_not_said_is_one_line_that_names_the_option(
    parts: Path,
    command_line: Callable[..., Any],
    given: list[str],
    told: str,
):
    arguments = options(parts, *given)
    (parts / "tiny").rename(parts / "moved")  # the recorded name is no folder beside us
    arguments = [word.replace("/tiny", "/moved") for word in arguments]
    found = command_line("init", *arguments)
    assert found.code == 2
    assert told in found.err
    assert found.err.count("\n") == 1
    assert not (parts / "autointerp.toml").exists()


def test_at_a_terminal_only_what_is_missing_is_asked(
    parts: Path, command_line: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
):
    state = {"encoder.weight": torch.randn(24, D_MODEL), "encoder.bias": torch.zeros(24)}
    state |= {"decoder.weight": torch.randn(D_MODEL, 24), "decoder.bias": torch.ones(D_MODEL)}
    torch.save(state, parts / "raw.pt")
    answers = {"site": "layers.1.mlp", "corpus": str(parts / "corpus.txt")}
    asked = []
    said = "yes"

    def answer(question: str) -> str:
        asked.append(question)
        if question.startswith("neurons: "):
            return "hidden"
        return said if "subtract_b_dec" in question else answers[question]

    monkeypatch.setattr(init, "_can_ask", lambda: True)
    monkeypatch.setattr(init, "_ask", answer)
    found = command_line("init", "--sae", "raw.pt", *options(parts, "model"))
    assert found.code == 0, found.err
    assert ["decoder.bias is taken" in asked[0], *asked[1:]] == [
        True,
        "site",
        "neurons: hidden for the 40 of layers.1.mlp.neurons, or site for axes of the MLP's output",
        "corpus",
    ]
    written = tomllib.loads((parts / "autointerp.toml").read_text())["subject"]
    assert (written["subtract_b_dec"], written["neurons"]) == ("yes", "hidden")
    assert "note: the file names no activation: read as ReLU" in found.out
    said = "perhaps"
    found = command_line("init", "--sae", "raw.pt", *options(parts, "model"), "--force")
    assert found.code == 2
    assert "--subtract-b-dec: subject.subtract_b_dec = 'perhaps' must be" in found.err


def test_what_the_sae_leaves_open_names_the_option_and_is_asked_at_a_terminal(
    parts: Path, command_line: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
):
    file = parts / "sae" / "cfg.json"
    config = json.loads(file.read_text())
    del config["k"]
    file.write_text(json.dumps({**config, "normalize_activations": "expected_average_only_in"}))
    arguments = options(parts, "model", "sae", "corpus")
    found = command_line("init", *arguments)
    assert (found.code, found.err.count("\n")) == (2, 1)
    assert "--input-scale: " in found.err
    found = command_line("init", *arguments, "--input-scale", "2")
    assert (found.code, found.err.count("\n")) == (2, 1)
    assert "--k: " in found.err

    monkeypatch.setattr(init, "_can_ask", lambda: True)

    def answer(question: str) -> str:
        return "4" if "give k" in question else "site" if "neurons" in question else "0.5"

    monkeypatch.setattr(init, "_ask", answer)
    found = command_line("init", *arguments)
    assert found.code == 0, found.err
    written = tomllib.loads((parts / "autointerp.toml").read_text())["subject"]
    assert (written["k"], written["input_scale"]) == (4, 0.5)


@pytest.mark.parametrize(
    ("option", "value"), [("--device", "tpu"), ("--dtype", "int3"), ("--subtract-b-dec", "maybe")]
)
def test_a_value_that_no_setting_has_is_refused_before_it_is_written(
    parts: Path, command_line: Callable[..., Any], option: str, value: str
):
    found = command_line("init", *options(parts, "model", "sae", "corpus"), option, value)
    assert (found.code, found.err.count("\n")) == (2, 1)
    assert f"'{value}' must be" in found.err
    assert not (parts / "autointerp.toml").exists()


def test_a_site_that_does_not_fit_writes_nothing(parts: Path, command_line: Callable[..., Any]):
    arguments = options(parts, "model", "sae", "corpus")
    found = command_line("init", *arguments, "--site", "layers.2.mlp")
    assert found.code == 2
    assert "was trained at layers.1.mlp, not at layers.2.mlp" in found.err
    assert not (parts / "autointerp.toml").exists()


def test_an_untrained_twin_is_looked_at_and_written_or_refused(
    tmp_path: Path, tiny_settings: Path, command_line: Callable[..., Any]
):
    make_tiny_twin(tiny_settings.parent, tmp_path / "twin", seed=5)
    parts = ("model", "transformer.safetensors"), ("sae", "sae.safetensors")
    given = [word for name, file in (*parts, ("corpus", "corpus.npz"))
             for word in (f"--{name}", str(tiny_settings.parent / file))]  # fmt: skip
    found = command_line("init", *given, "--untrained", "twin")
    assert found.code == 0, found.err
    assert "untrained twin: weights rerandomised, seed 5" in found.out
    subject = tomllib.loads((tmp_path / "autointerp.toml").read_text())["subject"]
    assert subject["untrained"] == "twin"

    (tmp_path / "autointerp.toml").unlink()
    (tmp_path / "empty").mkdir()
    refused = command_line("init", *given, "--untrained", "empty")
    assert refused.code == 2
    assert len(refused.err.strip().splitlines()) == 1
    assert "empty" in refused.err
    assert not (tmp_path / "autointerp.toml").exists()


def test_it_says_whether_the_units_of_a_site_are_neurons(
    parts: Path, command_line: Callable[..., Any]
):
    arguments = options(parts, "model", "corpus")
    axes = command_line("init", *arguments, "--site", "layers.1.mlp", "-o", "axes.toml")
    assert "site: layers.1.mlp, 16 activations, both signs; axes of the MLP's output" in axes.out
    assert "the units of source 'neurons' are axes of the MLP's output here" in axes.out + axes.err
    neurons = command_line("init", *arguments, "--site", "layers.1.mlp.neurons")
    assert "neurons of the MLP" in neurons.out
    assert "and no neurons" not in neurons.out + neurons.err


def test_hidden_neurons_are_offered_written_and_loaded(
    parts: Path, command_line: Callable[..., Any]
):
    arguments = options(parts, "model", "sae", "corpus")
    found = command_line("init", *arguments)
    assert "for the 40 of layers.1.mlp.neurons give --neurons hidden" in found.out
    found = command_line("init", *arguments, "--neurons", "hidden", "--force")
    assert "neurons: the 40 of layers.1.mlp.neurons, read in the same pass" in found.out
    subject = load_subject(load_settings(str(parts / "autointerp.toml")).subject)
    assert subject.hidden is not None
    assert (subject.hidden.site, subject.hidden.d_site) == ("layers.1.mlp.neurons", 40)
    assert set(subject.digests) == {"model", "sae", "corpus", "tokenizer", "neurons"}


@pytest.mark.parametrize(
    ("site", "neurons", "told"),
    [
        ("layers.1.mlp.neurons", "hidden", "is the hidden neurons already"),
        ("lm_head", "hidden", "is in none of the layers"),
        ("layers.1.mlp", "both", "subject.neurons = 'both' must be '' or 'hidden'"),
    ],
)
def test_hidden_neurons_that_there_are_none_of_are_refused_in_one_line(
    parts: Path, command_line: Callable[..., Any], site: str, neurons: str, told: str
):
    arguments = options(parts, "model", "corpus")
    found = command_line("init", *arguments, "--site", site, "--neurons", neurons)
    assert (found.code, found.err.count("\n")) == (2, 1)
    assert told in found.err
    assert not (parts / "autointerp.toml").exists()


def test_a_model_that_is_no_causal_language_model_is_one_line(
    parts: Path, command_line: Callable[..., Any]
):
    config = {"model_type": "t5", "d_model": 16, "d_kv": 4, "num_layers": 1, "vocab_size": 300}
    (parts / "tiny" / "config.json").write_text(json.dumps(config))
    asked = (*options(parts, "model", "corpus"), "--site", "layers.0.mlp")
    found = command_line("init", *asked)
    assert (found.code, found.err.count("\n")) == (2, 1)
    assert "t5" in found.err
    assert not (parts / "autointerp.toml").exists()


def test_a_tokenizer_that_makes_no_token_is_said_and_nothing_is_written(
    parts: Path, command_line: Callable[..., Any]
):
    empty = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [],
        "normalizer": None, "pre_tokenizer": None, "post_processor": None, "decoder": None,
        "model": {"type": "BPE", "vocab": {}, "merges": []},
    }  # fmt: skip
    (parts / "tiny" / "tokenizer.json").write_text(json.dumps(empty))
    found = command_line("init", *options(parts, "model", "corpus"), "--site", "layers.0.mlp")
    assert found.code == 2
    assert "tokenizer" in found.err
    assert not (parts / "autointerp.toml").exists()


OWN_CODE = """
open({marker!r}, "w").write("it ran")
from transformers import LlamaConfig, LlamaForCausalLM
class Own(LlamaConfig):
    model_type = "own"
class OwnModel(LlamaForCausalLM):
    config_class = Own
"""


@pytest.fixture
def own_code(parts: Path) -> Path:
    """A model folder with code of its own; the file `ran` is there once that was run."""
    config = json.loads((parts / "tiny" / "config.json").read_text())
    classes = {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.OwnModel"}
    config |= {"model_type": "own", "auto_map": classes}
    (parts / "tiny" / "config.json").write_text(json.dumps(config))
    (parts / "tiny" / "own.py").write_text(OWN_CODE.format(marker=str(parts / "ran")))
    return parts


def test_a_models_own_code_is_never_run_unless_the_settings_say_so(
    own_code: Path, command_line: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
):
    def agree(*_: object) -> str:
        return "y"

    monkeypatch.setattr("builtins.input", agree)  # as whoever answers everything with y
    monkeypatch.setattr("sys.stdin", io.StringIO("y\ny\n"))
    monkeypatch.setenv("HF_HOME", str(own_code / "home"))
    found = command_line("init", *options(own_code, "model", "corpus"), "--site", "layers.0.mlp")
    assert found.code == 2
    assert "trust_remote_code = true" in found.err
    (own_code / "s.toml").write_text(
        '[subject]\nmodel = "tiny"\nsite = "layers.0.mlp"\ncorpus = "corpus.txt"\n'
    )
    with pytest.raises(SubjectError, match="trust_remote_code = true"):
        load_subject(load_settings(str(own_code / "s.toml")).subject)
    assert not (own_code / "ran").exists()
