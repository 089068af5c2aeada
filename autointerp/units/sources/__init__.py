"""Which units. A file here is a source: `--source NAME`.

A source module has `create(subject, calibration, seed)`, which returns a `Source`, and says what it
is: a first docstring line that `autointerp sources` prints, `ROLE` (studied, ceiling, floor or
control), `NAMES` (one unit and several in a sentence) and, if it wants one, a `COLOUR`. With
`ONLY_IF_NAMED = True` it takes part only where it is asked for by name, as not all subjects have
it; with `BASELINE_OF = "NAME"` that source must score higher than it for a headline to hold. Every
source, control or not, is columns of one matrix: given a batch of the site, it returns a block
[rows, tokens, units].
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Protocol, TypeAlias, get_args, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from autointerp import extensions
from autointerp.errors import BadInput
from autointerp.records import Role, SourceKind, Unit

if TYPE_CHECKING:
    from torch import Tensor

    from autointerp.store.run import Run
    from autointerp.subjects import SiteModel, Subject

EACH_HAS = ("ROLE", "NAMES", "create")  # every file here


@dataclass(frozen=True)
class SiteBatch:
    """A forward pass at the site.

    Attributes:
        activations: [rows, tokens, d_site] float32; zero where not kept.
        ids: [rows, tokens] token ids, on the same device.
        kept: [rows, tokens] False on padding and special tokens.
        place_hash: [rows, tokens] 64 random bits that depend on seed, document and position
            alone, so that what is drawn with them does not depend on batches.
        hidden: [rows, tokens, neurons] the hidden neurons of the site's layer, likewise; None
            where the source `neurons` is the site's own axes.
        read_untrained: Reads the same windows by the untrained twin; None where there is none.
    """

    activations: Tensor
    ids: Tensor
    kept: Tensor
    place_hash: NDArray[np.uint64]
    hidden: Tensor | None = None
    read_untrained: Callable[[], Tensor] | None = None

    @cached_property
    def untrained(self) -> Tensor:
        """The twin's activations at the site, likewise; read when the first block asks for it."""
        assert self.read_untrained is not None
        return self.read_untrained()

    def some(self, rows: NDArray[np.int64]) -> SiteBatch:
        """Return some rows; the twin reads the windows of all of them once."""
        return SiteBatch(
            self.activations[rows],
            self.ids[rows],
            self.kept[rows],
            self.place_hash[rows],
            None if self.hidden is None else self.hidden[rows],
            None if self.read_untrained is None else lambda: self.untrained[rows],
        )


Block: TypeAlias = "Callable[[SiteBatch], Tensor]"


class Source(Protocol):
    """Units of one kind, numbered from 0 to `size` - 1.

    A source whose units fire at places of the corpus, whatever its text, says so by
    `reads_text = False`.
    """

    size: int

    def unit(self, number: int) -> Unit:
        """Return the unit's index and sign."""
        ...

    def block(self, numbers: NDArray[np.int64]) -> Block:
        """Return the function that computes the columns [rows, tokens, len(numbers)]."""
        ...

    def note(self, number: int) -> str:
        """Return what is known of the unit beside its number, for the report; may be empty."""
        ...


@runtime_checkable
class Directed(Protocol):
    """A source each of whose units is a direction that it adds to the model's activations.

    Attributes:
        transcodes: The directions are added where a transcoder writes, not where it reads.

    A source whose directions are axes of the hidden neurons says so by `are_hidden = True`; one
    whose directions are multiplied by a factor that depends on the site's activations x has
    `written_scale(x)`, which returns it, [..., 1].
    """

    @property
    def transcodes(self) -> bool: ...

    def written(self, numbers: NDArray[np.int64]) -> Tensor:
        """Return the directions [len(numbers), width].

        Raises SubjectError if they are not known.
        """
        ...


def space_of(source: Directed) -> tuple[bool, bool]:
    """Return what two sources of one subject have in common if their directions are of one space:
    whether they are of hidden neurons, and whether a transcoder writes them.
    """
    return bool(getattr(source, "are_hidden", False)), source.transcodes


