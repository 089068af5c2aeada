"""A process that rates against a server, to be killed, stopped or starved by a test.

python client.py FOLDER URL ITEMS: prints `done N` once N ratings are committed.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from autointerp.engine.retry import RetryPolicy
from autointerp.engine.work import RatingPolicy, rate_items
from autointerp.questions.rubric_files import load_rubric
from autointerp.raters import RaterOptions
from autointerp.raters.openai import create
from autointerp.records import Item, ItemContext
from autointerp.settings import RunSettings
from autointerp.store.run import open_run

RUBRIC = load_rubric("interpretability-1-5")
SLOTS = 8


def items(ids: Sequence[str]) -> list[Item]:
    """Return an item for each id, of one short context."""
    return [
        Item(i, RUBRIC.id, (ItemContext(("a", " cat", f" {i}"), None, 1, "explain", False),))
        for i in ids
    ]


def item_names(count: int) -> list[str]:
    return [f"{number:016x}" for number in range(count)]


def main(folder: str, url: str, count: str) -> None:
    rater = create("m", RaterOptions(base_url=url, structured="json_schema"))
    policy = RatingPolicy(RetryPolicy(retries=3, first_wait_s=0.01), SLOTS)
    with open_run("r", RunSettings(), folder=Path(folder)) as run:
        rate_items(
            run,
            item_names(int(count)),
            RUBRIC,
            rater,
            progress=lambda tally: print("done", tally.done, flush=True),  # noqa: T201
            policy=policy,
            load=items,
        )
    print("finished", flush=True)  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
