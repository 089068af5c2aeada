"""A harvest of models in memory against each window run alone, densely, with a plain hook."""

from __future__ import annotations

import threading
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support.tiny_language_models import D_MODEL, DENSE, VOCABULARY, built, tokenizer
from torch import Tensor

import autointerp
from autointerp.errors import BadInput, CorpusError, SubjectError
from autointerp.questions.cuts import focus_text
from autointerp.records import HarvestedUnit
from autointerp.settings import HarvestSettings
from autointerp.subjects.autoencoder import SparseAutoencoder
from autointerp.subjects.language_model import HookedLanguageModel
from autointerp.units.in_memory import left_as_found

SETTINGS = HarvestSettings(top=4, intervals=4, per_interval=2, random=6, each_side=3, rows=16)
LATENTS = 48
SITE = "layers.1.residual"
SAES = ["relu", "jumprelu", "batchtopk", "gated", "topk", "groupmax"]
MODELS = ["gpt2", "gpt_neox", "llama", "gemma2", "qwen2", "opt"]
# Six architectures with every kind of SAE, every other one with two of them.
PAIRS = [
    (kind, activation)
    for number, kind in enumerate(DENSE)
    for activation in (SAES if kind in MODELS else (SAES[number % 6], SAES[(number + 3) % 6]))
]


@cache
def model_of(kind: str) -> Any:
    return built(kind)


def width_of(kind: str) -> int:
    return int(model_of(kind).get_input_embeddings().weight.shape[1])


def sae_of(activation: str, d_in: int = D_MODEL) -> SparseAutoencoder:
    g = torch.Generator().manual_seed(5)
    W_enc = torch.randn(d_in, LATENTS, generator=g) / d_in**0.5
    extra: dict[str, Any] = {}
    if activation in ("jumprelu", "batchtopk"):
        extra["threshold"] = torch.rand(LATENTS, generator=g)
    if activation == "gated":
        extra["b_gate"] = torch.randn(LATENTS, generator=g) / 2 - 0.5
        extra["r_mag"] = torch.randn(LATENTS, generator=g) / 4
    if activation in ("topk", "groupmax"):
        extra["k"] = 6
    return SparseAutoencoder(
        W_enc,
        torch.randn(LATENTS, generator=g) / 4,
        W_enc.T.contiguous(),
        torch.randn(d_in, generator=g) / 4,
        activation=activation,  # type: ignore[arg-type]
        **extra,
    )


def latents(sae: SparseAutoencoder, x: Tensor) -> Tensor:
    """The formulas of each architecture, in double precision and written out."""
    x = x.double() - sae.b_dec.double()
    pre = x @ sae.W_enc.double()
    if sae.activation == "gated":
        assert sae.r_mag is not None
        assert sae.b_gate is not None
        magnitude = (pre * sae.r_mag.double().exp() + sae.b_enc.double()).relu()
        return magnitude * (pre + sae.b_gate.double() > 0)
    pre = (pre + sae.b_enc.double()).relu()
    if sae.threshold is not None:
        return torch.where(pre > sae.threshold.double(), pre, 0.0)
    if sae.activation == "topk":
        assert sae.k is not None
        values, where = pre.topk(sae.k)
        return torch.zeros_like(pre).scatter(-1, where, values)
    if sae.activation == "groupmax":
        grouped = pre.view(len(pre), sae.k, -1)
        largest = grouped.argmax(-1, keepdim=True)
        return (
            torch.zeros_like(grouped).scatter(-1, largest, grouped.gather(-1, largest)).view_as(pre)
        )
    return pre


def documents() -> list[np.ndarray]:
    """60 documents of 20 to 60 tokens of text, some with a separator (id 0) in the middle."""
    rng = np.random.default_rng(3)
    return parted([rng.integers(1, VOCABULARY - 4, int(rng.integers(20, 61))) for _ in range(60)])


def long_documents() -> list[np.ndarray]:
    """As many tokens in 38 documents, most of which are as long as windows are here."""
    rng = np.random.default_rng(4)
    lengths = rng.permutation([*rng.integers(20, 40, 8), *[62] * 30])
    return parted([rng.integers(1, VOCABULARY - 4, length) for length in lengths])


