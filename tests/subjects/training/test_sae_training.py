from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from autointerp.errors import BadInput, CorpusError
from autointerp.subjects.autoencoder import SparseAutoencoder, load_autoencoder
from autointerp.subjects.one_layer import OneLayerConfig, load_one_layer
from autointerp.subjects.training.events import (
    CorpusCut,
    FeaturesReset,
    Resumed,
    StepsDone,
    TrainingEvent,
)
from autointerp.subjects.training.measures import loss_recovered, measure
from autointerp.subjects.training.sae import (
    SaeTraining,
    new_dictionary,
    normalise_rows,
    rates_at,
    remove_parallel_gradient,
    resample,
    train_sae,
)
from autointerp.subjects.training.tokenise import read_texts, tokenise, train_tokenizer
from autointerp.subjects.training.transformer import (
    EpochOrder,
    TransformerTraining,
    backward_in_chunks,
    learning_rate_at,
    train_transformer,
    training_windows,
)
from autointerp.subjects.windows import TokenisedDocuments

CONFIG = OneLayerConfig(vocabulary=40, d_model=16, heads=2, d_mlp=24, context=16)
TRAINING = TransformerTraining(batch=8, steps=30, learning_rate=3e-3, warmup=5)
SAE = SaeTraining(features=48, steps=40, windows=8, dead_steps=5, scored_windows=16)


@pytest.fixture(scope="module")
def documents() -> TokenisedDocuments:
    # A pattern that can be learnt: each token is followed by its successor, now and then not.
    rng = np.random.default_rng(0)
    parts = []
    for _ in range(60):
        steps = np.where(rng.random(60) < 0.9, 1, rng.integers(1, 30, 60))
        parts.append(2 + (np.cumsum(steps) + rng.integers(38)) % 38)
    starts = np.cumsum([0, *map(len, parts)])
    return TokenisedDocuments(np.concatenate(parts).astype(np.uint16), starts)


