"""`Evaluator` in a real training loop: three checkpoints of an SAE that gets better."""

from __future__ import annotations

import logging
import random
import shutil
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch import Tensor, nn

import autointerp
from autointerp import Job
from autointerp.errors import AutointerpError, BadInput, RunMismatch, SubjectError
from autointerp.exchange._arrival import import_units
from autointerp.exchange.contexts import write
from autointerp.pipeline.evaluator import Evaluation, Evaluator
from autointerp.raters.lexical import Lexical
from autointerp.settings import HarvestSettings
from autointerp.store.run import open_run, runs_in
from autointerp.subjects.formats import Flags
from autointerp.subjects.language_model import HookedLanguageModel

transformers = pytest.importorskip("transformers")

WORDS, WIDTH, LATENTS, SPARSITY = 24, 12, 36, 0.5
SITE = "layers.0.input"  # token and position: what an SAE can find there are the tokens
SETTINGS = HarvestSettings(top=6, intervals=4, per_interval=2, random=8, each_side=2, rows=32)
STEPS = (0, 30, 400)


class SAE(nn.Module):
    """A ReLU SAE as somebody writes one in an afternoon."""

    def __init__(self, width: int, latents: int) -> None:
        super().__init__()
        self.W_enc = nn.Parameter(torch.randn(width, latents) / width**0.5)
        self.W_dec = nn.Parameter(self.W_enc.detach().T.clone())
        self.b_enc = nn.Parameter(torch.zeros(latents))
        self.b_dec = nn.Parameter(torch.zeros(width))

    def encode(self, x: Tensor) -> Tensor:
        if self.training:
            raise AssertionError("an SAE is measured as it will be used, not as it is trained")
        return self.latents(x)

    def latents(self, x: Tensor) -> Tensor:
        return ((x - self.b_dec) @ self.W_enc + self.b_enc).relu()

    def decode(self, latents: Tensor) -> Tensor:
        return latents @ self.W_dec + self.b_dec

    def loss(self, x: Tensor) -> Tensor:
        latents = self.latents(x)
        off = (self.decode(latents) - x).square().sum(-1)
        return (off + SPARSITY * latents @ self.W_dec.norm(dim=1)).mean()


class Sends:
    """How many items the lexical rater was asked about."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.count, send = 0, Lexical.send

        async def counted(rater: Lexical, request: Any) -> Any:
            self.count += 1
            return await send(rater, request)

        patch.setattr(Lexical, "send", counted)


def model_of() -> Any:
    config = transformers.GPT2Config(
        vocab_size=WORDS, n_positions=32, n_embd=WIDTH, n_layer=2, n_head=2,
        bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    model = transformers.GPT2LMHeadModel(config)
    with torch.no_grad():
        model.transformer.wte.weight.copy_(torch.randn(WORDS, WIDTH))
    return model


def documents(rare: int = 0) -> Tensor:
    """120 documents of 24 words, some of which may be rare enough to plant a control on."""
    share = np.full(WORDS, 1.0)
    share[:rare] = 0.3
    return torch.from_numpy(
        np.random.default_rng(5).choice(WORDS, (120, 24), p=share / share.sum())
    )


def in_words() -> Any:
    """A tokenizer of words, as the planted controls need one."""
    words = {f"{chr(97 + n)}{chr(97 + n)}": n for n in range(WORDS)}
    own = Tokenizer(WordLevel(words, unk_token="aa"))
    return transformers.PreTrainedTokenizerFast(tokenizer_object=own)


def evaluator_of(model: Any, folder: Any, **options: Any) -> Evaluator:
    given = {"site": SITE, "n": 10, "settings": SETTINGS, "runs": folder, **options}
    return Evaluator(model, documents(), "lexical", **given)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The loop: model, SAE, evaluations by step, items asked at each, what was logged."""
    torch.manual_seed(1)
    model, sae = model_of(), SAE(WIDTH, LATENTS)
    logged: list[tuple[dict[str, float], int]] = []
    to = SimpleNamespace(log=lambda numbers, step: logged.append((numbers, step)))
    folder = tmp_path_factory.mktemp("training")
    evaluator = evaluator_of(model, folder, log_to=to)
    site = HookedLanguageModel(model, None, SITE)
    x = site.activations(documents(), torch.ones_like(documents(), dtype=torch.bool))
    x = x[:, 1:].reshape(-1, WIDTH)  # without a BOS, a document's first token is not kept
    model.train().requires_grad_(True)
    optimiser = torch.optim.Adam(sae.parameters(), 1e-2)
    found: dict[int, Evaluation] = {}
    asked: dict[int, int] = {}
    weights: dict[int, dict[str, Tensor]] = {}
    with pytest.MonkeyPatch.context() as patch:
        sends = Sends(patch)
        for step in range(max(STEPS) + 1):
            if step in STEPS:
                before = sends.count
                found[step] = evaluator(sae, step)
                asked[step] = sends.count - before
                weights[step] = {name: w.clone() for name, w in sae.state_dict().items()}
            optimiser.zero_grad()
            sae.loss(x).backward()
            optimiser.step()
    return SimpleNamespace(
        model=model, sae=sae, evaluator=evaluator, found=found, asked=asked, weights=weights,
        logged=logged, folder=folder, x=x,
    )  # fmt: skip