@runtime_checkable
class DirectedElsewhere(Protocol):
    """A source whose units are read in a model of their own, and are directions there.

    Nothing of them can be put into the subject's model; what is done to units of other sources
    there is done to these in their own.
    """

    @property
    def own_model(self) -> SiteModel:
        """The model, read at the site."""
        ...

    def own_written(self, numbers: NDArray[np.int64]) -> Tensor:
        """Return the directions [len(numbers), width]."""
        ...

    def own_scale(self, x: Tensor) -> Tensor:
        """Return by what [..., 1] the directions are multiplied at an x of the own model."""
        ...


@dataclass(frozen=True)
class Calibration:
    """The first tokens of the corpus at the site: what controls are matched to.

    Attributes:
        activations: [tokens, d_site] at kept tokens.
        ids: [tokens] token ids.
        hidden: [tokens, neurons] the hidden neurons, where controls are matched to these.
    """

    activations: Tensor
    ids: Tensor
    hidden: Tensor | None = None
    matched: dict[tuple[int, int], Matched] = field(default_factory=dict, repr=False)

    @cached_property
    def token_counts(self) -> NDArray[np.int64]:
        """Occurrences of each token id."""
        return np.bincount(self.ids.cpu().numpy())


@dataclass(frozen=True)
class Matched:
    """Units that controls are matched to.

    Attributes:
        source: `features`, or `neurons` where there is no SAE.
        numbers: [count] of the units.
        firings: The sorted activations of each on the calibration tokens on which it fires.
    """

    source: str
    numbers: NDArray[np.int64]
    firings: list[NDArray[np.float32]]


def load_source(name: str, subject: Subject, calibration: Calibration, seed: int) -> Source:
    """Return the source called `name` of a subject. Raises UnknownName, listing what there is."""
    module = extensions.load(sys.modules[__name__], "source", name)
    source: Source = extensions.with_members(
        module.create(subject, calibration, seed),
        ("size", "unit", "block", "note"),
        f"source '{name}': create()",
        "a Source",
    )
    return source


@functools.cache
def described_sources() -> dict[str, SourceKind]:
    """Return what each source in this folder says of itself, by name.

    The files are parsed, not imported, so that a report needs none of the libraries behind them.
    """
    folder = sys.modules[__name__]
    kinds = {}
    for name in extensions.names(folder):
        constants = extensions.constants(folder, name, ["COLOUR"], needed=("ROLE", "NAMES"))
        role, names = constants["ROLE"], constants["NAMES"]
        if role not in get_args(Role) or not _is_pair_of_texts(names):
            raise BadInput(
                f"source '{name}': ROLE must be one of {', '.join(get_args(Role))}, and NAMES two "
                f"texts, of one unit and of several; they are {role!r} and {names!r}"
            )
        kinds[name] = SourceKind(role, names, constants.get("COLOUR", ""))
    return kinds


def _is_pair_of_texts(value: object) -> bool:
    return (
        isinstance(value, tuple | list)
        and len(value) == 2
        and all(isinstance(one, str) for one in value)
    )


@functools.cache
def baseline_of(source: str) -> str | None:
    """Return the source that `source` must score higher than for a headline to hold, if any."""
    folder = sys.modules[__name__]
    baselines = {
        extensions.constants(folder, name, ("BASELINE_OF",)).get("BASELINE_OF"): name
        for name in extensions.names(folder)
    }
    return baselines.get(source)


@functools.cache
def only_if_named(source: str) -> bool:
    """Return whether a source takes part only where it is asked for by name."""
    folder = sys.modules[__name__]
    return bool(extensions.constants(folder, source, ("ONLY_IF_NAMED",)).get("ONLY_IF_NAMED"))


def kind_of(name: str, is_control: bool = False) -> SourceKind:
    """Return what the source of this name says of itself, or what can be said of any other."""
    kind = described_sources().get(name)
    if kind is None:
        role: Role = "control" if is_control else "studied"
        kind = SourceKind(role, (f"a unit of {name}", name))
    return kind


def source_kinds(run: Run) -> dict[str, SourceKind]:
    """Return what each source of a run said of itself, by name; an old run's by their names."""
    return {
        name: source.kind or kind_of(name, source.is_control)
        for name, source in run.sources().items()
    }
