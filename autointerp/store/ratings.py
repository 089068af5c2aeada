"""Items, raters, calls and ratings of a run."""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from autointerp.records import Rating, Reply, Request
from autointerp.store.replies import Record, Recovered
from autointerp.store.tables import Tables, now

TAKEN_IN = "replies"  # in `state`: journal of replies, and the last record of it that is stored


@dataclass(frozen=True)
class KeyedItem:
    """A row of `item` and its row of `key`, to be written together."""

    item_id: str
    rubric: str
    rubric_digest: str
    evidence: str
    ord: int
    unit_id: int
    scale: float
    contexts: tuple[int, ...]


class Ratings(Tables):
    """What a run holds of questions and answers."""

    def add_items(self, items: Sequence[KeyedItem]) -> None:
        """Store items and their keys; those that are stored already are skipped."""
        key = ("item_id", "unit_id", "scale", "contexts")
        rows = [_fields(item) for item in items]
        with self.transaction():
            self.insert(
                "item",
                [{n: v for n, v in row.items() if n not in key[1:]} for row in rows],
                ignore=True,
            )
            self.insert(
                "key",
                [
                    {n: list(v) if n == "contexts" else v for n, v in row.items() if n in key}
                    for row in rows
                ],
                ignore=True,
            )

    def add_rubric(self, digest: str, name: str, content: str) -> None:
        """Keep a rubric's content, as JSON, to read the run without the rubric's file."""
        row = {"digest": digest, "id": name, "content": content}
        with self.transaction():
            self.insert("rubric", [row], ignore=True)

    def add_rater(self, rater: str, is_llm: bool) -> None:
        """Keep whether a rater is a language model."""
        with self.transaction():
            self.insert("rater", [{"rater": rater, "is_llm": is_llm}], ignore=True)

    def add_ratings(
        self,
        ratings: Sequence[Rating],
        attempts: Sequence[tuple[Request, int, Reply]] = (),
        rater: str = "",
    ) -> None:
        """Store ratings and the attempts behind them in one transaction.

        A rating of the same item, rater and repeat supersedes the earlier one. When this returns,
        a kill loses nothing.
        """
        at = now()
        calls = [
            {**call_row(rater, request, attempt, reply), "made_at": at}
            for request, attempt, reply in attempts
        ]
        with self.transaction():
            self.insert("call", calls)
            self.insert("rating", self.rating_rows([(rating, at) for rating in ratings]))

    def take_in(self, journal: str, records: Sequence[Record], lost: Sequence[Record] = ()) -> None:
        """Store what a journal of replies holds, in one transaction; what is stored is left.

        Args:
            records: Those after the ones taken in before, in order.
            lost: Calls that were sent and of which nothing will come any more: they may have been
                billed, and count at the most that they can cost.
        """
        came = [record for record in records if record["kind"] == "came"]
        calls = [
            {**record["call"], "made_at": _time(record["at"])} for record in came if record["call"]
        ]
        ratings = [
            (Rating(**record["rating"]), _time(record["at"])) for record in came if record["rating"]
        ]
        charges = [record for record in came if record["usd"]]
        charges += [{**record, "sent": record["seq"]} for record in lost]
        with self.transaction():
            self.insert("call", calls, ignore=True)
            self.insert("rating", self.rating_rows(ratings))
            self.insert(
                "charge",
                [
                    {
                        "journal": journal,
                        "seq": record["sent"],
                        "rater": record["rater"],
                        "call_key": record["key"],
                        "usd": record["usd"],
                        "made_at": _time(record["at"]),
                    }
                    for record in charges
                ],
                ignore=True,
            )
            if records:
                self.connection.execute(
                    "INSERT OR REPLACE INTO state VALUES (?, ?)",
                    [TAKEN_IN, f"{journal} {records[-1]['seq']}"],
                )

    def recover(self, recovered: Recovered) -> int:
        """Store what a killed process left in its journal of replies; return the ratings in it.

        A record that is in the tables is left, even where the journal does not say which it is.
        """
        about = self.rows("SELECT value FROM state WHERE name = ?", [TAKEN_IN])
        journal, _, last = str(about[0][0]).partition(" ") if about else ("", "", "")
        first = int(last) + 1 if journal and journal == recovered.journal else 0
        new = [record for record in recovered.records if record["seq"] >= first]
        stored = self.stored_calls(
            [record["call"]["call_key"] for record in new if record.get("call")]
        )
        there = {(key, attempt) for key, calls in stored.items() for attempt, _ in calls}
        current = set(
            self.rows("SELECT item_id, rater, repeat, status, call_key FROM current_rating")
            if any(record.get("rating") for record in new)
            else []
        )

        def is_new(record: Record) -> bool:
            if record["kind"] == "sent":
                return True
            call, rating = record["call"], record["rating"]
            if call:
                return (call["call_key"], call["attempt"]) not in there
            names = ("item", "rater", "repeat", "status", "call_key")
            return not rating or tuple(rating[name] for name in names) not in current

        lacking = [record for record in new if is_new(record)]
        lost = recovered.unsettled()
        if lacking or lost:
            self.take_in(recovered.journal, lacking, lost)
        return sum(bool(record.get("rating")) for record in lacking)

    def rating_rows(
        self, ratings: Sequence[tuple[Rating, datetime.datetime]]
    ) -> list[dict[str, Any]]:
        """Return the rows of ratings and the times at which they were made.

        Each one's version is the next for its item, rater and repeat.
        """
        versions = self._versions([rating.item for rating, _ in ratings]) if ratings else {}
        rows = []
        for rating, at in ratings:
            row = _fields(rating)
            item = row.pop("item")
            place = (item, rating.rater, rating.repeat)
            versions[place] = versions.get(place, -1) + 1
            rows.append({"item_id": item, **row, "version": versions[place], "made_at": at})
        return rows

    def rubric_contents(self) -> dict[str, str]:
        """Return the content of each rubric that items were made with, as JSON, by digest."""
        return dict(self.rows("SELECT digest, content FROM rubric"))

    def llm_raters(self) -> dict[str, bool]:
        """Return whether each rater is a language model, as far as it was noted down."""
        return dict(self.rows("SELECT rater, is_llm FROM rater"))

    def stored_calls(self, keys: Sequence[str]) -> dict[str, list[tuple[int, Reply]]]:
        """Return the attempts of calls, first to last, by the call's key."""
        calls: dict[str, list[tuple[int, Reply]]] = {}
        names = ("stop", "model", "tokens_in", "tokens_out", "cost_usd", "latency_s", "error")
        for key, attempt, details, text, *values in self.rows(
            f"SELECT call_key, attempt, details, reply, {', '.join(names)} FROM call"
            " WHERE call_key IN (SELECT unnest(?::VARCHAR[])) ORDER BY attempt",
            [list(keys)],
        ):
            more = json.loads(details) if details else {}
            reply = Reply(text, details=more, **dict(zip(names, values, strict=True)))
            calls.setdefault(key, []).append((attempt, reply))
        return calls

    def spent_usd(self) -> float:
        """Return what the run's calls have cost, as far as prices are known.

        Calls that may be billed at a cost that is not known count at their most: `charged_usd`.
        """
        ((known,),) = self.rows("SELECT coalesce(sum(cost_usd), 0) FROM call")
        return float(known) + self.charged_usd()

    def charged_usd(self) -> float:
        """Return the most that calls can have cost which had no reply, or one that does not say
        what it took, and may be billed."""
        return float(self.rows("SELECT coalesce(sum(usd), 0) FROM charge")[0][0])

    def mean_tokens(self, rater: str, rubric_digest: str) -> tuple[float, float] | None:
        """Return the mean tokens in and out of a rater's replies to what was asked by a rubric.

        None if it gave none.
        """
        mean_in, mean_out = self.rows(
            "SELECT avg(tokens_in), avg(tokens_out) FROM call WHERE call_key IN"
            " (SELECT call_key FROM rating WHERE rater = ? AND rubric_digest = ?)"
            " AND tokens_in IS NOT NULL AND tokens_out IS NOT NULL",
            [rater, rubric_digest],
        )[0]
        return None if mean_in is None else (float(mean_in), float(mean_out))

    def replace_estimates(self, rows: Sequence[dict[str, Any]]) -> None:
        """Store the estimates of a comparison in place of the earlier ones."""
        with self.transaction():
            self.execute("DELETE FROM estimate")
            self.insert("estimate", rows)

    def _versions(self, items: Sequence[str]) -> dict[tuple[str, str, int], int]:
        rows = self.rows(
            "SELECT item_id, rater, repeat, max(version) FROM rating"
            " WHERE item_id IN (SELECT unnest(?::VARCHAR[])) GROUP BY ALL",
            [list(items)],
        )
        return {(item, rater, repeat): version for item, rater, repeat, version in rows}


