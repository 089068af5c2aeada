"""Events of a training run; the `str` of each is one line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from autointerp.text import count


@dataclass(frozen=True)
class Resumed:
    """Training continues from a checkpoint, after `step` optimizer steps."""

    checkpoint: Path
    step: int

    def __str__(self) -> str:
        return f"resuming {self.checkpoint} at step {self.step}"


@dataclass(frozen=True)
class CorpusCut:
    """The corpus was cut into windows of `context` tokens, and the model was made."""

    windows: int
    context: int
    steps_per_epoch: int
    parameters: int

    def __str__(self) -> str:
        return (
            f"{self.windows:,} windows of {self.context} tokens, {self.steps_per_epoch:,} steps "
            f"an epoch, {self.parameters:,} parameters"
        )


@dataclass(frozen=True)
class FeaturesReset:
    """`count` dead features were resampled after `step` optimizer steps."""

    step: int
    count: int

    def __str__(self) -> str:
        return f"step {self.step}: {count(self.count, 'dead feature')} reset"


@dataclass(frozen=True)
class StepsDone:
    """`done` of `total` optimizer steps of `part` are done; sent every 10 steps and at the end.

    Attributes:
        part: `transformer` or `sae`.
        figures: Running figures by name, such as the loss.
    """

    part: str
    done: int
    total: int
    figures: Mapping[str, float]

    def __str__(self) -> str:
        return f"{self.part} {self.done}/{self.total}  {self.figures_text}"

    @property
    def figures_text(self) -> str:
        """The figures as `loss 2.31  lr 0.0005`."""
        return "  ".join(f"{name} {value:.4g}" for name, value in self.figures.items())


@dataclass(frozen=True)
class ActivationsRead:
    """The model was read on `done` of `total` tokens of the next bufferful."""

    done: int
    total: int

    def __str__(self) -> str:
        return f"activations of {self.done:,}/{self.total:,} tokens"


@dataclass(frozen=True)
class Measuring:
    """Figures are taken on held-out text: `done` of at most `total` tokens."""

    done: int
    total: int

    def __str__(self) -> str:
        return f"measuring on held-out text: {self.done:,}/{self.total:,} tokens"


@dataclass(frozen=True)
class Noted:
    """Something that a person should know of what the SAE is trained on."""

    text: str

    def __str__(self) -> str:
        return f"note: {self.text}"


TrainingEvent: TypeAlias = (
    Noted | Resumed | CorpusCut | FeaturesReset | StepsDone | ActivationsRead | Measuring
)
OnTrainingEvent: TypeAlias = Callable[[TrainingEvent], None]


def ignore(event: TrainingEvent) -> None:
    """Do nothing with an event."""
