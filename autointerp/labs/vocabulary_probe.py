"""Every token of the vocabulary before a unit's strongest context, behind it, and alone.

Looked at is always the last token of the text, and how its activation differs: with a token before
the context the peak itself; with one behind it that token, against the peak; alone that token, from
0. Alone means behind BOS, or behind the corpus's commonest token where windows have no BOS. The
context is cut to its last tokens, so that 50,000 tokens take minutes. Special tokens and those
without text are left out. Source: Riggs, `sparse_coding` (SEEDS §4).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from autointerp.errors import BadInput
from autointerp.labs import Options, Row
from autointerp.labs._bench import TOKENS, Bench, each, without
from autointerp.labs._prompts import token_strings
from autointerp.store.run import Run
from autointerp.units.stream import first_is_none

Placing = Literal["prepended", "appended", "alone"]
ROUNDING = 1e-4  # changes under this share of the context's activation count as none
PLACINGS: tuple[Placing, ...] = get_args(Placing)

COLUMNS = {
    "placing": "`prepended` or `appended` to the context, or `alone`",
    "text": "the context up to the peak, as it was read; empty for `alone`",
    "activation": "of the unit at the peak of that text, in the subject's units; 0 for `alone`",
    "side": "`rise` or `fall` of the activation of the last token",
    "rank": "by size of the change, from 1",
    "token": "of the vocabulary",
    "token_id": "its number there",
    "change": "of the activation of the last token, in the subject's units",
    "risen": "tokens by which it rises",
    "fallen": "tokens by which it falls",
    "probed": "tokens that were tried",
    "vocabulary": "tokens that there are to try; more than `probed` where the probe was stopped",
    "outcome": "`ok`, `no token changes it`, or why nothing was measured",
}
OPTIONS = {"tokens": 20, "context": 8}


@dataclass(frozen=True)
class Probe:
    """What a placing has shown of the first `probed` tokens of the vocabulary.

    Attributes:
        rises, falls: The largest changes, (change, token id), the largest first.
    """

    placing: Placing
    text: str
    activation: float
    vocabulary: int
    probed: int = 0
    risen: int = 0
    fallen: int = 0
    rises: tuple[tuple[float, int], ...] = ()
    falls: tuple[tuple[float, int], ...] = ()

    @property
    def is_whole(self) -> bool:
        return self.probed == self.vocabulary


def run(run: Run, units: Sequence[int], options: Options) -> Iterator[Row]:
    """Yield a row a unit, placing and token that stands out."""
    return each(run, units, "lab vocabulary-probe", measure, options)


def measure(bench: Bench, unit_id: int, options: Options) -> Iterator[Row]:
    """Yield the rows of one unit."""
    begun: dict[str, Probe] = {}
    reason = ""
    for step in steps(bench, unit_id, options):
        if isinstance(step, str):
            reason = step
        else:
            begun[step.placing] = step
    yield from rows_of(bench, unit_id, begun.values(), reason)


def steps(
    bench: Bench, unit_id: int, options: Options, begun: Sequence[Probe] = ()
) -> Iterator[Probe | str]:
    """Yield each placing's probe as it grows, from where `begun` ones ended; at last it is whole.

    A text in place of all is the reason why the unit cannot be probed.
    """
    for name in ("tokens", "context"):
        if options[name] < 1:
            raise BadInput(f"--option {name}={options[name]}: ask for at least 1 token")
    if reason := bench.why_unreadable(unit_id):
        yield reason
        return
    windows = bench.windows(unit_id, 1)
    if not windows:
        yield "the run holds none of its strongest contexts"
        return
    subject = bench.subject
    lead = [] if subject.bos is None else [subject.bos]
    (window,) = windows
    begin = max(window.first, len(window.ids) - options["context"])
    if first_is_none(subject, bench.run.settings.harvest):
        begin = min(begin, len(window.ids) - 2)  # the peak is never the first token
    own = list(window.ids[begin:])
    room = subject.longest - len(lead) - 1
    own = own[-room:]
    vocabulary = torch.tensor(
        [
            index
            for index, text in enumerate(subject.token_texts)
            if text and index not in subject.special
        ]
    )
    (natural,) = bench.activations(unit_id, torch.tensor([lead + own]), last=True).tolist()
    held = {probe.placing: probe for probe in begun}
    for placing in PLACINGS:
        text = "" if placing == "alone" else "".join(token_strings(subject, own))
        base = 0.0 if placing == "alone" else natural
        probe = held.get(placing)
        if probe is None or (probe.text, probe.vocabulary) != (text, len(vocabulary)):
            probe = Probe(placing, text, base, len(vocabulary))
        before, behind = {
            "prepended": (lead, own),
            "appended": (lead + own, []),
            "alone": (lead or [bench.neutral[0]], []),
        }[placing]
        yield probe
        while not probe.is_whole:
            rows = max(1, TOKENS // (len(before) + len(behind) + 1))
            part = vocabulary[probe.probed : probe.probed + rows]
            after = torch.tensor(behind, dtype=part.dtype).expand(len(part), -1)
            texts = torch.cat([part[:, None], after], dim=1)
            changes = bench.activations(unit_id, texts, last=True, before=before) - base
            changes[changes.abs() <= ROUNDING * natural] = 0.0
            probe = _grown(probe, part, changes, options["tokens"])
            yield probe


def rows_of(bench: Bench, unit_id: int, probes: Iterable[Probe], reason: str = "") -> Iterator[Row]:
    """Yield the rows of a unit's probes."""
    if reason:
        yield without(unit_id, COLUMNS, reason)
        return
    texts = bench.subject.token_texts
    for probe in probes:
        shared = {
            "unit_id": unit_id,
            "placing": probe.placing,
            "text": probe.text,
            "activation": probe.activation,
            "risen": probe.risen,
            "fallen": probe.fallen,
            "probed": probe.probed,
            "vocabulary": probe.vocabulary,
        }
        found = [("rise", probe.rises), ("fall", probe.falls)]
        for side, changes in found:
            for rank, (change, index) in enumerate(changes, 1):
                yield {
                    **shared, "side": side, "rank": rank, "token": texts[index],
                    "token_id": index, "change": change, "outcome": "ok",
                }  # fmt: skip
        if not probe.rises and not probe.falls:
            yield {
                **shared, "side": None, "rank": None, "token": None, "token_id": None,
                "change": None, "outcome": "no token changes it",
            }  # fmt: skip


