"""Where that a unit is silent was assumed and not computed."""

from __future__ import annotations

from autointerp.records import ASSUMED_SILENT
from autointerp.reports.panels import Material, Prose
from autointerp.reports.words import listed, plural

OF_A_FILE = "silent in them is assumed"  # in an import's notes, of contexts that the file has


def assumed_silence(material: Material) -> list[Prose]:
    """Return, for each run that has such units, of how many silence is assumed; else nothing."""
    blocks = []
    for comparison in material.comparisons:
        units = comparison.units
        assumed = units[units.note.str.contains(ASSUMED_SILENT, regex=False)]
        if len(assumed):
            counts = assumed.groupby("source").size()
            of = listed(f"{n:,} {plural(str(source))[1]}" for source, n in counts.items())
            lead = f"{comparison.run}: silence is assumed." if material.several_runs else (
                "Silence is assumed."
            )  # fmt: skip
            text = (
                f"The files that {of} came from hold no context in which the model was run and "
                "the unit found silent. Texts of other units, or random ones, stand in for silent "
                "contexts, so a “no” that counts as right may be wrong."
            )
            blocks.append(Prose(text, lead=lead, tone="warning"))
        said = [note for notes in comparison.imported.notes for note in notes]
        blocks += [
            Prose(note, lead="Silence is assumed.", tone="warning")
            for note in dict.fromkeys(said)
            if OF_A_FILE in note
        ]
    return blocks
