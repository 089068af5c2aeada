"""What tests share: a subject so small that the whole line runs in about a second.

Fixtures, widest first:

    tiny_subject     session: a folder with a one-layer transformer (16 wide, 32 neurons, windows of
                     32 tokens), an SAE of 64 features, a BPE tokenizer, 100 documents of about
                     6,500 tokens together, and an `autointerp.toml`; never write into it.
    tiny_settings    session: the path of that `autointerp.toml`, as `--subject` takes it.
    tiny_run         session: the folder of runs in which `tiny_run_name` was rated by `scripted:4`:
                     8 features, 8 neurons, 4 units of each control. Read it; to write, take:
    own_runs         a copy of that folder for one test.
    command_line     calls the command line in this process, in an empty current folder, and
                     returns the exit code, stdout and stderr: `command_line("runs")`.

A test that must start a process of its own takes `process_environment`.
"""

from __future__ import annotations

import os

for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")  # before torch and numpy are imported
# Read once, at import: the Hub is not asked for anything, and draws no bars on stderr.
os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

# The same examples each time; for new ones: `pytest --hypothesis-profile=default`.
settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")

# Dead features, then densities from 0.2 % to 30 %, in no order of their number.
TINY_FEATURES, TINY_DEAD = 64, 4
TINY_RUN_NAME = "tiny"

NOUNS = [
    "cat",
    "river",
    "stone",
    "king",
    "letter",
    "city",
    "garden",
    "engine",
    "number",
    "window",
    "doctor",
    "winter",
]
VERBS = ["saw", "took", "found", "broke", "sold", "carried", "painted", "counted"]
ADJECTIVES = ["old", "red", "small", "quiet", "golden", "bitter", "seventh"]
PLACES = ("in the", "under a", "behind the", "without the")


@dataclass(frozen=True)
class CommandResult:
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str


def tiny_texts(documents: int = 100) -> list[str]:
    """Return documents of sentences over about 40 words, some much more frequent than others."""
    rng = np.random.default_rng(7)

    def one(words: list[str]) -> str:
        return words[min(len(words) - 1, int(rng.exponential(len(words) / 3)))]

    def sentence() -> str:
        place = PLACES[int(rng.integers(len(PLACES)))]
        return (
            f"The {one(ADJECTIVES)} {one(NOUNS)} {one(VERBS)} the {one(NOUNS)} "
            f"{place} {one(NOUNS)}, {int(rng.integers(1, 30))} times."
        )

    return [" ".join(sentence() for _ in range(int(rng.integers(2, 8)))) for _ in range(documents)]


def make_tiny_subject(folder: Path) -> Path:
    """Write the subject into `folder`; return the path of its autointerp.toml."""
    import torch

    from autointerp.subjects.autoencoder import SparseAutoencoder
    from autointerp.subjects.one_layer import OneLayerConfig, OneLayerTransformer
    from autointerp.subjects.training.tokenise import tokenise, train_tokenizer
    from autointerp.subjects.windows import cut_windows

    texts = tiny_texts()
    tokenizer = train_tokenizer(iter(texts), vocabulary=420)
    tokenizer.save(str(folder / "tokenizer.json"))
    documents = tokenise(iter(texts), tokenizer)
    documents.save(folder / "corpus.npz")

    config = OneLayerConfig(tokenizer.get_vocab_size(), d_model=16, heads=2, d_mlp=32, context=32)
    generator = torch.Generator().manual_seed(11)
    model = OneLayerTransformer(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                width = parameter.shape[1]
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / width**0.5)
        model.up.bias.copy_(torch.linspace(-1.5, 0.5, config.d_mlp))
        windows = next(cut_windows(documents, config.context, bos=0, pad=1, rows=10_000))
        kept = torch.from_numpy(windows.attention)
        kept[:, 0] = False
        x = model.site_activations(torch.from_numpy(windows.ids))[kept]
        mean = x.mean(0)
        W_enc = torch.randn(config.d_mlp, TINY_FEATURES, generator=generator) / config.d_mlp**0.5
        ordered = ((x - mean) @ W_enc).sort(0, descending=True).values
        density = torch.logspace(np.log10(0.002), np.log10(0.3), TINY_FEATURES - TINY_DEAD)
        firing = torch.cat([torch.zeros(TINY_DEAD), density * len(x)]).long()
        firing = firing[torch.randperm(TINY_FEATURES, generator=generator)]
        # Over this threshold stand exactly `firing` tokens of the corpus; a dead one has margin.
        threshold = ordered.gather(0, firing[None])[0] + (firing == 0)
    model.save(folder / "transformer.safetensors")
    SparseAutoencoder(W_enc, -threshold, W_enc.T.contiguous(), mean).save(
        folder / "sae.safetensors"
    )
    settings = folder / "autointerp.toml"
    settings.write_text(
        '[subject]\nmodel = "transformer.safetensors"\nsae = "sae.safetensors"\n'
        'tokenizer = "tokenizer.json"\ncorpus = "corpus.npz"\n\n'
        "[harvest]\ntop = 8\nper_interval = 2\nrandom = 12\n"
    )
    return settings


@pytest.fixture(scope="session")
def tiny_subject(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tiny subject; see the top of this file."""
    folder = tmp_path_factory.mktemp("tiny_subject")
    make_tiny_subject(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_settings(tiny_subject: Path) -> Path:
    """The tiny subject's autointerp.toml."""
    return tiny_subject / "autointerp.toml"


@pytest.fixture(scope="session")
def tiny_run_name() -> str:
    """The name of the run in `tiny_run` and `own_runs`."""
    return TINY_RUN_NAME


@pytest.fixture(scope="session")
def tiny_run(tiny_settings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs that holds one, rated; open it with `open_run(..., read_only=True)`."""
    from autointerp import Job, rate

    folder = tmp_path_factory.mktemp("tiny_run") / "runs"
    job = Job(
        sources=("features", "neurons"),
        n=8,
        rater="scripted:4",
        run=TINY_RUN_NAME,
        subject=str(tiny_settings),
        controls=4,
        runs=folder,
    )
    rate(job)
    return folder


@pytest.fixture
def own_runs(tiny_run: Path, tmp_path: Path) -> Path:
    """A copy of `tiny_run` that the test may write to: `runs` in its own `tmp_path`."""
    return Path(shutil.copytree(tiny_run, tmp_path / "runs"))


@pytest.fixture
def command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., CommandResult]:
    """Call the command line in this process; the current folder is the test's `tmp_path`."""
    from autointerp.apps.cli import _app as cli

    def call(*arguments: object) -> CommandResult:
        monkeypatch.setattr(sys, "argv", ["autointerp", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        printed = capsys.readouterr()
        code = stopped.value.code
        return CommandResult(code if isinstance(code, int) else 0, printed.out, printed.err)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")  # lines are not wrapped
    return call


@pytest.fixture(scope="session")
def process_environment() -> dict[str, str]:
    """The environment for a process of its own: one thread, no colours, a plain terminal."""
    return {**os.environ, "NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "200"}