def at_step(trained: Any, step: int) -> SAE:
    sae = SAE(WIDTH, LATENTS)
    sae.load_state_dict(trained.weights[step])
    return sae


def test_an_sae_that_gets_better_is_seen_to_get_better(trained):
    first, _, last = (trained.found[step] for step in STEPS)
    # At first random directions that fire on half of the tokens; in the end one or two a token.
    assert first.l0.low > last.l0.high
    assert first.variance_explained.high < last.variance_explained.low
    assert first.superiority.value < last.superiority.value
    assert last.superiority.low > 0.5
    assert first.features.value < last.features.value


def test_figures_are_those_of_plain_arithmetic_on_the_activations(trained):
    sae, found = at_step(trained, STEPS[-1]).eval(), trained.found[STEPS[-1]]
    with torch.no_grad():
        latents = sae.encode(trained.x)
        back = sae.decode(latents)
    fires = latents > SETTINGS.fires
    assert found.l0.value == pytest.approx(fires.sum(1).float().mean().item())
    assert found.dead_share.value == pytest.approx((~fires.any(0)).float().mean().item())
    explained = 1 - (trained.x - back).square().sum() / (
        (trained.x - trained.x.mean(0)).square().sum()
    )
    # One token of 16 is decoded, so the figure is that of a sample.
    assert found.variance_explained.low < explained.item() < found.variance_explained.high


def test_neurons_are_rated_once_for_all_checkpoints(trained):
    # 10 features at each checkpoint (fewer where fewer fire), and 10 neurons at the first.
    assert trained.asked[0] == 20
    assert max(trained.asked[step] for step in STEPS[1:]) <= 10
    with open_run("training-neurons", folder=trained.folder, read_only=True) as run:
        assert run.rows("SELECT source, count(*) FROM unit_rating GROUP BY ALL") == [
            ("neurons", 10)
        ]
    means = {found.neurons.value for found in trained.found.values()}
    assert len(means) == 1
    assert sorted(runs_in(trained.folder)) == [
        "training-neurons", "training-step-0", "training-step-30", "training-step-400",
    ]  # fmt: skip


def test_each_evaluation_is_logged_with_its_intervals(trained):
    assert [step for _, step in trained.logged] == list(STEPS)
    numbers, last = trained.logged[-1][0], trained.found[STEPS[-1]]
    assert numbers["autointerp/superiority"] == last.superiority.value
    assert numbers["autointerp/superiority_low"] == last.superiority.low
    assert numbers["autointerp/l0_high"] == last.l0.high
    assert {"autointerp/dead_share", "autointerp/variance_explained"} <= numbers.keys()


@pytest.mark.parametrize("step", [STEPS[1], 31, None])
def test_a_checkpoint_seen_before_is_known_by_its_weights_and_costs_nothing(
    trained, monkeypatch, step
):
    sends = Sends(monkeypatch)
    monkeypatch.setattr("autointerp.units.together.draw_together", None)  # reads the tokens
    sae = at_step(trained, STEPS[1])
    again = evaluator_of(trained.model, trained.folder)(sae, step)
    expected = trained.found[STEPS[1]].as_dict()
    assert again.as_dict() == expected
    assert again.step == step
    assert sends.count == 0


def test_a_state_dict_and_a_file_give_what_the_object_gives(trained, tmp_path):
    sae = at_step(trained, STEPS[-1])
    file = tmp_path / "sae.pt"
    torch.save(sae.state_dict(), file)
    known, config = Flags(subtract_b_dec=True), {"activation": "relu"}
    evaluator = evaluator_of(trained.model, tmp_path / "runs", flags=known, config=config)
    by_state, by_path = evaluator(sae.state_dict(), 1), evaluator(str(file), 2)
    wanted = trained.found[STEPS[-1]]
    for found in (by_state, by_path):
        assert found.l0.value == wanted.l0.value
        assert found.dead_share.value == wanted.dead_share.value
        assert found.superiority.value == wanted.superiority.value
        assert found.variance_explained.value == pytest.approx(wanted.variance_explained.value)


