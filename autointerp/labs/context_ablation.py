"""What each token of a unit's strongest contexts contributes: left out, or replaced, one by one.

The whole window is read up to the peak, the token on which the unit fires; what stands behind the
peak cannot change it in a causal model. A token is left out, not zeroed: what follows it moves one
position forward, the peak too, and is followed there. Where the peak itself is left out, the token
that then ends the text is looked at; the first token of windows without BOS counts as none, as in
the harvest, and has no activation. Replaced tokens keep all positions: by the corpus's commonest
token, or by another. BOS is never removed. Source: Riggs, `sparse_coding` (SEEDS §4).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from autointerp.errors import BadInput
from autointerp.labs import Options, Row
from autointerp.labs._bench import Bench, each, without
from autointerp.labs._prompts import one_token
from autointerp.store.run import Run

COLUMNS = {
    "context": "number of the context in the run",
    "tokens": "the context's tokens up to the peak, which is the last",
    "activation": "of the unit at the peak, in the subject's units",
    "left_out": "change of that activation, by token, where the token is left out",
    "replaced": "the same where the token is replaced",
    "neutral": "token that replaces them",
    "outcome": "`ok`, or why nothing was measured",
}
OPTIONS = {"contexts": 10, "neutral": ""}


def run(run: Run, units: Sequence[int], options: Options) -> Iterator[Row]:
    """Yield a row a unit and context, the strongest first."""
    return each(run, units, "lab context-ablation", measure, options)


def measure(bench: Bench, unit_id: int, options: Options) -> Iterator[Row]:
    """Yield the rows of one unit. Raises BadInput if `neutral` is not one token."""
    if options["contexts"] < 1:
        raise BadInput(f"--option contexts={options['contexts']}: ask for at least 1 context")
    texts = bench.subject.token_texts
    asked = options["neutral"]
    neutral = one_token(bench.subject, asked, "--neutral") if asked else bench.neutral[0]
    if reason := bench.why_unreadable(unit_id):
        yield without(unit_id, COLUMNS, reason)
        return
    windows = bench.windows(unit_id, options["contexts"])
    if not windows:
        yield without(unit_id, COLUMNS, "the run holds none of its strongest contexts")
    for window in windows:
        ids = torch.tensor(window.ids)
        places = range(window.first, len(ids))
        (natural,) = bench.activations(unit_id, ids[None], last=True).tolist()
        left_out = [-natural] * len(places)  # of the only token: nothing is left to fire
        if len(ids) > 1:
            shorter = torch.stack([torch.cat([ids[:at], ids[at + 1 :]]) for at in places])
            left_out = (bench.activations(unit_id, shorter, last=True) - natural).tolist()
        changed = ids.repeat(len(places), 1)
        for row, at in enumerate(places):
            changed[row, at] = stand_in(int(ids[at]), neutral, bench.neutral)
        replaced = bench.activations(unit_id, changed, last=True) - natural
        yield {
            "unit_id": unit_id,
            "context": window.number,
            "tokens": list(window.shown),
            "activation": natural,
            "left_out": left_out,
            "replaced": replaced.tolist(),
            "neutral": texts[neutral],
            "outcome": "ok",
        }


def stand_in(token: int, neutral: int, commonest: tuple[int, int]) -> int:
    """Return what replaces a token: `neutral`, or another common one where it is that itself."""
    if token != neutral:
        return neutral
    return commonest[1] if commonest[0] == neutral else commonest[0]
