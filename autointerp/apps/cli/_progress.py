"""The line that shows a rating under way: how many, how fast, how much, how long; on terminals."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from autointerp.engine.work import Tally


class _Rate(ProgressColumn):
    """Items a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f}/s")


def spend_text(tally: Tally) -> str:
    """Return what was spent, and what is not known of it."""
    if not tally.calls or tally.unpriced == tally.calls:
        return f"{tally.tokens_in + tally.tokens_out:,} tokens" if tally.tokens_in else ""
    unknown = f" and {tally.unpriced} calls of unknown price" if tally.unpriced else ""
    return f"${tally.spent_usd:.2f}{unknown}"


def trouble_text(tally: Tally) -> str:
    """Return the counts of what is no rating."""
    return ", ".join(f"{n} {status}" for status, n in tally.statuses.items() if status != "ok")


@contextlib.contextmanager
def rating_bar(console: Console, label: str) -> Iterator[Callable[[Tally], None]]:
    """Yield what `rate_items` is to call as it goes on; says nothing where there is no terminal."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TextColumn("{task.fields[spend]}"),
        TextColumn("{task.fields[trouble]}", style="red"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task(label, total=None, spend="", trouble="")

        def show(tally: Tally) -> None:
            bar.update(
                task,
                completed=tally.done,
                total=tally.total,
                spend=spend_text(tally),
                trouble=trouble_text(tally),
            )

        yield show
