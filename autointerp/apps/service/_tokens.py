"""Tokens: random, stored hashed, revocable, each with a role; a file that processes share."""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
import threading
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from autointerp.errors import BadInput, StorageError
from autointerp.files import PRIVATE_FOLDER, held_lock, json_value, write_text

SERVICE = ".service"  # beside the runs: tokens, jobs, the audit log, snapshots
FILE = "tokens.json"
ADDRESS = "address"  # beside it, of the server
DEFAULT_ADDRESS = "http://127.0.0.1:8731"
DEFAULT_PORTS = {"http": 80, "https": 443}  # browsers leave them out of the header Host
MOST_DAYS = 36_500
KEPT_DAYS = 30  # of a token that has ended, for `autointerp tokens`
LONGEST = 128  # characters of a token that is looked up
PLACE = "place of "  # begins the label of a token that somebody got by a link for whoever comes
Role = Literal["owner", "viewer", "rater"]


@dataclass(frozen=True)
class Token:
    """What is known of a token; the token itself is not.

    Attributes:
        id: What the audit log and `autointerp tokens` call it.
        hash: sha256 of the token. It has 256 random bits, so no slower hash is needed.
        run: Of a rater, the name of the run; empty for others.
        rater: Of a rater, the name in the ratings, such as `human:ann`; empty for others.
        label: What it was made for.
        made_at, expires_at, revoked_at: ISO 8601, UTC; empty for never.
        details: What a rater's invitation says by name.
    """

    id: str
    hash: str
    role: Role
    run: str = ""
    rater: str = ""
    label: str = ""
    made_at: str = ""
    expires_at: str = ""
    revoked_at: str = ""
    details: Mapping[str, str] = field(default_factory=dict)

    def state(self, now: datetime) -> str:
        """Return `valid`, `expired` or `revoked`."""
        if self.revoked_at:
            return "revoked"
        if self.expires_at and datetime.fromisoformat(self.expires_at) <= now:
            return "expired"
        return "valid"

    @property
    def is_place(self) -> bool:
        """Whether it is the place of somebody who came by a link for whoever comes."""
        return self.role == "rater" and self.label.startswith(PLACE)

    @property
    def is_open(self) -> bool:
        """Whether it is of a link for whoever comes."""
        return "invitation" in self.details

    def ended_at(self, now: datetime) -> datetime | None:
        """Return when it ceased to be valid; None while it is."""
        state = self.state(now)
        if state == "valid":
            return None
        return datetime.fromisoformat(self.revoked_at if state == "revoked" else self.expires_at)


def write_address(runs: Path, base_url: str) -> None:
    """Keep the address that people open, for links that another process prints."""
    write_text(service_folder(runs) / ADDRESS, f"{base_url}\n")


