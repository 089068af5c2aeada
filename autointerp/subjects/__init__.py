"""What is studied: a language model, a site in it, an SAE on that site, and a corpus."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from autointerp.subjects.autoencoder import Encoder
    from autointerp.subjects.corpora._documents import Length
    from autointerp.subjects.formats import LoadedAutoencoder
    from autointerp.subjects.readout import Readout
    from autointerp.subjects.untrained import UntrainedTwin
    from autointerp.subjects.windows import Windows


class SiteModel(Protocol):
    """A model that can be read at one site."""

    def activations(self, ids: Tensor, attention: Tensor) -> Tensor:
        """Return float32 activations [rows, tokens, d_site] of ids [rows, tokens]."""
        ...

    def readout(self, transcodes: bool = False, writes: str | None = None) -> Readout:
        """Return the direct path to the logits from the site, or, if an SAE there `transcodes`,
        from what it writes, at the site `writes` if its files say. Raises SubjectError if there is
        none.
        """
        ...


@runtime_checkable
class KeepingModel(Protocol):
    """A model that reads what several texts begin with once."""

    def activations_behind(self, before: Tensor, ids: Tensor) -> Tensor:
        """Return the site's activations [rows, tokens, d_site] in ids [rows, tokens] without
        padding, of which each row stands behind the text `before` [tokens].
        """
        ...


class HiddenSite(SiteModel, Protocol):
    """A model that is read at hidden neurons."""

    site: str
    d_site: int
    signed: bool


class ActivationCache(Protocol):
    """Activations of the corpus's windows, by their numbers in it."""

    def recall(
        self, window: NDArray[np.int64], kept: NDArray[np.bool_]
    ) -> tuple[Tensor, Tensor | None] | None:
        """Return the site's [rows, tokens, d_site] and the hidden neurons' beside it, None where
        they are not read, of windows [rows], right where they are `kept` [rows, tokens]; None
        unless all are there."""
        ...

    def keep(
        self,
        window: NDArray[np.int64],
        kept: NDArray[np.bool_],
        x: Tensor,
        hidden: Tensor | None,
    ) -> None:
        """Keep what `recall` returns."""
        ...


@dataclass(frozen=True)
class Subject:
    """One experiment's subject.

    Attributes:
        name: For people.
        model: Read with `model.activations`.
        site: Where; `d_site` activations wide, `signed` if they can be negative.
        sae: On that site; None if there is none, and then there are no features.
        special: Token ids that are no text: never a firing token, never in a context.
        token_texts: The text of each token id.
        cut: `cut(length, rows)` yields the corpus in windows of `length` tokens.
        longest: The longest window that the model takes.
        digests: sha256 of model, sae, corpus and tokenizer.
        begins_with_bos: Whether windows do; where not, their first token is an attention sink.
        loaded: The SAE with what its files say of it, where it comes from files of any format.
        length: Returns how many tokens the corpus has; None where it cannot be counted.
        notes: What a person should know of the parts before trusting them, a sentence each.
        hidden: The model read at the hidden neurons of the site's layer, where the source
            `neurons` is these; None where it is the site's own axes.
        read_both: Returns the activations of the site and of the hidden neurons.
        untrained: Loads the untrained twin, once, when it is first asked for; None where there is
            none.
        tokenise: Returns the token ids of texts, without special tokens; None where texts cannot
            be tokenised.
        bos: The id that windows begin with; None where they do not begin with one.
        cache: Activations of the corpus's windows from an earlier reading; None for none.
    """

    name: str
    model: SiteModel
    site: str
    d_site: int
    signed: bool
    sae: Encoder | None
    special: frozenset[int]
    token_texts: Sequence[str]
    cut: Callable[[int, int], Iterator[Windows]]
    longest: int
    device: str
    digests: dict[str, str]
    begins_with_bos: bool = True
    loaded: LoadedAutoencoder | None = None
    length: Callable[[], Length | None] = lambda: None
    notes: tuple[str, ...] = ()
    hidden: HiddenSite | None = None
    read_both: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None
    untrained: Callable[[], UntrainedTwin] | None = None
    tokenise: Callable[[list[str]], list[list[int]]] | None = None
    bos: int | None = None
    cache: ActivationCache | None = None


def file_digest(path: Path) -> str:
    """Return the sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
