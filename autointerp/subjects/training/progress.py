"""A training loop's outside: progress bar, checkpoints that survive a kill, resume."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from autointerp.errors import BadInput
from autointerp.files import partial_file


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write `state` so that a kill at any moment leaves the old file or the new one whole."""
    with partial_file(path, "free some space and start again") as partial:
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
                f"give the same settings to resume, or delete it to start anew"
            )
    return state


def steps_with_progress(
    label: str,
    first: int,
    last: int,
    figures: dict[str, float],
    save: Callable[[int], None],
    save_every: int,
    console: Console,
    log_every: int = 500,
) -> Iterator[int]:
    """Yield the step numbers `first` to `last` - 1, showing `figures` as they change.

    `save(step)` is called every `save_every` steps, at the end and on Ctrl-C, with the number of
    steps done. Where the console is not a terminal, one line is printed every `log_every` steps.
    """

    def described() -> str:
        return "  ".join(f"{name} {value:.4g}" for name, value in figures.items())

    columns = (
        TextColumn(label),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figures]}"),
        TimeRemainingColumn(),
    )
    done = first
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(label, total=last, completed=first, figures="")
        try:
            for step in range(first, last):
                yield step
                done = step + 1
                if done % 10 == 0 or done == last:
                    progress.update(task, completed=done, figures=described())
                if not console.is_terminal and (done % log_every == 0 or done == last):
                    console.print(f"{label} {done}/{last}  {described()}")
                if done % save_every == 0 and done < last:
                    save(done)
        except KeyboardInterrupt:
            save(done)
            raise
    save(done)
