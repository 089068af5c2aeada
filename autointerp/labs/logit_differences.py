"""Tokens whose logits a unit changes where it fires: by ablation, and by its direct path.

The ablation of a token is its logit at the peak of a context less that with the unit at 0 there,
less the mean over the vocabulary, averaged over the unit's strongest contexts. Random directions of
equal norm, taken away at the same places, give its noise: the standard deviation over them. The
direct path (logit lens) is given in multiples of its own noise, as its scale is not known.
Source: Riggs, `sparse_coding` (SEEDS §4).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from autointerp.errors import BadInput, SubjectError
from autointerp.labs import Options, Row
from autointerp.labs._bench import Bench, OnBench, Window, each, reason_of, without
from autointerp.labs._prompts import as_batch
from autointerp.store.run import Run
from autointerp.subjects.interventions import ChangeableModel, moved_at
from autointerp.units.levers import direct_path, levers_of, model_of

LOGITS = 2**25  # that are held at a time

COLUMNS = {
    "side": "`promoted`: the unit raises the token's logit; or `suppressed`",
    "rank": "by size of the ablation, from 1",
    "token": "of the vocabulary",
    "ablation": "what the unit adds to the token's logit, averaged over the contexts",
    "noise": "standard deviation of the same over random directions of equal norm",
    "largest": "largest ablation, without sign, of any token; and of any random direction: the "
    "median over them",
    "lens": "of the token, by the direct path, in standard deviations over random directions; none "
    "where the site has no such path",
    "lens_rank": "of the token on its side by the direct path, from 1",
    "contexts": "over which the ablation is averaged",
    "outcome": "`ok`, or why nothing was measured",
}
OPTIONS = {"tokens": 10, "contexts": 5, "random": 8, "seed": 0}
LENS_RANDOM = 64  # random directions for the noise of the direct path


def run(run: Run, units: Sequence[int], options: Options) -> Iterator[Row]:
    """Yield a row a unit and token that stands out, promoted ones first."""
    return each(run, units, "lab logit-differences", measure, options)


def measure(bench: Bench, unit_id: int, options: Options) -> Iterator[Row]:
    """Yield the rows of one unit."""
    for name, least in (("tokens", 1), ("contexts", 1), ("random", 2)):
        if options[name] < least:
            raise BadInput(f"--option {name}={options[name]}: ask for at least {least}")
    unit, subject = bench.units[unit_id], bench.subject
    try:
        model = model_of(subject, unit.source_name, unit.source)
        windows = bench.windows(unit_id, options["contexts"])
        measured = _ablated(bench, unit, model, windows, options)
    except SubjectError as error:
        yield without(unit_id, COLUMNS, reason_of(error))
        return
    if measured is None:
        yield without(unit_id, COLUMNS, "the run holds none of its strongest contexts")
        return
    ablation, random = measured
    lens = _lens(bench, unit, options["seed"])
    noise = random.std(0)
    texts = subject.token_texts
    candidates = torch.tensor(
        [i for i, text in enumerate(texts) if text and i not in subject.special]
    )
    values = ablation[candidates]
    count = min(options["tokens"], len(candidates) // 2)
    for side, is_largest in (("promoted", True), ("suppressed", False)):
        chosen = candidates[values.topk(count, largest=is_largest).indices].tolist()
        ranks = {} if lens is None else _ranks(lens[candidates], candidates, is_largest)
        for rank, token in enumerate(chosen, 1):
            yield {
                "unit_id": unit_id,
                "side": side,
                "rank": rank,
                "token": texts[token],
                "ablation": float(ablation[token]),
                "noise": float(noise[token]),
                "largest": [
                    float(values.abs().max()),
                    float(random[:, candidates].abs().amax(1).median()),
                ],
                "lens": None if lens is None else float(lens[token]),
                "lens_rank": ranks.get(token),
                "contexts": len(windows),
                "outcome": "ok",
            }


def _ranks(values: Tensor, tokens: Tensor, is_largest: bool) -> dict[int, int]:
    order = tokens[values.argsort(descending=is_largest, stable=True)].tolist()
    return {token: rank for rank, token in enumerate(order, 1)}


def _ablated(
    bench: Bench,
    unit: OnBench,
    model: ChangeableModel,
    windows: Sequence[Window],
    options: Options,
) -> tuple[Tensor, Tensor] | None:
    """Return what the unit adds to the logits [vocabulary], and what each random direction does,
    [directions, vocabulary]; None without contexts.
    """
    if not windows:
        return None
    levers = levers_of(unit.source, np.array([unit.number]))
    device = bench.subject.device
    width = levers.directions.shape[1]
    drawn = torch.from_numpy(
        np.random.default_rng([options["seed"], 0x6C6F67]).standard_normal(
            (options["random"], width), dtype=np.float32
        )
    )
    drawn = drawn / drawn.norm(dim=1, keepdim=True)
    total = torch.zeros(1 + len(drawn), len(bench.subject.token_texts), dtype=torch.float64)
    for window in windows:
        ids, attention = as_batch(window.ids)
        ids, attention = ids.to(device), attention.to(device)
        at: list[Tensor] = []

        def look(x: Tensor, at: list[Tensor] = at) -> Tensor:
            at.append(x[:, -1:])
            return x

        whole = model.logits(ids, attention, look)[0, -1].double().cpu()
        x = at[0]
        written = levers.change(x, levers.activations(x))[0, 0].cpu()
        changes = torch.cat([written[None], drawn * written.norm()])
        rows = max(1, LOGITS // (len(window.ids) * len(total[0])))
        parts = []
        for part in changes.split(rows):
            many, seen = as_batch(window.ids, len(part))
            positions = torch.full((len(part),), len(window.ids) - 1, device=device)
            change = moved_at(positions, -part.to(device))
            parts.append(model.logits(many.to(device), seen.to(device), change)[:, -1].cpu())
        lost = whole - torch.cat(parts).double()
        total += lost - lost.mean(1, keepdim=True)
    mean = total / len(windows)
    return mean[0], mean[1:]


def _lens(bench: Bench, unit: OnBench, seed: int) -> Tensor | None:
    """Return the unit's direct effect on each token's logit in standard deviations of that of
    random directions of its norm; None where there is no direct path.
    """
    try:
        readout, written = direct_path(bench.subject, unit.source)
        direction = written(np.array([unit.number])).float().cpu()
        rng = np.random.default_rng([seed, 0x6C656E])
        drawn = torch.from_numpy(
            rng.standard_normal((LENS_RANDOM, direction.shape[1]), dtype=np.float32)
        )
        drawn = drawn / drawn.norm(dim=1, keepdim=True) * direction.norm()
        effects = readout.effects(torch.cat([direction, drawn])).cpu()
    except SubjectError:
        return None
    return effects[0] / effects[1:].std(0).clamp_min(1e-12)
