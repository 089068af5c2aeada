"""`/v1`: what runs hold. Everything is read from copies, so no command is hindered."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, cast, get_args

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse, JSONResponse
from pydantic import TypeAdapter

from autointerp.apps.service import _models as models
from autointerp.apps.service._access import Service, Viewer
from autointerp.apps.service._gate import Receive, Scope, Send
from autointerp.apps.service._models import MOST_ROWS, NUMBER, Page, RunName, TableForm, TableKind
from autointerp.apps.service._problems import Problem, check_fresh
from autointerp.errors import AutointerpError, BadInput, UnknownName
from autointerp.findings.listing import (
    Filters,
    Sort,
    judges,
    list_contexts,
    list_units,
    unit_detail,
)
from autointerp.people.ingest import journals_folder
from autointerp.people.seats import seated
from autointerp.records import Status, rater_kind
from autointerp.store.run import runs_in
from autointerp.store.snapshots import Snapshot

if TYPE_CHECKING:
    from autointerp.pipeline.summary import RunSummary

router = APIRouter(prefix="/v1", tags=["runs"])

Limit = Annotated[int, Query(ge=1, le=MOST_ROWS, description="Rows at most.")]
Offset = Annotated[int, Query(ge=0, le=NUMBER, description="Rows before the first one.")]
Text = Annotated[str, Query(max_length=200)]
Score = Annotated[float | None, Query(ge=-1000, le=1000)]
Share = Annotated[float | None, Query(ge=0, le=1)]
FILES = {"csv": "text/csv", "parquet": "application/vnd.apache.parquet",
         "jsonl": "application/x-ndjson"}  # fmt: skip


@contextlib.asynccontextmanager
async def opened(service: Service) -> AsyncIterator[None]:
    """Drop idle copies while the server runs, and all of them at its end."""

    async def tidy() -> None:
        while True:
            await asyncio.sleep(30)
            service.snapshots.drop_idle()
            service.jobs.reap()

    task = asyncio.create_task(tidy())
    try:
        yield
    finally:
        task.cancel()
        service.snapshots.close()


def next_page(request: Request, total: int, offset: int, shown: int) -> str | None:
    """Return the address of the page after one; None after the last."""
    after = offset + shown
    if after >= total or not shown:
        return None
    address = request.url.include_query_params(offset=after)
    return f"{address.path}?{address.query}"


V = TypeVar("V")


def fresh(request: Request, response: Response, value: V) -> V:
    """Return an answer, with the ETag of its content; raise NotModified if the client has it."""
    check_fresh(request, response, TypeAdapter(Any).dump_json(value))
    return value


def run_of(service: Service, name: str) -> models.Run:
    """Return what a run holds; one that cannot be read says why."""
    summary = summary_of(service, name)
    return models.Run(**summary.as_json(), notes=list(service.snapshots.notes(name)))


def summary_of(service: Service, name: str) -> RunSummary:
    from autointerp.pipeline.summary import RunSummary, summarise

    try:
        return service.snapshots.memo(name, "summary", summarise)
    except AutointerpError as error:
        return RunSummary(name, problem=str(error))


@router.get("/runs")
def list_runs(
    request: Request, response: Response, viewer: Viewer, limit: Limit = 50, offset: Offset = 0
) -> Page[models.Run]:
    """List the runs of the folder, by name."""
    names = runs_in(viewer.service.runs)
    shown = names[offset : offset + limit]
    page = Page[models.Run](
        items=[run_of(viewer.service, name) for name in shown],
        total=len(names),
        offset=offset,
        next=next_page(request, len(names), offset, len(shown)),
    )
    return fresh(request, response, page)


@router.get("/runs/{run}")
def show_run(run: RunName, request: Request, response: Response, viewer: Viewer) -> models.Run:
    """Show what a run holds, in counts."""
    with viewer.service.snapshots.read(run) as snapshot:
        check_fresh(request, response, snapshot.key)
    return run_of(viewer.service, run)


@router.get("/runs/{run}/judges")
def list_judges(
    run: RunName, request: Request, response: Response, viewer: Viewer
) -> list[models.Judge]:
    """List who rated units on which rubric, those with most units first."""
    with viewer.service.snapshots.read(run, listed=True) as snapshot:
        check_fresh(request, response, snapshot.key)
        return [models.Judge(**dataclasses.asdict(judge)) for judge in judges(snapshot)]


@router.get("/runs/{run}/units")
def list_run_units(
    run: RunName,
    request: Request,
    response: Response,
    viewer: Viewer,
    q: Annotated[
        str, Query(max_length=200, description="Words to find; several between quotes are one.")
    ] = "",
    contexts: Annotated[bool, Query(description="Find words in contexts, too.")] = False,
    source: Text = "",
    outcome: Text = "",
    status: Annotated[str, Query(max_length=200, description="Of the judge's rating.")] = "",
    rater: Text = "",
    rubric: Text = "",
    low: Score = None,
    high: Score = None,
    least_density: Share = None,
    most_density: Share = None,
    sort: Sort = "",
    descending: bool = False,
    limit: Limit = 100,
    offset: Offset = 0,
) -> models.UnitPage:
    """List units: searched, filtered and sorted by the database."""
    filters = Filters(
        source=source,
        outcome=outcome,
        rater=rater,
        rubric=rubric,
        status=status,
        low=low,
        high=high,
        least_density=least_density,
        most_density=most_density,
        query=q,
        in_contexts=contexts,
        sort=sort,
        is_descending=descending,
    )
    with viewer.service.snapshots.read(run, listed=True) as snapshot:
        check_fresh(request, response, snapshot.key)
        found = list_units(snapshot, filters, limit, offset)
    return models.UnitPage(
        items=[models.Unit(**dataclasses.asdict(unit)) for unit in found.units],
        total=found.total,
        offset=offset,
        next=next_page(request, found.total, offset, len(found.units)),
        judge=models.Judge(**dataclasses.asdict(found.judge)) if found.judge else None,
    )


@router.get("/runs/{run}/units/{unit_id}")
def show_unit(
    run: RunName,
    unit_id: Annotated[int, models.Field(ge=0, le=NUMBER)],
    request: Request,
    response: Response,
    viewer: Viewer,
) -> models.UnitDetail:
    """Show everything that is known of a unit: contexts, ratings, descriptions and how they score,
    labs."""
    with viewer.service.snapshots.read(run, listed=True) as snapshot:
        check_fresh(request, response, snapshot.key)
        detail = unit_detail(snapshot, unit_id)
    fields = dataclasses.asdict(detail)
    for name in ("contexts", "ratings", "descriptions", "scores", "context_ratings"):
        for one in fields[name]:
            for of_the_unit in ("unit_id", "source", "is_control"):
                one.pop(of_the_unit, None)
    return models.UnitDetail(**fields)


@router.get("/runs/{run}/contexts")
def list_run_contexts(
    run: RunName,
    request: Request,
    response: Response,
    viewer: Viewer,
    unit_id: Annotated[int | None, Query(ge=0, le=NUMBER)] = None,
    split: Literal["", "explain", "score"] = "",
    draw: Literal["", "top", "interval", "random"] = "",
    limit: Limit = 100,
    offset: Offset = 0,
) -> Page[models.Context]:
    """List contexts as they are stored."""
    with viewer.service.snapshots.read(run) as snapshot:
        check_fresh(request, response, snapshot.key)
        total, contexts = list_contexts(snapshot, unit_id, split, draw, limit, offset)
    return Page[models.Context](
        items=[models.Context(**dataclasses.asdict(context)) for context in contexts],
        total=total,
        offset=offset,
        next=next_page(request, total, offset, len(contexts)),
    )


@router.get("/runs/{run}/items")
def list_items(
    run: RunName,
    request: Request,
    response: Response,
    viewer: Viewer,
    rubric: Text = "",
    limit: Limit = 100,
    offset: Offset = 0,
) -> Page[models.Item]:
    """List the items that raters are asked about, in the order in which they are asked."""
    names = ("item_id", "rubric", "rubric_digest", "evidence", "unit", "unit_id", "source")
    return _rows(
        run, request, response, viewer, models.Item, "unit_item", names,
        {"rubric": rubric}, "rubric, ord, item_id", limit, offset, {"item_id": "item"},
    )  # fmt: skip


@router.get("/runs/{run}/items/{item}")
def show_item(
    run: RunName,
    item: Annotated[str, models.Field(max_length=100)],
    request: Request,
    response: Response,
    viewer: Viewer,
) -> models.ShownItem:
    """Show an item as its rater sees it."""
    from autointerp.questions.items import load_items
    from autointerp.questions.rubric import rubric_from
    from autointerp.questions.rubric_files import load_rubric

    with viewer.service.snapshots.read(run) as snapshot:
        check_fresh(request, response, snapshot.key)
        rows = snapshot.rows(
            "SELECT evidence, rubric, rubric_digest FROM item WHERE item_id = ?", [item]
        )
        if not rows:
            raise Problem(404, f"item '{item}': there is none; /v1/runs/{run}/items lists them")
        ((evidence, name, digest),) = rows
        held = snapshot.rubric_contents().get(digest)
        asked = rubric_from(held) if held is not None else load_rubric(name)
        if asked.digest != digest:
            raise BadInput(f"item {item} was made with another rubric '{name}'; it is not at hand")
        (shown,) = load_items(snapshot, [item], asked)
    return models.ShownItem(
        item=item,
        rubric=asked.id,
        evidence=evidence,
        description=shown.description,
        contexts=[
            models.ItemContext(
                tokens=list(context.tokens),
                activations=None if context.activations is None else list(context.activations),
                focus=context.focus,
            )
            for context in shown.contexts
        ],
        system=asked.system(),
        user=asked.user(shown) if evidence == "shown" else "",
    )


@router.get("/runs/{run}/ratings")
def list_ratings(
    run: RunName,
    request: Request,
    response: Response,
    viewer: Viewer,
    source: Text = "",
    rater: Text = "",
    rubric: Text = "",
    status: Text = "",
    limit: Limit = 100,
    offset: Offset = 0,
) -> Page[models.Rating]:
    """List ratings with their units and what their calls cost, whatever became of them."""
    return _rows(
        run, request, response, viewer, models.Rating, "rating_table",
        tuple(models.Rating.model_fields),
        {"source": source, "rater": rater, "rubric": rubric, "status": status},
        "source, index, sign DESC, rubric, rubric_digest, rater, repeat", limit, offset,
    )  # fmt: skip


def _rows(
    run: str,
    request: Request,
    response: Response,
    viewer: Viewer,
    kind: type[models.T],
    table: str,
    columns: Sequence[str],
    equal: dict[str, str],
    order: str,
    limit: int,
    offset: int,
    renamed: dict[str, str] | None = None,
) -> Page[models.T]:
    """Return a page of a table's rows whose columns have the texts of `equal`, where not empty."""
    asked = {column: text for column, text in equal.items() if text}
    where = " AND ".join(["true", *(f"{column} = ?" for column in asked)])
    names = [(renamed or {}).get(column, column) for column in columns]
    with viewer.service.snapshots.read(run) as snapshot:
        check_fresh(request, response, snapshot.key)
        values = list(asked.values())
        ((total,),) = snapshot.rows(f"SELECT count(*) FROM {table} WHERE {where}", values)
        if not total:
            _require_names(snapshot, table, asked)
        rows = snapshot.rows(
            f"SELECT {', '.join(columns)} FROM {table} WHERE {where} ORDER BY {order}"
            " LIMIT ? OFFSET ?",
            [*values, limit, offset],
        )
    return Page[kind](  # type: ignore[valid-type]
        items=[kind(**dict(zip(names, row, strict=True))) for row in rows],
        total=total,
        offset=offset,
        next=next_page(request, total, offset, len(rows)),
    )


