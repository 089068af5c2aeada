"""Hard negatives: texts that look as if a unit fired in them, where it is silent, as computed.

Candidates are held-out contexts of the other units of the source. The subject is run over them
again, so that silence is known and not assumed.
"""

from __future__ import annotations

from collections.abc import Sequence

from autointerp.records import Context
from autointerp.store import Run


def hard_contexts(
    run: Run, unit_ids: Sequence[int]
) -> dict[int, dict[int, tuple[Context, str]]]:
    """Return, by unit, contexts in which it is silent though they look otherwise."""
    raise NotImplementedError
