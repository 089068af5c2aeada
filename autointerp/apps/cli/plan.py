"""Say how many units are needed, and what rating them takes; write a plan before the first one."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from autointerp.apps.cli import _options, say
from autointerp.apps.cli._options import Output, Until, options

if TYPE_CHECKING:
    from autointerp.raters import RaterOptions
    from autointerp.stats.power import Plan


# Parameters of a plan that is kept, of the reckoning alone, and of its number of units.
OF_PLANS = (
    "rater", "source", "n", "equivalence", "subject", "seed", "tokens", "until_width",
    "until_clear", "max_n", "base_url", "structured",
)  # fmt: skip
OF_RECKONING = ("sources", "controls", "usd_per_call")
OF_N = ("effect", "power", "lost")
BESIDE_SWEEPS = (
    "write", "rater", "base_url", "structured", "rubric", "n", "tokens", "as_json", "quiet",
    "verbose",
)  # fmt: skip


@options
def command(
    context: typer.Context,
    effect: Annotated[
        float,
        typer.Option(help="Probability of superiority, ties halved, to be detected."),
    ] = 0.65,
    power: Annotated[float, typer.Option(help="Chance of detecting it.")] = 0.8,
    alpha: Annotated[float, typer.Option(help="Two-sided level of the test.")] = 0.05,
    rubric: _options.RubricName = "interpretability-1-5",
    sources: Annotated[
        int, typer.Option(min=2, help="Sources that are rated, with so many units each.")
    ] = 2,
    controls: Annotated[int, typer.Option(min=0, help="Units of each of the three controls.")] = 50,
    repeats: Annotated[int, typer.Option(min=1, help="Times that each unit is rated.")] = 1,
    lost: Annotated[
        float, typer.Option(min=0, max=0.9, help="Share of ratings expected to give no score.")
    ] = 0.05,
    usd_per_call: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Price of a rating in US dollars; `rate --dry-run` estimates it.",
            show_default=False,
        ),
    ] = None,
    write: Annotated[
        str | None,
        typer.Option(
            metavar="RUN|SWEEP.TOML",
            help="Write a plan into this run, before its first rating: what follows, --rubric, "
            "--alpha and --repeats. Of a sweep.toml, one plan for all that the file says; "
            "--tokens, --base-url and --structured, as `rate` will be given them, go with it.",
            show_default=False,
        ),
    ] = None,
    rater: Annotated[
        list[str] | None,
        typer.Option(
            help="With --write: who will rate; repeat it for several.", show_default="lexical"
        ),
    ] = None,
    base_url: _options.BaseUrl = None,
    structured: _options.Structured = None,
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--source",
            "-s",
            help="With --write: the two sources that are compared; give it twice.",
            show_default="features and neurons",
        ),
    ] = None,
    n: Annotated[
        int | None,
        typer.Option(
            "--n",
            "-n",
            help="With --write: units of each source, as many as are asked about.",
            show_default="what --effect and --power need",
        ),
    ] = None,
    until: Until = Until(),
    equivalence: Annotated[
        tuple[float, float] | None,
        typer.Option(
            metavar="LOW HIGH",
            help="With --write: bounds of the probability of superiority within which a "
            "difference does not matter.",
            show_default="0.45 0.55",
        ),
    ] = None,
    subject: _options.Subject = None,
    seed: Annotated[
        int | None, typer.Option(help="With --write: seed of a new run.", show_default="0")
    ] = None,
    tokens: Annotated[
        str | None,
        typer.Option(
            help="With --write: tokens of the corpus that a new run reads, from its start, such as "
            "100k or 2M; 0 means all.",
            show_default="the settings' harvest.tokens",
        ),
    ] = None,
    as_json: _options.AsJson = False,
    output: Output = Output(),
) -> None:
    """Print the units per source, the calls and the cost that it takes to detect an effect.

    With --write, declare instead: who rates which two sources on which rubric, how many units or
    until when, and by which test it is decided. The plan is hashed and kept in the run; reports
    print it, and say where it was not followed.

    Example: autointerp plan --effect 0.65 --power 0.8
    """
    import json
    import math
    from dataclasses import replace

    from autointerp.errors import BadInput
    from autointerp.questions.rubric_files import load_rubric
    from autointerp.raters import RaterOptions
    from autointerp.stats.power import plan_units

    server = RaterOptions(base_url=base_url, structured=cast(Any, structured))
    given = _options.given(context)
    if write is None:
        for name in OF_PLANS:
            if name in given:
                raise BadInput(f"{given[name]} belongs to a plan that is kept: add --write RUN")
    elif write.endswith(".toml"):
        for name, option in given.items():
            if name not in BESIDE_SWEEPS or (name == "rater" and len(rater or ()) > 1):
                raise BadInput(f"{option}: {write} says what is planned; leave {option} out")
        said = rubric if "rubric" in given else ""
        _write_of_sweep(write, tokens, (rater or [""])[0], said, n, as_json, server)
        return
    else:
        for name in OF_RECKONING:
            if name in given:
                raise BadInput(f"{given[name]} is no part of a plan; leave it or --write out")
        by_rule = until.until_width is not None or until.until_clear
        for name in OF_N if by_rule or n is not None else ():
            if name in given:
                asked = "a stopping rule" if by_rule else "--n"
                raise BadInput(f"{given[name]}: {asked} says how many units; leave one of them out")
    scale = load_rubric(rubric).scores
    if write is not None:
        from autointerp.apps.cli._progress import Show
        from autointerp.pipeline.job import Job, Resolved
        from autointerp.pipeline.plan import write_plan
        from autointerp.stats.decision import EQUIVALENT

        raters = rater or ["lexical"]
        job = Job(
            rater=raters[0],
            options=server,
            sources=tuple(source or ()),
            n=n,
            rubric=rubric,
            run=write,
            subject=subject,
            seed=seed,
            tokens=tokens,
            repeats=repeats,
            **until.fields(),
        )
        resolved = Resolved(job, planned=False)
        resolved.require_places()
        if n is None and job.until is None:
            tests = len(set(raters))  # Holm: the smallest p under alpha / it
            needed = plan_units(effect, power, alpha, len(scale), tests=tests)
            job = replace(job, n=math.ceil(needed.units / (1 - lost)))
        with Show(output) as show:
            written = write_plan(job, raters, alpha, equivalence or EQUIVALENT, show)
        if as_json:
            fields = {**written.content(), "made_at": written.made_at, "digest": written.digest}
            say(json.dumps({"run": write, **fields}, indent=2))
            return
        say(f"run '{write}' has this plan since {written.made_at} UTC: {written}")
        say(f"sha256 {written.digest}")
        who = shlex.quote(raters[0]) + server.in_names
        units = ""
        if job.by_person:  # whose sitting does not open the run, which another may be rating
            units = f" --source {written.first} --source {written.second} --n {job.n}"
        say(f"next: autointerp rate --run {write} --rater {who}{units}{_asked(rubric, repeats)}")
        return
    _print_power(
        plan_units(effect, power, alpha, len(scale)),
        rubric,
        lost=lost,
        sources=sources,
        controls=controls,
        repeats=repeats,
        usd_per_call=usd_per_call,
        as_json=as_json,
    )


def _write_of_sweep(
    path: str,
    tokens: str | None,
    rater: str,
    rubric: str,
    n: int | None,
    as_json: bool,
    server: RaterOptions,
) -> None:
    """Write the plan of a sweep, and print it."""
    import json

    from autointerp.pipeline.sweep import write_sweep_plan

    plan = write_sweep_plan(path, tokens, rater, rubric, n, options=server)
    if as_json:
        fields = {**plan.content(), "made_at": plan.made_at, "digest": plan.digest}
        say(json.dumps({"sweep": plan.name, **fields}, indent=2))
        return
    say(f"sweep '{plan.name}' has this plan since {plan.made_at} UTC: {plan}")
    say(f"sha256 {plan.digest}")
    say(f"next: autointerp sweep {shlex.quote(str(path))}{server.in_names}")


def _asked(rubric: str, repeats: int) -> str:
    """Return the options of `rate` that ask on a rubric so many times; nothing for the defaults."""
    on = "" if rubric == "interpretability-1-5" else f" --rubric {shlex.quote(rubric)}"
    return f"{on} --repeats {repeats}" if repeats > 1 else on


def _print_power(
    plan: Plan,
    rubric: str,
    *,
    lost: float,
    sources: int,
    controls: int,
    repeats: int,
    usd_per_call: float | None,
    as_json: bool,
) -> None:
    """Print how many units a test needs, and what it takes to rate them."""
    import json
    import math
    from dataclasses import asdict

    asked = math.ceil(plan.units / (1 - lost))
    calls = (asked * sources + 3 * controls) * repeats
    cost_usd = None if usd_per_call is None else calls * usd_per_call
    if as_json:
        fields = {
            **asdict(plan),
            "rubric": rubric,
            "units_to_ask": asked,
            "sources": sources,
            "controls": 3 * controls,
            "repeats": repeats,
            "calls": calls,
            "cost_usd": cost_usd,
        }
        say(json.dumps(fields, indent=2))
        return
    from autointerp.pipeline.job import DEFAULT_CONTROLS

    others = " --source NAME" * (sources - 2)
    beside = f" --controls {controls}" if controls != DEFAULT_CONTROLS else ""
    cost = f", about {cost_usd:,.2f} US dollars" if cost_usd is not None else ""
    say(
        f"{plan.units} scored units per source find a probability of superiority of "
        f"{plan.effect:g} with power {plan.power:.2f} (Brunner-Munzel and the interval, "
        f"two-sided, alpha {plan.alpha:g}, scale of {plan.levels} levels).\n"
        f"Ask about {asked} per source, as {100 * lost:g} % may give no score: "
        f"{calls:,} calls for {sources} sources and {controls} units of each control"
        f"{f', {repeats} times each' if repeats > 1 else ''}{cost}.\n"
        f"Then: autointerp rate --source features --source neurons{others} --n {asked}"
        f"{beside}{_asked(rubric, repeats)}\n"
        f"Assumed: {plan.assumption}."
    )
