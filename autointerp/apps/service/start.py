"""The owner's page that starts a job: its options, then its price, then the start."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse

from autointerp.apps.service import _models as models
from autointerp.apps.service._access import Owner, Viewer
from autointerp.apps.service._forms import Field, Part, fields_of
from autointerp.apps.service._models import NUMBER
from autointerp.apps.service._pages import page
from autointerp.apps.service.jobs import JobId, shown
from autointerp.store.run import runs_in

router = APIRouter(include_in_schema=False)

ROWS = 50
PARTS = (
    Part("What", ("verb", "run", "sources", "n", "tokens")),
    Part("Who rates", ("rater", "rubric", "base_url", "controls")),
    Part("What it may cost", ("budget_usd", "price_in", "price_out", "concurrency")),
    Part(
        "When it stops, where that depends on the ratings",
        ("until_width", "until_clear", "max_n"),
        is_open=False,
    ),
    Part("Descriptions and scorers", ("explainer", "contexts", "logit_effects", "scorers"), False),
    Part("More", ("subject", "seed", "repeats", "guess"), is_open=False),
)
LABELS = {
    "verb": "what to do", "n": "units of each source", "tokens": "tokens of the corpus to read",
    "base_url": "address of its server", "controls": "units of each control",
    "budget_usd": "budget, $", "price_in": "$ per million tokens in",
    "price_out": "$ per million tokens out", "concurrency": "calls at once",
    "until_width": "until the interval is ± this", "until_clear": "until 0.5 is left out",
    "max_n": "units of each source at most", "contexts": "contexts of each unit",
    "logit_effects": "show promoted tokens to the explainer",
    "guess": "ask a model, too, what each unit was",
    "max_output_tokens": "longest reply, tokens", "timeout": "seconds for one attempt",
    "retries": "times a failed call is made again", "structured": "form of a reply",
    "effort": "effort of a reasoning model", "repeats": "times each item is rated",
}  # fmt: skip


@router.get("/new", response_class=HTMLResponse)
def start_page(
    owner: Owner,
    run: Annotated[str, Query(max_length=100)] = "",
    again: Annotated[str, Query(max_length=40)] = "",
) -> HTMLResponse:
    """A form that starts a job. `again` is a job whose options it holds first: one that was
    stopped goes on from there."""
    service = owner.service
    values: dict[str, Any] = {}
    if again:
        values = dataclasses.asdict(service.jobs.state(again).asked)
    elif run:
        values = {"run": run}
    return page(
        "new.html",
        owner,
        parts=fields_of(models.NewRun, PARTS, LABELS, _choices(runs_in(service.runs)), values),
        again=again,
        run=values.get("run", ""),
    )


@router.get("/jobs", response_class=HTMLResponse)
def jobs_page(viewer: Viewer, offset: Annotated[int, Query(ge=0, le=NUMBER)] = 0) -> HTMLResponse:
    """The jobs of all runs, the newest first."""
    states, unreadable = viewer.service.jobs.readable()
    return page(
        "jobs.html",
        viewer,
        jobs=[shown(state) for state in states[offset : offset + ROWS]],
        more=offset + ROWS if offset + ROWS < len(states) else 0,
        unreadable=unreadable,
    )


@router.get("/jobs/{job}", response_class=HTMLResponse)
def job_page(job: JobId, viewer: Viewer) -> HTMLResponse:
    """One job: what was asked, how it went."""
    state = viewer.service.jobs.state(job)
    return page("job.html", viewer, job=shown(state), command=state.asked.command)


def _choices(runs: list[str]) -> dict[str, Field]:
    """Return the fields whose values are known here."""
    from autointerp import extensions, raters
    from autointerp.questions import scorers
    from autointerp.questions.rubric_files import list_rubrics
    from autointerp.units import sources

    known = [one for one in extensions.described(raters) if one[0] != "human"]
    return {
        "verb": Field(
            kind="select",
            options=[
                ("rate", "rate units, and whatever that needs"),
                ("harvest", "find units and their contexts"),
                ("explain", "describe units"),
                ("score", "score descriptions"),
            ],
        ),
        "run": Field(options=[(name, "") for name in runs]),
        "sources": Field(options=extensions.described(sources)),
        "scorers": Field(options=extensions.described(scorers)),
        "rater": Field(options=known, hint="NAME or NAME:MODEL"),
        "explainer": Field(options=known),
        "rubric": Field(kind="select", options=[(one.id, one.title) for one in list_rubrics()]),
        "subject": Field(hint="the run's, else autointerp.toml, else embedded"),
        "n": Field(hint="200"),
        "tokens": Field(hint="all"),
        "budget_usd": Field(hint="no limit"),
        "concurrency": Field(hint="the rater's own"),
        "base_url": Field(hint="the provider's"),
    }
