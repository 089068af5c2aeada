"""Whether units are silent in contexts of other units of their source, as computed.

A context of another unit serves as evidence of silence. The unit's own contexts rarely cover it, so
the corpus is read once more where such contexts stand, at most 240 windows for each source: so many
that 48 units can have five of their own, which no other unit is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autointerp.settings import RunSettings
from autointerp.store.run import Run
from autointerp.subjects import Subject
from autointerp.units.held import Place, looked_at
from autointerp.units.sources import Block, SiteBatch
from autointerp.units.stream import Reading, at_site, quiet_torch, readings, some_rows

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Firing:
    """Where units fire in contexts, whosever they are.

    Attributes:
        anywhere: [contexts, units] fires on some token of the context.
        at_focus: [contexts, units] fires on the token for which it was drawn.
        is_read: [contexts] whether all of it was found in the corpus.
    """

    anywhere: Mask
    at_focus: Mask
    is_read: Mask


def firing_in(
    subject: Subject,
    settings: RunSettings,
    blocks: Mapping[str, Sequence[Block]],
    places: Mapping[str, Sequence[Place]],
    units: Mapping[str, int],
    read: Callable[[Reading], Mapping[str, SiteBatch]] | None = None,
) -> dict[str, Firing]:
    """Return by source where its `units`, the columns of `blocks`, fire in `places`.

    Of the corpus only the windows in which places stand go through the model. `read` returns what
    the blocks of each source are given; the subject at its site if not given.
    """
    in_document: dict[int, list[tuple[str, int, Place]]] = {}
    for name, of_source in places.items():
        for row, place in enumerate(of_source):
            in_document.setdefault(place.document, []).append((name, row, place))
    anywhere: dict[str, dict[int, Mask]] = {name: {} for name in places}
    at_focus: dict[str, dict[int, Mask]] = {name: {} for name in places}
    with quiet_torch():
        for reading in readings(subject, settings.harvest):
            found = _places_in(reading, in_document)
            if not found:
                continue
            rows = sorted({row for row, *_ in found})
            some = some_rows(reading, rows)
            if read is None:
                batches = dict.fromkeys(places, at_site(subject, some, settings.seed))
            else:
                batches = dict(read(some))
            for name in {name for _, name, *_ in found}:
                own = sorted({row for row, of, *_ in found if of == name})
                batch = batches[name].some(np.searchsorted(rows, own))
                values = [block(batch).cpu().numpy() for block in blocks[name]]
                for row, of, number, tokens, focus in found:
                    if of == name:
                        shown = np.concatenate([v[own.index(row)] for v in values], axis=1)
                        fires = shown > settings.harvest.fires
                        anywhere[name][number] = np.any(fires[tokens], axis=0)
                        at_focus[name][number] = np.asarray(fires[focus], dtype=bool)
    firing = {}
    for name, of_source in places.items():
        is_read = np.array([number in anywhere[name] for number in range(len(of_source))], bool)
        nowhere = np.zeros(units[name], dtype=bool)
        firing[name] = Firing(
            np.array([anywhere[name].get(n, nowhere) for n in range(len(of_source))], bool),
            np.array([at_focus[name].get(n, nowhere) for n in range(len(of_source))], bool),
            is_read,
        )
    return firing


def windows_up_to(
    subject: Subject, settings: RunSettings, places: Sequence[Place]
) -> dict[int, tuple[list[int], int]]:
    """Return, by context, the ids of its window from the first one (BOS where windows begin with
    it) up to its focus, and where its first token stands among them.

    Contexts that the corpus does not hold whole any more are left out. No model is run.
    """
    in_document: dict[int, list[tuple[str, int, Place]]] = {}
    for number, place in enumerate(places):
        in_document.setdefault(place.document, []).append(("", number, place))
    windows: dict[int, tuple[list[int], int]] = {}
    for reading in readings(subject, settings.harvest):
        if len(windows) == len(places):
            break
        for row, _, number, tokens, focus in _places_in(reading, in_document):
            ids = reading.windows.ids[row, : focus + 1].tolist()
            windows[places[number].context] = (ids, tokens[0])
    return windows


def _places_in(
    reading: Reading, in_document: Mapping[int, Sequence[tuple[str, int, Place]]]
) -> list[tuple[int, str, int, list[int], int]]:
    """Return row, source, number, tokens and focus token of each place that a batch holds whole."""
    found = []
    for row, document in enumerate(reading.windows.document.tolist()):
        if document not in in_document:
            continue
        token_at = {
            position: token
            for token, (position, is_kept) in enumerate(
                zip(reading.position[row].tolist(), reading.kept[row].tolist(), strict=True)
            )
            if is_kept
        }
        for name, number, place in in_document[document]:
            tokens = [
                token_at[position]
                for position in range(place.first, place.first + place.length)
                if position in token_at
            ]
            if len(tokens) == place.length:
                found.append((row, name, number, tokens, token_at[place.focus]))
    return found


# ------------------------------------------------------------------------------ of a run


def store_silence(run: Run, units: Sequence[int], places: Sequence[Place], firing: Firing) -> None:
    """Store in which of the places each unit is silent; what was not read is not called silent."""
    silent = ~firing.anywhere & firing.is_read[:, None]
    column = {unit: number for number, unit in enumerate(units)}
    parts = [
        (
            np.repeat([place.context for place in shown], len(some)),
            np.tile(np.array(some, np.int64), len(shown)),
            silent[: len(shown), [column[unit] for unit in some]].ravel(),
        )
        for some, shown in looked_at(units, places)
        if some and shown
    ]
    if not parts:
        return
    contexts, unit_ids, are_silent = (np.concatenate(one) for one in zip(*parts, strict=True))
    rows = {"context_id": contexts, "unit_id": unit_ids, "silent": are_silent}
    with run.transaction():
        run.insert_columns("silence", rows, ignore=True)
