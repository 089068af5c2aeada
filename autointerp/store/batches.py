"""Work that a provider's batch API has in hand."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from autointerp.records import Request
from autointerp.store.tables import Tables, now


class Batches(Tables):
    """What a run holds of batches."""

    def add_batch(self, batch: dict[str, Any], calls: Sequence[Request] = ()) -> None:
        """Store a batch's new state, and with its first one the calls in it."""
        version = self.rows(
            "SELECT coalesce(max(version) + 1, 0) FROM batch WHERE label = ?", [batch["label"]]
        )[0][0]
        with self.transaction():
            self.insert("batch", [{**batch, "version": version, "made_at": now()}])
            self.insert(
                "batch_call",
                [
                    {
                        "label": batch["label"],
                        "call_key": request.key,
                        "item_id": request.item,
                        "repeat": request.repeat,
                    }
                    for request in calls
                ],
            )

    def open_batches(self) -> list[dict[str, Any]]:
        """Return the batches that are neither collected nor abandoned, oldest first.

        `made_at` is when a batch was about to be sent.
        """
        result = self.execute(
            "SELECT c.* REPLACE (b.made_at AS made_at) FROM current_batch c"
            " JOIN batch b ON b.label = c.label AND b.version = 0"
            " WHERE c.state IN ('intended', 'submitted') ORDER BY b.made_at"
        )
        names = [column[0] for column in result.description]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]

    def batch_calls(self, label: str) -> list[Request]:
        """Return the calls in a batch, without their bodies."""
        return [
            Request(key, item, {}, repeat)
            for key, item, repeat in self.rows(
                "SELECT call_key, item_id, repeat FROM batch_call WHERE label = ?", [label]
            )
        ]

    def charge_batch(self, label: str, keys: Collection[str]) -> float:
        """Charge calls of a batch that may be billed: no reply came or will come, or one that does
        not say what it took.

        Each is charged its share of the most that the batch can cost, and once. Return their sum
        in US dollars; 0 where no price is known.
        """
        ((rater, calls, most_usd),) = self.rows(
            "SELECT rater, calls, most_usd FROM current_batch WHERE label = ?", [label]
        )
        share_usd = float(most_usd or 0) / int(calls)
        every = sorted(request.key for request in self.batch_calls(label))
        rows = [
            {
                "journal": f"batch {label}",
                "seq": place,
                "rater": rater,
                "call_key": key,
                "usd": share_usd,
                "made_at": now(),
            }
            for place, key in enumerate(every)
            if key in keys and share_usd
        ]
        with self.transaction():
            self.insert("charge", rows, ignore=True)
        return share_usd * len(rows)

    def keys_in_batches(self) -> set[str]:
        """Return the keys of the calls that a provider has in an open batch."""
        return {
            str(key)
            for (key,) in self.rows(
                "SELECT call_key FROM batch_call JOIN current_batch USING (label)"
                " WHERE state IN ('intended', 'submitted')"
            )
        }

    def work_in_batches(self, rater: str) -> set[tuple[str, int]]:
        """Return item and repeat of the calls that a provider has in an open batch."""
        return {
            (item, repeat)
            for item, repeat in self.rows(
                "SELECT item_id, repeat FROM batch_call JOIN current_batch USING (label)"
                " WHERE rater = ? AND state IN ('intended', 'submitted')",
                [rater],
            )
        }
