"""Import of units from other tools' files, and export of a run's.

A file here that has `recognises(path)` and `read(path, options)` is a form in which units come
in: its name is the name of `import --format`. `read` yields units one at a time, with all of their
contexts, and raises ExchangeError, naming the file and the line or row, where the file is not of
its form. `NOTES` are sentences on what such files lack, for the report; a file may have none.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from autointerp.records import Draw, Split


@dataclass(frozen=True, slots=True)
class ForeignContext:
    """A window as a file gives it. The import decides what is None.

    Attributes:
        activations: One a token, 0 or more; all 0 where the unit is silent, as the file says.
        focus: Index in `tokens` of the token that the window is about; None for the strongest.
        place: Document and position of the focus token; None gives the window a document of
            its own.
    """

    tokens: tuple[str, ...]
    activations: tuple[float, ...]
    focus: int | None = None
    split: Split | None = None
    draw: Draw | None = None
    interval: int | None = None
    place: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class ForeignUnit:
    """A unit as a file gives it.

    Attributes:
        name: A number, `source/number`, either with a final `-` for the negative half of a
            signed activation, or any other name.
        density, tokens: As in UnitSummary; None and 0 where the file does not say.
        peak: The largest activation, if it is above all in `contexts`.
    """

    source: str
    name: str
    contexts: tuple[ForeignContext, ...]
    density: float | None = None
    tokens: int = 0
    peak: float | None = None
    note: str = ""


@dataclass(frozen=True)
class ImportOptions:
    """What the user may specify about a file that the file does not say.

    Attributes:
        source: Name of the units' source; empty for the file's own.
        tokenizer: A tokenizer.json, or the folder that holds one.
        each_side: Tokens kept on either side of the focus; None for 10 where rows are a model's
            full windows, and for all where they are contexts already.
        seed: Seed of what is drawn from files that hold more than is kept.
        explain_share: Share of each unit's contexts that go to the `explain` split, where the
            file does not say.
    """

    source: str = ""
    tokenizer: Path | None = None
    each_side: int | None = None
    seed: int = 0
    explain_share: float = 0.5


EACH_SIDE = 10
