"""Invitations by link: the session of a person or of whoever comes, and the token that opens it.

No web framework is needed here: the command line invites with the same functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from autointerp.apps.service._tokens import Token, Tokens, check_days
from autointerp.errors import BadInput
from autointerp.people.session import Part, Sitting
from autointerp.pipeline.events import On, ignore
from autointerp.pipeline.invite import Invitation, invite
from autointerp.records import check_person
from autointerp.text import count

MOST_TEXT = 20_000  # characters of a consent


@dataclass(frozen=True)
class Wanted:
    """Who is invited to what.

    Attributes:
        rater: Name of one person; empty with `crowd`.
        crowd: Parameter of the link that names whoever comes, such as PROLIFIC_PID; else empty.
        items: Items to rate, of all sources and controls together.
        overlap: Raters of each item; None for everybody.
        places: With `crowd`: people at most.
        code, return_url: Shown when all is answered.
        consent: Text that is agreed to first.
        days: For which the link is valid.
    """

    run: str
    rater: str = ""
    crowd: str = ""
    items: int = 60
    rubric: str = "interpretability-1-5"
    overlap: int | None = None
    repeat_share: float = 0.1
    practice: bool = True
    guess: bool = True
    corpus_text: bool = True
    places: int = 100
    code: str = ""
    return_url: str = ""
    consent: str = ""
    days: float = 30.0

    def __post_init__(self) -> None:
        if bool(self.rater) == bool(self.crowd):
            raise BadInput(
                "whom to invite is not clear; give --rater NAME for one person, or --crowd "
                "PARAMETER for many"
            )
        if self.crowd and not (self.crowd.isidentifier() and self.crowd.isascii()):
            raise BadInput(
                f"--crowd {self.crowd}: give the name of a parameter, such as PROLIFIC_PID"
            )
        check_days(self.days)
        if self.return_url and not self.return_url.startswith("https://"):
            raise BadInput(
                f"--return-url {self.return_url}: give an address that begins with https://"
            )
        if len(self.consent) > MOST_TEXT:
            raise BadInput(
                f"--consent: a text of {len(self.consent):,} characters; give 1 to {MOST_TEXT:,}"
            )
        if self.name:
            check_person(self.name)

    @property
    def name(self) -> str:
        """The person's name in the ratings; empty for whoever comes."""
        return f"human:{self.rater.removeprefix('human:')}" if self.rater else ""


def prepare(runs: Path, wanted: Wanted, on: On = ignore) -> Invitation:
    """Make the session; the run is written. Raises as `pipeline.invite.invite` does."""
    sitting = Sitting(
        wanted.overlap, wanted.repeat_share, practice=wanted.practice, guess=wanted.guess
    )
    return invite(
        wanted.run, wanted.name or None, wanted.items, wanted.rubric, sitting, wanted.corpus_text,
        runs, on,
    )  # fmt: skip


def link(
    tokens: Tokens,
    wanted: Wanted,
    session: str,
    asked: Mapping[Part, int],
    url: str,
    key: str = "",
) -> tuple[Token, str]:
    """Return a new token for a prepared session, and the address that opens it.

    `asked` is what the session asks, which may be less than is wanted. `url` is the service's
    address as the invited reach it. With `crowd`, the address ends in ID, which stands for what the
    platform puts there. `key` is the digest of an idempotency key.
    """
    details = {"code": wanted.code, "return_url": wanted.return_url, "consent": wanted.consent}
    if wanted.crowd:
        details |= {
            "invitation": session,
            "parameter": wanted.crowd,
            "places": str(wanted.places),
        }
    else:
        details["journal"] = session
    if key:
        details["key"] = key
    token, text = tokens.issue(
        "rater",
        run=wanted.run,
        rater=wanted.name or "human:anyone",
        label=f"{wanted.rubric}, {count(asked.get('ratings', 0), 'item')}",
        days=wanted.days,
        details=details,
    )
    query = urlencode({"token": text}) + (f"&{wanted.crowd}=ID" if wanted.crowd else "")
    return token, f"{url.rstrip('/')}/rate/?{query}"
