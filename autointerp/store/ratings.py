"""Items, raters, calls and ratings of a run."""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from autointerp.records import Rating, Reply, Request
from autointerp.store.tables import Tables, now


@dataclass(frozen=True)
class KeyedItem:
    """A row of `item` and its row of `key`, to be written together."""

    item_id: str
    rubric: str
    rubric_digest: str
    evidence: str
    ord: int
    description: str | None
    unit_id: int
    scale: float
    contexts: tuple[int, ...]


class Ratings(Tables):
    """What a run holds of questions and answers."""

    def add_items(self, items: Sequence[KeyedItem]) -> None:
        """Store items and their keys; those that are stored already are skipped."""
        key = ("item_id", "unit_id", "scale", "contexts")
        rows = [dataclasses.asdict(item) for item in items]
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
            {
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
                "made_at": at,
            }
            for request, attempt, reply in attempts
        ]
        with self.transaction():
            self.insert("call", calls)
            self.insert("rating", self.rating_rows([(rating, at) for rating in ratings]))

    def rating_rows(
        self, ratings: Sequence[tuple[Rating, datetime.datetime]]
    ) -> list[dict[str, Any]]:
        """Return the rows of ratings and the times at which they were made.

        Each one's version is the next for its item, rater and repeat.
        """
        versions = self._versions([rating.item for rating, _ in ratings]) if ratings else {}
        rows = []
        for rating, at in ratings:
            row = dataclasses.asdict(rating)
            item = row.pop("item")
            place = (item, rating.rater, rating.repeat)
            versions[place] = versions.get(place, -1) + 1
            rows.append({"item_id": item, **row, "version": versions[place], "made_at": at})
        return rows

    def rubric_contents(self) -> dict[str, str]:
        """Return the content of each rubric that items were made with, as JSON, by digest."""
        return dict(self.rows_if_there("rubric", "digest, content"))

    def llm_raters(self) -> dict[str, bool]:
        """Return whether each rater is a language model, as far as it was noted down."""
        return dict(self.rows_if_there("rater", "rater, is_llm"))

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
        """Return what the run's calls have cost, as far as prices are known."""
        return float(self.rows("SELECT coalesce(sum(cost_usd), 0) FROM call")[0][0])

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
            self.connection.execute("DELETE FROM estimate")
            self.insert("estimate", rows)

    def _versions(self, items: Sequence[str]) -> dict[tuple[str, str, int], int]:
        rows = self.rows(
            "SELECT item_id, rater, repeat, max(version) FROM rating"
            " WHERE item_id IN (SELECT unnest(?::VARCHAR[])) GROUP BY ALL",
            [list(items)],
        )
        return {(item, rater, repeat): version for item, rater, repeat, version in rows}
