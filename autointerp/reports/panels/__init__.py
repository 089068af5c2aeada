"""Pieces of a report. A file here is a panel; it reads comparisons and writes nothing.

A panel module has `AFTER`, the name of the panel that it stands behind, empty for the first one;
`TITLE`; and `show(material)`, which returns the blocks that it is made of, none where it has
nothing to say of these runs. It computes nothing: what it says is a field of a `Comparison`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from autointerp.findings.across import AcrossRuns
from autointerp.findings.comparison import Comparison
from autointerp.findings.groups import Judgement

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.figure import Figure as Drawing
    from numpy.typing import NDArray

    from autointerp.store.run import Run


EACH_HAS = ("AFTER", "TITLE", "show")  # every file here
MOST_PICTURES = 4  # of a kind, one for each rating; a page of more is long and slow


@dataclass(frozen=True)
class Prose:
    """A paragraph; `tone` warning stands out, and `lead` is its first, stressed words."""

    text: str
    lead: str = ""
    tone: Literal["plain", "warning", "good"] = "plain"


@dataclass(frozen=True)
class Heading:
    """A heading inside a panel."""

    text: str


@dataclass(frozen=True)
class Figure:
    """A picture, saved as PNG, SVG and PDF under its name.

    Attributes:
        alt: What one sees in it, for those who do not.
        draw: Makes it; called once, inside the house style.
    """

    name: str
    caption: str
    alt: str
    draw: Callable[[], Drawing]


@dataclass(frozen=True)
class Table:
    """A table, saved whole as CSV and Parquet under its name.

    Attributes:
        frame: All of it, numbers as numbers.
        headings, rows: What the page shows of it, as text; none to save without showing.
        summary: Whether the Markdown summary carries it.
    """

    name: str
    caption: str
    frame: pd.DataFrame
    headings: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    summary: bool = False


@dataclass(frozen=True)
class Answer:
    """The first screen: what came out, the picture beside it, and what speaks against it.

    Attributes:
        claim: What may be said, in a sentence.
        support: What it rests on, a sentence or two each.
        heading, against: Up to three pairs of a lead and a sentence under a heading.
        tone: `good` where a difference is resolved by raters whose controls are in their places.
    """

    claim: str
    support: Sequence[str]
    heading: str
    against: Sequence[tuple[str, str]]
    figure: Figure
    tone: Literal["plain", "warning", "good"] = "plain"


@dataclass(frozen=True)
class Verbatim:
    """Text exactly as it was used, folded away under its caption."""

    caption: str
    text: str


@dataclass(frozen=True)
class Tree:
    """Lines with lines beneath them; `roots` are pairs of a line and what stands beneath it."""

    caption: str
    roots: Sequence[tuple[str, Sequence[str]]]


@dataclass(frozen=True)
class Line:
    """A text with a colour behind each token.

    Attributes:
        label: What stands before it.
        tokens: Text, level from -10 (falls) to 10 (fires, rises), and the number behind it; the
            number is shown where one points.
        focus: Index of the token that is framed; None for none.
        after: What stands behind it, such as its figure.
    """

    label: str
    tokens: Sequence[tuple[str, int, str]]
    focus: int | None = None
    after: str = ""


@dataclass(frozen=True)
class Texts:
    """Texts, one beneath the other, with colours behind their tokens."""

    caption: str
    lines: Sequence[Line]


@dataclass(frozen=True)
class UnitBrowser:
    """The place of the interactive list of units; `index` and `pages` are its content.

    Attributes:
        index: JSON values: columns of the list, one entry a unit.
        pages: JSON values by number of page: the units' contexts, ratings and rationales.
        excerpt: A few units, for paper and for readers without scripts.
        whole, beside: Where `index` and `pages` hold a part of the units: those of all, which go
            into files beside the page. Pages are made as they are taken.
    """

    index: dict[str, object]
    pages: Sequence[object]
    excerpt: Table
    whole: dict[str, object] | None = None
    beside: Iterable[object] = ()


@dataclass(frozen=True)
class PointMap:
    """The place of a map of points that one can look around in.

    Attributes:
        index: JSON values: what points are called, their colours, what was said of them.
        columns: Columns of numbers by name, one entry a point or several: what the page draws.
        pages: JSON values by number of page: contexts of points.
    """

    index: dict[str, object]
    columns: Mapping[str, NDArray[np.number[Any]]] = field(repr=False)
    pages: Sequence[object] = field(repr=False)


Block = Prose | Heading | Answer | Figure | Table | Texts | Tree | Verbatim | UnitBrowser | PointMap


@dataclass(frozen=True)
class Material:
    """What panels read: comparisons, and the runs that they were made from, in the same order.

    Attributes:
        units_shown: Units at most whose contexts the page carries.
        across: What several runs say of one another; None for one run.
    """

    comparisons: tuple[Comparison, ...]
    runs: tuple[Run, ...] = field(repr=False)
    units_shown: int = 2_000
    across: AcrossRuns | None = None

    @property
    def judgements(self) -> Iterator[Judgement]:
        """All judgements of all runs, in order."""
        for comparison in self.comparisons:
            yield from comparison.judgements

    def comparison(self, run: str) -> Comparison:
        """Return the comparison of the run with this name."""
        return next(candidate for candidate in self.comparisons if candidate.run == run)

    @property
    def several_runs(self) -> bool:
        return len(self.comparisons) > 1