def _require_names(snapshot: Snapshot, table: str, asked: dict[str, str]) -> None:
    """Raise UnknownName for a text that no row of a table has in its column, nor could have."""
    for column, text in asked.items():
        known = {name for (name,) in snapshot.rows(f"SELECT DISTINCT {column} FROM {table}")}
        if column == "status":
            known |= set(get_args(Status))
        if text not in known:
            raise UnknownName(column, text, known, f"these are in run '{snapshot.name}'")


@router.get("/runs/{run}/verdict", response_model=models.Verdict)
def show_verdict(
    run: RunName,
    request: Request,
    viewer: Viewer,
    level: Annotated[
        float | None, Query(gt=0.5, lt=1, description="Coverage of intervals; else the plan's.")
    ] = None,
) -> Response:
    """Say everything that a run's ratings say. Each call on new ratings is a look, and goes into
    the run's ledger of looks."""
    said = verdict_of(viewer.service, run, level)
    response = JSONResponse({**said, "notes": list(viewer.service.snapshots.notes(run))})
    check_fresh(request, response, response.body)
    return response


def verdict_of(service: Service, run: str, level: float | None = None) -> dict[str, Any]:
    """Return a run's comparison as JSON values; a look."""
    from autointerp.findings.comparison import compare

    def look(snapshot: Snapshot) -> dict[str, Any]:
        return compare(snapshot, level, verb="serve").as_json()

    return service.snapshots.memo(run, ("verdict", level), look)


