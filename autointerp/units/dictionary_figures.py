"""What an SAE is like on the tokens that were read, as its run keeps it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from autointerp.stats.results import Statistic
from autointerp.store.run import Run

REMEMBERED = "dictionary_figures"
LOSS_TOKENS = "loss_tokens"  # on how many tokens at most their loss recovered was asked for
NOT_ASKED = "not asked for"


@dataclass(frozen=True)
class DictionaryFigures:
    """What an SAE is like on the tokens that were read.

    Attributes:
        width: Latents.
        l0: Latents over the firing threshold, a token.
        dead: Latents that fired on no token.
        dead_share: Of the latents; the interval is for latents drawn as these were.
        variance_explained: 1 - residual over total sum of squares, over the axes of the site.
        loss_recovered: Share of the loss that ablating the site's tokens costs and splicing in the
            reconstruction does not.
        tokens: Read.
    """

    width: int
    l0: Statistic
    dead: int
    dead_share: Statistic
    variance_explained: Statistic
    loss_recovered: Statistic
    tokens: int


def stored_figures(run: Run) -> DictionaryFigures | None:
    """Return the figures of a run's SAE; None where they were not measured."""
    text = run.recall(REMEMBERED)
    if text is None:
        return None
    values = json.loads(text)
    for name in ("l0", "dead_share", "variance_explained", "loss_recovered"):
        values[name] = Statistic(**{**values[name], "n": tuple(values[name]["n"])})
    return DictionaryFigures(**values)


def keep_figures(run: Run, figures: DictionaryFigures, loss_tokens: int) -> None:
    """Keep the figures of a run's SAE, whose loss recovered was asked for on so many tokens."""
    run.remember(REMEMBERED, json.dumps(asdict(figures), allow_nan=False))
    run.remember(LOSS_TOKENS, str(loss_tokens))
    run.log("measured", dictionary=str(figures.l0))


def lacks_loss(run: Run, loss_tokens: int) -> bool:
    """Return whether loss recovered is asked for on other tokens than the stored figures' is of.

    Figures that do not say of how many tokens lack it only where none was asked for.
    """
    figures = stored_figures(run)
    if figures is None or not loss_tokens:
        return False
    said = run.recall(LOSS_TOKENS)
    if said is None:
        return figures.loss_recovered.note == NOT_ASKED
    return int(said) != loss_tokens