def parted(made: list[np.ndarray]) -> list[np.ndarray]:
    for ids in made[::5]:
        ids[len(ids) // 2] = 0
    return made


def padded(rows: list[np.ndarray], side: str) -> tuple[Tensor, Tensor]:
    width = max(map(len, rows))
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    attention = torch.zeros(len(rows), width, dtype=torch.bool)
    for row, content in enumerate(rows):
        where = slice(0, len(content)) if side == "right" else slice(width - len(content), width)
        ids[row, where] = torch.from_numpy(content)
        attention[row, where] = True
    return ids, attention


@cache
def alone(kind: str, bos: bool) -> Tensor:
    """What the site holds of all documents [tokens, width], each run alone and without padding."""
    model = model_of(kind)
    hooked = HookedLanguageModel(model, tokenizer(), SITE)
    found = []
    for ids in documents():
        caught: list[Tensor] = []
        handle = hooked.architecture.layers[1].register_forward_hook(
            lambda _, __, out, caught=caught: caught.append(
                out[0] if isinstance(out, tuple) else out
            )
        )
        with torch.no_grad():
            model(torch.from_numpy(np.concatenate([[0], ids] if bos else [ids]))[None])
        handle.remove()
        found.append(caught[0].detach().reshape(-1, width_of(kind))[int(bos) :])
    return torch.cat(found)


def harvested(kind: str, sae: Any, tokens: Any = None, **options: Any) -> list[HarvestedUnit]:
    return autointerp.harvest(
        model_of(kind),
        documents() if tokens is None else tokens,
        sae=sae,
        site=options.pop("site", SITE),
        tokenizer=tokenizer(),
        units=options.pop("units", {"features": range(LATENTS)}),
        settings=options.pop("settings", SETTINGS),
        **options,
    )


@cache
def harvested_plainly(kind: str, activation: str) -> list[HarvestedUnit]:
    """What most tests compare with; only to be read."""
    return harvested(kind, sae_of(activation, width_of(kind)))


def window_round(place: int, kept: NDArray[np.bool_], each_side: int) -> NDArray[np.int64]:
    """The places up to `each_side` on either side, up to the next one that is not kept."""
    first = last = place
    while first > max(0, place - each_side) and kept[first - 1]:
        first -= 1
    while last < min(len(kept) - 1, place + each_side) and kept[last + 1]:
        last += 1
    return np.arange(first, last + 1)


@pytest.mark.parametrize(("kind", "activation"), PAIRS)
def test_every_model_and_sae_give_what_each_document_run_alone_gives(kind: str, activation: str):
    sae = sae_of(activation, width_of(kind))
    bos = kind != "qwen2"  # read here as one without
    texts = documents()
    counts = [ids != 0 for ids in texts]
    if not bos:
        for kept in counts:
            kept[0] = False
    total = sum(int(kept.sum()) for kept in counts)
    values = latents(sae, alone(kind, bos)).numpy() * np.concatenate(counts)[:, None]
    begins = np.cumsum([0, *map(len, texts)])
    units = (
        harvested(kind, sae, bos=bos) if kind == "qwen2" else harvested_plainly(kind, activation)
    )
    for unit in units:
        column = values[:, unit.summary.unit.index]
        assert unit.summary.tokens == total
        # A value within rounding of a threshold may fall on its other side.
        assert abs(unit.summary.density * total - (column > SETTINGS.fires).sum()) <= 1.001
        assert unit.summary.peak == pytest.approx(column.max(), rel=1e-4, abs=1e-5)
        found: list[float] = []
        expected: list[float] = []
        for context in unit.contexts:
            document = context.document
            inside = begins[document] + window_round(
                context.position, counts[document], each_side=3
            )
            assert len(context.activations) == len(inside)
            found.extend(context.activations)
            expected.extend(column[inside])
        tolerance = np.maximum(2e-4 * np.abs(expected), 2e-5)
        assert (np.abs(np.subtract(found, expected)) <= tolerance).all()


def told(units: list[HarvestedUnit]) -> list[Any]:
    return [(unit.summary, unit.contexts) for unit in units]


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_padding_side_and_batch_size_leave_every_bit_the_same(kind: str):
    sae = sae_of("topk")
    plain = told(harvested_plainly(kind, "topk"))
    for side in ("left", "right"):
        ids, attention = padded(documents(), side)
        assert told(harvested(kind, sae, ids, attention=attention)) == plain
    for rows in (1, 7, 200):
        assert told(harvested(kind, sae, settings=replace(SETTINGS, rows=rows))) == plain


@pytest.mark.parametrize("kind", DENSE)
def test_padding_side_and_batch_size_change_no_architecture(kind: str):
    # Up to rounding: torch rounds a tanh at the end of a tensor otherwise than in the middle, and
    # these MLPs are so narrow that the end falls elsewhere with every number of rows.
    sae = sae_of("topk", width_of(kind))
    some = {"features": range(0, LATENTS, 3)}
    tokens = long_documents()  # the fewer, the fewer forward passes of one row
    plain = harvested(kind, sae, tokens, units=some)
    ids, attention = padded(tokens, "left")
    for rows in (1, 7):
        settings = replace(SETTINGS, rows=rows)
        others = harvested(kind, sae, ids, attention=attention, settings=settings, units=some)
        for unit, other in zip(plain, others, strict=True):
            one, two = unit.summary, other.summary
            assert (two.unit, two.tokens) == (one.unit, one.tokens)
            assert abs(two.density - one.density) * one.tokens <= 1.001
            assert two.peak == pytest.approx(one.peak, rel=1e-5)
            assert len(other.contexts) == pytest.approx(len(unit.contexts), abs=1)


def test_without_a_mask_padding_at_either_end_is_known_by_its_id():
    # BOS = EOS = padding = id 0: a BOS that stands there already is taken for padding, and put
    # back; the separators inside stay where they are, so that places do not move.
    sae = sae_of("relu")
    plain = told(harvested_plainly("gpt2", "relu"))
    for side in ("left", "right"):
        ids, _ = padded(documents(), side)
        assert told(harvested("gpt2", sae, ids.numpy())) == plain
    with_bos = [np.concatenate([[0], ids]) for ids in documents()]
    assert told(harvested("gpt2", sae, with_bos)) == plain


def test_bos_of_id_0_and_separators_are_never_in_a_context():
    for unit in harvested("gpt_neox", sae_of("relu")):
        for context in unit.contexts:
            assert "<|endoftext|>" not in context.tokens


def test_an_attention_sink_at_the_start_is_left_out_unless_asked_for():
    class Sink(torch.nn.Module):
        """Blows up the site's first token, as attention sinks do."""

        def forward(self, module: Any, inputs: Any, out: Any) -> Any:
            value = (out[0] if isinstance(out, tuple) else out).clone()
            value[:, 0] *= 1000
            return (value, *out[1:]) if isinstance(out, tuple) else value

    model = model_of("qwen2")
    handle = model.model.layers[1].register_forward_hook(Sink())
    sae = sae_of("relu")
    masked = harvested("qwen2", sae, bos=False)
    kept = harvested("qwen2", sae, bos=False, settings=replace(SETTINGS, mask_first=False))
    with_bos = harvested("qwen2", sae)
    handle.remove()
    assert max(unit.summary.peak for unit in kept) > 100
    assert max(unit.summary.peak for unit in masked) < 100
    assert max(unit.summary.peak for unit in with_bos) < 100  # the sink is BOS
    assert min(c.position for unit in kept for c in unit.contexts) == 0
    assert min(c.position for unit in masked for c in unit.contexts) == 1


@pytest.mark.parametrize("kind", ["gpt2", "llama"])  # in one of them `model.model` is a part
def test_a_model_in_training_and_its_sae_are_left_as_they_were(kind: str):
    model = built(kind, tie_word_embeddings=False).train()
    model.get_input_embeddings().weight.requires_grad_(False)
    model.lm_head.eval()  # modes may differ from part to part

    class Encoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(D_MODEL, 20)

        def encode(self, x: Tensor) -> Tensor:
            assert not self.training
            return torch.relu(self.linear(x))

    sae = Encoder().train()
    before = {name: p.requires_grad for name, p in model.named_parameters()}
    modes = {name: module.training for name, module in model.named_modules()}
    units = autointerp.harvest(model, documents(), sae=sae, site=SITE, settings=SETTINGS)
    assert len(units) == 20  # all there are, in a random order
    assert sorted(unit.summary.unit.index for unit in units) == list(range(20))
    assert {name: module.training for name, module in model.named_modules()} == modes
    assert sae.training
    assert {name: p.requires_grad for name, p in model.named_parameters()} == before
    assert all(p.requires_grad for p in sae.parameters())
    assert all(t.startswith("<") for u in units for c in u.contexts for t in c.tokens)


def test_a_thread_that_measures_waits_until_another_has_put_back_what_it_found():
    model = built("gpt2").train()
    found = []

    def measure() -> None:
        with left_as_found(model, None):
            found.append(model.training)

    with left_as_found(model, None):
        other = threading.Thread(target=measure)
        other.start()
        other.join(0.1)
        assert not found
    other.join()
    assert found == [False]
    assert model.training


def test_an_encode_that_works_in_place_changes_what_nobody_else_reads():
    sae = sae_of("relu")

    class InPlace:
        d_in = D_MODEL

        def __init__(self) -> None:
            self.b_dec = sae.b_dec

        def encode(self, x: Tensor) -> Tensor:
            latents = sae.encode(x)
            x.sub_(self.b_dec).mul_(0)
            return latents

    found = harvested("gpt2", InPlace(), units={"features": 6, "neurons": [0, 5]})
    assert told(found[6:]) == told(harvested("gpt2", sae, units={"neurons": [0, 5]}))


def test_an_object_that_encodes_whole_texts_alone_is_refused_in_one_line():
    class OfTexts:
        d_in = D_MODEL

        def encode(self, x: Tensor) -> Tensor:
            _rows, _tokens, _width = x.shape  # as SAELens' temporal SAE
            return x.relu()

    with pytest.raises(SubjectError, match=r"OfTexts cannot encode the \d+ activations .*unpack"):
        harvested("gpt2", OfTexts())


def test_a_model_spread_over_devices_and_its_sae_are_read_as_alone():
    class Encoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.b_dec = torch.nn.Parameter(sae_of("topk").b_dec)

        def encode(self, x: Tensor) -> Tensor:
            return sae_of("topk").encode(x)

    def spread(module: Any) -> Any:
        return torch.nn.DataParallel(module)

    alone = harvested("gpt2", Encoder(), units={"features": 4})
    both = autointerp.harvest(
        spread(model_of("gpt2")), documents(), sae=spread(Encoder()), site=SITE, settings=SETTINGS,
        units={"features": 4}, tokenizer=tokenizer(),
    )  # fmt: skip
    assert told(both) == told(alone)


@pytest.mark.parametrize("activation", SAES)
def test_an_sae_in_bfloat16_is_harvested_as_it_computes(activation: str):
    sae = sae_of(activation)
    half = replace(sae, **{name: tensor.bfloat16() for name, tensor in sae._tensors().items()})
    units, exact = harvested("gpt2", half), harvested_plainly("gpt2", activation)
    assert [u.summary.density for u in units] == pytest.approx(
        [u.summary.density for u in exact], abs=0.05
    )
    assert sum(len(u.contexts) for u in units) > 0
    assert all(isinstance(v, float) for u in units for c in u.contexts for v in c.activations)


def test_neurons_and_controls_are_harvested_from_objects_too():
    units = {"neurons": [0, 5], "random": 3, "shuffled": 3}
    found = harvested("gpt2", sae_of("relu"), units=units)
    names = [unit.summary.unit.source for unit in found]
    assert names == ["neurons"] * 2 + ["random"] * 3 + ["shuffled"] * 3
    neurons = autointerp.harvest(model_of("gpt2"), documents(), site="layers.1.mlp.neurons",
                                 settings=SETTINGS)  # fmt: skip
    assert {unit.summary.unit.source for unit in neurons} == {"neurons"}
    assert len(neurons) == 80  # 40 neurons, both signs, of the 200 that are asked for


@pytest.mark.parametrize(
    ("changes", "error", "told"),
    [
        ({"site": "layers.9.mlp"}, SubjectError, "has layers 0 to 2"),
        ({"site": ""}, SubjectError, "no site: give where to read"),
        ({"site": "layers.1.mlp.neurons"}, SubjectError, "reads 16 activations, layers.1.mlp.n"),
        ({"units": {"features": [48]}}, BadInput, "of features, 48 is not from 0 to 47"),
        ({"units": {"features": 0}}, BadInput, "ask for at least 1"),
        ({"min_density": 0.2, "max_density": 0.1}, BadInput, "so no unit would pass"),
        ({"max_density": float("nan")}, BadInput, "max_density = nan must be a share"),
        ({"units": {"features": 3.0}}, BadInput, "units: 3.0 features; give how many, or a list"),
        ({"units": {"features": [1, 1]}}, BadInput, "of features, one is named twice"),
        ({"units": {"feature": 3}}, BadInput, "unknown source 'feature'; did you mean"),
        ({"tokens": [np.arange(5)]}, CorpusError, "at least 2000 are needed"),
        ({"tokens": [np.array([3, 900])]}, CorpusError, "the model's vocabulary has 300"),
        ({"tokens": [np.array([0.5])]}, CorpusError, "tokens are whole numbers"),
        ({"sae": object()}, SubjectError, "object has no method `encode`"),
        ({"sae": "no/where/at/all.pt"}, SubjectError, "no no/where/at/all.pt here"),
    ],
)
def test_what_does_not_fit_is_one_line(changes: dict[str, Any], error: type, told: str):
    with pytest.raises(error, match=told) as raised:
        harvested("gpt2", **{"sae": sae_of("relu"), **changes})
    assert "\n" not in str(raised.value)


def test_numbers_may_be_numpys_and_tokens_of_any_whole_type():
    sae = sae_of("relu")
    plain = harvested("gpt2", sae=sae, units={"features": 3}, seed=2)
    for kind in (np.int32, np.uint16):
        asked = {"tokens": [ids.astype(kind) for ids in documents()], "seed": np.int64(2)}
        found = harvested("gpt2", sae=sae, units={"features": kind(3)}, **asked)
        assert [unit.summary for unit in found] == [unit.summary for unit in plain]


def test_a_model_without_values_is_refused():
    with torch.device("meta"):
        empty = type(model_of("gpt2"))(model_of("gpt2").config)
    with pytest.raises(SubjectError, match="weights on the device meta, which have no values"):
        autointerp.harvest(empty, documents(), site=SITE)


def test_a_module_that_is_no_language_model_is_refused():
    with pytest.raises(SubjectError, match="Linear is no model: give a Hugging Face causal LM"):
        autointerp.harvest(torch.nn.Linear(2, 2), documents(), site=SITE)


def test_an_sae_may_be_named_by_its_path(tmp_path: Any):
    sae = sae_of("jumprelu")
    sae.save(tmp_path / "sae.safetensors")
    by_path = harvested("gpt2", tmp_path / "sae.safetensors")
    assert told(by_path) == told(harvested_plainly("gpt2", "jumprelu"))


# -------------------------------------------------------------------------- what corpora are like


def texts_by_split(unit: HarvestedUnit) -> dict[str, list[str]]:
    return {
        split: ["|".join(c.tokens) for c in unit.contexts if c.split == split]
        for split in ("explain", "score")
    }


def of_draw(unit: HarvestedUnit, draw: str) -> list[tuple[str, str]]:
    return [(c.split, "|".join(c.tokens)) for c in unit.contexts if c.draw == draw]


def corpus_of_copies() -> list[np.ndarray]:
    """40 documents, each of them ten times, mixed."""
    rng = np.random.default_rng(5)
    few = [rng.integers(1, VOCABULARY - 4, int(rng.integers(10, 41))) for _ in range(40)]
    return [few[number] for number in rng.permutation(np.repeat(np.arange(40), 10))]


def corpus_with_a_notice() -> list[np.ndarray]:
    """400 documents that differ, and behind 15 in 100 of them the same notice."""
    rng = np.random.default_rng(6)
    notice = rng.integers(1, VOCABULARY - 4, 20)
    rows = [rng.integers(1, VOCABULARY - 4, 25) for _ in range(400)]
    return [np.concatenate([row, notice]) if rng.random() < 0.15 else row for row in rows]


@pytest.mark.parametrize("corpus", [corpus_of_copies, corpus_with_a_notice])
def test_equal_texts_count_once_and_lie_on_one_side(corpus: Any):
    units = harvested("llama", sae_of("relu"), corpus())
    firing = [unit for unit in units if unit.summary.density > 0.3]
    assert len(firing) > 10
    for unit in firing:
        texts = texts_by_split(unit)
        assert not set(texts["explain"]) & set(texts["score"])
        for draw in ("top", "interval", "random"):
            drawn = of_draw(unit, draw)
            assert len(set(drawn)) == len(drawn)
        for split in ("explain", "score"):  # others took the place of what came again
            wanted = {"top": SETTINGS.top, "random": SETTINGS.random}
            for draw, count in wanted.items():
                found = [one for one in of_draw(unit, draw) if one[0] == split]
                assert len(found) == count


def test_copies_of_documents_are_one_split():
    where: dict[bytes, set[str]] = {}
    corpus = corpus_of_copies()
    for unit in harvested("llama", sae_of("relu"), corpus):
        for context in unit.contexts:
            where.setdefault(corpus[context.document].tobytes(), set()).add(context.split)
    assert len(where) == 40
    assert all(len(splits) == 1 for splits in where.values())


def test_packed_rows_give_contexts_of_one_document_each():
    # Documents of one token each, packed; 0 stands between them, or 3 zeros.
    rng = np.random.default_rng(7)
    stream = [
        np.append(np.full(int(rng.integers(2, 9)), 1 + number % 90), [0] * int(rng.choice([1, 3])))
        for number in range(900)
    ]
    flat = np.concatenate(stream)
    rows = flat[: len(flat) // 50 * 50].reshape(-1, 50)
    texts = tokenizer().convert_ids_to_tokens([0])
    units = harvested("llama", sae_of("relu"), rows)
    contexts = [context for unit in units for context in unit.contexts]
    assert len(contexts) > 500
    assert {len(set(context.tokens)) for context in contexts} == {1}
    assert not any(set(texts) & set(context.tokens) for context in contexts)
    assert all(c.activations[c.focus] == c.activation for c in contexts)
    assert all(c.silent == (max(c.activations) == 0) for c in contexts)


SCRIPTS = {
    "Chinese": "猫坐在垫子上河流过石头人们从青山看今天天气很好我爱你",
    "Arabic": "السلام عليكم ورحمة الله وبركاته يا صديقي العزيز",
    "emoji": "😀👩\u200d👩\u200d👧🏳️\u200d🌈é नमस्ते “yes” — it’s 5 €",
}


@pytest.mark.parametrize("script", sorted(SCRIPTS))
def test_contexts_are_text_whatever_a_tokenizer_cuts(script: str):
    rng = np.random.default_rng(8)
    letters = list(SCRIPTS[script])
    texts = ["".join(rng.choice(letters, 25)) for _ in range(60)]
    tokens = [np.array(tokenizer()(text)["input_ids"]) for text in texts]
    units = harvested("llama", sae_of("relu"), tokens)
    contexts = [context for unit in units for context in unit.contexts]
    assert len(contexts) > 500
    assert any("" in context.tokens for context in contexts)
    for context in contexts:
        text = "".join(context.tokens)
        marked = focus_text(context)
        assert marked
        if "\\x" not in text:
            assert text in texts[context.document]
            continue
        # Only a mark on a character that the window's edge cuts is bytes.
        assert marked.startswith("\\x")
        assert text.replace(marked, "", 1) in texts[context.document]