@router.get(
    "/runs/{run}/export",
    response_class=FileResponse,
    responses={200: {"content": {kind: {"schema": {"type": "string", "format": "binary"}}
                                 for kind in FILES.values()}}},
)  # fmt: skip
def export(
    run: RunName, request: Request, viewer: Viewer, to: TableForm = "csv",
    what: TableKind = "ratings",
) -> FileResponse:  # fmt: skip
    """Stream a table: ratings of units, their scores under scorers, or ratings of contexts."""
    from autointerp.exchange.ratings import write_ratings, write_table

    folder = Path(tempfile.mkdtemp(prefix="autointerp-export-"))
    file = folder / f"{run}-{what}.{to}"
    try:
        with viewer.service.snapshots.read(run) as snapshot:
            about = Response()
            check_fresh(request, about, snapshot.key)
            if what == "ratings":
                write_ratings(snapshot, to, file)
            else:
                from autointerp.findings.answers import scores_table, specificity_table

                table = scores_table if what == "scores" else specificity_table
                write_table(snapshot, table(snapshot), to, file)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    headers = {name: about.headers[name] for name in ("ETag", "Cache-Control")}
    headers["Accept-Ranges"] = "none"
    return _Deleted(folder, file, media_type=FILES[to], filename=file.name, headers=headers)


