"""What can be said of a question about a dictionary before its model or a table is loaded.

A command asks here first, so that who has mistyped a name waits for no library; the verbs ask
again, for those who call them from Python.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from autointerp.errors import BadInput, UnknownName
from autointerp.pipeline.job import Resolved
from autointerp.questions.cover import Concept, read_concepts
from autointerp.raters import ComposedRater, Rater
from autointerp.units.labels import check_labels
from autointerp.units.sources import described_sources


def check_sources(names: Sequence[str]) -> None:
    """Raise UnknownName for a source that does not exist."""
    for name in names:
        if name not in described_sources():
            raise UnknownName("source", name, described_sources())


def asked_concepts(concepts: Path | str, source: str, units: int, random: int) -> list[Concept]:
    """Return the concepts of a file that `cover` is to ask about.

    Raises BadInput for a file that holds none or a number out of range, UnknownName for a source
    that does not exist.
    """
    check_sources((source,))
    if units < 1:
        raise BadInput(f"--units {units}: ask for at least 1 unit of each concept")
    if random < 0:
        raise BadInput(f"--random {random}: give 0 or more units")
    return read_concepts(Path(concepts))


def judge_of_concepts(resolved: Resolved) -> Rater:
    """Return the rater of a job of `cover`. Raises BadInput for one that reads no concept."""
    rater = resolved.rater
    if isinstance(rater, ComposedRater) or rater.evidence == "all":
        raise BadInput(
            f"--rater {rater.name} judges units by rules or by several raters, and reads no "
            "concept; name a language model, as in --rater anthropic:MODEL, or human:NAME"
        )
    return rater


def check_match(first: str, second: str, related: float) -> None:
    """Raise BadInput for a run that is to be matched with itself, or a cosine out of range."""
    if first == second:
        raise BadInput(f"run '{first}' is given twice; name a run of another dictionary")
    if not 0 < related < 1:
        raise BadInput(f"--related {related:g}: give a cosine between 0 and 1, such as 0.7")


def check_concepts(
    labels: Sequence[str],
    sources: Sequence[str],
    n: int | None,
    tokens: int,
    over: float,
    sizes: Sequence[int],
) -> None:
    """Raise BadInput for labels that cannot be read or a number out of range, UnknownName for a
    source that does not exist.
    """
    if not 0.5 < over < 1:
        raise BadInput(f"--over {over:g}: give an AUROC between 0.5 and 1, such as 0.95")
    if n is not None and n < 1:
        raise BadInput(f"--n {n}: ask for at least 1 unit")
    if tokens < 0:
        raise BadInput(f"--tokens {tokens}: give at least 1 token, or 0 for all")
    if not sizes or min(sizes) < 1:
        raise BadInput(f"--k {', '.join(map(str, sizes)) or 'none'}: ask for at least 1 unit")
    check_sources(sources)
    check_labels(labels)
