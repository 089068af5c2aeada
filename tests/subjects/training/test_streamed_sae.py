"""SAEs trained on the streamed activations of any causal language model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.tiny_language_models import built, tokenizer

from autointerp.errors import BadInput, CorpusError
from autointerp.subjects.autoencoder import SparseAutoencoder
from autointerp.subjects.corpora import Corpus, open_corpus
from autointerp.subjects.language_model import HookedLanguageModel
from autointerp.subjects.training import streamed_sae
from autointerp.subjects.training.activations import (
    ActivationBatches,
    ActivationWindows,
    is_held_out,
)
from autointerp.subjects.training.recipe import SaeRecipe
from autointerp.subjects.training.sae import Dictionary, new_dictionary
from autointerp.subjects.training.spliced_measures import measure_spliced
from autointerp.subjects.training.streamed_sae import (
    CHECKPOINT,
    pre_activations,
    rates_of,
    relu_loss,
    top_k_loss,
    train_streamed_sae,
)

SITE = "layers.1.mlp"
RECIPE = SaeRecipe(
    site=SITE, corpus="text", corpus_digest="d", window=16, bos=True, width=32, tokens=64 * 40,
    k=4, batch=64, buffer=512, warmup=4, dead_after=128,
)  # fmt: skip
IDENTITY = {"model": "tiny"}


@pytest.fixture(scope="module")
def model() -> HookedLanguageModel:
    return HookedLanguageModel(built("llama"), tokenizer(), SITE, "tiny")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    rng = np.random.default_rng(1)
    words = ["the", "cat", "sat", "on", "mat", "and", "dog"]
    file = tmp_path_factory.mktemp("text") / "text.jsonl"
    texts = [" ".join(rng.choice(words, 20)) for _ in range(120)]
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return open_corpus(file)


@pytest.fixture(scope="module")
def windows(model: HookedLanguageModel, corpus: Corpus) -> ActivationWindows:
    return ActivationWindows(model, corpus, RECIPE.window, bos=True, held_out=False, rows=4)


@pytest.fixture(scope="module")
def trained(
    windows: ActivationWindows, tmp_path_factory: pytest.TempPathFactory
) -> SparseAutoencoder:
    return train_streamed_sae(windows, RECIPE, IDENTITY, tmp_path_factory.mktemp("trained"))


# ------------------------------------------------------------------------------ the stream


def all_tokens(windows: ActivationWindows, seed: int) -> torch.Tensor:
    return torch.cat([windows.activations(part) for part in windows.windows(seed)])


def test_an_epoch_gives_each_token_of_a_full_batch_once(windows: ActivationWindows) -> None:
    # A buffer that holds the whole corpus leaves less than one batch over.
    whole = all_tokens(windows, seed=3)
    batches = ActivationBatches(windows, batch=64, buffer=10**6, seed=3)
    seen = torch.cat([batches.next() for _ in range(len(whole) // 64)])
    rows = {tuple(row) for row in whole.tolist()}
    counts = torch.unique(seen, dim=0, return_counts=True)[1]
    assert {tuple(row) for row in seen.tolist()} <= rows
    # The same text at the same place has the same activations; no token comes twice.
    assert int(counts.max()) <= int(torch.unique(whole, dim=0, return_counts=True)[1].max())
    batches.next()
    assert batches.chunk == 1  # the corpus is read again


def test_the_second_reading_is_in_another_order(windows: ActivationWindows) -> None:
    first, second = (next(windows.windows(seed)) for seed in (0, 1))
    assert first.document.tolist() != second.document.tolist()


def test_the_buffer_bounds_what_is_held(windows: ActivationWindows) -> None:
    batches = ActivationBatches(windows, batch=64, buffer=200, seed=0)
    held = []
    for _ in range(20):
        batches.next()
        held.append(len(batches.held))
    # 200, and at most one forward pass of 4 windows of 15 tokens more
    assert max(held) < 200 + 4 * 15


def test_a_place_in_the_stream_is_found_again(windows: ActivationWindows) -> None:
    through = ActivationBatches(windows, batch=64, buffer=200, seed=0)
    for _ in range(9):
        through.next()
    again = ActivationBatches(windows, batch=64, buffer=200, seed=0)
    again.go_to(through.chunk, through.place)
    for _ in range(9):
        assert torch.equal(through.next(), again.next())


def test_held_out_documents_are_never_trained_on(
    model: HookedLanguageModel, corpus: Corpus
) -> None:
    sides = [
        {
            int(document)
            for part in ActivationWindows(model, corpus, 16, True, side).windows(0)
            for document in part.document
        }
        for side in (True, False)
    ]
    assert sides[0]
    assert not sides[0] & sides[1]
    assert len(sides[0] | sides[1]) == 120
    documents = list(corpus.documents())
    assert sides[0] == {document.index for document in documents if is_held_out(document)}


def test_too_little_text_for_a_batch_is_refused(windows: ActivationWindows) -> None:
    with pytest.raises(CorpusError, match=r"tokens to train on, less than a batch of 100,000"):
        ActivationBatches(windows, batch=100_000, buffer=200_000, seed=0).next()


def test_special_tokens_and_padding_are_not_trained_on(windows: ActivationWindows) -> None:
    part = next(windows.windows(0))
    kept = windows.kept(part)
    assert not kept[:, 0].any()  # BOS
    assert not kept[~part.attention].any()
    assert len(windows.activations(part)) == kept.sum()


# ------------------------------------------------------------------------------ the losses


def dictionary_of(width: int = 6, d_in: int = 4) -> Dictionary:
    generator = torch.Generator().manual_seed(0)
    made = new_dictionary(d_in, width, torch.randn(d_in, generator=generator), generator)
    made.b_enc.data.normal_(generator=generator)
    return made


def test_the_shift_of_the_weights_is_that_of_the_inputs() -> None:
    dictionary, x = dictionary_of(), torch.randn(5, 4)
    expected = (x - dictionary.b_dec) @ dictionary.W_enc + dictionary.b_enc
    torch.testing.assert_close(pre_activations(dictionary, x), expected)


def test_the_top_k_loss_is_the_error_of_the_autoencoder_that_is_stored() -> None:
    dictionary, x = dictionary_of(), torch.randn(50, 4)
    parts = {n: getattr(dictionary, n).detach() for n in ("W_enc", "b_enc", "W_dec", "b_dec")}
    sae = SparseAutoencoder(**parts, activation="topk", k=2)
    recipe = replace(RECIPE, k=2, width=6)
    loss, error, fired = top_k_loss(dictionary, x, recipe, torch.zeros(6, dtype=torch.bool))
    latents = sae.encode(x)
    torch.testing.assert_close(error, (sae.decode(latents) - x).square().mean())
    assert torch.equal(loss, error)  # nothing is dead
    assert torch.equal(fired, (latents > 0).any(0))


def test_dead_latents_get_a_gradient_from_the_auxiliary_loss_alone() -> None:
    x = torch.randn(50, 4, generator=torch.Generator().manual_seed(2))
    gradients = []
    for auxiliary in (0.0, 1.0):
        dictionary = dictionary_of()
        dictionary.b_enc.data[:5] += 20.0  # so that the last one is never the largest
        dead = torch.zeros(6, dtype=torch.bool)
        dead[5] = True
        recipe = replace(RECIPE, k=1, width=6, auxiliary=auxiliary)
        loss, _, fired = top_k_loss(dictionary, x, recipe, dead)
        loss.backward()
        assert dictionary.W_dec.grad is not None
        assert not fired[5]
        gradients.append(dictionary.W_dec.grad[5].abs().sum().item())
    assert gradients[0] == 0
    assert gradients[1] > 0


def test_the_relu_loss_adds_lambda_times_the_mean_sum_of_latents() -> None:
    dictionary, x = dictionary_of(), torch.randn(50, 4)
    loss, error, _, l0 = relu_loss(dictionary, x, l1=0.5)
    latents = dictionary.encode(x)
    torch.testing.assert_close(loss, error + 0.5 * latents.sum(1).mean())
    assert float(l0) == pytest.approx(float((latents > 0).sum(1).float().mean()))


def test_rates_rise_stay_and_fall() -> None:
    recipe = replace(RECIPE, tokens=64_000, learning_rate=1.0, warmup=100, decay=0.2, l1=4.0,
                     l1_warmup=0.1)  # fmt: skip
    # 1,000 steps; at 900, 100 of the last 200 are left
    assert [rates_of(step, recipe)[0] for step in (0, 500, 900)] == [0.01, 1.0, 0.5]
    assert [rates_of(step, recipe)[1] for step in (0, 50, 500)] == [0, 2, 4]


# ---------------------------------------------------------------------------- the training


def test_dictionary_vectors_have_unit_norm_and_the_reconstruction_improves(
    trained: SparseAutoencoder, windows: ActivationWindows
) -> None:
    torch.testing.assert_close(trained.W_dec.norm(dim=1), torch.ones(32))
    x = all_tokens(windows, seed=0)
    error = (trained.decode(trained.encode(x)) - x).square().mean()
    assert float(error) < 0.8 * float(x.var(0, correction=0).mean())
    assert int((trained.encode(x) > 0).sum(1).max()) <= 4


class Stopped(Exception):
    """Stands for a kill: nothing is saved after it."""


@pytest.mark.parametrize("activation", ["topk", "relu"])
def test_a_training_that_was_killed_ends_in_the_same_bytes(
    activation: Any, windows: ActivationWindows, trained: SparseAutoencoder, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    recipe = replace(RECIPE, activation=activation, l1=0.01)
    whole = trained
    if activation == "relu":
        whole = train_streamed_sae(windows, recipe, IDENTITY, tmp_path / "whole")
    plain = streamed_sae.steps_with_checkpoints

    def killed(part, first, last, figures, save, save_every, on):  # type: ignore[no-untyped-def]
        for step in plain(part, first, last, figures, save, 7, on):
            if step == 18:  # the last checkpoint is that of step 14
                raise Stopped
            yield step

    with monkeypatch.context() as patch:
        patch.setattr(streamed_sae, "steps_with_checkpoints", killed)
        with pytest.raises(Stopped):
            train_streamed_sae(windows, recipe, IDENTITY, tmp_path)
    assert torch.load(tmp_path / CHECKPOINT, weights_only=True)["step"] == 14
    resumed = train_streamed_sae(windows, recipe, IDENTITY, tmp_path)
    for name in ("W_enc", "b_enc", "W_dec", "b_dec"):
        assert torch.equal(getattr(resumed, name), getattr(whole, name))


def test_a_checkpoint_of_another_recipe_or_model_is_refused(
    windows: ActivationWindows, tmp_path: Path
) -> None:
    short = replace(RECIPE, tokens=64 * 2)
    train_streamed_sae(windows, short, IDENTITY, tmp_path)
    with pytest.raises(BadInput, match=r"was made with learning_rate = 0\.001, not 0\.1"):
        train_streamed_sae(windows, replace(short, learning_rate=0.1), IDENTITY, tmp_path)
    with pytest.raises(BadInput, match="was made with model = tiny, not other"):
        train_streamed_sae(windows, short, {"model": "other"}, tmp_path)


# ---------------------------------------------------------------------------- the measures


def test_an_identity_recovers_all_loss_and_explains_all_variance(
    model: HookedLanguageModel, corpus: Corpus
) -> None:
    windows = ActivationWindows(model, corpus, 16, bos=True, held_out=True)
    # Both signs of each axis: relu(x) - relu(-x) = x
    eye, zeros = torch.eye(16), torch.zeros(16)
    both = torch.cat([eye, -eye])
    identity = SparseAutoencoder(both.T.contiguous(), torch.zeros(32), both, zeros)
    nothing = replace(identity, W_dec=0 * both)
    figures, none = (measure_spliced(windows, sae) for sae in (identity, nothing))
    assert figures.variance_explained == pytest.approx(1, abs=1e-5)
    assert figures.loss_reconstructed == pytest.approx(figures.loss, abs=1e-5)
    assert none.loss_reconstructed == pytest.approx(none.loss_zeroed, abs=1e-5)
    assert figures.l0 == pytest.approx(16, abs=0.1)  # one of the two signs of each axis
    assert "held-out tokens" in figures.text()


def test_a_site_inside_a_norm_has_no_spliced_loss(corpus: Corpus) -> None:
    inside = HookedLanguageModel(built("llama"), tokenizer(), "layers.1.mlp.normalised", "tiny")
    windows = ActivationWindows(inside, corpus, 16, bos=True, held_out=True)
    eye, zeros = torch.eye(16), torch.zeros(16)
    figures = measure_spliced(windows, SparseAutoencoder(eye, zeros, eye, zeros))
    assert figures.loss is None
    assert figures.loss_recovered is None
    assert "not known" in figures.text()
    assert figures.tokens > 0


def test_a_corpus_of_which_nothing_is_held_out_says_what_to_give(
    model: HookedLanguageModel, tmp_path: Path
) -> None:
    file = tmp_path / "one.txt"
    file.write_text("the cat sat on the mat")
    windows = ActivationWindows(model, open_corpus(file), 16, True, held_out=True)
    eye, zeros = torch.eye(16), torch.zeros(16)
    with pytest.raises(CorpusError, match="--heldout"):
        measure_spliced(windows, SparseAutoencoder(eye, zeros, eye, zeros))