class _Deleted(FileResponse):
    """A file that is deleted with its folder once it is sent, or its client has gone.

    It is sent whole: a part of another request's file would not fit to it.
    """

    def __init__(self, folder: Path, file: Path, **about: Any) -> None:
        super().__init__(file, **about)
        self.folder = folder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = [(name, value) for name, value in scope["headers"] if name != b"range"]
        try:
            await super().__call__({**scope, "headers": asked}, receive, send)
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)


@router.get("/runs/{run}/sessions")
def list_sessions(
    run: RunName, request: Request, response: Response, viewer: Viewer
) -> list[models.Session]:
    """List the sessions and packs of people: who, how much was given out and answered."""
    with viewer.service.snapshots.read(run) as snapshot:
        check_fresh(request, response, snapshot.key)
        rows = people_rows(snapshot)
    names = tuple(models.Session.model_fields)
    return [models.Session(**dict(zip(names, row, strict=True))) for row in rows]


def people_rows(snapshot: Snapshot) -> list[Sequence[Any]]:
    """Return the fields of `models.Session` of each person at each session, and of sessions that
    nobody has begun."""
    given = seated(journals_folder(snapshot.path))
    return list(
        snapshot.rows(
            "WITH last AS (SELECT session_id, rater, item_id, arg_max(verb, seq) AS verb"
            " FROM human_answer WHERE kind = 'rating' AND repeat = 0"
            " AND verb IN ('score', 'skip', 'undo') GROUP BY ALL),"
            " answered AS (SELECT session_id, rater, count(*) FILTER (verb <> 'undo') AS n"
            " FROM last GROUP BY ALL),"
            " seen AS (SELECT session_id, rater, max(answered_at) AS at FROM human_answer"
            " GROUP BY ALL),"
            " given AS (SELECT unnest(?::VARCHAR[]) AS rater, unnest(?::VARCHAR[]) AS digest),"
            " people AS (SELECT session_id, rater FROM seen UNION"
            " SELECT session_id, given.rater FROM given JOIN human_session"
            " ON starts_with(session_id, digest))"
            " SELECT s.session_id, coalesce(people.rater, s.rater), s.rubric, s.is_pack, s.to_rate,"
            " s.gold, coalesce(answered.n, 0), seen.at FROM human_session s"
            " LEFT JOIN people USING (session_id)"
            " LEFT JOIN seen ON seen.session_id = s.session_id AND seen.rater = people.rater"
            " LEFT JOIN answered ON"
            " answered.session_id = s.session_id AND answered.rater = people.rater"
            " ORDER BY s.session_id, coalesce(people.rater, s.rater)",
            [[rater for rater, _ in given], [digest for _, digest in given]],
        )
    )


