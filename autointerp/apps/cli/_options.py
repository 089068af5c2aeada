"""Options that several commands share, as dataclasses that a command takes as one argument.

`@options` turns each argument whose type is such a dataclass into one option a field:

    @options
    def command(run: str = typer.Argument(...), asking: Asking = Asking()) -> None: ...
"""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import typer

if TYPE_CHECKING:
    from autointerp.engine.loop import RatingPolicy
    from autointerp.pipeline.job import Job
    from autointerp.raters import RaterOptions


def require_runs(*names: str) -> None:
    """Raise UnknownName for a run that is not there, before what reads runs is imported."""
    from autointerp.store.run import existing_run

    for name in names:
        existing_run(name)


def options(command: Callable[..., None]) -> Callable[..., None]:
    """Return the command with the fields of its dataclass arguments as options of their own.

    A field's annotation carries its typer.Option: `Annotated[str, typer.Option(help=…)]`.
    """
    hints = typing.get_type_hints(command, include_extras=True)
    groups = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    parameters: list[inspect.Parameter] = []
    annotations: dict[str, Any] = {"return": None}
    for name, parameter in inspect.signature(command).parameters.items():
        if name not in groups:
            parameters.append(parameter.replace(annotation=hints[name]))
            annotations[name] = hints[name]
            continue
        inner = typing.get_type_hints(groups[name], include_extras=True)
        for one in fields(cast(Any, groups[name])):
            annotations[one.name] = inner[one.name]
            parameters.append(
                inspect.Parameter(
                    one.name,
                    inspect.Parameter.KEYWORD_ONLY,
                    default=one.default,
                    annotation=inner[one.name],
                )
            )

    @functools.wraps(command)
    def flat(**values: Any) -> None:
        for name, kind in groups.items():
            own = {one.name: values.pop(one.name) for one in fields(cast(Any, kind))}
            values[name] = cast(Any, kind)(**own)
        command(**values)

    kinds = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in parameters]
    cast(Any, flat).__signature__ = inspect.Signature(kinds)
    flat.__annotations__ = annotations
    return flat


def given(context: typer.Context) -> dict[str, str]:
    """Return the options that the command line gives, by parameter: `--no-mix` of `mix`."""
    written = {}
    for one in context.command.params:
        name = str(one.name)
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            is_off = context.params[name] is False and one.secondary_opts
            written[name] = max(one.secondary_opts if is_off else one.opts, key=len)
    return written


def _option(*names: str, **settings: Any) -> Any:
    return typer.Option(*names, **settings)


BaseUrl = typing.Annotated[
    str | None,
    _option(
        help="Address of a server that speaks the rater's protocol.",
        show_default="the provider's",
    ),
]
Structured = typing.Annotated[
    str | None,
    _option(
        help="How to request a JSON reply: json_schema, tool or text; or choice: one token "
        "of reply, read as the probabilities of a rubric's levels.",
        show_default="what the server supports",
    ),
]


@dataclass(frozen=True)
class Output:
    """How much a command says while it works."""

    quiet: typing.Annotated[
        bool, _option("--quiet", "-q", help="Print results and errors only.")
    ] = False
    verbose: typing.Annotated[
        bool, _option("--verbose", "-v", help="Print every stage, and times.")
    ] = False


@dataclass(frozen=True)
class Asking:
    """How a rater is reached and asked."""

    base_url: BaseUrl = None
    budget_usd: typing.Annotated[
        float | None,
        _option(min=0, help="Most that the run may cost, in US dollars.", show_default="no limit"),
    ] = None
    price_in: typing.Annotated[
        float | None,
        _option(help="US dollars per million prompt tokens.", show_default="the price list's"),
    ] = None
    price_out: typing.Annotated[
        float | None,
        _option(help="US dollars per million reply tokens.", show_default="the price list's"),
    ] = None
    concurrency: typing.Annotated[
        int | None,
        _option(min=1, help="Calls in flight at most.", show_default="the rater's own"),
    ] = None
    retries: typing.Annotated[
        int, _option(min=0, help="Times that a failed call is made again.")
    ] = 8
    timeout: typing.Annotated[float, _option(min=0.1, help="Seconds for one attempt.")] = 120.0
    max_output_tokens: typing.Annotated[
        int, _option(min=16, help="Maximum reply length in tokens.")
    ] = 1024
    structured: Structured = None
    effort: typing.Annotated[
        str | None,
        _option(help="Effort of a reasoning model, in its provider's terms."),
    ] = None

    def job(self, rater: str, **fields: Any) -> Job:
        """Return a job that asks `rater` in this way."""
        from autointerp.pipeline.job import Job

        options, policy = self.asked()
        if fields.get("seed") is not None:
            options = replace(options, seed=fields["seed"])
        return Job(rater=rater, options=options, policy=policy, **fields)

    def asked(self) -> tuple[RaterOptions, RatingPolicy]:
        """Return how a rater is reached, and how it is asked."""
        from autointerp.engine.loop import RatingPolicy
        from autointerp.engine.retry import RetryPolicy
        from autointerp.raters import RaterOptions

        options = RaterOptions(
            base_url=self.base_url,
            timeout_s=self.timeout,
            max_output_tokens=self.max_output_tokens,
            price_in=self.price_in,
            price_out=self.price_out,
            structured=cast(Any, self.structured),
            effort=self.effort,
        )
        policy = RatingPolicy(RetryPolicy(retries=self.retries), self.concurrency, self.budget_usd)
        return options, policy


