"""Units that are like a unit: the nearest directions, and what fires together with it.

Neighbours are latents of the SAE, in the run or not, or units of the same source without an SAE.
Firing together is counted on the first tokens of the corpus and measured by the correlation of
firing (phi), since frequent units meet everybody often.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from autointerp.errors import BadInput, SubjectError
from autointerp.labs import Options, Row
from autointerp.labs._bench import Bench, OnBench, each, without
from autointerp.store.run import Run
from autointerp.units.sources import Directed, SiteBatch, Source, space_of
from autointerp.units.sources.features import Features
from autointerp.units.sources.neurons import Neurons
from autointerp.units.stream import CALIBRATION_TOKENS, quiet_torch, site_batches

CELLS = 2**28  # tokens x units that are compared in firing
COLUMNS_AT_ONCE = 2_048
ROWS = 4_096  # calibration tokens at a time
LEAST_FIRINGS = 5

COLUMNS = {
    "kind": "`nearest` by cosine, or `together`: fires together with it",
    "rank": "among these, from 1",
    "neighbour": "name of the other unit",
    "cosine": "of the two directions; none where they are in different spaces, or not known",
    "phi": "correlation of firing over the tokens that were looked at; for `together` alone",
    "share": "of the unit's firing tokens, on which the other fires; for `together` alone",
    "usual": "share of all tokens on which the other fires; for `together` alone",
    "tokens": "of the corpus that were looked at; for `together` alone",
    "outcome": "`ok`, or why there is none of this kind",
}
OPTIONS = {"count": 10}


def run(run: Run, units: Sequence[int], options: Options) -> Iterator[Row]:
    """Yield a row a unit, kind and neighbour, the nearest first."""
    return each(run, units, "lab neighbours", measure, options)


def measure(bench: Bench, unit_id: int, options: Options) -> Iterator[Row]:
    """Yield the rows of one unit."""
    if options["count"] < 1:
        raise BadInput(f"--option count={options['count']}: ask for at least 1 neighbour")
    unit = bench.units[unit_id]
    others_name, others = _others(bench, unit)
    own = unit.number if others_name == unit.source_name else None
    cosines = _cosines(unit, others)
    empty = dict.fromkeys(COLUMNS)
    if cosines is None:
        reason = f"directions of {unit.source_name} and {others_name} are in different spaces"
        yield {**without(unit_id, COLUMNS, reason), "kind": "nearest"}
    else:
        ranked = [n for n in np.argsort(-cosines, kind="stable").tolist() if n != own]
        for rank, number in enumerate(ranked[: options["count"]], 1):
            yield {
                **empty, "unit_id": unit_id, "kind": "nearest", "rank": rank,
                "neighbour": str(others.unit(number)), "cosine": float(cosines[number]),
                "outcome": "ok",
            }  # fmt: skip
    counts = _counts(bench, unit, others)
    if counts.fires < LEAST_FIRINGS:
        reason = f"it fires on {counts.fires} of {counts.tokens:,} tokens: too few to tell"
        yield {**without(unit_id, COLUMNS, reason), "kind": "together"}
        return
    phi = counts.phi()
    if own is not None:
        phi[own] = -np.inf
    ranked = [n for n in np.argsort(-phi, kind="stable").tolist() if phi[n] > 0]
    if not ranked:
        reason = f"no unit of {others_name} fires together with it more than by chance"
        yield {**without(unit_id, COLUMNS, reason), "kind": "together"}
    for rank, number in enumerate(ranked[: options["count"]], 1):
        yield {
            "unit_id": unit_id,
            "kind": "together",
            "rank": rank,
            "neighbour": str(others.unit(number)),
            "cosine": None if cosines is None else float(cosines[number]),
            "phi": float(phi[number]),
            "share": float(counts.both[number] / counts.fires),
            "usual": float(counts.each[number] / counts.tokens),
            "tokens": counts.tokens,
            "outcome": "ok",
        }


def _others(bench: Bench, unit: OnBench) -> tuple[str, Source]:
    """Return the units among which neighbours are looked for, and the name of their source."""
    if bench.subject.sae is None:
        return unit.source_name, unit.source
    return "features", cast(Source, Features(bench.subject.sae))


def _cosines(unit: OnBench, others: Source) -> NDArray[np.float64] | None:
    """Return the cosines [units] of the unit's direction with the others'; None where they are not
    known or of different spaces.
    """
    if not isinstance(unit.source, Directed) or not isinstance(others, Directed):
        return None
    try:
        own = unit.source.written(np.array([unit.number])).float().cpu().numpy()
        if space_of(unit.source) != space_of(others) or not own.any():
            return None
        cosines = []
        for begin in range(0, others.size, COLUMNS_AT_ONCE):
            numbers = np.arange(begin, min(begin + COLUMNS_AT_ONCE, others.size))
            rows = others.written(numbers).float().cpu().numpy()
            if rows.shape[1] != own.shape[1]:
                return None
            norms = np.linalg.norm(rows, axis=1).clip(min=1e-12)
            cosines.append(rows @ own[0] / norms)
    except SubjectError:
        return None
    return np.concatenate(cosines).astype(np.float64) / float(np.linalg.norm(own))


@dataclass(frozen=True)
class Counts:
    """On how many tokens units fire.

    Attributes:
        tokens: That were looked at.
        fires: The unit itself.
        each, both: [units] the others, and the others together with it.
    """

    tokens: int
    fires: int
    each: NDArray[np.int64]
    both: NDArray[np.int64]

    def phi(self) -> NDArray[np.float64]:
        """Return the correlation [units] of the unit's firing with that of the others; 0 where one
        of them always fires or never does.
        """
        n, a = float(self.tokens), float(self.fires)
        b = self.each.astype(np.float64)
        spread = np.sqrt(a * (n - a) * b * (n - b))
        return np.where(spread > 0, (n * self.both - a * b) / np.where(spread > 0, spread, 1), 0)


def _counts(bench: Bench, unit: OnBench, others: Source) -> Counts:
    """Return how often the unit and the others fire on the first tokens of the corpus.

    All units of the bench that have the same neighbours are counted in one pass.
    """
    name, _ = _others(bench, unit)
    key = "neighbours", name, _reads_site(unit.source)
    if key not in bench.memo:
        alike = [
            one
            for one in bench.units.values()
            if (_others(bench, one)[0], _reads_site(one.source)) == key[1:]
        ]
        bench.memo[key] = dict(
            zip([one.unit_id for one in alike], _counted(bench, alike, others), strict=True)
        )
    counts: Counts = bench.memo[key][unit.unit_id]
    return counts


def _counted(bench: Bench, units: Sequence[OnBench], others: Source) -> list[Counts]:
    fires = bench.run.settings.harvest.fires
    most = min(CALIBRATION_TOKENS, max(1_000, CELLS // others.size))
    tokens = 0
    own = np.zeros(len(units), dtype=np.int64)
    each = np.zeros(others.size, dtype=np.int64)
    both = np.zeros((len(units), others.size), dtype=np.int64)
    with quiet_torch():
        for batch in _batches(bench, all(_reads_site(unit.source) for unit in units)):
            kept = batch.kept.flatten()
            here = [(unit.block(batch).flatten() > fires) & kept for unit in units]
            tokens += int(kept.sum())
            own += [int(one.sum()) for one in here]
            for begin in range(0, others.size, COLUMNS_AT_ONCE):
                numbers = np.arange(begin, min(begin + COLUMNS_AT_ONCE, others.size))
                firing = (others.block(numbers)(batch).flatten(0, -2) > fires) & kept[:, None]
                part = slice(begin, begin + len(numbers))
                each[part] += firing.sum(0).cpu().numpy()
                for row, one in enumerate(here):
                    both[row, part] += firing[one].sum(0).cpu().numpy()
            if tokens >= most:
                break
    return [Counts(tokens, int(own[row]), each, both[row]) for row in range(len(units))]


def _reads_site(source: Source) -> bool:
    """Return whether a source reads nothing but the site's activations."""
    is_hidden = isinstance(source, Neurons) and source.are_hidden
    return isinstance(source, Directed) and not is_hidden


def _batches(bench: Bench, reads_site: bool) -> Iterator[SiteBatch]:
    """Yield the first tokens of the corpus: those of the calibration, or where more than the site
    is read, by reading it again.
    """
    calibration = bench.calibration
    if not reads_site:
        settings = bench.run.settings
        for batch, _, _ in site_batches(bench.subject, settings.harvest, settings.seed):
            yield batch
        return
    parts = zip(calibration.activations.split(ROWS), calibration.ids.split(ROWS), strict=True)
    for x, ids in parts:
        kept = torch.ones_like(ids, dtype=torch.bool)
        yield SiteBatch(x[None], ids[None], kept[None], np.zeros((1, len(x)), dtype=np.uint64))
