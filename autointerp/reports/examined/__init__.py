"""The page of one unit: where it fires, what moves it, what it is made of, and what it does.

A part is a file here, with `TITLE` and `show(examined)`, which returns the blocks of that part.
"""

from __future__ import annotations

from pathlib import Path

from autointerp.findings.examined import Examined
from autointerp.reports.examined import (
    ablation,
    contexts,
    logits,
    neighbours,
    neurons,
    sentences,
    vocabulary,
)
from autointerp.reports.page import Panel
from autointerp.reports.words import listed, number, share, subject_text
from autointerp.reports.write import write_panels
from autointerp.text import ON_PAGE, capital, visible

PARTS = (contexts, ablation, vocabulary, sentences, neurons, logits, neighbours)


def write_examined(found: Examined, out: Path) -> Path:
    """Write the page, its pictures and tables to the folder `out`; return index.html.

    Raises BadInput if `out` holds something else than a report, StorageError if it cannot be
    written.
    """
    unit = found.unit
    heading = f"What does {unit.unit} do?" + (
        f" It is described as “{unit.description}”." if unit.description else ""
    )
    heading = visible(heading, ON_PAGE)
    studied = subject_text(found.subject, brief=True)
    controls = listed(one.unit for one in found.controls)
    beneath = (
        f"Run {found.run}. {capital(studied)}. Fires on "
        f"{share(unit.density)} of {unit.tokens:,} tokens; largest activation "
        f"{number(unit.peak, 3)}."
        + (f" Beside it, in all that follows: {controls}." if controls else " Without a control.")
    )
    write_panels(panels_of(found), out, heading, beneath)
    return out / "index.html"


def panels_of(found: Examined) -> list[Panel]:
    """Return the seven parts of the page."""
    panels = [
        Panel(part.__name__.rpartition(".")[2], part.TITLE, tuple(part.show(found)))
        for part in PARTS
    ]
    return [panel for panel in panels if panel.blocks]