@dataclass(frozen=True)
class Until:
    """When to stop, where that depends on the ratings."""

    until_width: typing.Annotated[
        float | None,
        _option(
            help="Rate in batches until the interval of the probability of superiority has this "
            "half-width at most, such as 0.1.",
            show_default="a fixed n",
        ),
    ] = None
    until_clear: typing.Annotated[
        bool,
        _option(
            "--until-clear",
            help="Rate in batches until that interval, made for looking again, leaves 0.5 out.",
        ),
    ] = False
    max_n: typing.Annotated[
        int | None,
        _option(
            "--max-n",
            help="With either: units of each source at most.",
            show_default="with --until-width, what any scores need and a quarter more",
        ),
    ] = None

    def fields(self) -> dict[str, Any]:
        """Return the fields of a job."""
        return {
            "until_width": self.until_width,
            "until_clear": self.until_clear,
            "max_n": self.max_n,
        }


Batch = typing.Annotated[
    bool,
    _option(
        "--batch", help="Submit the calls to the provider's batch API, at half the listed price."
    ),
]
DryRun = typing.Annotated[
    bool, _option("--dry-run", help="Print what would be asked and what it would cost, then stop.")
]
AsJson = typing.Annotated[bool, _option("--json", help="Print JSON on standard output.")]
ForecastAsJson = typing.Annotated[
    bool, _option("--json", help="With --dry-run: print the forecast as JSON.")
]
RunName = typing.Annotated[str, typer.Argument(help="Name of the run: runs/NAME.")]
RunOption = typing.Annotated[str, _option("--run", "-r", help="Name of the run: runs/NAME.")]
RubricName = typing.Annotated[str, _option(help="Id of a shipped rubric, or path of a file.")]
Subject = typing.Annotated[
    str | None,
    _option(
        help="embedded, or the path of an autointerp.toml.",
        show_default="the run's; else ./autointerp.toml; else embedded",
    ),
]
Tokens = typing.Annotated[
    str | None,
    _option(
        help="Tokens of the corpus that a new run reads, from its start, such as 100k or 2M, for a "
        "look in seconds; 0 means all.",
        show_default="the run's; else the settings' harvest.tokens",
    ),
]
CacheSite = typing.Annotated[
    str | None,
    _option(
        metavar="SIZE",
        help="Disk that the site's activations may take beside the run, such as 2G, so that "
        "another source, control or larger --n runs the model no more; 0 deletes them.",
        show_default="none are kept",
    ),
]
Practice = typing.Annotated[
    bool,
    _option("--practice/--no-practice", help="People: begin with items whose answers are shown."),
]
LastGuess = typing.Annotated[
    bool,
    _option(
        "--guess/--no-guess",
        help="End by asking whether each item was a feature, a neuron or a control.",
    ),
]
CorpusText = typing.Annotated[
    bool,
    _option(
        "--corpus-text/--no-corpus-text",
        help="Read more of each context from the corpus, for raters who ask for it; takes the "
        "subject.",
    ),
]
SourcesOfRun = typing.Annotated[
    list[str] | None,
    _option(
        "--source",
        "-s",
        help="Source of units; repeat it for several.",
        show_default="all sources of the run",
    ),
]
UnitsOfRun = typing.Annotated[
    int | None,
    _option(
        "--n",
        "-n",
        min=1,
        help="Units of each source.",
        show_default="all that are rated; all that are harvested where none is",
    ),
]


def check_forecast_json(as_json: bool, dry_run: bool) -> None:
    """Raise BadInput where `--json` is given without the `--dry-run` that it belongs to."""
    from autointerp.errors import BadInput

    if as_json and not dry_run:
        raise BadInput("--json goes with --dry-run; `autointerp show RUN --json` prints results")
