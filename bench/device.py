"""What a harvest costs on an accelerator over the bare forward pass, and where its time goes.

Models are made on the device, from a configuration and random weights in bfloat16; token ids are
drawn from a Zipf law, in windows that are full. Wall-clock times are taken with the device
synchronised, in pairs of the bare pass and the harvest within one process, and the median ratio of
the pairs is given. Each measurement reads as many tokens as a trial says fit its seconds.
"""

from __future__ import annotations

import gc
import os
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from autointerp.settings import LEAST_TOKENS, HarvestSettings
from autointerp.subjects import Subject
from autointerp.subjects.assembled import subject_of
from autointerp.subjects.autoencoder import Activation, SparseAutoencoder
from autointerp.subjects.corpora import Document
from autointerp.units.passes import COLUMNS_AT_ONCE, Wanted, parts_of
from autointerp.units.stream import calibrate, quiet_torch, readings
from bench._shapes import PYTHIA_70M, figure, make_units, random_model, sae_on, stream, wanted

PAIRS = 3
LIMIT_S = 190.0  # seconds after which no further measurement begins
WINDOWS_A_DOCUMENT = 8
PRODUCT_TOKENS = 8192  # of one x @ W_enc of the bare pass: 2 GB at 131,072 latents
ZIPF, ZIPF_DRAWS = 1.2, 1 << 18
DTYPE = torch.bfloat16


@dataclass(frozen=True)
class Shape:
    """What is measured.

    Attributes:
        name: Part of the figures' names.
        config: Of a GPT-NeoX.
        batches: Windows' length, and the batch sizes in windows of which the faster is taken; the
            first entry stands for the shape, the others get their length into their names.
        units: How many features, and how many neurons.
        seconds: What the pairs and the stages of one entry of `batches` may take.
        trial: Tokens of the trial; also the least that is measured.
        most: Most tokens of a measurement.
        all_units_s: Seconds for all units of the shape; 0 leaves them out.
    """

    name: str
    config: Mapping[str, int]
    site: str
    latents: int
    activation: Activation
    batches: tuple[tuple[int, tuple[int, ...]], ...]
    units: int
    seconds: float
    trial: int
    most: int
    all_units_s: float = 0.0


PYTHIA_1B4 = {
    "vocab_size": 50_304,
    "hidden_size": 2048,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 8192,
    "max_position_embeddings": 2048,
}
SHAPES = (
    Shape(
        name="pythia",
        config=PYTHIA_70M,
        site="layers.3.mlp",
        latents=16_384,
        activation="relu",
        batches=((128, (256, 1024)), (1024, (32, 128))),
        units=200,
        seconds=15.0,
        trial=520_192,
        most=16_000_000,
        all_units_s=45.0,
    ),
    Shape(
        name="1b",
        config=PYTHIA_1B4,
        site="layers.12.residual",
        latents=131_072,
        activation="topk",
        batches=((1024, (16, 64)),),
        units=200,
        seconds=25.0,
        trial=130_944,
        most=4_000_000,
    ),
)

