"""How much units matter over the corpus: |activation x gradient of the loss along the direction|.

The attribution of a unit at a token is its activation there times the gradient of the model's loss
(the sum over the window, so that what the unit does to later tokens counts), along the direction
that the unit adds to the site: to first order, what the loss would change by if it were silent. Its
size without sign, averaged over tokens, says how often and how much the unit matters. Untrained
features are attributed in the untrained twin, by its own loss. The corpus is streamed; nothing of
it is kept. Source: Bricken et al. 2023, Templeton et al. 2024 (uniform sampling of units ignores
importance, SEEDS §5).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from autointerp.errors import BadInput, SubjectError
from autointerp.labs import Options, Read, Row
from autointerp.labs._refusals import none_measured
from autointerp.store.run import Run
from autointerp.subjects import Subject
from autointerp.subjects.interventions import ChangeableModel, Levers, gradient_at_site
from autointerp.units.levers import levers_of, model_of
from autointerp.units.reopen import numbers_again, sources_again, subject_again
from autointerp.units.stream import Reading, readings, some_rows

LOGITS = 2**23  # that are held at a time, with their gradients
UNITS = 1_024  # whose activations are computed at a time
METRICS = ("loss", "logit")

COLUMNS = {
    "importance": "mean over tokens of |activation x gradient along the unit's direction|: nats of "
    "the window's loss, or logits",
    "net": "the same with its sign: above 0 where the unit raises the loss, or the logit",
    "per_firing": "the mean without sign over tokens on which the unit fires; none where it never "
    "does",
    "fires": "share of tokens on which it fires",
    "tokens": "tokens that were read",
    "metric": "`loss` (of every next token) or `logit` (of the token that comes next)",
    "outcome": "`ok`, or why nothing was measured",
}
OPTIONS = {"tokens": 50_000, "metric": "loss"}


@dataclass
class _Sums:
    """What is known of some units of one source so far; sums are over tokens."""

    unit_ids: Sequence[int]
    model: ChangeableModel
    levers: Levers
    size: NDArray[np.float64] = field(init=False)
    net: NDArray[np.float64] = field(init=False)
    fired: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        count = len(self.unit_ids)
        self.size, self.net = np.zeros(count), np.zeros(count)
        self.fired = np.zeros(count, np.int64)

    def add(self, x: Tensor, gradient: Tensor, fires: float) -> None:
        """Add tokens: the site's activations and the gradient there, [tokens, width] each."""
        active = self.levers.activations(x[None])[0]
        active = torch.where(active > fires, active, 0.0)
        slope = gradient @ self.levers.directions.to(gradient.device, gradient.dtype).T
        if self.levers.scale is not None:
            slope = slope * self.levers.scale(x)
        moved = (active * slope).double()
        self.size += moved.abs().sum(0).cpu().numpy()
        self.net += moved.sum(0).cpu().numpy()
        self.fired += (active > 0).sum(0).cpu().numpy()


def run(run: Run, units: Sequence[int], options: Options) -> Iterator[Row | Read]:
    """Yield one row a unit, all of them after the corpus was read; meanwhile how far it is."""
    if options["metric"] not in METRICS:
        raise BadInput(f"--option metric={options['metric']}: give loss or logit")
    if options["tokens"] < 1:
        raise BadInput(f"--option tokens={options['tokens']}: read at least 1 token")
    subject = subject_again(run, "lab importance")
    parts: list[_Sums] = []
    reasons: dict[str, str] = {}
    lost: list[tuple[int, str]] = []
    for name, source, members in list(sources_again(run, subject, units)):
        try:
            model = model_of(subject, name, source)
            numbers = numbers_again(run, name, source, members)
            for begin in range(0, len(members), UNITS):
                own = slice(begin, begin + UNITS)
                parts.append(_Sums(members[own], model, levers_of(source, numbers[own])))
        except SubjectError as error:
            reasons[name] = str(error)
            lost += [(unit_id, str(error)) for unit_id in members]
    if not parts:
        refusal = "lab importance: no unit can be attributed"
        raise none_measured(refusal, reasons, "name other sources", subject)
    settings = run.settings.harvest
    least = min(limit for limit in (options["tokens"], settings.tokens) if limit)
    length = subject.length()
    total = min(least, length.tokens) if length is not None and length.exact else least
    tokens = 0
    for reading in readings(subject, replace(settings, tokens=least)):
        for some in _few_rows(subject, reading):
            tokens += int(some.kept.sum())
            _read(subject, some, parts, options["metric"], settings.fires)
            yield Read(tokens, total)
    for part in parts:
        for place, unit_id in enumerate(part.unit_ids):
            fired = int(part.fired[place])
            yield {
                "unit_id": unit_id,
                "importance": float(part.size[place]) / tokens,
                "net": float(part.net[place]) / tokens,
                "per_firing": float(part.size[place]) / fired if fired else None,
                "fires": fired / tokens,
                "tokens": tokens,
                "metric": options["metric"],
                "outcome": "ok",
            }
    for unit_id, reason in lost:
        yield {"unit_id": unit_id, **dict.fromkeys(COLUMNS), "outcome": reason}


def _few_rows(subject: Subject, reading: Reading) -> Iterator[Reading]:
    """Yield a batch in parts whose logits are not more than are to be held at a time."""
    count, length = reading.windows.ids.shape
    size = max(1, LOGITS // (length * max(1, len(subject.token_texts))))
    for begin in range(0, count, size):
        rows = [row for row in range(begin, min(begin + size, count)) if reading.kept[row].any()]
        if rows:
            yield some_rows(reading, rows)


def _read(
    subject: Subject, reading: Reading, parts: Sequence[_Sums], metric: str, fires: float
) -> None:
    ids = torch.from_numpy(reading.windows.ids).to(subject.device)
    attention = torch.from_numpy(reading.windows.attention).to(subject.device)
    is_next = attention[:, :-1] & attention[:, 1:]

    def total(logits: Tensor) -> Tensor:
        ahead = logits[:, :-1][is_next.to(logits.device)].float()
        following = ids[:, 1:][is_next].to(logits.device)
        if metric == "loss":
            return functional.cross_entropy(ahead, following, reduction="sum")
        return ahead.gather(1, following[:, None]).sum()

    kept = torch.from_numpy(reading.kept)
    for model in {id(part.model): part.model for part in parts}.values():
        x, gradient = gradient_at_site(model, ids, attention, total)
        own = kept.to(x.device)
        with torch.no_grad():
            for part in parts:
                if part.model is model:
                    part.add(x[own], gradient[own].float(), fires)
