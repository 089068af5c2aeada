"""Pages of a run: what it holds and how it goes, its report, its units."""

from __future__ import annotations

import dataclasses
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import Field

from autointerp.apps.service._access import Service, Viewer
from autointerp.apps.service._models import NUMBER, RunName
from autointerp.apps.service._pages import TYPES, content, page
from autointerp.apps.service._run_states import standing
from autointerp.apps.service.jobs import shown
from autointerp.apps.service.runs import people_rows, summary_of
from autointerp.findings.answers import UnitScore
from autointerp.findings.browse import ListedContext
from autointerp.findings.listing import (
    SORTS,
    Filters,
    UnitDetail,
    UnitList,
    judges,
    list_units,
    unit_detail,
    words_of,
)
from autointerp.reports.colours import colours_css
from autointerp.reports.words import LEFT_OUT, share
from autointerp.reports.words import number as to_hundredths
from autointerp.store.run import existing_run, run_exists
from autointerp.store.snapshots import Snapshot
from autointerp.text import ON_PAGE, count, visible

if TYPE_CHECKING:
    from autointerp.pipeline.summary import RunSummary

router = APIRouter(include_in_schema=False)

ROWS = 100
STATUSES = ("ok", "unparsed", "refused", "failed", "skipped", "not asked")
OUTCOMES = (("eligible", "eligible"), *LEFT_OUT.items())
# Bands of the share of tokens on which a unit fires, from and below, as on the offline page.
BANDS: dict[str, tuple[str, float | None, float | None]] = {
    "1e-1": ("10 % and more", 1e-1, None),
    "1e-2": ("1 to 10 %", 1e-2, 1e-1),
    "1e-3": ("1 in 1,000 to 1 %", 1e-3, 1e-2),
    "1e-4": ("1 in 10,000 to 1 in 1,000", 1e-4, 1e-3),
    "rare": ("rarer than 1 in 10,000", None, 1e-4),
    "unknown": ("not known", None, None),
}
BESIDE = 12  # tokens on either side of a peak, of a context that is not opened
REPORT_ASSETS = Path(__file__).parents[2] / "reports" / "assets"
# The report's pictures carry styles of their own; its scripts are a file like all others.
REPORT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_drawing = threading.Lock()  # matplotlib's settings are of the whole process


@router.get("/assets/report/{name}")
async def report_asset(name: str, request: Request, viewer: Viewer) -> Response:
    """The style or the script of the offline report, which these pages share."""
    from autointerp.apps.service._problems import Problem

    if name == "page.css":
        text = (REPORT_ASSETS / "page.css").read_text("utf-8") + colours_css()
        return content(request, text.encode(), TYPES[".css"])
    if name == "page.js":
        from autointerp.reports.page import page_script

        return content(request, page_script().encode(), TYPES[".js"])
    raise Problem(404, f"{name[:100]}: there is no such file; load the page again")


@router.get("/runs/{run}", response_class=HTMLResponse)
def run_page(run: RunName, viewer: Viewer) -> HTMLResponse:
    """What a run holds, and its jobs; it moves as they go."""
    service = viewer.service
    states = service.jobs.all(run)[:20]
    if not run_exists(service.runs / run) and not states:
        existing_run(run, service.runs)  # says which runs there are
    summary = summary_of(service, run)
    stands = standing(service, summary, states)
    return page(
        "run.html",
        viewer,
        run=run,
        summary=summary,
        stands=stands,
        looks=count(summary.looks, "look"),
        is_there=run_exists(service.runs / run),
        jobs=[shown(state) for state in states],
        active=shown(stands.job) if stands.job is not None and stands.is_active else None,
        notes=service.snapshots.notes(run),
        people=_people(service, run, summary),
    )


def _people(service: Service, run: str, summary: RunSummary) -> list[Sequence[object]]:
    """Return who was given how many items of a run, how many are answered, and when last."""
    if summary.problem:
        return []
    with service.snapshots.read(run) as snapshot:
        return people_rows(snapshot)


@router.get("/runs/{run}/report", response_class=HTMLResponse)
def report_page(run: RunName, request: Request, viewer: Viewer) -> Response:
    """The report as the ratings are now: a look."""
    text = report_of(viewer.service, run)
    answer = content(request, text.encode(), "text/html; charset=utf-8")
    answer.headers["Content-Security-Policy"] = REPORT_POLICY
    return answer


