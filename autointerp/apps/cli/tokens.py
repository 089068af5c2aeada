"""Tokens of `autointerp serve`: list them, make one, revoke one."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Literal, cast

import typer

from autointerp.apps.cli import _options, columns_text, say
from autointerp.text import count

HEADER = ("ID", "ROLE", "RUN", "RATER", "STATE", "MADE", "EXPIRES", "FOR")
app = typer.Typer(no_args_is_help=True)


@app.command("list")
def list_tokens(as_json: _options.AsJson = False) -> None:
    """List the tokens of the folder `runs`: role, state, and what each was made for.

    Example: autointerp tokens list
    """
    from autointerp.apps.service._tokens import Tokens
    from autointerp.store.run import RUNS

    tokens, now = Tokens(RUNS).all(), datetime.now(UTC)
    if as_json:
        shown = [{**asdict(token), "state": token.state(now)} for token in tokens]
        for fields in shown:
            del fields["hash"]
        typer.echo(json.dumps(shown, indent=2))
        return
    rows = [
        (t.id, t.role, t.run, t.rater, t.state(now), t.made_at, t.expires_at, t.label)
        for t in tokens
    ]
    say(columns_text(HEADER, rows) if rows else "no tokens; `autointerp serve` makes one")


@app.command("new")
def new_token(
    role: Annotated[
        Literal["owner", "viewer"], typer.Option(help="owner may change things, viewer may read.")
    ] = "viewer",
    label: Annotated[str, typer.Option("--for", help="What it is for.")] = "",
    days: Annotated[
        float | None,
        typer.Option(min=0, help="Days for which it is valid.", show_default="until revoked"),
    ] = None,
) -> None:
    """Make a token and print it; it is stored nowhere. Raters get theirs with an invitation.

    Example: autointerp tokens new --role viewer --for "the sweep"
    """
    from autointerp.apps.service._tokens import Tokens
    from autointerp.store.run import RUNS

    token, text = Tokens(RUNS).issue(cast("Literal['owner']", role), label=label, days=days)
    typer.echo(text)
    say(f"token {token.id} of role {role}; `autointerp tokens revoke {token.id}` ends it", err=True)


@app.command("revoke")
def revoke_token(
    identifier: Annotated[str, typer.Argument(metavar="ID", help="Id of the token.")],
    places: Annotated[
        bool,
        typer.Option("--places", help="Of a link of --crowd: end the places taken by it, too."),
    ] = False,
) -> None:
    """Make a token invalid; a server that runs refuses it from the next request on.

    By a link of `invite --crowd` nobody gets a place any more; who has one keeps it, to finish.

    Example: autointerp tokens revoke 1f00ba2d
    """
    from autointerp.apps.service._tokens import Tokens
    from autointerp.store.run import RUNS

    tokens = Tokens(RUNS)
    token = tokens.revoke(identifier, places)
    say(f"token {token.id} of role {token.role} is revoked")
    left = len({place.details.get("journal") for place in tokens.places(token)})
    if left:
        say(f"{count(left, 'place that was', 'places that were')} taken by it stay valid, so that "
            f"who has begun can finish; `autointerp tokens revoke {token.id} --places` ends them",
            err=True)  # fmt: skip
