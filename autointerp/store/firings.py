"""On how many tokens units fire, whether the run's sample holds them or not."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from autointerp.records import Unit
from autointerp.store.tables import Tables


class Firings(Tables):
    """Rows of the table `firing`, and the counts that harvested units bring."""

    def replace_firings(
        self, source: str, units: list[Unit], fires: NDArray[np.int64], tokens: int
    ) -> None:
        """Store on how many of `tokens` tokens each unit of a source fires, [units]."""
        with self.transaction():
            self.execute("DELETE FROM firing WHERE source = ?", [source])
            self.insert(
                "firing",
                [
                    {
                        "source": source,
                        "idx": unit.index,
                        "sign": unit.sign,
                        "fires": count,
                        "tokens": tokens,
                    }
                    for unit, count in zip(units, fires.tolist(), strict=True)
                ],
            )

    def firing_counts(self, source: str) -> dict[tuple[int, int], tuple[int, int]]:
        """Return on how many tokens a unit fires, and of how many, by index and sign.

        Of units that were harvested or counted; none of those that the run has not read.
        """
        counted = {
            (idx, sign): (fires, tokens)
            for name, idx, sign, fires, tokens in self.rows(
                "SELECT source, idx, sign, fires, tokens FROM firing"
            )
            if name == source
        }
        harvested = {
            # Counts come back as a share: rounded, so that 10 tokens are 10.
            (idx, sign): (round(density * tokens), tokens)
            for idx, sign, density, tokens in self.rows(
                "SELECT idx, sign, density, tokens FROM unit"
                " WHERE source = ? AND density IS NOT NULL AND tokens > 0",
                [source],
            )
        }
        return {**counted, **harvested}

    def has_firings(self, source: str) -> bool:
        """Return whether all units of a source were counted."""
        return bool(self.rows("SELECT 1 FROM firing WHERE source = ? LIMIT 1", [source]))
