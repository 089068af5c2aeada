"""The text round stored contexts, read from the corpus again: a run holds a few tokens of each."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from autointerp.settings import HarvestSettings
from autointerp.subjects import Subject
from autointerp.subjects.token_texts import TokenTexts
from autointerp.units.stream import counted, text_ids, window_length

REACH = 60  # tokens on either side of the focus, where its window has as many
ROWS = 64

Place = tuple[int, int, int, int]  # document, token in it, tokens of the context before and after


def read_surroundings(
    subject: Subject, settings: HarvestSettings, places: Collection[Place], reach: int = REACH
) -> dict[Place, tuple[str, str]]:
    """Return the text before and after each context, up to `reach` tokens from its focus.

    Within the model's window, as all that the unit's activation can depend on. Places that the
    corpus does not have are left out. No forward pass is made.
    """
    wanted: dict[int, list[Place]] = {}
    for place in places:
        wanted.setdefault(place[0], []).append(place)
    if not wanted:
        return {}
    last = max(wanted)
    is_text = text_ids(subject)
    found: dict[Place, tuple[str, str]] = {}
    for windows in subject.cut(window_length(subject, settings), ROWS):
        _, positions = counted(subject, settings, windows, is_text)
        for row in np.flatnonzero(np.isin(windows.document, list(wanted))).tolist():
            ids = windows.ids[row]
            text = windows.attention[row] & is_text[ids]
            for place in wanted[int(windows.document[row])]:
                (at,) = np.nonzero(text & (positions[row] == place[1]))
                if len(at):
                    found[place] = _beside(subject.token_texts, ids, text, int(at[0]), place, reach)
        if windows.document.min() > last:
            break
    return found


def _beside(
    texts: Sequence[str],
    ids: np.ndarray,
    text: np.ndarray,
    focus: int,
    place: Place,
    reach: int,
) -> tuple[str, str]:
    """Return the text of a row before and after a context, up to the next token that is none."""
    _, _, before, after = place
    ends = np.flatnonzero(~text)
    first = max(focus - reach, int(max(ends[ends < focus], default=-1)) + 1, 0)
    last = min(focus + reach, int(min(ends[ends > focus], default=len(ids))) - 1)
    head = ids[first : max(first, focus - before)].tolist()
    tail = ids[focus + after + 1 : last + 1].tolist()
    return _joined(texts, head), _joined(texts, tail)


def _joined(texts: Sequence[str], ids: list[int]) -> str:
    if isinstance(texts, TokenTexts) and ids:
        return "".join(texts.joined(ids, 0))
    return "".join(texts[i] for i in ids)