@router.get("/raters", tags=["extensions"])
def list_raters(request: Request, response: Response, viewer: Viewer) -> list[models.Extension]:
    """List the raters; a job names one as NAME or NAME:MODEL."""
    from autointerp import extensions, raters

    names = extensions.described(raters)
    said = [models.Extension(name=name, description=text) for name, text in names]
    return fresh(request, response, said)


@router.get("/checks", tags=["extensions"])
def list_checks(
    request: Request,
    response: Response,
    viewer: Viewer,
    rater: Annotated[str, Query(max_length=300, description="As in ratings, such as lexical.")],
) -> list[models.Check]:
    """Show what the last check of a rater on planted units found; empty if it was never checked."""
    from autointerp import extensions, raters
    from autointerp.findings.checks import latest_check
    from autointerp.findings.json_values import plain

    check = latest_check(rater, runs=viewer.service.runs)
    kind, known = rater_kind(rater), extensions.names(raters)
    if check is None and kind not in known:
        raise UnknownName("rater", kind, known)
    said = [] if check is None else [models.Check(**cast("dict[str, Any]", plain(check)))]
    return fresh(request, response, said)


@router.get("/rubrics", tags=["extensions"])
def list_rubrics(request: Request, response: Response, viewer: Viewer) -> list[models.RubricInfo]:
    """List the rubrics that are shipped."""
    from autointerp.questions import rubric_files

    said = [
        models.RubricInfo(
            id=one.id,
            version=one.version,
            title=one.title,
            about=one.about,
            digest=one.digest,
            scale=[models.Scale(score=score, label=label) for score, label in one.scale],
        )
        for one in rubric_files.list_rubrics()
    ]
    return fresh(request, response, said)


@router.get("/sources", tags=["extensions"])
def list_sources(request: Request, response: Response, viewer: Viewer) -> list[models.Extension]:
    """List the sources of units."""
    from autointerp import extensions
    from autointerp.units import sources

    names = extensions.described(sources)
    said = [models.Extension(name=name, description=text) for name, text in names]
    return fresh(request, response, said)