SMALL = {
    "vocab_size": 64,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
}
SMALL_SHAPES = (
    replace(
        SHAPES[0], config=SMALL, site="layers.0.mlp", latents=40,
        batches=((32, (66, 70)), (16, (140,))), units=4, seconds=0.0, trial=2000, most=2000,
        all_units_s=60.0,
    ),
    replace(
        SHAPES[1], config=SMALL, site="layers.1.residual", latents=128,
        batches=((32, (66, 70)),), units=4, seconds=0.0, trial=2000, most=2000,
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Accelerator:
    """Where we measure: its torch device, its name for people, and its clock and memory."""

    device: str
    name: str

    def seconds(self) -> float:
        """Return the wall clock once the device has nothing left to do."""
        if self.device.startswith("cuda"):
            torch.cuda.synchronize()
        elif self.device == "mps":
            torch.mps.synchronize()
        return time.perf_counter()

    def forget_peak(self) -> None:
        """Count the peak of the memory from here."""
        if self.device.startswith("cuda"):
            torch.cuda.reset_peak_memory_stats()

    def peak_mb(self) -> float:
        """Return the most memory of tensors so far, in MB; on mps the memory now, on a CPU 0."""
        if self.device.startswith("cuda"):
            return torch.cuda.max_memory_allocated() / 2**20
        return torch.mps.driver_allocated_memory() / 2**20 if self.device == "mps" else 0.0

    def used_mb(self) -> float:
        """Return the memory of the tensors that there are, in MB; on a CPU 0."""
        if self.device.startswith("cuda"):
            return torch.cuda.memory_allocated() / 2**20
        return torch.mps.current_allocated_memory() / 2**20 if self.device == "mps" else 0.0


def accelerator(device: str | None) -> Accelerator | None:
    """Return the accelerator asked for, or the one that there is: cuda, else mps, else None."""
    if device is None:
        if torch.cuda.is_available():
            device = "cuda"
        elif torch.backends.mps.is_available():
            device = "mps"
        else:
            return None
    name = torch.cuda.get_device_name() if device.startswith("cuda") else device
    return Accelerator(device, name)


class Zipfian:
    """Documents of random tokens, drawn before they are read: full windows and no other text.

    They are drawn from a table, since drawing from the law itself takes longer than a small
    model's forward pass.
    """

    def __init__(self, vocabulary: int) -> None:
        rng = np.random.default_rng(0)
        specials = min(10, vocabulary // 2)
        self.table = rng.zipf(ZIPF, ZIPF_DRAWS) % (vocabulary - specials) + specials
        self.ids: list[NDArray[np.int64]] = []

    def prepare(self, tokens: int, window: int) -> None:
        """Draw at least `tokens` tokens, a document being whole windows with their BOS."""
        length = WINDOWS_A_DOCUMENT * (window - 1)
        count = -(-tokens // length)
        rng = np.random.default_rng(1)
        drawn = self.table[rng.integers(0, len(self.table), count * length)]
        self.ids = list(drawn.reshape(count, length))

    def __call__(self) -> Iterator[Document]:
        for number, ids in enumerate(self.ids):
            yield Document(number, ids)


@dataclass
class Bench:
    """A subject on a device, and the corpus that it reads."""

    on: Accelerator
    shape: Shape
    subject: Subject
    corpus: Zipfian

    @property
    def weights(self) -> Tensor:
        """The SAE's encoder [d_in, d_sae]."""
        assert isinstance(self.subject.sae, SparseAutoencoder)
        return self.subject.sae.W_enc

    def settings(self, window: int, rows: int, tokens: int) -> HarvestSettings:
        """Return the settings of a harvest of at least `tokens` tokens, in whole batches."""
        batch = rows * (window - 1)
        return HarvestSettings(window=window, rows=rows, tokens=-(-tokens // batch) * batch)

    def open(self, settings: HarvestSettings) -> None:
        """Draw the tokens that `settings` ask for."""
        self.corpus.prepare(settings.tokens, settings.window)

    def bare_s(self, settings: HarvestSettings, with_encoder: bool = False) -> float:
        """Return the seconds of reading, of the forward pass and, if asked, of x @ W_enc."""
        model, device = self.subject.model, self.on.device
        pins = device.startswith("cuda")
        weights = self.weights
        out = None
        if with_encoder:
            out = weights.new_empty(PRODUCT_TOKENS, weights.shape[1])
        began = self.on.seconds()
        with quiet_torch():
            for reading in readings(self.subject, settings):
                arrays = (reading.windows.ids, reading.windows.attention)
                ids, attention = (
                    (host.pin_memory() if pins else host).to(device, non_blocking=True)
                    for host in map(torch.from_numpy, arrays)
                )
                x = model.activations(ids, attention)
                if out is not None:
                    for part in x.flatten(0, 1).to(weights.dtype).split(PRODUCT_TOKENS):
                        torch.mm(part, weights, out=out[: len(part)])
        return self.on.seconds() - began

    def harvested(self, wants: list[Wanted], settings: HarvestSettings) -> Harvested:
        """Return what a harvest took."""
        self.on.forget_peak()
        cpu = time.process_time()
        began = self.on.seconds()
        parts = parts_of(wants, settings, 0)
        tokens = stream(self.subject, parts, settings)
        read = self.on.seconds()
        make_units(self.subject, parts, tokens)
        done = self.on.seconds()
        return Harvested(
            done - began, read - began, time.process_time() - cpu, tokens, self.on.peak_mb()
        )

    def stages(self, wants: list[Wanted], settings: HarvestSettings) -> dict[str, float]:
        """Return the seconds of each stage of a harvest, the device synchronised between them."""
        stages = Stages(self.on)
        subject = replace(
            self.subject,
            model=Proxy(self.subject.model, "activations", stages, "forward"),
            cut=lambda *sizes: stages.each("host: read", self.subject.cut(*sizes)),
        )
        parts = [
            replace(
                part,
                block=stages.around(f"block of {part.want.name}", part.block),
                columns=Proxy(part.columns, "add", stages, "host: sort and keep"),
            )
            for part in parts_of(wants, settings, 0)
        ]
        with stages, stages.stage("host: places"):
            tokens = stream(subject, parts, settings)
        with stages.stage("host: contexts"):
            make_units(subject, parts, tokens)
        return {name: round(spent, 3) for name, spent in stages.spent.items()}


@dataclass(frozen=True)
class Harvested:
    """Seconds of a harvest: of all of it, of its pass over the corpus, and of the host's CPUs."""

    wall_s: float
    pass_s: float
    cpu_s: float
    tokens: int
    peak_mb: float


class Stages(TorchDispatchMode):
    """Seconds by stage; a stage within another one is not counted in that one.

    Within a stage of the host, each torch operation on the device counts as `thresholds`, and each
    that also has a tensor on the host, or gives a number to Python, as `transfer`.

    Attributes:
        spent: Seconds by stage.
    """

    def __init__(self, on: Accelerator) -> None:
        super().__init__()
        self.on = on
        self.spent: dict[str, float] = defaultdict(float)
        self._inside = [""]
        self._since = on.seconds()

    def _charge(self, stage: str) -> None:
        now = self.on.seconds()
        if stage:
            self.spent[stage] += now - self._since
        self._since = now

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count what runs within as the stage `name`."""
        self._charge(self._inside[-1])
        self._inside.append(name)
        try:
            yield
        finally:
            self._charge(self._inside.pop())

    def around(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, its calls counted as the stage `name`."""

        def counted(*args: Any) -> Any:
            with self.stage(name):
                return function(*args)

        return counted

    def each(self, name: str, items: Iterator[Any]) -> Iterator[Any]:
        """Yield the items; making them counts as the stage `name`."""
        while True:
            with self.stage(name):
                item = next(items, None)
            if item is None:
                return
            yield item

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not self._inside[-1].startswith("host"):
            return func(*args, **kwargs)
        self._charge(self._inside[-1])
        out = func(*args, **kwargs)
        places = {leaf.device.type for leaf in tree_leaves((args, kwargs, out)) if is_tensor(leaf)}
        if places == {"cpu"} and self.on.device != "cpu":
            stage = self._inside[-1]
        elif len(places) > 1 or func is torch.ops.aten._local_scalar_dense.default:
            stage = "transfer"
        else:
            stage = "thresholds"
        self._charge(stage)
        return out


def is_tensor(leaf: Any) -> bool:
    """Return whether `leaf` is a tensor."""
    return isinstance(leaf, Tensor)


class Proxy:
    """Stands for an object, and counts the calls of one method as a stage."""

    def __init__(self, wrapped: Any, method: str, stages: Stages, stage: str) -> None:
        self._wrapped, self._method = wrapped, method
        self._counted = stages.around(stage, getattr(wrapped, method))

    def __getattr__(self, name: str) -> Any:
        return self._counted if name == self._method else getattr(self._wrapped, name)


def build(shape: Shape, on: Accelerator) -> Bench:
    """Return a model of the shape with an SAE on its site, both made on the device."""
    model = random_model(shape.config, shape.site, shape.name, on.device, DTYPE)
    corpus = Zipfian(model.vocabulary)
    bare = Bench(on, shape, subject_of(model, corpus, sae=None, bos=True, digests={}), corpus)
    window, choices = shape.batches[0]
    settings = bare.settings(window, choices[0], 4000)
    bare.open(settings)
    x = calibrate(bare.subject, settings, 0).activations[:4096]
    sae = sae_on(x, shape.latents, shape.activation, DTYPE)
    return replace(bare, subject=replace(bare.subject, sae=sae))


def faster(
    bench: Bench, wants: list[Wanted], window: int, choices: Sequence[int]
) -> tuple[int, Harvested]:
    """Return the number of rows whose pass over a trial's tokens is fastest, and that trial.

    A number that the device's memory does not hold is left out, if another one fits.
    """
    trials = {}
    for rows in choices:
        settings = bench.settings(window, rows, bench.shape.trial)
        bench.open(settings)
        try:
            bench.bare_s(bench.settings(window, rows, 1))
            bench.harvested(wants, bench.settings(window, rows, LEAST_TOKENS))
            trials[rows] = bench.harvested(wants, settings)
        except torch.OutOfMemoryError as error:
            print(f"bench: {rows} rows of {window} tokens: {error}", file=sys.stderr)
    if not trials:
        raise MemoryError(f"no batch of {choices} windows of {window} tokens fits; give fewer rows")
    return min(trials.items(), key=lambda trial: trial[1].pass_s / trial[1].tokens)


def measured(
    bench: Bench, window: int, choices: Sequence[int]
) -> Generator[dict[str, Any], None, int]:
    """Yield the figures of `units` features and neurons at one length of windows.

    Returns the faster number of rows.
    """
    shape, on = bench.shape, bench.on
    wants = wanted(bench.subject, shape.units, shape.units)
    rows, trial = faster(bench, wants, window, choices)
    settings = bench.settings(window, rows, shape.trial)
    bench.open(settings)
    bare_s = bench.bare_s(settings) + bench.bare_s(settings, with_encoder=True)
    times = PAIRS + 1.5  # that with the stages takes longer
    fixed_s = times * (trial.wall_s - trial.pass_s)
    per_token = (times * trial.pass_s + PAIRS * bare_s) / trial.tokens
    fits = min(int((shape.seconds - fixed_s) / per_token), shape.most)
    settings = bench.settings(window, rows, max(fits, shape.trial))
    bench.open(settings)
    used_mb = on.used_mb()
    bare, products, harvests = [], [], []
    for _ in range(PAIRS):
        bare.append(bench.bare_s(settings))
        if shape.activation == "topk":
            products.append(bench.bare_s(settings, with_encoder=True))
        harvests.append(bench.harvested(wants, settings))
    middle = statistics.median
    tokens = settings.tokens
    wall_s = middle(h.wall_s for h in harvests)
    note = (
        f"{on.name}; {described(shape)}; {shape.units} features and {shape.units} neurons, "
        f"{tokens:,} tokens in batches of {rows} windows of {window}, median of {PAIRS} pairs"
    )
    name = f"device_{shape.name}" + ("" if window == shape.batches[0][0] else f"_{window}")

    def ratio(over: list[float], whole: bool) -> float:
        taken = [h.wall_s if whole else h.pass_s for h in harvests]
        return round(middle(t / o for t, o in zip(taken, over, strict=True)), 3)

    yield figure(
        f"{name}_tokens_per_s",
        round(tokens / wall_s),
        "tokens/s",
        f"of a harvest, contexts made; the bare forward up to the site reads "
        f"{tokens / middle(bare):,.0f}; {note}",
    )
    forward = "over the bare forward up to the site"
    yield figure(f"{name}_ratio", ratio(bare, True), "ratio", f"wall {forward}; {note}")
    yield figure(
        f"{name}_pass_ratio",
        ratio(bare, False),
        "ratio",
        f"wall {forward}, without making contexts once the corpus is read; {note}",
    )
    if products:
        product = "over forward and x @ W_enc"
        yield figure(f"{name}_topk_ratio", ratio(products, True), "ratio", f"{product}; {note}")
        yield figure(
            f"{name}_topk_pass_ratio",
            ratio(products, False),
            "ratio",
            f"{product}, without making contexts once the corpus is read; {note}",
        )
    yield peak_figure(name, max(h.peak_mb for h in harvests), used_mb, note)
    share = middle(h.cpu_s / h.wall_s for h in harvests)
    yield share_figure(name, share, note)
    yield stages_figure(name, bench.stages(wants, settings), note)
    return rows


def all_units(bench: Bench, rows: int, seconds: float) -> Iterator[dict[str, Any]]:
    """Yield the figures of every feature and neuron of the shape, in about `seconds`."""
    shape, on = bench.shape, bench.on
    window = shape.batches[0][0]
    width = bench.subject.d_site * 2  # a neuron is two units, + and −
    some = wanted(bench.subject, min(COLUMNS_AT_ONCE, shape.latents), 0)
    settings = bench.settings(window, rows, shape.trial)
    bench.open(settings)
    trial = bench.harvested(some, settings)
    parts = -(-shape.latents // COLUMNS_AT_ONCE) - (-width // COLUMNS_AT_ONCE)
    fixed_s = parts * (trial.wall_s - trial.pass_s)
    fits = int((seconds - fixed_s) / (parts * trial.pass_s / trial.tokens))
    settings = bench.settings(window, rows, max(LEAST_TOKENS, min(fits, shape.most)))
    least_s = fixed_s + parts * trial.pass_s * settings.tokens / trial.tokens
    name = f"device_{shape.name}_all_units"
    if least_s > max(1.5 * seconds, 10.0):
        print(f"bench: {name} left out: it would take {least_s:.0f} s", file=sys.stderr)
        return
    bench.open(settings)
    wants = wanted(bench.subject, shape.latents, width)
    used_mb = on.used_mb()
    bare = statistics.median(bench.bare_s(settings) for _ in range(PAIRS))
    product = statistics.median(bench.bare_s(settings, True) for _ in range(PAIRS))
    harvested = bench.harvested(wants, settings)
    tokens = settings.tokens
    note = (
        f"{on.name}; {described(shape)}; all {shape.latents:,} features and {width:,} neurons, "
        f"{tokens:,} tokens in batches of {rows} windows of {window}, "
        f"one harvest, median of {PAIRS} bare passes"
    )
    whole_s, pass_s = harvested.wall_s, harvested.pass_s
    yield figure(f"{name}_tokens_per_s", round(tokens / whole_s), "tokens/s", note)
    forward = f"wall over the bare forward up to the site ({bare:.2f} s)"
    yield figure(f"{name}_ratio", round(whole_s / bare, 3), "ratio", f"{forward}; {note}")
    for over, spared_s, against in (
        ("pass", bare, forward),
        ("encoder_pass", product, f"wall over forward and x @ W_enc ({product:.2f} s)"),
    ):
        yield figure(
            f"{name}_{over}_ratio",
            round(pass_s / spared_s, 3),
            "ratio",
            f"{against}, without making contexts once the corpus is read; {note}",
        )
    yield peak_figure(name, harvested.peak_mb, used_mb, note)
    yield share_figure(name, harvested.cpu_s / whole_s, note)
    settings = bench.settings(window, rows, shape.trial)
    bench.open(settings)
    columns = f"{on.name}; {len(some[0].numbers):,} features alone, {settings.tokens:,} tokens"
    yield stages_figure(name, bench.stages(some, settings), columns)


def described(shape: Shape) -> str:
    """Return the model and SAE of a shape in words."""
    layers, hidden = shape.config["num_hidden_layers"], shape.config["hidden_size"]
    return (
        f"GPT-NeoX of {layers} layers of {hidden}, SAE of {shape.latents:,} "
        f"{shape.activation} latents at {shape.site}, both {str(DTYPE).removeprefix('torch.')}"
    )


def peak_figure(name: str, peak_mb: float, used_mb: float, note: str) -> dict[str, Any]:
    """Return the figure of the memory on the device."""
    return figure(
        f"{name}_peak_mb",
        round(peak_mb, 1),
        "MB",
        f"peak of the tensors on the device, {used_mb:,.0f} of it there before; {note}",
    )


def share_figure(name: str, share: float, note: str) -> dict[str, Any]:
    """Return the figure of the host's work."""
    cores = os.cpu_count()
    return figure(
        f"{name}_host_cpu_share",
        round(share, 3),
        "cores",
        f"CPU seconds of the process a second of harvest, waits for the device included, of "
        f"{cores} cores; {note}",
    )


def stages_figure(name: str, spent: dict[str, float], note: str) -> dict[str, Any]:
    """Return the figure of the stages."""
    return figure(f"{name}_stages", spent, "s", f"one harvest, the device synchronised; {note}")


def figures(
    device: str | None = None, shapes: Sequence[Shape] | None = None
) -> Iterator[dict[str, Any]]:
    """Yield the figures of the shapes on a device: the accelerator that there is, if None.

    On a CPU the shapes have a few thousand weights: it shows that the module works, no more.
    """
    began = time.perf_counter()
    on = accelerator(device)
    if shapes is None:
        shapes = SMALL_SHAPES if device == "cpu" else SHAPES
    if on is None:
        missing = "no accelerator: torch finds neither CUDA nor MPS here"
        yield figure("device_accelerators", 0, "devices", missing)
        return
    fastest: dict[str, int] = {}
    for shape in shapes:
        bench = build(shape, on)
        for window, choices in shape.batches:
            if time.perf_counter() - began > LIMIT_S:
                print(f"bench: no time for {shape.name}, window {window}", file=sys.stderr)
                break
            rows = yield from measured(bench, window, choices)
            fastest.setdefault(shape.name, rows)
        del bench  # its memory is not to be counted with the next one's
        gc.collect()
    for shape in shapes:
        left = LIMIT_S - (time.perf_counter() - began)
        if shape.all_units_s and left > 0:
            seconds = min(shape.all_units_s, left)
            yield from all_units(build(shape, on), fastest[shape.name], seconds)