@pytest.fixture(scope="module")
def trained(documents: TokenisedDocuments, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("training")
    model = train_transformer(documents, CONFIG, TRAINING, out, "cpu")
    train_sae(model, documents, SAE, out, "cpu")
    return out


def test_dictionary_vectors_have_unit_norm_after_training(trained: Path) -> None:
    sae = load_autoencoder(trained / "sae.safetensors")
    assert sae.W_dec.shape == (48, 24)
    torch.testing.assert_close(sae.W_dec.norm(dim=1), torch.ones(48))


def test_the_gradient_left_is_orthogonal_to_each_dictionary_vector() -> None:
    W_dec = torch.randn(5, 7)
    normalise_rows(W_dec)
    W_dec.requires_grad_()
    W_dec.grad = torch.randn(5, 7)
    remove_parallel_gradient(W_dec)
    torch.testing.assert_close((W_dec.grad * W_dec).sum(1), torch.zeros(5), atol=1e-6, rtol=0)


def test_resampling_resets_dead_features_and_their_moments_only() -> None:
    generator = torch.Generator().manual_seed(0)
    dictionary = new_dictionary(6, 4, torch.zeros(6), generator)
    optimizer = torch.optim.Adam(dictionary.parameters(), lr=0.1)
    dictionary.decode(dictionary.encode(torch.randn(20, 6))).square().sum().backward()
    optimizer.step()
    before = [p.detach().clone() for p in dictionary.parameters()]
    dead = torch.tensor([False, True, False, True])
    inputs = torch.zeros(10, 6)
    inputs[3] = torch.tensor([0.0, 0.0, 3.0, 0.0, 4.0, 0.0])  # the only input with a loss
    dictionary.b_dec.data.zero_()
    dictionary.b_enc.data.zero_()
    assert resample(dictionary, optimizer, dead, inputs, generator) == 2
    expected = torch.tensor([0.0, 0.0, 0.6, 0.0, 0.8, 0.0])
    scale = 0.2 * before[0][:, ~dead].norm(dim=0).mean()
    for feature in (1, 3):
        torch.testing.assert_close(dictionary.W_dec[feature], expected)
        torch.testing.assert_close(dictionary.W_enc[:, feature], expected * scale)
        assert dictionary.b_enc[feature] == 0
        assert optimizer.state[dictionary.W_enc]["exp_avg"][:, feature].abs().sum() == 0
        assert optimizer.state[dictionary.W_dec]["exp_avg_sq"][feature].abs().sum() == 0
    torch.testing.assert_close(dictionary.W_dec[~dead], before[2][~dead])
    assert optimizer.state[dictionary.W_dec]["exp_avg_sq"][0].abs().sum() > 0


def test_nothing_dead_means_nothing_reset() -> None:
    dictionary = new_dictionary(6, 4, torch.zeros(6), torch.Generator())
    optimizer = torch.optim.Adam(dictionary.parameters())
    none = torch.zeros(4, dtype=torch.bool)
    assert resample(dictionary, optimizer, none, torch.randn(3, 6), torch.Generator()) == 0


def test_an_identity_recovers_all_loss_and_a_zero_autoencoder_none(
    trained: Path, documents: TokenisedDocuments
) -> None:
    model = load_one_layer(trained / "transformer.safetensors")
    eye, zeros = torch.eye(24), torch.zeros(24)
    identity = SparseAutoencoder(eye, zeros, eye, zeros, subtract_b_dec=False)
    nothing = SparseAutoencoder(0 * eye, zeros, 0 * eye, zeros, subtract_b_dec=False)
    assert measure(model, identity, documents, "cpu").loss_recovered == pytest.approx(1, abs=1e-5)
    zeroed = measure(model, nothing, documents, "cpu")
    assert zeroed.loss_recovered == pytest.approx(0, abs=1e-5)
    assert (zeroed.l0, zeroed.dead) == (0, 1)


def test_loss_recovered_is_the_share_of_what_zeroing_loses() -> None:
    # (5 - 3.5) / (5 - 3) = 0.75
    assert loss_recovered(loss=3, reconstructed=3.5, zero=5) == 0.75


def test_measures_count_densities_over_tokens_without_bos_and_padding(
    trained: Path, documents: TokenisedDocuments
) -> None:
    model = load_one_layer(trained / "transformer.safetensors")
    sae = load_autoencoder(trained / "sae.safetensors")
    measures = measure(model, sae, documents, "cpu", max_tokens=10**9)
    assert measures.tokens == len(documents.tokens)
    assert measures.l0 == pytest.approx(measures.feature_density.sum())


def test_training_learns_the_pattern(trained: Path, documents: TokenisedDocuments) -> None:
    model = load_one_layer(trained / "transformer.safetensors")
    windows = torch.from_numpy(training_windows(documents, 16).astype(np.int64))
    # A guess among 38 tokens costs ln 38 = 3.64 nats; 30 steps must do better.
    assert float(backward_in_chunks(model.requires_grad_(), windows)) < 3.4


def test_gradients_made_in_chunks_are_those_of_the_whole(
    trained: Path, documents: TokenisedDocuments
) -> None:
    ids = torch.from_numpy(training_windows(documents, 16)[:20].astype(np.int64))
    grads = []
    for chunk in (7, 10_000):
        model = load_one_layer(trained / "transformer.safetensors").requires_grad_()
        backward_in_chunks(model, ids, chunk)
        grads.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    assert len(grads[0]) == len(list(model.parameters()))
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)


class Interrupt(Exception):
    pass


