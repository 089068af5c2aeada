"""Put one unit of a run on the bench, beside controls."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from autointerp.apps.cli import _options, say
from autointerp.apps.cli._options import Output, options
from autointerp.errors import BadInput

SENTENCES = ("probe",)


@options
def command(
    unit: Annotated[
        str, typer.Argument(help="Name of the unit, such as features/12 or neurons/5-.")
    ],
    run: _options.RunOption = "main",
    control: Annotated[
        list[str] | None,
        typer.Option(
            help="Unit that goes through the same; repeat it for several.",
            show_default="of random, neurons and features one each that fires about as often",
        ),
    ] = None,
    probe: Annotated[
        list[str] | None,
        typer.Option(
            help="Sentence to read the units on; repeat it for several. Activations are printed at "
            "once.",
            show_default="the unit's strongest context",
        ),
    ] = None,
    probes: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Text file of sentences, one a line; `-` reads standard input, line by line.",
            show_default=False,
        ),
    ] = None,
    neutral: Annotated[
        str,
        typer.Option(
            help="Token that replaces others in contexts.",
            show_default="the commonest of the corpus",
        ),
    ] = "",
    vocabulary: Annotated[
        bool,
        typer.Option(help="Whether to try the whole vocabulary, which takes longest."),
    ] = True,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Folder of the page.", show_default="reports/examine-RUN-UNIT"
        ),
    ] = None,
    show: Annotated[
        bool | None,
        typer.Option(
            "--open/--no-open",
            help="Whether to open the page in the browser.",
            show_default="on a terminal",
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print the findings as JSON and, without -o, write no page: `unit` and `controls` "
            "(contexts and the rows of each lab), `labs` (what their columns hold).",
        ),
    ] = False,
    output: Output = Output(),
) -> None:
    """Examine a unit: contexts, ablation, vocabulary, sentences, neurons, logits, neighbours.

    Seven parts, each with text, picture and table, and the same experiments on controls: the
    strongest contexts and uniform ones; each token of a context left out and replaced; each token
    of the vocabulary before, behind and alone; sentences of yours; the neurons that it is made of;
    the logits that it changes; its nearest units and those that fire together with it. Rows are
    stored in the run as those of the labs, and what is stored is not measured again: after Ctrl-C
    the same command goes on.

    Example: autointerp examine features/158 --probe "The king of France"
    """
    if out == Path("-"):
        raise BadInput("a page is in a folder: name it with -o FOLDER")
    sentences = _sentences(probe or [], probes)
    _options.require_runs(run)

    from autointerp.apps.cli._progress import Show
    from autointerp.pipeline.examine import examine

    with Show(output) as on:
        made = examine(
            unit, run, tuple(control or ()), sentences, neutral, vocabulary, out,
            page=not as_json or out is not None, on=on,
        )  # fmt: skip
    if as_json:
        typer.echo(json.dumps(made.examined.as_json(), indent=2, allow_nan=False))
        return
    assert made.page is not None
    say(f"page: {made.page}")
    if sys.stdout.isatty() if show is None else show:
        import webbrowser

        webbrowser.open(made.page.resolve().as_uri())


def _sentences(given: Sequence[str], file: str | None) -> Iterable[str]:
    """Return the sentences of the options, then those of a file; of standard input as they come.

    Raises BadInput for a file that cannot be read or holds none.
    """
    for text in given:
        if not text.strip():
            raise BadInput(f"--probe {text!r} has no tokens; give a sentence")
    if file == "-":
        return itertools.chain(given, _typed())
    if file is None:
        return given
    if not Path(file).is_file():  # a device might never end
        raise BadInput(
            f"--probes {file}: is no file; give a text file of one sentence a line, or - for "
            "standard input"
        )
    lines = list(_lines(_text_of(Path(file)).split("\n")))
    if not lines:
        raise BadInput(f"--probes {file}: holds no sentence; write one a line")
    return [*given, *lines]


def _typed() -> Iterator[str]:
    """Yield the sentences of standard input, each as soon as its line ends."""
    count = 0
    try:
        for line in _lines(iter(sys.stdin.readline, "")):
            count += 1
            yield line
    except UnicodeDecodeError as error:
        raise BadInput(f"--probes -: {error}; give text in UTF-8") from None
    if not count:
        raise BadInput("--probes -: standard input held no sentence; write one a line")


def _lines(lines: Iterable[str]) -> Iterator[str]:
    """Yield lines without their ends and without a byte order mark, those of blanks left out."""
    for number, line in enumerate(lines):
        text = (line.removeprefix("\ufeff") if number == 0 else line).rstrip("\r\n")
        if text.strip():
            yield text


def _text_of(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(
            f"--probes {path}: cannot be read as text ({error}); give a text file of one sentence "
            "a line"
        ) from None
