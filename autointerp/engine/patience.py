"""When asking is of no use: no server, or replies that nobody can read."""

from __future__ import annotations

import json
from collections.abc import Mapping

from autointerp.errors import RaterError
from autointerp.records import Rating, Reply
from autointerp.text import count

FIRST_WORKERS = 4  # calls at once until one reply could be read: the others would be paid for too
HOPELESS = 3  # items failed, and none rated: the server is not there
UNREAD = 5  # items whose replies could not be read or were refused, and none rated
SEVERAL = 2
LOST = 20  # items without a rating in a row: what worked does so no more
NOT_READ = {"unparsed", "refused"}
SHOWN = 240  # characters of a reply in an error
REMEDY = (
    "try --structured text or tool, a larger --max-output-tokens or another model; "
    "what is rated is kept"
)


class Patience:
    """Counts items in a row without a rating; raises RaterError when there are too many."""

    def __init__(self, rater: str) -> None:
        self.rater = rater
        self.is_trusted = False  # one reply could be read
        self._failed = 0
        self._unread = 0
        self._last: tuple[Rating, Reply] | None = None  # that could not be read, or was refused

    def failed(self, error: Exception) -> None:
        """An item could not be asked about, with every retry made."""
        self._failed += 1
        if self._failed >= (LOST if self.is_trusted else HOPELESS):
            raise RaterError(
                f"{self.rater}: {count(self._failed, 'call')} failed in a row, the last with: "
                f"{error}; what is rated is kept"
            ) from None

    def replied(self) -> None:
        """A reply came, whatever it says."""
        self._failed = 0

    def rated(self, rating: Rating, reply: Reply) -> None:
        """An item got its rating, from this reply."""
        if rating.status == "ok":
            self.is_trusted, self._unread = True, 0
        elif rating.status in NOT_READ:
            self._unread += 1
            self._last = rating, reply
            if self._unread >= (LOST if self.is_trusted else UNREAD):
                which = "in a row" if self.is_trusted else "and none before"
                raise RaterError(unread_text(self.rater, self._unread, which, rating, reply))

    def require_some(self, statuses: Mapping[str, int]) -> None:
        """Raise RaterError where several items were asked about, and no reply could be read."""
        if self._last is None or self.is_trusted or self._unread < SEVERAL:
            return
        if set(statuses) <= NOT_READ:
            raise RaterError(unread_text(self.rater, self._unread, "of all", *self._last))


def unread_text(rater: str, items: int, which: str, rating: Rating, reply: Reply) -> str:
    """Return why asking ends where replies cannot be read, with one of them."""
    if rating.status == "refused":
        return (
            f"{rater}: it refused {count(items, 'item')} {which}; one reply: {shown(reply.text)}; "
            "try another model; what is rated is kept"
        )
    return (
        f"{rater}: the replies on {count(items, 'item')} {which} could not be read "
        f"({rating.rationale}); one reply: {shown(reply.text)}; {REMEDY}"
    )


def shown(text: str) -> str:
    """Return the beginning of a reply in quotation marks, on one line, every control escaped."""
    cut = text[:SHOWN] + "…" * (len(text) > SHOWN)
    return json.dumps(cut, ensure_ascii=False) if text else "empty"
