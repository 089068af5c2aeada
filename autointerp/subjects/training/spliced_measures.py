"""Measures of an SAE on held-out text: what it reconstructs, and the loss with it spliced in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from autointerp.errors import CorpusError, SubjectError
from autointerp.subjects.autoencoder import SparseAutoencoder
from autointerp.subjects.training.activations import ActivationWindows
from autointerp.subjects.training.measures import FIRES, loss_recovered

SITE_TOKENS = 100_000  # for what is measured at the site
LOSS_TOKENS = 8_192  # for the loss: three forward passes to the end
LOGITS_AT_ONCE = 1024  # tokens whose logits are in memory together


@dataclass(frozen=True)
class SpliceMeasures:
    """Figures on held-out tokens; special tokens and padding are left out.

    Attributes:
        tokens: Tokens at which `l0`, `dead_share` and `variance_explained` were measured.
        l0: Mean number of latents that fire on a token.
        dead_share: Share of the latents that never fire on these tokens.
        variance_explained: 1 - squared error / variance of the reconstruction.
        loss_tokens: Tokens predicted for the losses.
        loss, loss_reconstructed, loss_zeroed: Cross-entropy in nats a token with the site's
            activations as they are, replaced by the reconstruction, and zeroed; None at a site
            where nothing can be put in place.
        loss_recovered: (loss_zeroed - loss_reconstructed) / (loss_zeroed - loss); None as well
            where zeroing the site does not raise the loss, as in an untrained model it may not.
    """

    tokens: int
    l0: float
    dead_share: float
    variance_explained: float
    loss_tokens: int
    loss: float | None
    loss_reconstructed: float | None
    loss_zeroed: float | None
    loss_recovered: float | None

    def as_json(self) -> dict[str, Any]:
        """Return the figures by name."""
        return asdict(self)

    def text(self) -> str:
        """Return the figures as lines."""

        def nats(value: float | None) -> str:
            return "not known" if value is None else f"{value:.3f}"

        return "\n".join(
            [
                f"over {self.tokens:,} held-out tokens:",
                f"  variance explained   {self.variance_explained:.3f}",
                f"  L0                   {self.l0:.1f} latents a token",
                f"  dead                 {self.dead_share:.1%} of the latents",
                f"over {self.loss_tokens:,} of them, predicted:",
                f"  loss                 {nats(self.loss)} nats a token",
                f"  with the SAE         {nats(self.loss_reconstructed)}",
                f"  with the site zeroed {nats(self.loss_zeroed)}",
                f"  loss recovered       {nats(self.loss_recovered)}",
            ]
        )


@torch.no_grad()
def measure_spliced(
    windows: ActivationWindows,
    sae: SparseAutoencoder,
    seed: int = 0,
    on_read: Callable[[int, int], None] = lambda done, total: None,
) -> SpliceMeasures:
    """Return the measures over the first tokens of held-out text, in an order drawn by `seed`.

    Raises CorpusError if there is no token at all.
    """
    tokens, squares, error = 0, 0.0, 0.0
    fired = torch.zeros(sae.d_sae, dtype=torch.float64)
    total = torch.zeros(sae.d_in, dtype=torch.float64)
    for batch in windows.windows(seed):
        x = windows.activations(batch).cpu()
        for part in torch.split(x, 4096):
            latents = sae.encode(part)
            fired += (latents > FIRES).sum(0)
            error += float((part - sae.decode(latents)).double().square().sum())
        tokens += len(x)
        total += x.double().sum(0)
        squares += float(x.double().square().sum())
        on_read(min(tokens, SITE_TOKENS), SITE_TOKENS)
        if tokens >= SITE_TOKENS:
            break
    if not tokens:
        raise CorpusError(
            f"no document of {windows.corpus.source} is held out to measure on: one in 50 is, by "
            "its content; give --heldout with other text"
        )
    variance = squares - float((total**2).sum()) / tokens
    losses, predicted = _losses(windows, sae, seed)
    intact, reconstructed, zeroed = losses or (None, None, None)
    recovered = None
    if losses is not None and losses[2] > losses[0]:
        recovered = loss_recovered(*losses)
    return SpliceMeasures(
        tokens=tokens,
        l0=float(fired.sum()) / tokens,
        dead_share=float((fired == 0).double().mean()),
        variance_explained=1 - error / variance,
        loss_tokens=predicted,
        loss=intact,
        loss_reconstructed=reconstructed,
        loss_zeroed=zeroed,
        loss_recovered=recovered,
    )


def _losses(
    windows: ActivationWindows, sae: SparseAutoencoder, seed: int
) -> tuple[tuple[float, float, float] | None, int]:
    """Return the three mean losses, None where the site takes no change, and tokens predicted."""
    model = windows.model
    few = ActivationWindows(
        model, windows.corpus, windows.window, windows.bos_id is not None, windows.held_out,
        rows=max(1, LOGITS_AT_ONCE // windows.window),
    )  # fmt: skip
    sums, predicted = [0.0, 0.0, 0.0], 0
    for batch in few.windows(seed):
        device = model.device
        ids = torch.from_numpy(batch.ids).to(device)
        attention = torch.from_numpy(batch.attention).to(device)
        kept = torch.from_numpy(few.kept(batch))

        def reconstructed(value: Tensor, kept: Tensor = kept) -> Tensor:
            changed = value.clone()
            at = kept.to(value.device)
            decoded = sae.decode(sae.encode(value[at].cpu()))
            changed[at] = decoded.to(value.device)
            return changed

        def zeroed(value: Tensor, kept: Tensor = kept) -> Tensor:
            return value * ~kept.to(value.device)[..., None]

        counted = (attention[:, 1:] & attention[:, :-1]).cpu()
        try:
            for place, put in enumerate((None, reconstructed, zeroed)):
                logits = model.logits(ids, attention, put)[:, :-1].cpu()
                sums[place] += float(
                    functional.cross_entropy(
                        logits[counted], ids[:, 1:].cpu()[counted], reduction="sum"
                    )
                )
        except SubjectError:  # a site inside a norm, where nothing can be put in place
            return None, 0
        predicted += int(counted.sum())
        if predicted >= LOSS_TOKENS:
            break
    if not predicted:
        return None, 0
    return (sums[0] / predicted, sums[1] / predicted, sums[2] / predicted), predicted