def call_row(rater: str, request: Request, attempt: int, reply: Reply) -> dict[str, Any]:
    """Return the row of `call` that an attempt is, without its time."""
    return {
        "call_key": request.key,
        "attempt": attempt,
        "item_id": request.item,
        "rater": rater,
        "repeat": request.repeat,
        "stop": reply.stop,
        "reply": reply.text,
        "error": reply.error,
        "model": reply.model,
        "tokens_in": reply.tokens_in,
        "tokens_out": reply.tokens_out,
        "cost_usd": reply.cost_usd,
        "latency_s": reply.latency_s,
        "details": json.dumps(reply.details, ensure_ascii=False),
    }


def sent_record(rater: str, request: Request, most_usd: float) -> Record:
    """Return the record of a call that is about to be sent, and may cost so much."""
    return {
        "kind": "sent",
        "at": now().isoformat(),
        "rater": rater,
        "key": request.key,
        "usd": most_usd,
    }


def came_record(
    rater: str,
    attempt: tuple[Request, int, Reply] | None,
    rating: Rating | None,
    sent: int | None = None,
    charged_usd: float = 0.0,
) -> Record:
    """Return the record of what came of a call: an attempt, the rating that it makes, or both.

    Args:
        sent: Number of the record of its sending, which is settled by this one.
        charged_usd: What counts as spent because the attempt, which has no price, may be billed.
    """
    return {
        "kind": "came",
        "at": now().isoformat(),
        "rater": rater,
        "key": attempt[0].key if attempt else rating.call_key if rating else None,
        "sent": sent,
        "usd": charged_usd,
        "call": call_row(rater, *attempt) if attempt else None,
        "rating": _fields(rating) if rating else None,
    }


def _fields(record: Rating | KeyedItem) -> dict[str, Any]:
    """Return a record's fields by name; a tenth of the time of `asdict`, which copies values."""
    return {name: getattr(record, name) for name in record.__match_args__}


def _time(at: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(at)
