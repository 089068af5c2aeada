"""What labs change and measure in the embedded subject; what matching, maps and probes cost; what
scorers of the output side give the truth about planted units and directions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autointerp.labs.attribution import Question, effects_of
from autointerp.settings import SubjectSettings
from autointerp.subjects import Subject
from autointerp.subjects.interventions import ChangeableModel, Levers
from autointerp.subjects.load import load_subject
from autointerp.units.levers import levers_of, model_of
from autointerp.units.sources.features import Features
from bench._map import map_figures
from bench._match import match_figures
from bench._output_side import READ, output_side_figures
from bench._use import use_figures
from bench._vocabulary import vocabulary_figures

WINDOWS = 40
TOKENS = 24  # of a prompt
FIRES = 1e-5


def figures(quick: bool = False, only: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
    """Yield how little a clamp at the natural value changes, how ablation and attribution agree,
    what matching, laying out and trying a vocabulary take, what scorers of the output side give
    the truth, and how often intervals by use cover.

    One figure alone (`only`, by name) is measured with those that come of the same work.
    """
    wanted = set(only or FIGURES)
    for measure, names in PARTS:
        if wanted & set(names):
            for figure in measure(quick):
                if figure["figure"] in wanted or not only:
                    yield figure


def _embedded(quick: bool) -> tuple[Subject, Features, ChangeableModel, Tensor]:
    """Return the embedded subject, its features, its model and windows of whole text."""
    subject = load_subject(SubjectSettings())
    assert subject.sae is not None
    source = Features(subject.sae)
    model = model_of(subject, "features", source)
    batch = next(subject.cut(TOKENS, 4 * WINDOWS))
    whole = batch.attention.all(1)
    ids = torch.from_numpy(batch.ids[whole][: WINDOWS // 4 if quick else WINDOWS])
    return subject, source, model, ids


def _identity(quick: bool) -> Iterator[dict[str, Any]]:
    """Yield the largest change of a logit by a clamp at the natural value."""
    _, source, model, ids = _embedded(quick)
    attention = torch.ones_like(ids, dtype=torch.bool)
    plain = model.logits(ids, attention)
    largest = 0.0
    for begin in range(0, source.size, 512):
        levers = levers_of(source, np.arange(begin, min(begin + 512, source.size)))

        def natural(x: Tensor, begin: int = begin, levers: Levers = levers) -> Tensor:
            own = source.sae.encode(x)[..., begin : begin + len(levers.directions)]
            return x + levers.change(x, own - levers.activations(x))

        changed = model.logits(ids, attention, natural)
        largest = max(largest, float((changed - plain).abs().max()))
    yield {
        "figure": "steer_identity_max_diff",
        "value": float(f"{largest:.2g}"),
        "unit": "logits",
        "note": f"all {source.size:,} features, 512 at a time, clamped at their natural values on "
        f"{len(ids)} windows; target <= 1e-4",
    }


def _agreement(quick: bool) -> Iterator[dict[str, Any]]:
    """Yield how attribution and ablation correlate where both are exact up to the last layer."""
    subject, source, model, ids = _embedded(quick)
    plain = model.logits(ids, torch.ones_like(ids, dtype=torch.bool))
    linear, exact = [], []
    for row, logits in zip(ids.tolist(), plain[:, -1], strict=True):
        target, against = logits.topk(2).indices.tolist()
        question = Question(tuple(row), target, against)
        for effect in effects_of(subject, model, source, question, FIRES):
            if effect.position == len(row) - 1:  # in one layer no other reaches the last logits
                linear.append(effect.attribution)
                exact.append(effect.ablation)
    yield {
        "figure": "attribution_vs_ablation_r",
        "value": round(float(np.corrcoef(linear, exact)[0, 1]), 3),
        "unit": "Pearson's r",
        "note": f"{len(exact):,} active features at the last token of {len(ids)} prompts, "
        "likeliest next token against the second; published for a large model: 0.81",
    }


# Each with the names of its figures, at whole size and `quick`.
PARTS: tuple[tuple[Callable[[bool], Iterator[dict[str, Any]]], tuple[str, ...]], ...] = (
    (match_figures, ("match_100k_s", "match_10k_s", "match_peak_mb")),
    (map_figures, ("map_100k_s", "map_10k_s", "map_peak_mb")),
    (vocabulary_figures, ("vocabulary_probe_s",)),
    (
        output_side_figures,
        tuple(
            f"{scorer}_{name}" for scorer in (*READ, "steering") for name in ("true", "permuted")
        ),
    ),
    (use_figures, ("by_use_coverage",)),
    (_identity, ("steer_identity_max_diff",)),
    (_agreement, ("attribution_vs_ablation_r",)),
)
FIGURES = tuple(name for _, names in PARTS for name in names)