def report_of(service: Service, run: str) -> str:
    """Return the page of a run's report, made again when its ratings have changed; a look."""
    from autointerp.findings.comparison import compare
    from autointerp.reports.page import Served, all_blocks, html, subtitle, themed, title
    from autointerp.reports.panels import Figure, Material
    from autointerp.reports.style import house_style, save
    from autointerp.reports.write import assemble, draw_figures

    def make(snapshot: Snapshot) -> str:
        material = Material((compare(snapshot, verb="serve"),), (snapshot,), 0, None)
        panels = assemble(material)
        figures = {block.name: block for block in all_blocks(panels) if isinstance(block, Figure)}
        drawings = {}
        with _drawing, tempfile.TemporaryDirectory() as folder:
            for name, drawing in draw_figures(panels).items():
                with house_style(name):
                    svg = save(
                        drawing, Path(folder) / name, figures[name].caption, figures[name].alt
                    )
                drawings[name] = themed(svg, name)
        served = Served("/assets/report/page.js", f"/runs/{run}", f"/runs/{run}/units")
        return html(title(material), subtitle(material), panels, drawings, served)

    return service.snapshots.memo(run, "report", make)


@router.get("/runs/{run}/units", response_class=HTMLResponse)
def units_page(
    run: RunName,
    viewer: Viewer,
    q: Annotated[str, Query(max_length=200)] = "",
    contexts: bool = False,
    source: Annotated[str, Query(max_length=200)] = "",
    status: Annotated[str, Query(max_length=200)] = "",
    outcome: Annotated[str, Query(max_length=200)] = "",
    fires: Annotated[str, Query(max_length=20)] = "",
    judge: Annotated[str, Query(max_length=400)] = "",
    low: Annotated[str, Query(max_length=20)] = "",
    high: Annotated[str, Query(max_length=20)] = "",
    sort: Annotated[str, Query(max_length=20)] = "",
    down: bool = False,
    offset: Annotated[int, Query(ge=0, le=NUMBER)] = 0,
) -> HTMLResponse:
    """The list of units: searched, filtered and sorted by the database, a page at a time."""
    rubric, _, rater = judge.partition("|")
    _, least_density, most_density = BANDS.get(fires, ("", None, None))
    with viewer.service.snapshots.read(run, listed=True) as snapshot:
        filters = Filters(
            source=source,
            status=status,
            rater=rater,
            rubric=rubric,
            low=_number(low),
            high=_number(high),
            outcome=outcome,
            least_density=least_density,
            most_density=most_density,
            is_density_unknown=fires == "unknown",
            query=q,
            in_contexts=contexts,
            sort=sort if sort in SORTS else "",  # type: ignore[arg-type]
            is_descending=down,
        )
        found = list_units(snapshot, filters, ROWS, offset)
        everybody = judges(snapshot)
        sources = [name for (name,) in snapshot.rows("SELECT source FROM source ORDER BY source")]
        scale = _scale(snapshot, found)
    asked = {
        "q": q, "contexts": "true" if contexts else "", "source": source, "status": status,
        "outcome": outcome, "fires": fires if fires in BANDS else "",
        "judge": judge, "low": low, "high": high, "sort": filters.sort,
        "down": "true" if down else "",
    }  # fmt: skip

    def address(**changed: object) -> str:
        fields = {name: value for name, value in {**asked, **changed}.items() if value}
        return f"/runs/{run}/units?{urlencode(fields)}"

    return page(
        "units.html",
        viewer,
        run=run,
        found=found,
        asked=asked,
        filtered=any(
            asked[name] for name in ("q", "source", "status", "outcome", "fires", "low", "high")
        ),
        judges=[(f"{one.rubric}|{one.rater}", f"{one.rater} on {one.rubric}") for one in everybody],
        sources=[(name, name) for name in sources],
        scale=scale,
        statuses=[(name, name) for name in STATUSES],
        outcomes=OUTCOMES,
        bands=[(name, words) for name, (words, _, _) in BANDS.items()],
        address=address,
        share=share,
        number=_number_text,
        clean=_clean,
        after=offset + len(found.units),
        rows=ROWS,
    )


@router.get("/runs/{run}/units/{unit_id}", response_class=HTMLResponse)
def unit_page(
    run: RunName,
    unit_id: Annotated[int, Field(ge=0, le=NUMBER)],
    viewer: Viewer,
    q: Annotated[str, Query(max_length=200)] = "",
) -> HTMLResponse:
    """Everything that is known of one unit."""
    with viewer.service.snapshots.read(run, listed=True) as snapshot:
        detail = unit_detail(snapshot, unit_id)
        rubrics = dict(snapshot.rows("SELECT DISTINCT rubric_digest, rubric FROM item"))
        neighbours = snapshot.rows(
            "SELECT (SELECT max(unit_id) FROM unit WHERE unit_id < ?),"
            " (SELECT min(unit_id) FROM unit WHERE unit_id > ?)",
            [unit_id, unit_id],
        )[0]
    words = words_of(q)
    return page(
        "unit.html",
        viewer,
        run=run,
        detail=detail,
        rubrics=rubrics,
        neighbours=neighbours,
        contexts=[_drawn(context, detail, words) for context in detail.contexts],
        scored=_scored(detail),
        fits=_fits(detail),
        to_hundredths=to_hundredths,
        intervals=_intervals(detail),
        share=share,
        number=_number_text,
        clean=_clean,
    )


