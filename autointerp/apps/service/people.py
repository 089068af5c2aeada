"""`/v1`: invitations and tokens; and the owner's pages of them."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, cast

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import HTMLResponse

from autointerp.apps.service import _models as models
from autointerp.apps.service._access import Owner, Service
from autointerp.apps.service._calls import ask_child
from autointerp.apps.service._forms import Field, Part, fields_of
from autointerp.apps.service._invitations import Wanted, link
from autointerp.apps.service._jobs import digest_of
from autointerp.apps.service._models import NUMBER, Page, RunName
from autointerp.apps.service._pages import page
from autointerp.apps.service._problems import Problem
from autointerp.apps.service._tokens import Token
from autointerp.apps.service.runs import Limit, Offset, fresh, next_page
from autointerp.people.machine import parts_text
from autointerp.store.run import existing_run
from autointerp.text import count

router = APIRouter(tags=["people"])

ROWS = 100

TokenId = Annotated[str, models.Field(pattern=r"^[0-9a-f]{8}$")]
PARTS = (
    Part("Who", ("rater", "crowd", "places", "days")),
    Part("What", ("items", "rubric", "overlap", "repeat_share", "practice", "guess")),
    Part("For a crowd platform", ("code", "return_url", "consent"), is_open=False),
    Part("More", ("corpus_text",), is_open=False),
)
LABELS = {
    "rater": "name", "crowd": "or for whoever comes: parameter", "places": "places",
    "days": "valid, days", "items": "items to rate", "overlap": "raters of each item",
    "repeat_share": "share shown again", "practice": "practice first",
    "guess": "ask at the end what each was", "code": "completion code",
    "return_url": "address to go back to", "consent": "text to agree to",
    "corpus_text": "more text of the corpus on demand",
}  # fmt: skip


@router.get("/v1/runs/{run}/invitations")
def list_invitations(
    run: RunName, request: Request, response: Response, owner: Owner
) -> list[models.Invited]:
    """List the invitations to a run, the newest first."""
    existing_run(run, owner.service.runs)
    said = _invitations(owner.service, run)
    return fresh(request, response, said)


@router.post("/v1/runs/{run}/invitations", status_code=201)
async def create_invitation(
    run: RunName,
    new: models.NewInvitation,
    owner: Owner,
    key: Annotated[
        str,
        Header(
            alias="Idempotency-Key",
            max_length=200,
            description="The same key invites once; a link is not told again (409).",
        ),
    ] = "",
) -> models.Invitation:
    """Invite somebody to rate units of a run in a browser, blind; the link is told once."""
    digest = digest_of(key)
    with _once(owner.service, digest):
        return await _invite(owner.service, run, new, digest)


@contextlib.contextmanager
def _once(service: Service, digest: str) -> Iterator[None]:
    """Raise Problem for an idempotency key by which somebody was invited, or is being invited."""
    if not digest:
        yield
        return
    making = service.tails.invited_by
    if digest in making:
        raise Problem(409, "Idempotency-Key: somebody is being invited by it; wait")
    for token in service.tokens.all():
        if token.details.get("key") == digest:
            raise Problem(
                409,
                f"Idempotency-Key: it made invitation {token.id}, whose link was told; to have "
                f"another one, DELETE /v1/tokens/{token.id} and invite by another key",
            )
    making.add(digest)
    try:
        yield
    finally:
        making.discard(digest)


async def _invite(
    service: Service, run: str, new: models.NewInvitation, digest: str
) -> models.Invitation:
    existing_run(run, service.runs)
    wanted = Wanted(run, **new.model_dump())
    active = service.jobs.active(run)
    if active is not None:
        raise Problem(
            409,
            f"job {active.id} writes run '{run}'; invite when it has ended, or stop it",
        )
    said = await ask_child(
        service,
        "invitation",
        dataclasses.asdict(wanted),
        "try again without corpus_text, or by `autointerp invite`",
    )
    token, address = link(
        service.tokens, wanted, said["session"], said["asked"], service.base_url, digest
    )
    return models.Invitation(
        **_invited(token, service).model_dump(),
        link=address,
        asked=parts_text(said["asked"]),
        controls=said["gold"],
        notes=said["notes"],
    )


@router.get("/v1/tokens")
def list_tokens(
    request: Request, response: Response, owner: Owner, limit: Limit = 50, offset: Offset = 0
) -> Page[models.TokenInfo]:
    """List the tokens, the newest first; what a token is, nobody knows."""
    tokens = _tokens(owner.service, raters=False)
    part = tokens[offset : offset + limit]
    page = Page[models.TokenInfo](
        items=[_info(token) for token in part],
        total=len(tokens),
        offset=offset,
        next=next_page(request, len(tokens), offset, len(part)),
    )
    return fresh(request, response, page)


@router.delete("/v1/tokens/{token}")
def revoke_token(
    token: TokenId,
    owner: Owner,
    places: Annotated[
        bool, Query(description="Of a link for whoever comes: end the places taken by it, too.")
    ] = False,
) -> models.TokenInfo:
    """Make a token invalid from now on: an invitation, or a colleague's. By a link for whoever
    comes nobody gets a place any more; who has one keeps it, to finish, but for `places=true`."""
    held = {one.id for one in owner.service.tokens.all()}
    if token not in held:
        raise Problem(404, f"token '{token}': there is none; /v1/tokens lists them")
    return _info(owner.service.tokens.revoke(token, places))


@router.get("/runs/{run}/invite", response_class=HTMLResponse, include_in_schema=False)
def invite_page(run: RunName, owner: Owner) -> HTMLResponse:
    """A form that makes a link for somebody to rate by, and the links that were made."""
    service = owner.service
    existing_run(run, service.runs)
    return page(
        "invite.html",
        owner,
        run=run,
        parts=fields_of(models.NewInvitation, PARTS, LABELS, _choices()),
        invitations=_invitations(service, run),
        count=count,
    )


@router.get("/access", response_class=HTMLResponse, include_in_schema=False)
def access_page(owner: Owner, offset: Annotated[int, Query(ge=0, le=NUMBER)] = 0) -> HTMLResponse:
    """Who may come in: tokens of all roles, which can be revoked."""
    tokens = _tokens(owner.service, raters=False)
    return page(
        "access.html",
        owner,
        tokens=[_info(token) for token in tokens[offset : offset + ROWS]],
        total=len(tokens),
        offset=offset,
        rows=ROWS,
        own=owner.token_id,
    )


def _tokens(service: Service, raters: bool = True) -> list[Token]:
    """Return the tokens, the newest first; of invitations alone, without the places of a crowd."""
    tokens = reversed(service.tokens.all())
    if not raters:
        return list(tokens)
    return [token for token in tokens if token.role == "rater" and not token.is_place]


def _invitations(service: Service, run: str) -> list[models.Invited]:
    return [_invited(token, service) for token in _tokens(service) if token.run == run]


def _invited(token: Token, service: Service) -> models.Invited:
    journals = {place.details.get("journal") for place in service.tokens.places(token)}
    return models.Invited(
        id=token.id,
        rater=f"whoever comes by {token.details['parameter']}"
        if "parameter" in token.details
        else token.rater,
        label=token.label,
        state=cast(Any, token.state(datetime.now(UTC))),
        made_at=token.made_at,
        expires_at=token.expires_at,
        places=len(journals) if token.is_open else None,
    )


def _info(token: Token) -> models.TokenInfo:
    names = ("id", "role", "run", "rater", "label", "made_at", "expires_at", "revoked_at")
    fields = {name: getattr(token, name) for name in names}
    return models.TokenInfo(**fields, state=cast(Any, token.state(datetime.now(UTC))))


def _choices() -> dict[str, Field]:
    """Return the fields whose values are known here."""
    from autointerp.questions.rubric_files import list_rubrics

    rubrics = [(one.id, one.title) for one in list_rubrics() if one.about != "description"]
    return {
        "rubric": Field(kind="select", options=rubrics),
        "consent": Field(kind="textarea"),
        "rater": Field(hint="letters and digits, such as ann"),
        "crowd": Field(hint="such as PROLIFIC_PID"),
        "overlap": Field(hint="everybody rates all"),
    }