def test_training_goes_on_as_if_nothing_had_been_measured(trained, tmp_path):
    model, sae = trained.model, at_step(trained, STEPS[1])
    model.train()
    sae.train()
    model.transformer.h[0].eval()  # modes may differ from part to part
    model.transformer.wpe.weight.requires_grad_(False)
    (model(documents()[:2]).logits.sum() + sae.W_enc.sum()).backward()
    modules = [*model.modules(), *sae.modules()]
    parameters = [*model.parameters(), *sae.parameters()]

    def state() -> tuple[Any, ...]:
        return (
            [module.training for module in modules],
            [parameter.requires_grad for parameter in parameters],
            [None if p.grad is None else p.grad.sum().item() for p in parameters],
            [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in modules],
            [p.detach().sum().item() for p in parameters],
            random.getstate(),
            str(np.random.get_state()),
            torch.get_rng_state().tolist(),
            torch.is_grad_enabled(),
            torch.is_autocast_enabled("cpu"),
        )

    before = state()
    with torch.autocast("cpu", torch.bfloat16):  # in a loop of mixed precision
        found = evaluator_of(model, tmp_path)(sae, 7)
    assert state() == before
    # The same figures as without it, to the last digit.
    assert found.l0 == trained.found[STEPS[1]].l0
    assert found.superiority.value == trained.found[STEPS[1]].superiority.value
    model(documents()[:2]).logits.sum().backward()
    model.transformer.wpe.weight.requires_grad_(True)
    model.train()


def test_documents_of_an_iterator_last_for_all_checkpoints(trained, tmp_path):
    evaluator = Evaluator(
        trained.model, iter(documents()), site=SITE, n=10, settings=SETTINGS, runs=tmp_path
    )
    for step in STEPS[:2]:
        found = evaluator(at_step(trained, step), step)
        assert found.superiority.value == trained.found[step].superiority.value


def test_a_dead_sae_is_a_finding_and_no_error(trained, tmp_path):
    sae = SAE(WIDTH, LATENTS)
    with torch.no_grad():
        sae.b_enc.fill_(-1e3)
    found = evaluator_of(trained.model, tmp_path)(sae, 0)
    assert found.dead_share.value == 1
    assert found.l0.value == 0
    assert found.superiority.value is None
    assert found.features.value is None
    assert found.neurons.value is not None
    assert "autointerp/superiority" not in found.as_dict()


def test_a_judge_that_fails_its_controls_compares_nothing(trained, tmp_path):
    evaluator = Evaluator(
        trained.model, documents(rare=8), "scripted:4", site=SITE, n=10, controls=6,
        settings=SETTINGS, tokenizer=in_words(), runs=tmp_path,
    )  # fmt: skip
    found = evaluator(at_step(trained, STEPS[-1]))
    assert found.superiority.value is None
    assert "its controls" in found.superiority.note
    assert found.run.startswith("training-")
    assert found.step is None


class Scalars:
    def __init__(self) -> None:
        self.added: list[tuple[str, float, int | None]] = []

    def add_scalar(self, name: str, value: float, step: int | None) -> None:
        self.added.append((name, value, step))


class Metrics:
    def __init__(self) -> None:
        self.added: list[tuple[dict[str, float], int | None]] = []

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.added.append((metrics, step))


def test_loggers_are_given_the_same_numbers_the_passed_one_first(trained, monkeypatch, caplog):
    seen: list[dict[str, float]] = []
    begun = SimpleNamespace(log=lambda numbers, step: seen.append(numbers))
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(run=begun))
    sae, step = at_step(trained, STEPS[-1]), STEPS[-1]
    wanted = {f"autointerp/{k}": v for k, v in trained.found[step].as_dict().items()}
    scalars, metrics = Scalars(), Metrics()
    for to in (scalars, metrics, False, logging.getLogger("of the loop")):
        with caplog.at_level(logging.INFO):
            evaluator_of(trained.model, trained.folder, log_to=to)(sae, step)
    assert {name: value for name, value, _ in scalars.added} == wanted
    evaluator_of(trained.model, trained.folder, log_to=scalars)(sae)  # which has no place there
    assert {at for *_, at in scalars.added} == {step}
    assert metrics.added == [(wanted, step)]
    assert "P(feature over neuron)" in caplog.text
    assert seen == []
    evaluator_of(trained.model, trained.folder)(sae, step)  # to the run that is there
    assert seen == [wanted]
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(run=None))  # imported, not begun
    evaluator_of(trained.model, trained.folder)(sae, step)
    assert seen == [wanted]


