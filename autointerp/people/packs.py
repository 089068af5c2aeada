"""Packs: a file that is rated elsewhere, with no key, model or corpus inside.

A pack is a journal whose items have random names: it goes out as one file and comes back as the
same file, with the answers at its end.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from autointerp.errors import BadInput
from autointerp.people.assign import Planned, ReadAround, plan_session, register
from autointerp.people.journal import write_session
from autointerp.people.session import Sitting, renamed
from autointerp.questions.rubric import Rubric
from autointerp.store.run import Run


def make_pack(
    run: Run,
    rubric: Rubric,
    wanted: Mapping[str, int],
    sitting: Sitting,
    path: Path,
    read_around: ReadAround | None = None,
) -> Planned:
    """Write a pack of units that the run holds; return what is in it.

    `read_around` reads more of the contexts from the corpus, as in `plan_session`.

    Raises BadInput if the file is there already, TooFewUnits if there is nothing to rate.
    """
    if path.exists():
        raise BadInput(f"{path} exists, and might hold answers; give another name")
    planned = plan_session(run, rubric, wanted, sitting, None, secrets.token_hex(16), read_around)
    names = {item.id: secrets.token_hex(8) for item in planned.session.items}
    planned = replace(planned, session=renamed(planned.session, names))
    register(run, planned, None, {name: item for item, name in names.items()})
    write_session(path, planned.session)
    return planned


def units_to_pack(run: Run, n: int | None = None) -> dict[str, int]:
    """Return how many units of each source a pack can hold, at most `n` where it is no control.

    Raises BadInput if the run holds none that are studied.
    """
    held = {name: units for name, units in run.held_units().items() if units[0]}
    if all(is_control for _, is_control in held.values()):
        raise BadInput(f"run '{run.name}' holds no units; rate some first: `autointerp rate`")
    return {
        name: count if is_control or n is None else min(n, count)
        for name, (count, is_control) in held.items()
    }
