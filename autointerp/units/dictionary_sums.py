"""What an SAE is like, added up while the corpus is read: L0, dead latents, variance explained.

And, in a second and smaller reading, the loss with the SAE's reconstruction spliced in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from autointerp.errors import SubjectError
from autointerp.settings import RunSettings
from autointerp.stats.means import wilson_interval
from autointerp.stats.ratios import METHOD, Sums, of_sums
from autointerp.stats.results import Statistic
from autointerp.subjects import Subject
from autointerp.subjects.autoencoder import Encoder, SparseAutoencoder
from autointerp.subjects.formats import AdaptedEncoder
from autointerp.subjects.interventions import ChangeableModel, Intervention
from autointerp.units.dictionary_figures import NOT_ASKED, DictionaryFigures
from autointerp.units.masks import count_by_column, count_by_row, over
from autointerp.units.sources import Block, SiteBatch
from autointerp.units.stream import Reading, quiet_torch, readings

GROUPS = 64  # of documents, left out one at a time for an interval
DECODED = 16  # one token of so many is decoded for the variance explained
VALUES_AT_ONCE = 1 << 22  # latents of tokens, or logits, that are held at once


@dataclass(frozen=True)
class KeptTokens:
    """The kept tokens of a batch at a site: made once for all SAEs that read it.

    Attributes:
        x: [tokens, d_site] activations.
        group: [tokens] of documents.
        decoded: [tokens] whether it is decoded for the variance explained.
    """

    x: Tensor
    group: Tensor
    decoded: Tensor

    @classmethod
    def of(cls, batch: SiteBatch, reading: Reading) -> KeptTokens:
        x = batch.activations[batch.kept]
        document = np.broadcast_to(reading.windows.document[:, None], reading.kept.shape)
        group = torch.from_numpy(document[reading.kept] % GROUPS)
        decoded = torch.from_numpy(batch.place_hash[reading.kept] % DECODED == 0)
        return cls(x, group.to(x.device), decoded.to(x.device))


class DictionarySums:
    """Sums over tokens of one SAE, by group of documents; `take` adds a batch.

    All latents of every token are computed for it, so the columns of units that a harvest wants
    are taken from them: see `block`.

    Attributes:
        undecoded: Why nothing is decoded, and no variance explained; empty where it is.
    """

    def __init__(self, sae: Encoder, fires: float) -> None:
        self.sae = sae
        self.undecoded = _undecoded(sae)
        self._fires = fires
        self._blocks: list[_Chosen] = []
        self._sums: dict[str, NDArray[Any]] = {
            "fired": np.zeros(sae.d_sae, np.int64),
            "tokens": np.zeros(GROUPS),
            "active": np.zeros(GROUPS),
            "decoded": np.zeros(GROUPS),
            "residual": np.zeros(GROUPS),
            "square": np.zeros(GROUPS),
            "total": np.zeros((GROUPS, sae.d_in)),
        }

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the sums themselves, not copies."""
        return self._sums

    def block(self, numbers: NDArray[np.int64]) -> Block:
        """Return the function that gives the columns of latents of a batch that `take` has taken.

        It is `Features.block`, from the one product that `take` makes.
        """
        chosen = _Chosen(torch.from_numpy(numbers))
        self._blocks.append(chosen)
        return chosen.block

    def take(self, batch: SiteBatch, tokens: KeptTokens) -> None:
        """Add the kept tokens of a batch, some at a time.

        Raises SubjectError if a latent is infinite or no number.
        """
        for chosen in self._blocks:
            chosen.begin(batch)
        step = max(1, VALUES_AT_ONCE // self.sae.d_sae)
        for begin in range(0, len(tokens.x), step):
            rows = slice(begin, begin + step)
            self._take(tokens.x[rows], tokens.group[rows], tokens.decoded[rows])

    def _take(self, x: Tensor, group: Tensor, decoded: Tensor) -> None:
        latents = self.sae.encode(x)
        if not latents.sum().isfinite():
            _require_finite(latents)
        for chosen in self._blocks:
            chosen.append(latents)
        fires = over(latents, self._fires)
        self._sums["fired"] += count_by_column(fires)
        self._add("active", group, count_by_row(fires))
        self._add("tokens", group, torch.ones_like(group))
        if self.undecoded or not decoded.any():
            return
        x, group = x[decoded].double(), group[decoded]
        back = _reconstructed(self.sae, latents[decoded], x.to(latents.dtype)).double()
        self._add("decoded", group, torch.ones_like(group))
        self._add("residual", group, (x - back).square().sum(-1))
        self._add("square", group, x.square().sum(-1))
        totals = torch.zeros(GROUPS, x.shape[1], dtype=torch.float64, device=x.device)
        self._sums["total"] += totals.index_add_(0, group, x).cpu().numpy()

    def _add(self, name: str, group: Tensor, values: Tensor) -> None:
        self._sums[name] += _by_group(group, values)

    def figures(self, loss_recovered: Statistic) -> DictionaryFigures:
        """Return the figures of all that was taken."""
        sums = {name: values for name, values in self._sums.items() if name != "fired"}
        dead = int((self._sums["fired"] == 0).sum())
        width = self.sae.d_sae
        why = self.undecoded or "no token was decoded, or all are alike"
        return DictionaryFigures(
            width=width,
            l0=of_sums(sums, lambda s: float(s["active"] / s["tokens"]), "tokens"),
            dead=dead,
            dead_share=wilson_interval(dead, width),
            variance_explained=of_sums(sums, _explained, "decoded", undefined=why),
            loss_recovered=loss_recovered,
            tokens=int(sums["tokens"].sum()),
        )

    @property
    def fired(self) -> NDArray[np.int64]:
        """On how many tokens each latent fired."""
        return self._sums["fired"]


def _require_finite(latents: Tensor) -> None:
    """Raise SubjectError if a latent [tokens, d_sae] is infinite or no number."""
    broken = (~(latents < torch.inf)).any(0).nonzero().flatten().tolist()  # -inf is silent
    if broken:
        raise SubjectError(
            f"{len(broken)} of {latents.shape[1]} latents of the SAE are not finite, features/"
            f"{broken[0]} the first; look for weights that are not, or that overflow its dtype"
        )


class _Chosen:
    """Columns of some latents, as the kept tokens of a batch come by."""

    def __init__(self, columns: Tensor) -> None:
        self._columns = columns
        self._batch: SiteBatch | None = None
        self._parts: list[Tensor] = []

    def begin(self, batch: SiteBatch) -> None:
        self._batch, self._parts = batch, []

    def append(self, latents: Tensor) -> None:
        self._parts.append(latents.index_select(1, self._columns.to(latents.device)).float())

    def block(self, batch: SiteBatch) -> Tensor:
        """Return the columns [rows, tokens, columns], 0 where nothing is kept."""
        assert batch is self._batch
        columns = torch.cat(self._parts)
        if len(columns) == batch.kept.numel():
            return columns.view(*batch.kept.shape, -1)
        block = batch.activations.new_zeros(
            *batch.kept.shape, len(self._columns), dtype=torch.float32
        )
        block[batch.kept] = columns
        return block


def _undecoded(sae: Encoder) -> str:
    """Return why an SAE's reconstruction is not to be had; empty where it is."""
    if isinstance(sae, SparseAutoencoder):
        return "a transcoder writes another site than it reads" if sae.transcodes else ""
    if not isinstance(sae, AdaptedEncoder):
        return "its decoder is not known"
    return sae.undecoded


def _reconstructed(sae: Encoder, latents: Tensor, x: Tensor) -> Tensor:
    """Return the reconstruction of inputs x, of which `latents` are the latents."""
    if isinstance(sae, SparseAutoencoder):
        return sae.decode(latents, x)
    assert isinstance(sae, AdaptedEncoder)
    # SAELens' modules undo the normalisation of what they encoded last, so that is x alone.
    return sae.reconstruct(x)


def _explained(sums: Sums) -> float:
    count = float(sums["decoded"])
    if not count:
        return float("nan")
    total = float(sums["square"]) - float((sums["total"] ** 2).sum()) / count
    return 1 - float(sums["residual"]) / total if total > 0 else float("nan")


def _by_group(group: Tensor, values: Tensor) -> NDArray[np.float64]:
    sums = torch.zeros(GROUPS, dtype=torch.float64, device=group.device)
    added: NDArray[np.float64] = sums.index_add_(0, group, values.double()).cpu().numpy()
    return added


# ------------------------------------------------------------------------- loss recovered


def losses_recovered(
    subjects: Mapping[str, Subject],
    settings: RunSettings,
    tokens: int,
    progress: Callable[[int], None] = lambda tokens: None,
) -> dict[str, Statistic]:
    """Return the share of loss recovered by each subject's SAE, on the first `tokens` tokens.

    (zero - spliced) / (zero - clean), of the mean cross entropy of next tokens: with the site's
    activations as they are, set to 0, and reconstructed. Only kept tokens are set or reconstructed,
    and only predictions from a kept token of a kept token count. The passes without an SAE are
    shared by the subjects of a site. 0 tokens leave it out. Source: Bricken et al. 2023; SAEBench,
    "Loss Recovered".
    """
    reasons = {name: _unable(one) if tokens else NOT_ASKED for name, one in subjects.items()}
    able = {name: one for name, one in subjects.items() if not reasons[name]}
    found = {
        name: Statistic(None, None, None, (0,), METHOD, note=why)
        for name, why in reasons.items()
        if why
    }
    if not able:
        return found
    sites = {one.site: one for one in able.values()}
    parts = ("tokens", "clean", "zero", "spliced")
    held = {name: {part: np.zeros(GROUPS) for part in parts} for name in able}
    counted = 0
    with quiet_torch():
        for reading in readings(next(iter(able.values())), _at_most(settings, tokens).harvest):
            for rows in _rows_at_once(next(iter(able.values())), reading):
                part = _Predictions.of(reading, rows)
                for site, lead in sites.items():
                    clean = part.losses(lead, None)
                    zero = part.losses(lead, torch.zeros_like)
                    for name, one in able.items():
                        if one.site != site:
                            continue
                        spliced = part.losses(one, _reconstruct(one))
                        for what, values in (
                            ("tokens", torch.ones_like(clean)),
                            ("clean", clean),
                            ("zero", zero),
                            ("spliced", spliced),
                        ):
                            held[name][what] += _by_group(part.group.to(values.device), values)
            counted += int(reading.kept.sum())
            progress(counted)
    why = "setting the site to 0 costs no loss"
    return found | {
        name: of_sums(values, _recovered, "tokens", undefined=why) for name, values in held.items()
    }


def _recovered(sums: Sums) -> float:
    lost = float(sums["zero"] - sums["clean"])
    return float(sums["zero"] - sums["spliced"]) / lost if lost > 0 else float("nan")


def _unable(subject: Subject) -> str:
    """Return why nothing can be spliced in; empty if it can."""
    if not isinstance(subject.sae, SparseAutoencoder):
        return "its decoder is not known"
    if subject.sae.transcodes:
        return "a transcoder writes another site than it reads"
    if not isinstance(subject.model, ChangeableModel):
        return "the model's activations are recorded, and cannot be changed"
    try:
        subject.model.check_changeable()
    except SubjectError as error:
        return str(error)
    return ""


def _at_most(settings: RunSettings, tokens: int) -> RunSettings:
    most = min(tokens, settings.harvest.tokens or tokens)
    return replace(settings, harvest=replace(settings.harvest, tokens=most))


def _reconstruct(subject: Subject) -> Intervention:
    sae = subject.sae
    assert isinstance(sae, SparseAutoencoder)

    def change(x: Tensor) -> Tensor:
        flat = x.flatten(0, -2)
        step = max(1, VALUES_AT_ONCE // sae.d_sae)
        parts = [sae.decode(sae.encode(some), some).to(x.dtype) for some in flat.split(step)]
        return torch.cat(parts).view_as(x)

    return change


def _rows_at_once(subject: Subject, reading: Reading) -> Iterable[slice]:
    """Yield rows few enough for their logits."""
    count, length = reading.kept.shape
    step = max(1, VALUES_AT_ONCE // (length * max(1, len(subject.token_texts))))
    return (slice(begin, begin + step) for begin in range(0, count, step))


@dataclass(frozen=True)
class _Predictions:
    """Next tokens that are predicted in some windows.

    Attributes:
        kept: [rows, tokens] what is set or reconstructed.
        counts: [rows, tokens - 1] predictions that count.
        group: [predictions] of documents.
    """

    ids: Tensor
    attention: Tensor
    kept: Tensor
    counts: Tensor
    group: Tensor

    @classmethod
    def of(cls, reading: Reading, rows: slice) -> _Predictions:
        kept = reading.kept[rows]
        counts = kept[:, :-1] & kept[:, 1:]
        document = np.broadcast_to(reading.windows.document[rows, None], counts.shape)
        return cls(
            torch.from_numpy(reading.windows.ids[rows]),
            torch.from_numpy(reading.windows.attention[rows]),
            torch.from_numpy(kept),
            torch.from_numpy(counts),
            torch.from_numpy(document[counts] % GROUPS),
        )

    def losses(self, subject: Subject, change: Intervention | None) -> Tensor:
        """Return the cross entropy of each prediction with the site changed on kept tokens."""
        model = subject.model
        assert isinstance(model, ChangeableModel)

        def on_kept(x: Tensor) -> Tensor:
            assert change is not None
            return torch.where(self.kept.to(x.device)[..., None], change(x), x)

        on_device = self.ids.to(subject.device), self.attention.to(subject.device)
        logits = model.logits(*on_device, None if change is None else on_kept)[:, :-1]
        counts = self.counts.to(logits.device)
        targets = self.ids[:, 1:].to(logits.device)
        return functional.cross_entropy(logits[counts], targets[counts], reduction="none")
