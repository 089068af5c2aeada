"""What labs change and measure in the embedded subject; what matching, maps and probes cost; what
scorers of the output side give the truth about planted units and directions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autointerp.labs.attribution import Question, effects_of
from autointerp.settings import SubjectSettings
from autointerp.subjects.interventions import Levers
from autointerp.subjects.load import load_subject
from autointerp.units.levers import levers_of, model_of
from autointerp.units.sources.features import Features
from bench._map import map_figures
from bench._match import match_figures
from bench._output_side import output_side_figures
from bench._use import use_figures
from bench._vocabulary import vocabulary_figures

WINDOWS = 40
TOKENS = 24  # of a prompt
FIRES = 1e-5


def figures(quick: bool = False) -> Iterator[dict[str, Any]]:
    """Yield how little a clamp at the natural value changes, how ablation and attribution agree,
    what matching, laying out and trying a vocabulary take, what scorers of the output side give
    the truth, and how often intervals by use cover.
    """
    yield from match_figures(quick)
    yield from map_figures(quick)
    yield from vocabulary_figures(quick)
    yield from output_side_figures(quick)
    yield from use_figures(quick)
    subject = load_subject(SubjectSettings())
    assert subject.sae is not None
    source = Features(subject.sae)
    model = model_of(subject, "features", source)
    batch = next(subject.cut(TOKENS, 4 * WINDOWS))
    whole = batch.attention.all(1)
    ids = torch.from_numpy(batch.ids[whole][: WINDOWS // 4 if quick else WINDOWS])
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
