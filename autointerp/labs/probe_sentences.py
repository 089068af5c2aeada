"""Activations of units on every token of sentences that somebody made up.

Sentences are read as windows are: behind BOS, where windows of the subject begin with it, else the
first token counts as none, as models use it as an attention sink. Without a sentence a unit is read
on its strongest context as a text of its own. Source: Riggs, `sparse_coding` (SEEDS §4).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from autointerp.errors import BadInput
from autointerp.labs import Options, Row
from autointerp.labs._bench import Bench, each, without
from autointerp.labs._prompts import several, token_ids, token_strings
from autointerp.store.run import Run

COLUMNS = {
    "text": "the sentence",
    "tokens": "its tokens, as the model reads them",
    "activations": "of the unit on each of them, in the subject's units",
    "largest": "the largest of these",
    "share": "that as a share of the unit's maximum in the run",
    "own": "whether it is the unit's own strongest context, since no sentence was given",
    "outcome": "`ok`, or why nothing was measured",
}
OPTIONS = {"texts": ""}


def run(run: Run, units: Sequence[int], options: Options) -> Iterator[Row]:
    """Yield a row a unit and sentence."""
    return each(run, units, "lab probe-sentences", measure, options)


def measure(bench: Bench, unit_id: int, options: Options) -> Iterator[Row]:
    """Yield the rows of one unit."""
    if reason := bench.why_unreadable(unit_id):
        yield without(unit_id, COLUMNS, reason)
        return
    if not options["texts"] and bench.subject.tokenise is None:
        yield without(unit_id, COLUMNS, "the subject has no tokenizer of texts")
        return
    texts = several(options["texts"]) if options["texts"] else own_text(bench, unit_id)
    if not texts:
        yield without(unit_id, COLUMNS, "no sentence, and the run holds no context of it")
    for text in texts:
        yield {**sentence(bench, unit_id, text), "own": not options["texts"]}


def own_text(bench: Bench, unit_id: int) -> list[str]:
    """Return the text of the unit's strongest context up to its peak; none where it has none."""
    return ["".join(window.shown) for window in bench.windows(unit_id, 1)]


def sentence(bench: Bench, unit_id: int, text: str) -> Row:
    """Return the row of one sentence. Raises BadInput if nothing of it can be read."""
    subject = bench.subject
    ids = token_ids(subject, text)
    begin = 0 if subject.bos is None else 1
    if len(ids) == begin:
        raise BadInput(f"--probe {text!r} has no tokens; give a sentence")
    values = bench.activations(unit_id, torch.tensor([ids]))[0].tolist()
    own = values[begin:]
    (stored,) = bench.run.units_numbered([unit_id])
    peak = stored.summary.peak
    return {
        "unit_id": unit_id,
        "text": text,
        "tokens": token_strings(subject, ids[begin:]),
        "activations": own,
        "largest": max(own),
        "share": max(own) / peak if peak > 0 else None,
        "own": False,
        "outcome": "ok",
    }
