"""The verb `concepts`: which units of a run's sources know concepts whose truth is known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from autointerp.errors import BadInput, TooFewUnits
from autointerp.findings.concepts import POOL, SIZES, Concepts, measure_concepts
from autointerp.findings.known import FOUND
from autointerp.findings.plan import level_of, plan_of
from autointerp.pipeline.asked import check_concepts
from autointerp.pipeline.events import Harvesting, Note, On, Step, ignore
from autointerp.pipeline.job import say_opened
from autointerp.pipeline.report import REPORTS
from autointerp.reports.concepts import write_concepts
from autointerp.reports.write import check_folder
from autointerp.store.run import RUNS, Run, open_run
from autointerp.subjects import Subject
from autointerp.text import count
from autointerp.units.concepts import Candidates
from autointerp.units.draws import random_order
from autointerp.units.labels import open_labels
from autointerp.units.reopen import subject_again
from autointerp.units.sources import kind_of, load_source
from autointerp.units.stream import calibrate, quiet_torch

TOKENS = 200_000  # of the corpus, unless told otherwise


@dataclass(frozen=True)
class ConceptsResult:
    """What was found, and the page of it.

    Attributes:
        page: None where none was asked for.
    """

    concepts: Concepts
    page: Path | None


def concepts(
    labels: Sequence[str],
    run: str = "main",
    sources: Sequence[str] = (),
    n: int | None = None,
    tokens: int = TOKENS,
    over: float = FOUND,
    sizes: Sequence[int] = SIZES,
    out: Path | str | None = None,
    page: bool = True,
    runs: Path | str = RUNS,
    on: On = ignore,
) -> ConceptsResult:
    """Search all units of the sources for labelled concepts, and test what was found on other text.

    Args:
        labels: As `units.labels` reads them: `NAME=re:PATTERN`, or a .toml, .py or .parquet file.
        sources: Empty for features, neurons and random directions, and untrained features where
            the subject has them; each is compared with the first.
        n: Units of each source, the first of its random order; None for all.
        tokens: Of the corpus that are read at most; 0 for as many as the run read.
        over: AUROC from which a concept counts as found, over 0.5 and under 1.
        sizes: Units of the sparse probes.
        out: Folder of the page; None for reports/concepts-RUN.

    Raises BadInput if labels are malformed, none has enough tokens on either side, a number is out
    of range, or `out` holds something else than a report; RunMismatch if the subject is not as it
    was.
    """
    check_concepts(labels, sources, n, tokens, over, sizes)
    if max(sizes) > POOL:
        raise BadInput(f"--k {max(sizes)}: a probe chooses from {POOL} units; give {POOL} at most")
    place = REPORTS / f"concepts-{run}" if out is None else Path(out)
    if page:
        check_folder(place)
    with open_run(run, folder=Path(runs)) as opened:
        say_opened(opened, on)
        subject = subject_again(opened, "concepts")
        settings = opened.settings.harvest
        least = min((limit for limit in (tokens, settings.tokens) if limit), default=0)
        settings = replace(settings, tokens=least)
        candidates = list(_candidates(opened, subject, sources, n))
        with open_labels(labels, subject) as given:
            on(
                Step(
                    f"{count(len(given.concepts), 'concept')} against "
                    + ", ".join(f"{len(one.numbers):,} {one.name}" for one in candidates)
                )
            )
            length = subject.length()
            total = min(
                (size for size in (least, length.tokens if length else 0) if size), default=None
            )
            found = measure_concepts(
                opened.name, subject, candidates, given, labels, settings, opened.settings.seed,
                over, tuple(dict.fromkeys(sizes)), level_of(plan_of(opened)),
                progress=lambda label, read: on(
                    Harvesting(label, read, total, exact=True, verb="concepts")
                ),
            )  # fmt: skip
        if not found.measured:
            raise BadInput(f"{found.notes[0]}; give more text by --tokens, or other labels")
        rows = found.frame().astype(object)
        rows = rows.where(rows.notna(), None)
        opened.replace_concepts(
            found.digest, [one.name for one in candidates], rows.to_dict("records")
        )
        opened.log("concepts", labels=list(labels), concepts=len(found.measured))
        for note in found.notes:
            on(Note(note))
        descriptions = _descriptions(opened)
    return ConceptsResult(found, write_concepts(found, descriptions, place) if page else None)


def as_text(found: Concepts) -> str:
    """Return the finding as lines for a terminal."""
    lines = [
        f"{count(len(found.measured), 'concept')} in {found.tokens[0]:,} searched and "
        f"{found.tokens[1]:,} held-out tokens; found: AUROC over {found.over:g} on held-out text"
    ]
    for one in found.sources:
        probes = ", ".join(f"{k}: {share.value:.2f}" for k, share in one.probes.items())
        fewer = (
            f"; {one.equal_found:.2f} where {found.equal:,} may be searched"
            if one.searched > found.equal
            else ""
        )
        lines.append(
            f"{one.source}, {count(one.searched, 'unit')}: share found {one.found}{fewer}; mean "
            f"AUROC {one.mean:.3f}, mean F1 {one.f1:.2f}; by probes of k units {probes}"
        )
    for pair in found.compared:
        lines.append(
            f"best of {pair.first} less best of {pair.second}, AUROC over the same concepts: "
            f"{pair.best.difference}, p {_p(pair.best.test.p_value)}"
        )
    return "\n".join(lines)


def _p(value: float | None) -> str:
    return "unknown" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def _candidates(
    run: Run, subject: Subject, names: Sequence[str], n: int | None
) -> Iterator[Candidates]:
    seed = run.settings.seed
    chosen = list(dict.fromkeys(names)) or [
        *(["features"] if subject.sae is not None else []),
        "neurons",
        "random",
        *(["untrained"] if subject.untrained is not None else []),
    ]
    with quiet_torch():
        calibration = calibrate(subject, run.settings.harvest, seed)
        for name in chosen:
            source = load_source(name, subject, calibration, seed)
            if n is not None and n > source.size:
                raise TooFewUnits(
                    f"--n {n}: source '{name}' has only {source.size:,} "
                    f"{kind_of(name).names[1]}; ask for at most that many"
                )
            numbers = np.sort(random_order(seed, name, source.size)[:n])
            yield Candidates(name, source, numbers)


def _descriptions(run: Run) -> dict[str, str]:
    """Return the newest description of each unit that has one, by the unit's name."""
    return dict(
        run.rows(
            "SELECT unit_name(source, idx, sign), arg_max(description, made_at) FROM explanation"
            " JOIN unit USING (unit_id) WHERE status = 'ok' GROUP BY ALL"
        )
    )