def last_address(runs: Path) -> str | None:
    """Return the address of the server of these runs, or of the last one; None if none was."""
    try:
        return (runs / SERVICE / ADDRESS).read_text("utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def in_ascii(name: str) -> str:
    """Return a host's name as browsers send it: labels that are no ASCII by IDNA."""
    return name if name.isascii() else name.encode("idna").decode("ascii")


def is_whole_host(url: str) -> bool:
    """Return whether an address is that of a host, with all that it serves."""
    try:
        parts = urlsplit(url)
        in_ascii(parts.hostname or "")
        valid = parts.port != 0  # its property raises for what is no port
    except ValueError:
        return False
    return (
        valid
        and parts.scheme in DEFAULT_PORTS
        and bool(parts.hostname)
        and not parts.path.strip("/")
        and not parts.query
        and not parts.fragment
        and parts.username is None
    )


def service_folder(runs: Path) -> Path:
    """Return the service's own folder beside the runs, made if it is not there."""
    folder = runs / SERVICE
    try:
        runs.mkdir(parents=True, exist_ok=True)
        folder.mkdir(PRIVATE_FOLDER, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"cannot make {folder} ({error.strerror}); start in a folder that can be written"
        ) from None
    return folder


def hash_of(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def check_days(days: float | None) -> None:
    """Raise BadInput for a validity that no calendar has; None is until it is revoked."""
    if days is not None and not abs(days) <= MOST_DAYS:  # not for NaN either
        raise BadInput(f"--days {days:g}; give at most {MOST_DAYS:,}")


def _is_place_of(token: Token, link: Token, now: datetime) -> bool:
    """Return whether a token is a place that was taken by a link, and is valid."""
    label = place_label(link.details.get("invitation", ""))
    return (token.label, token.run) == (label, link.run) and token.state(now) == "valid"


def place_label(invitation: str) -> str:
    """Return the label of a place; `invitation` is the file of the session for whoever comes."""
    return f"{PLACE}{invitation.removesuffix('.jsonl')}"


class Tokens:
    """The tokens of a folder of runs. What another process writes is seen at the next look-up."""

    def __init__(self, runs: Path) -> None:
        self._runs = runs
        self.path = runs / SERVICE / FILE
        self._lock = threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._by_hash: dict[str, Token] = {}

    def find(self, token: str) -> Token | None:
        """Return the valid token that a text is; None if it is none, or none any more."""
        if not token or len(token) > LONGEST:
            return None
        held = self._current().get(hash_of(token))
        return held if held is not None and held.state(datetime.now(UTC)) == "valid" else None

    def is_valid(self, identifier: str) -> bool:
        """Return whether the token of an id is valid now."""
        now = datetime.now(UTC)
        held = (token for token in self._current().values() if token.id == identifier)
        return any(token.state(now) == "valid" for token in held)

    def all(self) -> list[Token]:
        """Return all tokens that are kept, in the order in which they were made."""
        return sorted(self._current().values(), key=lambda token: (token.made_at, token.id))

    def issue(
        self,
        role: Role,
        run: str = "",
        rater: str = "",
        label: str = "",
        days: float | None = None,
        details: Mapping[str, str] | None = None,
    ) -> tuple[Token, str]:
        """Return a new token's record and the token itself, which is stored nowhere.

        `days` is how long it is valid; None for until it is revoked.
        """
        if (role == "rater") != bool(run and rater):
            raise BadInput(f"a token of role {role}: a rater's, and no other, names run and rater")
        check_days(days)
        text = secrets.token_urlsafe(32)
        now = datetime.now(UTC)
        token = Token(
            id=secrets.token_hex(4),
            hash=hash_of(text),
            role=role,
            run=run,
            rater=rater,
            label=label,
            made_at=now.isoformat(timespec="seconds"),
            expires_at=""
            if days is None
            else (now + timedelta(days=days)).isoformat(timespec="seconds"),
            details=dict(details or {}),
        )
        with self._changed() as tokens:
            tokens.append(token)
        return token, text

    def places(self, link: Token) -> list[Token]:
        """Return the valid tokens of people who took a place by a link for whoever comes; who came
        again has several, with one journal."""
        now = datetime.now(UTC)
        return [token for token in self.all() if _is_place_of(token, link, now)]

    def revoke(self, identifier: str, places: bool = False) -> Token:
        """Make a token invalid from now on; return it.

        Of a link for whoever comes, nobody gets a place by it any more; those that were taken stay
        valid, so that who has begun can finish, unless `places` ends them, too.

        Raises BadInput if there is no such token, or `places` of one that is no such link.
        """
        unknown = f"token '{identifier}': there is none; `autointerp tokens list` shows all"
        if not self.path.exists():  # nor is it made
            raise BadInput(unknown)
        with self._changed() as tokens:
            for place, token in enumerate(tokens):
                if token.id == identifier:
                    if places and not token.is_open:
                        raise BadInput(
                            f"token '{identifier}' is no link for whoever comes, so nobody has a "
                            "place by it; revoke it without its places"
                        )
                    now = datetime.now(UTC)
                    at = now.isoformat(timespec="seconds")
                    if not token.revoked_at:
                        tokens[place] = replace(token, revoked_at=at)
                    if places:
                        tokens[:] = [
                            replace(one, revoked_at=at) if _is_place_of(one, token, now) else one
                            for one in tokens
                        ]
                    return tokens[place]
        raise BadInput(unknown)

    @contextlib.contextmanager
    def _changed(self) -> Iterator[list[Token]]:
        """Yield the tokens, to be changed in place, and write them; one process at a time."""
        service_folder(self._runs)
        with self._lock, held_lock(self.path.with_suffix(".lock")):
            now = datetime.now(UTC)
            oldest = now - timedelta(days=KEPT_DAYS)
            kept = [t for t in self._read() if (t.ended_at(now) or now) >= oldest]
            yield kept
            fields = {"version": 1, "tokens": [asdict(token) for token in kept]}
            write_text(self.path, json.dumps(fields, indent=1), mode=0o600)

    def _current(self) -> dict[str, Token]:
        with self._lock:
            try:
                about = self.path.stat()
                seen = about.st_mtime_ns, about.st_size, about.st_ino
            except FileNotFoundError:
                self._seen, self._by_hash = None, {}
                return {}
            if seen != self._seen:
                self._by_hash = {token.hash: token for token in self._read()}
                self._seen = seen
            return self._by_hash

    def _read(self) -> list[Token]:
        try:
            fields = json_value(self.path.read_bytes())
            return [Token(**one) for one in fields["tokens"]]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise StorageError(
                f"{self.path} cannot be read ({error}); move it away, and issue new tokens"
            ) from None