@dataclasses.dataclass(frozen=True)
class Drawn:
    """A context for a page: tokens with their level of activation, 0 to 10, and a class."""

    where: str
    was_shown: bool
    tokens: tuple[tuple[str, int, str], ...]
    begin: int
    end: int

    @property
    def is_cut(self) -> bool:
        return self.begin > 0 or self.end < len(self.tokens)


def _drawn(context: ListedContext, detail: UnitDetail, words: list[str]) -> Drawn:
    """Return a context as the offline page shows it."""
    peak = detail.unit.peak
    scale = 10 / peak if peak and peak > 0 else 0.0
    hits = _touched(context.tokens, words)
    tokens = []
    for place, (token, activation) in enumerate(
        zip(context.tokens, context.activations, strict=True)
    ):
        level = min(10, max(1, round(activation * scale))) if activation > 0 else 0
        kinds = ["token", *(["fires"] if level else []), *(["hit"] if hits[place] else [])]
        kinds += ["focus"] if place == context.focus else []
        tokens.append((_clean(token), level, " ".join(kinds)))
    focus = context.focus or 0
    return Drawn(
        where=f"interval {context.interval}" if context.interval else "strongest",
        was_shown=context.was_shown,
        tokens=tuple(tokens),
        begin=max(0, focus - BESIDE),
        end=min(len(tokens), focus + BESIDE + 1),
    )


def _touched(texts: Sequence[str], words: list[str]) -> list[bool]:
    """Return which tokens the words of a search touch; a word may run over several."""
    hits = [False] * len(texts)
    lower = [text.lower() for text in texts]
    whole = "".join(lower)
    ends, end = [], 0
    for text in lower:
        end += len(text)
        ends.append(end)
    for word in words:
        at = whole.find(word)
        while at >= 0:
            for place, end in enumerate(ends):
                begin = end - len(lower[place])
                if begin < at + len(word) and end > at:
                    hits[place] = True
            at = whole.find(word, at + len(word))
    return hits


@dataclasses.dataclass(frozen=True)
class Scored:
    """A unit's score under a scorer, and `permuted`: with another unit's description."""

    own: UnitScore
    permuted: float | None


def _scored(detail: UnitDetail) -> list[Scored]:
    """Return the scores of a unit's descriptions, each beside its control."""

    def asked(one: UnitScore) -> tuple[str, str | None, str, str]:
        return one.scorer, one.explainer, one.rater, one.design

    permuted = {asked(one): one.score for one in detail.scores if one.permuted}
    return [Scored(one, permuted.get(asked(one))) for one in detail.scores if not one.permuted]


@dataclasses.dataclass(frozen=True)
class Fit:
    """How well contexts of a kind fit a description: how many were rated, and their mean."""

    rubric: str
    explainer: str
    rater: str
    kind: str
    asked: int
    rated: int
    mean: float | None


def _fits(detail: UnitDetail) -> list[Fit]:
    """Return the ratings of contexts against a unit's descriptions, by rubric, rater and kind."""
    scores: dict[tuple[str, str, str, str], list[int | None]] = {}
    for one in detail.context_ratings:
        scores.setdefault((one.rubric, one.explainer, one.rater, one.kind), []).append(one.score)
    fits = []
    for group, given in sorted(scores.items()):
        rated = [score for score in given if score is not None]
        mean = sum(rated) / len(rated) if rated else None
        fits.append(Fit(*group, len(given), len(rated), mean))
    return fits


def _intervals(detail: UnitDetail) -> list[tuple[str, float, int]]:
    """Return the range of each interval of activation, its bar from 0 to 1, and its tokens."""
    import math

    counts = detail.interval_tokens
    if not counts:
        return []
    most = math.log10(1 + max(counts)) or 1.0
    step = (detail.unit.peak or 0.0) / len(counts)
    return [
        (f"{place * step:.2g} – {(place + 1) * step:.2g}", math.log10(1 + n) / most, round(n))
        for place, n in enumerate(counts)
    ]


def _scale(snapshot: Snapshot, found: UnitList) -> list[tuple[int, str]]:
    """Return the levels of the rubric whose scores are listed, with their labels."""
    from autointerp.questions.rubric import rubric_from

    if found.judge is None:
        return []
    held = snapshot.rubric_contents().get(found.judge.rubric_digest)
    if held is None:
        return []
    return [(score, label.partition(":")[0]) for score, label in rubric_from(held).scale]


def _clean(text: str | None) -> str:
    return visible(text or "", ON_PAGE)


def _number(text: str) -> float | None:
    """Return a number from a form; None for what is none."""
    import math

    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _number_text(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.0f}" if value == int(value) else f"{value:.2f}"
