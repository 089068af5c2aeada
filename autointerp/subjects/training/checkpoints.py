"""Checkpoints that survive a kill, and a step counter that writes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from autointerp.errors import BadInput
from autointerp.files import partial_file
from autointerp.subjects.training.events import OnTrainingEvent, StepsDone

EVERY = 10  # steps between two events


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write `state` atomically: after a kill the file is the complete old or new one."""
    with partial_file(path, "free some space and run the command again") as partial:
        torch.save(state, partial)


def load_checkpoint(path: Path, settings: dict[str, Any]) -> dict[str, Any] | None:
    """Return the state saved at `path`, or None if there is none.

    Raises BadInput if it was made with other settings, naming the first that differs.
    """
    if not path.exists():
        return None
    state: dict[str, Any] = torch.load(path, weights_only=True)
    for name, value in settings.items():
        if state["settings"].get(name) != value:
            raise BadInput(
                f"{path} was made with {name} = {state['settings'].get(name)}, not {value}; "
                f"give the same settings to resume, or delete it to start from step 0"
            )
    return state


def steps_with_checkpoints(
    part: str,
    first: int,
    last: int,
    figures: dict[str, float],
    save: Callable[[int], None],
    save_every: int,
    on: OnTrainingEvent,
) -> Iterator[int]:
    """Yield the step numbers `first` to `last` - 1, and send `figures` as they change.

    `save(step)` is called every `save_every` steps, at the end and on Ctrl-C, with the number of
    steps done.
    """
    done = first
    try:
        for step in range(first, last):
            yield step
            done = step + 1
            if done % EVERY == 0 or done == last:
                on(StepsDone(part, done, last, dict(figures)))
            if done % save_every == 0 and done < last:
                save(done)
    except KeyboardInterrupt:
        save(done)
        raise
    save(done)
