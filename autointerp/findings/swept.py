"""What a sweep's file names: its SAEs and their runs; nothing heavy is imported."""

from __future__ import annotations

from dataclasses import dataclass

FEATURES, NEURONS, UNTRAINED = "features", "neurons", "untrained"


@dataclass(frozen=True)
class Swept:
    """An SAE of a sweep, as its file names it.

    Attributes:
        run, baseline, untrained: Names of runs: of its features, of the neurons of its site, and of
            its twin on the untrained model (empty for none).
        recipe: SAEs of one recipe differ by their seed alone; its own name where it stands alone.
    """

    name: str
    recipe: str
    site: str
    run: str
    baseline: str
    untrained: str = ""