def begun_of(rows: Sequence[Mapping[str, object]], keep: int) -> list[Probe]:
    """Return the probes that a unit's rows hold, whole or not; none where other numbers of tokens
    were kept.
    """
    by_placing: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row.get("placing") in PLACINGS:
            by_placing.setdefault(str(row["placing"]), []).append(row)
    probes = []
    for own in by_placing.values():
        one = own[0]
        sides = {
            side: tuple((row["change"], row["token_id"]) for row in own if row["side"] == side)
            for side in ("rise", "fall")
        }
        counts = {"rise": one["risen"], "fall": one["fallen"]}
        if all(len(held) == min(keep, counts[side]) for side, held in sides.items()):
            probes.append(
                Probe(
                    one["placing"], one["text"], one["activation"], one["vocabulary"],
                    one["probed"], one["risen"], one["fallen"], sides["rise"], sides["fall"],
                )
            )  # fmt: skip
    return probes


def _grown(probe: Probe, tokens: Tensor, changes: Tensor, keep: int) -> Probe:
    """Return the probe with some more tokens; equal changes stand by the tokens' ids."""
    pairs = list(zip(changes.tolist(), tokens.tolist(), strict=True))
    rises = sorted(
        [*probe.rises, *(pair for pair in pairs if pair[0] > 0)], key=lambda p: (-p[0], p[1])
    )
    falls = sorted([*probe.falls, *(pair for pair in pairs if pair[0] < 0)])
    return dataclasses.replace(
        probe,
        probed=probe.probed + len(tokens),
        risen=probe.risen + int((changes > 0).sum()),
        fallen=probe.fallen + int((changes < 0).sum()),
        rises=tuple(rises[:keep]),
        falls=tuple(falls[:keep]),
    )
