"""Whether a unit is a few neurons: those on wherever it fires, and those its direction is made of.

A neuron counts as on where it is above an absolute threshold on every one of the unit's strongest
examples, and as unusually on where it is above its own quantile on all of them. Its weight is its
component of the unit's direction times the unit's maximum. A dictionary that learned the identity
has one neuron a feature: all of a direction's norm in its largest neuron. Random directions say
what is chance. Source: Riggs, `sparse_coding` (SEEDS §4).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autointerp.errors import BadInput, SubjectError
from autointerp.labs import Options, Row
from autointerp.labs._bench import Bench, each, reason_of, without
from autointerp.store.run import Run
from autointerp.subjects.autoencoder import SparseAutoencoder
from autointerp.units.sources import Directed
from autointerp.units.sources.neurons import create as create_neurons
from autointerp.units.stream import quiet_torch

LISTED = 20  # neurons of a unit, by weight, beside those that are on
RANDOM = 1_000  # directions
DECILES = np.linspace(0, 1, 11)
LARGEST = (1, 3, 10)

COLUMNS = {
    "share_1": "of the direction's squared norm, in its largest neuron; none where the direction "
    "is not one of the neurons' space",
    "share_3": "in its largest 3",
    "share_10": "in its largest 10",
    "dictionary_1": "the same as share_1 of all dictionary vectors: deciles, least first",
    "random_1": "the same of random directions: deciles",
    "examples": "strongest contexts, at whose peaks neurons are looked at",
    "on": "neurons above the absolute threshold on all of these",
    "unusual": "neurons above their own quantile on all of these",
    "neurons": "the largest by weight and all that are unusual: name, weight (component of the "
    "direction times the unit's maximum), share of the squared norm, least and mean activation on "
    "the examples, quantile (the neuron's own, over the corpus), on, unusual",
    "outcome": "`ok`, or why nothing was measured",
}
OPTIONS = {"examples": 10, "threshold": 0.1, "quantile": 0.95}


def run(run: Run, units: Sequence[int], options: Options) -> Iterator[Row]:
    """Yield a row a unit."""
    return each(run, units, "lab neuron-alignment", measure, options)


def measure(bench: Bench, unit_id: int, options: Options) -> Iterator[Row]:
    """Yield the row of one unit."""
    if options["examples"] < 1:
        raise BadInput(f"--option examples={options['examples']}: ask for at least 1 example")
    if not 0 < options["quantile"] < 1:
        raise BadInput(f"--option quantile={options['quantile']}: give a share between 0 and 1")
    if not np.isfinite(options["threshold"]):
        raise BadInput(f"--option threshold={options['threshold']}: give a number")
    unit = bench.units[unit_id]
    if not isinstance(unit.source, Directed):
        reason = f"units of {unit.source_name} are no directions in the model"
        yield without(unit_id, COLUMNS, reason)
        return
    try:
        direction = unit.source.written(np.array([unit.number])).float().cpu().numpy()[0]
    except SubjectError as error:
        yield without(unit_id, COLUMNS, reason_of(error))
        return
    subject = bench.subject
    neurons = create_neurons(subject, bench.calibration, bench.run.settings.seed)
    is_own = bool(getattr(unit.source, "are_hidden", False)) == neurons.are_hidden
    shares = None
    is_own = is_own and not unit.source.transcodes  # which writes another site than it reads
    if is_own and len(direction) == neurons.width and direction.any():
        shares = direction**2 / (direction**2).sum()
    windows = bench.windows(unit_id, options["examples"])
    at_peaks = [_neurons_at_peak(bench, window.ids) for window in windows]
    usual = _quantiles(bench, options["quantile"], neurons.signed)
    (stored,) = bench.run.units_numbered([unit_id])
    peak = stored.summary.peak
    halves = (1, -1) if neurons.signed else (1,)
    least = np.full((len(halves), neurons.width), -np.inf)
    mean = np.zeros((len(halves), neurons.width))
    if at_peaks:
        values = np.stack(at_peaks)
        both = np.stack([values * sign for sign in halves], axis=1).clip(min=0)
        least, mean = both.min(0), both.mean(0)
    is_on = least > options["threshold"]
    is_unusual = (least > usual) & (least > 0)
    order = [] if shares is None else np.argsort(-shares, kind="stable")[:LISTED].tolist()
    signs = {n: 1 if direction[n] >= 0 or not neurons.signed else -1 for n in order}
    listed = [(halves.index(signs[n]), n) for n in order]
    listed += [
        (int(half), int(n)) for half, n in np.argwhere(is_unusual) if (half, n) not in listed
    ]
    ranked = None if shares is None else np.sort(shares)[::-1].cumsum()
    yield {
        "unit_id": unit_id,
        **{
            f"share_{k}": None if ranked is None else float(ranked[min(k, len(ranked)) - 1])
            for k in LARGEST
        },
        "dictionary_1": None if shares is None else _dictionary(bench, neurons.width),
        "random_1": None if shares is None else _random(neurons.width),
        "examples": len(windows),
        "on": int(is_on.sum()) if windows else None,
        "unusual": int(is_unusual.sum()) if windows else None,
        "neurons": [
            {
                "neuron": f"neurons/{n}{'' if halves[half] > 0 else '-'}",
                "weight": None if shares is None else float(direction[n] * peak),
                "share": None if shares is None else float(shares[n]),
                "least": float(least[half, n]) if windows else None,
                "mean": float(mean[half, n]) if windows else None,
                "quantile": float(usual[half, n]),
                "on": bool(is_on[half, n]) if windows else None,
                "unusual": bool(is_unusual[half, n]) if windows else None,
            }
            for half, n in listed
        ],
        "outcome": "ok",
    }


def _neurons_at_peak(bench: Bench, ids: Sequence[int]) -> NDArray[np.float64]:
    """Return all neurons at the last of these ids."""
    batch = torch.tensor([list(ids)]).to(bench.subject.device)
    attention = torch.ones_like(batch, dtype=torch.bool)
    with quiet_torch():
        if bench.subject.read_both is None:
            x = bench.subject.model.activations(batch, attention)
        else:
            _, x = bench.subject.read_both(batch, attention)
    return x[0, -1].double().cpu().numpy()


def _quantiles(bench: Bench, quantile: float, signed: bool) -> NDArray[np.float64]:
    """Return the quantile [halves, neurons] of each neuron's activation over the corpus.

    The calibration tokens stand for the corpus. Hidden neurons beside an SAE are not among them;
    they are read on the first of its tokens again.
    """
    x = bench.calibration.activations
    if bench.subject.read_both is not None:
        x = _hidden_again(bench)
    some: Tensor = x[:: max(1, len(x) // 10_000)].float().cpu()
    values = some.numpy()
    halves = [values.clip(min=0), (-values).clip(min=0)] if signed else [values]
    return np.stack([np.quantile(half, quantile, axis=0) for half in halves])


def _hidden_again(bench: Bench) -> Tensor:
    """Return hidden neurons [tokens, width] on the first 4,096 calibration tokens, as one text."""
    assert bench.subject.read_both is not None
    length = min(bench.subject.longest, 128)
    ids = bench.calibration.ids[:4_096].cpu().long()
    ids = ids[: len(ids) // length * length].view(-1, length)
    read = []
    with quiet_torch():
        for part in ids.split(64):
            batch = part.to(bench.subject.device)
            _, hidden = bench.subject.read_both(batch, torch.ones_like(batch, dtype=torch.bool))
            read.append(hidden[:, 1:].flatten(0, 1))  # the first is an attention sink
    return torch.cat(read)


def _dictionary(bench: Bench, width: int) -> list[float] | None:
    """Return the deciles of the largest neuron's share over all dictionary vectors."""
    sae = bench.subject.sae
    if not isinstance(sae, SparseAutoencoder) or sae.d_out != width:
        return None
    squares = sae.W_dec.float().cpu().numpy() ** 2
    norms = squares.sum(1)
    return _deciles(squares[norms > 0].max(1) / norms[norms > 0])


def _random(width: int) -> list[float]:
    squares = np.random.default_rng(0).standard_normal((RANDOM, width)) ** 2
    return _deciles(squares.max(1) / squares.sum(1))


def _deciles(values: NDArray[np.floating]) -> list[float]:
    return [float(value) for value in np.quantile(values, DECILES)]
