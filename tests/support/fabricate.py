"""Runs without a subject: units, contexts and ratings as told, written as the real stages do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import duckdb
import numpy as np

from autointerp.questions.items import make_items
from autointerp.questions.rubric_files import load_rubric
from autointerp.records import (
    Context,
    HarvestedUnit,
    Rating,
    Reply,
    Request,
    Status,
    Unit,
    UnitSummary,
)
from autointerp.settings import RunSettings, SubjectSettings
from autointerp.store.run import IMPORTED, Run, open_run
from autointerp.units.sources import kind_of

WORDS = (
    "the",
    "of",
    "and",
    "to",
    "in",
    "that",
    "it",
    "with",
    "as",
    "for",
    "was",
    "on",
    "are",
    "by",
)
SCRIPT = "</script><script>document.title='owned'</script><!--"


def make_older(connection: duckdb.DuckDBPyConnection, *dropped: str) -> None:
    """Take tables and views, such as `TABLE look`, out of a run's database and its note of what it
    has: what is left is as a run of an earlier version."""
    for what in dropped:
        connection.execute(f"DROP {what}")
    connection.execute("DELETE FROM state WHERE name = 'schema'")


def fabricate_contexts(
    rng: np.random.Generator, peak: float, count: int, text: Sequence[str] = WORDS, length: int = 21
) -> list[Context]:
    """Return `count` strongest contexts and one of each of 10 intervals, of random words."""
    contexts = []
    for place in range(count + 10):
        top = place < count
        interval = 10 if top else place - count + 1
        level = peak * (1 - 0.01 * place if top else (interval - 0.5) / 10)
        focus = length // 2
        activations = np.where(rng.random(length) < 0.1, level / 2, 0.0)
        activations[focus] = level
        contexts.append(
            Context(
                tokens=tuple(" " + str(word) for word in rng.choice(list(text), length)),
                activations=tuple(activations.tolist()),
                focus=focus,
                draw="top" if top else "interval",
                interval=interval,
                split="explain",
                silent=False,
                document=int(rng.integers(10_000)),
                position=focus,
            )
        )
    return contexts


def fabricate_run(
    folder: Path,
    units: Mapping[str, int],
    name: str = "main",
    contexts: int = 10,
    excluded: Mapping[str, Mapping[str, int]] | None = None,
    density: Mapping[str, float] | None = None,
    text: Sequence[str] = WORDS,
    seed: int = 0,
    imported: bool = False,
) -> Run:
    """Return an open run with so many eligible units a source, harvested and not yet rated.

    Excluded units (source → outcome → count) stand first in their source's order. `density` is
    the sources' middle density, NaN for none known. An `imported` run has no subject, so it can be
    rated as it is. A run that exists gets more units.
    """
    rng = np.random.default_rng(seed)
    subject = SubjectSettings(model=IMPORTED) if imported else SubjectSettings()
    run = open_run(name, RunSettings(subject=subject, seed=seed), None, folder)
    harvested = []
    for source, n in units.items():
        outcomes = [o for o, k in (excluded or {}).get(source, {}).items() for _ in range(k)]
        middle = (density or {}).get(source, 0.1 if source == "neurons" else 0.005)
        for order, outcome in enumerate(outcomes + ["eligible"] * n):
            peak = float(rng.uniform(0.5, 4))
            share = float(np.minimum(0.9, middle * np.exp(rng.normal())))  # NaN stays NaN
            summary = UnitSummary(
                Unit(source, order),
                density=0.0 if np.isnan(share) else share,
                tokens=0 if np.isnan(share) else 1_000_000,
                peak=peak,
                order=order,
                outcome=outcome,  # type: ignore[arg-type]
                interval_tokens=tuple(1e5 * 0.3**k for k in range(10)),
            )
            shown = fabricate_contexts(rng, peak, contexts, text) if contexts else []
            harvested.append(HarvestedUnit(summary, shown if outcome == "eligible" else []))
    sizes = {source: (4 * n + 100, kind_of(source)) for source, n in units.items()}
    run.add_harvest(sizes, harvested)
    return run


def add_scores(
    run: Run,
    source: str,
    rater: str,
    counts: Sequence[int],
    rubric: str = "interpretability-1-5",
    repeat: int = 0,
    missing: Mapping[Status, int] | None = None,
    start: int = 0,
    seed: int = 0,
    rationale: str = "They share a word.",
    description: str = "a word",
    version: str | None = None,
    model: str | None = None,
) -> None:
    """Rate units of a source so that `counts[i]` of them get the scale's i-th score.

    Units are taken in their order from place `start`; which unit gets which score is drawn by
    `seed`. After the scores come the statuses in `missing`.
    """
    add_all_scores(
        run, rater, {source: counts}, rubric, repeat, {source: missing or {}}, start, seed,
        rationale, description, version, model,
    )  # fmt: skip


def add_all_scores(
    run: Run,
    rater: str,
    counts: Mapping[str, Sequence[int]],
    rubric: str = "interpretability-1-5",
    repeat: int = 0,
    missing: Mapping[str, Mapping[Status, int]] | None = None,
    start: int = 0,
    seed: int = 0,
    rationale: str = "They share a word.",
    description: str = "a word",
    version: str | None = None,
    model: str | None = None,
) -> None:
    """Rate units of several sources as `add_scores` does of one, in the time of one."""
    asked = load_rubric(rubric)
    outcomes: dict[str, list[tuple[Status, int | None]]] = {}
    units = {}
    for source, of_source in counts.items():
        scores = zip(asked.scores, of_source, strict=True)
        statuses = (missing or {}).get(source, {})
        outcomes[source] = [
            *(("ok", score) for score, count in scores for _ in range(count)),
            *((status, None) for status, count in statuses.items() for _ in range(count)),
        ]
        eligible = [unit for unit in run.units(source) if unit.summary.outcome == "eligible"]
        units[source] = eligible[start : start + len(outcomes[source])]
        lengths = len(units[source]), len(outcomes[source])
        assert lengths[0] == lengths[1], "{} units for {} ratings".format(*lengths)
    with one_transaction(run):
        make_items(run, [unit for found in units.values() for unit in found], asked, "shown")
        key = dict(
            run.rows(
                "SELECT k.unit_id, k.item_id FROM key k JOIN item i USING (item_id)"
                " WHERE i.rubric_digest = ?",
                [asked.digest],
            )
        )
        before = run.rows("SELECT count(*) FROM call")[0][0]
        ratings, calls = [], []
        for source, found in units.items():
            drawn = np.random.default_rng(seed).permutation(len(found))
            for unit, place in zip(found, drawn, strict=True):
                status, score = outcomes[source][place]
                item = key[unit.unit_id]
                call = f"{rater}/{item}/{repeat}/{before}"
                ratings.append(
                    Rating(
                        item=item,
                        rubric=asked.id,
                        rubric_digest=asked.digest,
                        rater=rater,
                        repeat=repeat,
                        status=status,
                        score=score,
                        description=description if status == "ok" else None,
                        rationale=rationale if status == "ok" else "no score",
                        call_key=call,
                        rater_version=version,
                    )
                )
                reply = Reply(
                    "{}", model=model, tokens_in=900, tokens_out=60, cost_usd=0.002, latency_s=1.5
                )
                calls.append((Request(call, item, {}, repeat), 0, reply))
        kind = rater.partition(":")[0]
        if kind != "human":
            run.add_rater(rater, is_llm=kind not in ("lexical", "scripted"))
        run.add_ratings(ratings, calls, rater)


@contextmanager
def one_transaction(run: Run) -> Iterator[None]:
    """Store all that is written inside in one transaction: each takes as long as two inserts."""
    with run.transaction():
        run.transaction = nullcontext
        try:
            yield
        finally:
            del run.transaction