def test_a_folder_is_written_to_by_tensorboards_writer(trained, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(BadInput, match="needs tensorboard, which is not installed"):
        evaluator_of(trained.model, tmp_path, log_to=tmp_path / "tb")
    made: dict[str, Scalars] = {}

    def writer(folder: str) -> Scalars:
        return made.setdefault(folder, Scalars())

    module = SimpleNamespace(SummaryWriter=writer)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    evaluator = evaluator_of(trained.model, trained.folder, log_to=tmp_path / "tb")
    evaluator(at_step(trained, STEPS[-1]), STEPS[-1])
    assert made[str(tmp_path / "tb")].added


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": "of/this"}, "name='of/this': give up to 70"),
        ({"n": 1}, "n=1: give a whole number from 2 on"),
        ({"controls": -1}, "controls=-1"),
        ({"log_to": 5}, "log_to: int has none of"),
        ({"rubric": "predicts-firing"}, "predicts-firing"),
        ({"rubric": "no-such"}, "no-such"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_read(trained, tmp_path, options, words):
    with pytest.raises(BadInput, match=words) as error:
        evaluator_of(trained.model, tmp_path, **options)
    assert "\n" not in str(error.value)


def test_people_are_not_asked_in_a_training_loop(trained, tmp_path):
    with pytest.raises(BadInput, match=r"is a person; name another.* --rater human:ann"):
        Evaluator(trained.model, documents(), "human:ann", site=SITE, runs=tmp_path)
    with pytest.raises(BadInput, match="judge=object: give NAME"):
        Evaluator(trained.model, documents(), object(), site=SITE, runs=tmp_path)


def test_checkpoints_that_do_not_fit_are_refused_in_one_line(trained, tmp_path):
    other = SAE(WIDTH, LATENTS)
    refused: list[tuple[Any, Any, type[Exception], str]] = [
        (other, STEPS[0], RunMismatch, "'training-step-0' holds another SAE at this step"),
        (other, -1, BadInput, "step=-1: give a whole number"),
        (other, 1.5, BadInput, "step=1.5"),
        (other, True, BadInput, "step=True"),
        (SAE(WIDTH + 1, 8), 9, SubjectError, "SAE"),
        (object(), 9, BadInput, "object is no SAE: it has neither `encode` nor W_enc"),
        ({}, 9, BadInput, "the dict given for an SAE holds no tensor"),
        ({"W_enc": torch.zeros(WIDTH, 4)}, 9, SubjectError, "the dict given for an SAE"),
        (SimpleNamespace(encode=lambda x: x), 9, BadInput, "has no weights by which"),
        (tmp_path / "nowhere", 9, SubjectError, "nowhere"),
    ]
    for sae, step, kind, words in refused:
        with pytest.raises(kind, match=words) as error:
            evaluator_of(trained.model, trained.folder)(sae, step)
        assert "\n" not in str(error.value)
    assert "training-step-9" not in runs_in(trained.folder)
    with pytest.raises(RunMismatch, match="another corpus"):
        Evaluator(
            trained.model, documents().flip(1), site=SITE, n=10, settings=SETTINGS,
            runs=trained.folder,
        )(other, 9)  # fmt: skip
    with pytest.raises(BadInput, match="no site, and the SAE does not say"):
        evaluator_of(trained.model, tmp_path, site="")(other, 9)


def test_the_site_that_an_object_names_is_taken_where_none_is_given(trained, tmp_path):
    sae = at_step(trained, STEPS[-1])
    sae.cfg = SimpleNamespace(hook_name="blocks.0.hook_resid_pre")
    found = evaluator_of(trained.model, tmp_path, site="")(sae, 1)
    assert found.superiority.value == trained.found[STEPS[-1]].superiority.value


def test_other_verbs_take_its_runs_and_none_looks_for_a_model(trained, tmp_path):
    runs = shutil.copytree(trained.folder, tmp_path / "runs")
    other = Job(run="training-step-400", rater="scripted:4", n=10, controls=0, runs=runs)
    rated = autointerp.rate(other)
    assert rated.units == {"features": 10}
    assert rated.counts.statuses == {"ok": 10}
    across = autointerp.compare_runs(["training-neurons", "training-step-400"], folder=runs)
    (lexical,) = (one for one in across.judged if one.rater == "lexical")
    (contrast,) = lexical.contrasts
    assert 1 - contrast.superiority.value == pytest.approx(
        trained.found[400].superiority.value
    ) or contrast.superiority.value == pytest.approx(trained.found[400].superiority.value)
    report = autointerp.report("training-step-400", out=tmp_path / "page", folder=runs)
    text = report.page.read_text()
    assert "in memory" in text
    assert "came from files" not in text
    for refused in (
        lambda: autointerp.rate(Job(run="training-step-400", subject="embedded", runs=runs)),
        lambda: autointerp.rate(Job(run="training-step-400", sources=("neurons",), runs=runs)),
    ):
        with pytest.raises(AutointerpError, match="harvested from memory"):
            refused()
    table = tmp_path / "more.parquet"
    with open_run("training-step-0", folder=runs, read_only=True) as run:
        write(run, table)
    with pytest.raises(RunMismatch, match="subject 'in memory'; import into another --run"):
        import_units(table, "training-step-0", runs=runs)


def test_it_is_a_public_name():
    assert autointerp.Evaluator is Evaluator
