"""Invite people to rate in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autointerp.apps.cli import _options, say
from autointerp.text import count


def command(
    run: _options.RunName,
    rater: Annotated[
        str | None,
        typer.Option(help="Who is invited: a name of letters and digits.", show_default=False),
    ] = None,
    items: Annotated[
        int, typer.Option(min=1, help="Items to rate, of all sources and controls together.")
    ] = 60,
    rubric: _options.RubricName = "interpretability-1-5",
    overlap: Annotated[
        int | None,
        typer.Option(min=1, help="Raters of each item.", show_default="every person rates all"),
    ] = None,
    repeat_share: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of the items that are shown again, unannounced."),
    ] = 0.1,
    practice: _options.Practice = True,
    guess: _options.LastGuess = True,
    corpus: _options.CorpusText = True,
    crowd: Annotated[
        str | None,
        typer.Option(
            "--crowd",
            help="One link for whoever comes; its parameter that names them, as PROLIFIC_PID.",
            show_default=False,
        ),
    ] = None,
    places: Annotated[int, typer.Option(min=1, help="With --crowd: people at most.")] = 100,
    code: Annotated[
        str | None,
        typer.Option(help="Completion code, shown when all is answered.", show_default=False),
    ] = None,
    return_url: Annotated[
        str | None,
        typer.Option(help="Address that people are sent back to at the end.", show_default=False),
    ] = None,
    consent: Annotated[
        Path | None,
        typer.Option(help="File with the text that people agree to first.", show_default=False),
    ] = None,
    days: Annotated[float, typer.Option(min=0.01, help="Days for which the link is valid.")] = 30,
    url: Annotated[
        str,
        typer.Option(
            help="Address of `autointerp serve`, as the invited reach it.",
            show_default="that of the server",
        ),
    ] = "",
) -> None:
    """Print a link by which somebody rates units of a run in a browser, blind.

    The units are those that the run holds, all sources mixed. The link opens the rating page of
    `autointerp serve` and nothing else; who has it rates under that name. `report` reads the
    answers, as those of a terminal.

    Example: autointerp invite main --rater ann --items 60
    """
    from autointerp.apps.cli._progress import Show
    from autointerp.apps.service._invitations import Wanted, link, prepare
    from autointerp.apps.service._tokens import (
        DEFAULT_ADDRESS,
        Tokens,
        is_whole_host,
        last_address,
    )
    from autointerp.errors import BadInput
    from autointerp.people.machine import parts_text
    from autointerp.store.run import RUNS

    url = url or last_address(RUNS) or DEFAULT_ADDRESS
    if not is_whole_host(url):
        raise BadInput(
            f"--url {url}: give an address such as https://NAME, without a path; the service takes "
            "the whole of its host"
        )
    wanted = Wanted(
        run,
        rater or "",
        crowd or "",
        items,
        rubric,
        overlap,
        repeat_share,
        practice,
        guess,
        corpus,
        places,
        code or "",
        return_url or "",
        _read(consent),
        days,
    )
    with Show(_options.Output()) as show:
        made = prepare(RUNS, wanted, show)
    _, address = link(Tokens(RUNS), wanted, made.session, made.asked, url)
    who = made.rater or f"up to {count(places, 'person', 'people')}"
    say(f"run '{run}': {who}: {parts_text(made.asked)}; {made.gold} of the items are controls",
        err=True)  # fmt: skip
    if crowd is not None:
        say("put the person's id in place of ID, as the platform writes it", err=True)
    say(address)


def _read(path: Path | None) -> str:
    """Return the text of a file, empty for none. Raises BadInput where it cannot be read."""
    from autointerp.apps.service._invitations import MOST_TEXT
    from autointerp.errors import BadInput

    if path is None:
        return ""
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"--consent {path} cannot be read ({error}); give a text file") from None
    if not 0 < len(text) <= MOST_TEXT:
        raise BadInput(f"--consent {path} has {len(text):,} characters; give 1 to {MOST_TEXT:,}")
    return text
