"""A client of `autointerp serve`: `/v1` as Python, typed by the same models.

    from autointerp.apps.client import Client
    with Client("http://127.0.0.1:8731", token) as client:
        job = client.start(NewRun(run="main", n=200))
        for event in client.events("main"):
            print(event.text)

It needs the extra `serve`, whose models it shares.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, cast

import httpx2
from pydantic import BaseModel, TypeAdapter

from autointerp.apps.service._models import (
    Check,
    Context,
    Event,
    Extension,
    Forecast,
    Invitation,
    Invited,
    Item,
    Job,
    JobPage,
    Judge,
    Limits,
    NewInvitation,
    NewRun,
    Page,
    Rating,
    RubricInfo,
    Run,
    Session,
    ShownItem,
    TableForm,
    TableKind,
    TokenInfo,
    Unit,
    UnitDetail,
    UnitPage,
    Verdict,
)
from autointerp.errors import AutointerpError

M = TypeVar("M", bound=BaseModel)
TIMEOUT_S = 300.0  # a verdict of a large run takes minutes


class ServiceError(AutointerpError):
    """What the service refused: `status`, and its line as the text."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


class Client:
    """A client of one service. `http` is what makes requests; made if it is not given."""

    def __init__(self, url: str, token: str, http: httpx2.Client | None = None) -> None:
        self._http = http or httpx2.Client(base_url=url, timeout=TIMEOUT_S)
        self._headers = {"Authorization": f"Bearer {token}"}

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    # ----------------------------------------------------------------------------- reading

    def runs(self) -> Iterator[Run]:
        """Yield the runs of the folder."""
        yield from self._pages(Page[Run], "/v1/runs")

    def run(self, run: str) -> Run:
        """Return what a run holds, in counts."""
        return self._get(Run, f"/v1/runs/{run}")

    def units(self, run: str, **filters: Any) -> Iterator[Unit]:
        """Yield the units of a run; `filters` are the parameters of /v1/runs/{run}/units."""
        yield from self._pages(UnitPage, f"/v1/runs/{run}/units", filters)

    def unit(self, run: str, unit_id: int) -> UnitDetail:
        """Return everything that is known of a unit."""
        return self._get(UnitDetail, f"/v1/runs/{run}/units/{unit_id}")

    def judges(self, run: str) -> list[Judge]:
        """Return who rated units of a run on which rubric, those with most units first."""
        return self._list(Judge, f"/v1/runs/{run}/judges")

    def contexts(self, run: str, **filters: Any) -> Iterator[Context]:
        """Yield the stored contexts of a run; `filters` are unit_id, split and draw."""
        yield from self._pages(Page[Context], f"/v1/runs/{run}/contexts", filters)

    def items(self, run: str, **filters: str) -> Iterator[Item]:
        """Yield the items that raters are asked about, in order; `filters` is rubric."""
        yield from self._pages(Page[Item], f"/v1/runs/{run}/items", filters)

    def item(self, run: str, item: str) -> ShownItem:
        """Return an item as its rater sees it."""
        return self._get(ShownItem, f"/v1/runs/{run}/items/{item}")

    def sessions(self, run: str) -> list[Session]:
        """Return the sessions of people: who, how much was given out and answered."""
        return self._list(Session, f"/v1/runs/{run}/sessions")

    def ratings(self, run: str, **filters: str) -> Iterator[Rating]:
        """Yield the ratings of a run."""
        yield from self._pages(Page[Rating], f"/v1/runs/{run}/ratings", filters)

    def verdict(self, run: str, level: float | None = None) -> Verdict:
        """Return everything that a run's ratings say; a look. `level` is the coverage of intervals;
        None for the plan's."""
        query = None if level is None else {"level": level}
        return self._get(Verdict, f"/v1/runs/{run}/verdict", query)

    def export(
        self, run: str, file: Path, to: TableForm = "csv", what: TableKind = "ratings"
    ) -> None:
        """Write a table of a run to a file."""
        path = f"/v1/runs/{run}/export"
        with self._http.stream(
            "GET", path, params={"to": to, "what": what}, headers=self._headers
        ) as answer:
            if answer.status_code != 200:
                answer.read()
                raise _refused(answer)
            with file.open("wb") as opened:
                for part in answer.iter_bytes():
                    opened.write(part)

    def raters(self) -> list[Extension]:
        """Return the raters that a job may name."""
        return self._list(Extension, "/v1/raters")

    def checks(self, rater: str) -> list[Check]:
        """Return the last check of a rater on planted units; empty if it was never checked."""
        return self._list(Check, "/v1/checks", {"rater": rater})

    def rubrics(self) -> list[RubricInfo]:
        """Return the rubrics that are shipped."""
        return self._list(RubricInfo, "/v1/rubrics")

    def sources(self) -> list[Extension]:
        """Return the sources of units."""
        return self._list(Extension, "/v1/sources")

    # -------------------------------------------------------------------------------- jobs

    def start(self, new: NewRun, key: str = "") -> Job:
        """Start a job; with an idempotency key, at most one by that key."""
        headers = {"Idempotency-Key": key} if key else {}
        return self._send(Job, "POST", "/v1/runs", new, headers)

    def forecast(self, new: NewRun) -> Forecast:
        """Return what a job would do and cost."""
        return self._send(Forecast, "POST", "/v1/runs?dry_run=true", new)

    def jobs(self, run: str = "") -> Iterator[Job]:
        """Yield the jobs, of one run if it is named, the newest first; see `unreadable_jobs`."""
        yield from self._pages(JobPage, "/v1/jobs", {"run": run} if run else {})

    def unreadable_jobs(self) -> list[str]:
        """Return a line about each job whose files cannot be read; it is in no list of jobs."""
        return self._get(JobPage, "/v1/jobs", {"limit": 1}).unreadable

    def job(self, job: str) -> Job:
        """Return a job as it is now."""
        return self._get(Job, f"/v1/jobs/{job}")

    def pause(self, run: str) -> Job:
        """Have a run's job make no new call."""
        return self._send(Job, "POST", f"/v1/runs/{run}/pause")

    def resume(self, run: str) -> Job:
        """Have a run's paused job go on."""
        return self._send(Job, "POST", f"/v1/runs/{run}/resume")

    def stop(self, run: str) -> Job:
        """Have a run's job end."""
        return self._send(Job, "POST", f"/v1/runs/{run}/stop")

    def limit(self, run: str, limits: Limits) -> Job:
        """Change what a run's job may do; what `limits` leaves out stays."""
        return self._send(Job, "PATCH", f"/v1/runs/{run}/limits", limits)

    def events(self, run: str, last: str = "") -> Iterator[Event]:
        """Yield the events of a run's newest job until it ends; `last` is the id to go on after.

        Raises ServiceError where the service ends the stream before the job: it stops, or the token
        was revoked.
        """
        headers = {**self._headers, **({"Last-Event-ID": last} if last else {})}
        with self._http.stream("GET", f"/v1/runs/{run}/events", headers=headers) as answer:
            if answer.status_code == 204:
                return
            if answer.status_code != 200:
                answer.read()
                raise _refused(answer)
            identifier = ""
            for line in answer.iter_lines():
                name, _, value = line.partition(": ")
                if name == "id":
                    identifier = last = value
                elif name == "data" and identifier:
                    yield Event(id=identifier, **json.loads(value))
                    identifier = ""
                elif (name, value) == ("event", "end"):
                    return
        raise ServiceError(
            503, f"the service ended the stream, not the job; go on from last={last!r}"
        )

    # ------------------------------------------------------------------------------ people

    def invite(self, run: str, new: NewInvitation, key: str = "") -> Invitation:
        """Invite somebody to rate units of a run; the link is told once. With an idempotency key,
        once by that key."""
        headers = {"Idempotency-Key": key} if key else {}
        return self._send(Invitation, "POST", f"/v1/runs/{run}/invitations", new, headers)

    def invitations(self, run: str) -> list[Invited]:
        """Return the invitations to a run, the newest first."""
        return self._list(Invited, f"/v1/runs/{run}/invitations")

    def tokens(self) -> Iterator[TokenInfo]:
        """Yield what is known of the tokens, the newest first."""
        yield from self._pages(Page[TokenInfo], "/v1/tokens")

    def revoke(self, token: str, places: bool = False) -> TokenInfo:
        """Make a token invalid: an invitation, or a colleague's; with `places` of a link for
        whoever comes those, too, that were taken by it."""
        too = "true" if places else "false"
        return self._send(TokenInfo, "DELETE", f"/v1/tokens/{token}?places={too}")

    # ------------------------------------------------------------------------------ requests

    def _get(self, kind: type[M], path: str, query: Mapping[str, Any] | None = None) -> M:
        return kind.model_validate_json(self._content(path, query))

    def _list(self, kind: type[M], path: str, query: Mapping[str, Any] | None = None) -> list[M]:
        return TypeAdapter(list[kind]).validate_json(self._content(path, query))  # type: ignore[valid-type]

    def _content(self, path: str, query: Mapping[str, Any] | None) -> bytes:
        answer = self._http.get(path, params=query or None, headers=self._headers)
        if answer.status_code != 200:
            raise _refused(answer)
        return answer.content

    def _send(
        self,
        kind: type[M],
        method: str,
        path: str,
        body: BaseModel | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> M:
        content = None if body is None else body.model_dump(mode="json", exclude_unset=True)
        answer = self._http.request(
            method, path, json=content, headers={**self._headers, **(headers or {})}
        )
        if answer.status_code not in (200, 201):
            raise _refused(answer)
        return kind.model_validate_json(answer.content)

    def _pages(
        self, kind: type[Page[M]], path: str, query: Mapping[str, Any] | None = None
    ) -> Iterator[M]:
        page = self._get(kind, path, query)
        while True:
            yield from page.items
            if page.next is None:
                return
            page = self._get(kind, page.next)


def _refused(answer: httpx2.Response) -> ServiceError:
    """Return the error of an answer that is none of those that were hoped for."""
    try:
        detail = str(cast("dict[str, Any]", answer.json())["detail"])
    except (ValueError, KeyError, TypeError):
        detail = f"the service answered {answer.status_code}; is its address right?"
    return ServiceError(answer.status_code, detail)