@pytest.mark.parametrize("part", ["transformer", "sae"])
def test_a_training_that_was_stopped_goes_on_to_the_same_weights(
    part: str, trained: Path, documents: TokenisedDocuments, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from autointerp.subjects.training import sae, transformer

    module = {"transformer": transformer, "sae": sae}[part]
    plain = module.steps_with_checkpoints

    def stopping(label, first, last, figures, save, save_every, on):  # type: ignore[no-untyped-def]
        for step in plain(label, first, last, figures, save, save_every, on):
            if step == 17:
                save(17)
                raise Interrupt
            yield step

    def train() -> torch.Tensor:
        if part == "transformer":
            model = train_transformer(documents, CONFIG, TRAINING, tmp_path, "cpu")
            return model.up.weight
        model = load_one_layer(trained / "transformer.safetensors")
        return train_sae(model, documents, SAE, tmp_path, "cpu").W_enc

    with monkeypatch.context() as patch:
        patch.setattr(module, "steps_with_checkpoints", stopping)
        with pytest.raises(Interrupt):
            train()
    assert (tmp_path / f"{part}.ckpt").exists()
    whole = (
        load_one_layer(trained / "transformer.safetensors").up.weight
        if part == "transformer"
        else load_autoencoder(trained / "sae.safetensors").W_enc
    )
    torch.testing.assert_close(train(), whole)


def test_training_reports_what_it_does_as_events(
    trained: Path, documents: TokenisedDocuments, tmp_path: Path
) -> None:
    events: list[TrainingEvent] = []
    train_transformer(documents, CONFIG, TRAINING, tmp_path, "cpu", events.append)
    assert isinstance(events[0], CorpusCut)
    # 30 steps, an event every 10
    steps = [(e.part, e.done, e.total) for e in events[1:] if isinstance(e, StepsDone)]
    assert steps == [("transformer", done, 30) for done in (10, 20, 30)]
    assert str(events[-1]).startswith("transformer 30/30  loss ")
    events.clear()
    train_transformer(documents, CONFIG, TRAINING, tmp_path, "cpu", events.append)
    assert events[0] == Resumed(tmp_path / "transformer.ckpt", 30)
    model = load_one_layer(trained / "transformer.safetensors")
    events.clear()
    train_sae(model, documents, SAE, tmp_path, "cpu", events.append)
    # features are reset after 1/8, 1/4, 3/8 and 1/2 of the 40 steps
    assert [e.step for e in events if isinstance(e, FeaturesReset)] == [5, 10, 15, 20]


def test_a_checkpoint_of_other_settings_is_refused(
    trained: Path, documents: TokenisedDocuments
) -> None:
    model = load_one_layer(trained / "transformer.safetensors")
    with pytest.raises(BadInput, match=r"sae\.ckpt was made with l1 = 0.002, not 0.1"):
        train_sae(model, documents, replace(SAE, l1=0.1), trained, "cpu")


def test_rates_rise_stay_and_fall() -> None:
    training = SaeTraining(
        steps=1000, learning_rate=1.0, warmup=100, decay=0.2, l1=4, l1_warmup=0.1
    )
    # rise: 1/100 at step 0; full at 500; at 900, 100 of the last 200 steps are left: 1/2.
    assert [rates_at(step, training)[0] for step in (0, 500, 900)] == [0.01, 1.0, 0.5]
    assert [rates_at(step, training)[1] for step in (0, 50, 500)] == [0, 2, 4]
    cosine = TransformerTraining(steps=1100, warmup=100, learning_rate=1, final_learning_rate=0.1)
    # half of the cosine: the mean of 1 and 0.1
    assert learning_rate_at(600, cosine) == pytest.approx(0.55)
    assert learning_rate_at(0, cosine) == 0.01


def test_an_epoch_shows_every_window_once() -> None:
    order = EpochOrder(windows=23, batch=5, seed=1)
    seen = np.concatenate([order.rows(step) for step in range(4)])
    assert len(set(seen.tolist())) == 20
    assert order.rows(4).tolist() != order.rows(0).tolist()
    assert EpochOrder(23, 5, 1).rows(6).tolist() == order.rows(6).tolist()


def test_too_little_text_to_train_on_is_refused() -> None:
    few = TokenisedDocuments(np.arange(2, 30, dtype=np.uint16), np.array([0, 28]))
    with pytest.raises(CorpusError, match="too few"):
        training_windows(few, 16)


def test_a_tokenizer_gives_back_its_text_and_splits_digits() -> None:
    texts = ["the cat sat on the mat 1704", "naïve café, 42"] * 20
    tokenizer = train_tokenizer(iter(texts), 300)
    ids = tokenizer.encode("the cat 1704", add_special_tokens=False)
    assert tokenizer.decode(ids.ids) == "the cat 1704"
    assert ids.tokens[-4:] == ["1", "7", "0", "4"]
    documents = tokenise(iter(["", *texts]), tokenizer)
    assert len(documents) == 40
    assert tokenizer.decode(documents[1].tolist()) == texts[1]


def test_a_malformed_line_of_text_is_named(tmp_path: Path) -> None:
    file = tmp_path / "text.jsonl"
    file.write_text('{"text": "fine"}\n{"no": "text"}\n')
    with pytest.raises(CorpusError, match="line 2"):
        list(read_texts(file))
    with pytest.raises(CorpusError, match="no JSONL file"):
        list(read_texts(tmp_path / "missing.jsonl"))
