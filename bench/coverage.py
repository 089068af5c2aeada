"""Whether intervals hold the truth as often as they say, and tests err as seldom.

Scores from 1 to 5 are drawn from the founding tables; each figure is the least coverage, or the
most false alarms, over all settings where something is said.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations_with_replacement, product
from typing import Any

import numpy as np
import scipy

from autointerp.errors import TooFewRatings
from autointerp.findings.descriptions import TOLERANCE
from autointerp.people.plans import draw_for_people
from autointerp.stats.agreement import (
    intraclass_correlation,
    krippendorff_alpha,
    quadratic_kappa,
)
from autointerp.stats.blinding_index import blinding_decision
from autointerp.stats.bounded import wilson_ends
from autointerp.stats.decision import equivalence
from autointerp.stats.density import density_adjusted
from autointerp.stats.dyadic import pair_design_effect
from autointerp.stats.means import mean_ends
from autointerp.stats.nested import LEAST_RUNS, Arm, compare_arms
from autointerp.stats.ppi import predict_mean_stratified
from autointerp.stats.ppi_superiority import superiority_powered
from autointerp.stats.rater_effects import rater_effects
from autointerp.stats.results import Floats
from autointerp.stats.sequential import (
    LEAST_A_SOURCE,
    NARROW,
    boundaries,
    confidence_sequence_multiplier,
)
from autointerp.stats.superiority import hides_spread, superiority_ends, superiority_of_counts
from autointerp.stats.van_elteren import van_elteren
from bench import _drawn
from bench._ppi_coverage import simulate_coverage
from bench.scorers import control_scores

TABLES = {
    "GPT-4, features": (11, 16, 22, 21, 29),
    "GPT-4, neurons": (11, 35, 23, 17, 7),
    "people, features": (4, 4, 6, 4, 30),
    "people, neurons": (28, 7, 3, 7, 7),
}
SHARES = {name: np.array(table) / sum(table) for name, table in TABLES.items()}
SCORES = np.arange(1.0, 6.0)
SCALE = (1.0, 5.0)
SIZES = (10, 20, 50, 200)
TAIL = 0.025

Cell = tuple[float, str]  # a share and its setting


def figures(only: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
    """Yield the least coverage by kind of interval, and the most false alarms by kind of test.

    Each has its own random numbers, so one alone (`only`, by name) is the same as among all.
    """
    for name in only or FIGURES:
        yield FIGURES[name]()


def _coverage(
    figure: str,
    simulate: Callable[[np.random.Generator], tuple[list[Cell], list[float], str]],
    seed: int,
) -> dict[str, Any]:
    cells, withheld, note = simulate(np.random.default_rng(seed))
    least, setting = min(cells)
    return {
        "figure": figure,
        "value": round(least, 4),
        "unit": "share",
        "note": f"least over {len(cells)} settings, nominal 0.95 ({setting}); intervals withheld "
        f"in {np.mean(withheld):.1%} of samples; {note}",
    }


def _false_alarms(
    figure: str, simulate: Callable[[np.random.Generator], tuple[list[Cell], str]], seed: int
) -> dict[str, Any]:
    cells, note = simulate(np.random.default_rng(seed))
    most, setting = max(cells)
    return {
        "figure": figure,
        "value": round(most, 4),
        "unit": "share",
        "note": f"most over {len(cells)} settings ({setting}), nominal 0.05; {note}",
    }


def _held(low: Floats, high: Floats, truth: float) -> Floats:
    return np.asarray((low <= truth) & (truth <= high), np.float64)


def _ratings(
    rng: np.random.Generator, shares: Floats, shape: tuple[int, ...], tie: float
) -> Floats:
    """Return ratings, [..., of one unit]; those of a unit are normal variables of correlation
    `tie`, cut where the shares say."""
    cuts = scipy.stats.norm.ppf(np.cumsum(shares)[:-1])
    unit = rng.standard_normal((*shape[:-1], 1))
    latent = np.sqrt(tie) * unit + np.sqrt(1 - tie) * rng.standard_normal(shape)
    return np.asarray(1 + np.searchsorted(cuts, latent), np.float64)


# ------------------------------------------------------------------------------ superiority


def _of_superiority(rng: np.random.Generator) -> tuple[list[Cell], list[float], str]:
    cells: list[Cell] = []
    withheld: list[float] = []
    single, repeated, several = 20_000, 8_000, 2_500
    for first, second in combinations_with_replacement(TABLES, 2):
        truth = float(superiority_of_counts(SHARES[first], SHARES[second]))
        for n, m in product(SIZES, SIZES):
            tables = [
                rng.multinomial(size, SHARES[name], single)
                for size, name in ((n, first), (m, second))
            ]
            said = _said(*tables)
            _, low, high = superiority_ends(*tables, TAIL)
            cells.append((float(_held(low, high, truth)[said].mean()), _name(first, second, n, m)))
            withheld.append(1 - float(said.mean()))
    for repeats, (first, second) in product((1, 2), _pairs_of_tables()):
        sums = [
            _ratings(rng, SHARES[x], (400_000, 1 + repeats), 0.8).sum(1) for x in (first, second)
        ]
        truth = float(superiority_of_counts(*(_levels(part[None], repeats)[0] for part in sums)))
        for n, m in ((10, 10), (20, 20), (50, 50), (10, 50), (200, 200)):
            tables = [
                _levels(
                    _ratings(rng, SHARES[x], (repeated, size, 1 + repeats), 0.8).sum(2), repeats
                )
                for x, size in ((first, n), (second, m))
            ]
            said = _said(*tables)
            _, low, high = superiority_ends(*tables, TAIL)
            share = float(_held(low, high, truth)[said].mean())
            cells.append((share, f"{_name(first, second, n, m)}, {repeats} repeats"))
            withheld.append(1 - float(said.mean()))
    for raters, (first, second) in product((2, 3), _pairs_of_tables()):
        truth = float(superiority_of_counts(SHARES[first], SHARES[second]))
        for n, m in ((10, 10), (20, 50)):
            intervals = [
                van_elteren(
                    _ratings(rng, SHARES[first], (n, raters), 0.6),
                    _ratings(rng, SHARES[second], (m, raters), 0.6),
                    [str(k) for k in range(raters)],
                ).superiority
                for _ in range(several)
            ]
            held = [p.low <= truth <= p.high for p in intervals if p.low is not None and p.high]
            cells.append((float(np.mean(held)), f"{_name(first, second, n, m)}, {raters} raters"))
            withheld.append(1 - len(held) / several)
    note = (
        f"probability of superiority: {single:,} replications with one rater, {repeated:,} with "
        f"repeats, {several:,} with 2 and 3 raters"
    )
    return cells, withheld, note


def _said(first: Floats, second: Floats) -> Any:
    one_value = ((first + second) > 0).sum(axis=-1) == 1
    return ~(hides_spread(first, second) | one_value)


def _levels(sums: Floats, repeats: int) -> Floats:
    """Return how many units have each sum of ratings, [replications, levels]."""
    span = 5 * (1 + repeats) + 1
    at = sums.astype(np.int64) + span * np.arange(len(sums))[:, None]
    return np.bincount(at.ravel(), minlength=span * len(sums)).reshape(len(sums), span)


def _pairs_of_tables() -> list[tuple[str, str]]:
    return [
        ("GPT-4, features", "GPT-4, neurons"),
        ("people, features", "people, neurons"),
        ("people, features", "people, features"),
    ]


def _name(first: str, second: str, n: int, m: int) -> str:
    return f"{first} v {second}, n = {n} and {m}"


# ------------------------------------------------------------------------------ means


def _of_means(rng: np.random.Generator) -> tuple[list[Cell], list[float], str]:
    cells: list[Cell] = []
    replications = 20_000
    for name, n, repeats in product(TABLES, SIZES, (0, 1, 2)):
        scores = _ratings(rng, SHARES[name], (replications, n, 1 + repeats), 0.8).mean(axis=2)
        low, high = mean_ends(scores, TAIL, SCALE)
        truth = float(SHARES[name] @ SCORES)
        cells.append(
            (float(_held(low, high, truth).mean()), f"mean, {name}, n = {n}, {repeats} repeats")
        )
    for first, second in combinations_with_replacement(TABLES, 2):
        truth = float((SHARES[first] - SHARES[second]) @ SCORES)
        for n, m in ((10, 10), (10, 50), (50, 10), (20, 20), (20, 200), (200, 200)):
            x = rng.choice(SCORES, (replications // 2, n), p=SHARES[first])
            y = rng.choice(SCORES, (replications // 2, m), p=SHARES[second])
            (a, b), (c, d) = (mean_ends(part, TAIL, SCALE) for part in (x, y))
            value = x.mean(1) - y.mean(1)
            low = value - np.hypot(x.mean(1) - a, d - y.mean(1))
            high = value + np.hypot(b - x.mean(1), y.mean(1) - c)
            cells.append(
                (
                    float(_held(low, high, truth).mean()),
                    f"difference of means, {_name(first, second, n, m)}",
                )
            )
    note = f"means {replications:,} replications, differences {replications // 2:,}"
    return cells, [0.0], note


# ------------------------------------------------------------------------------ agreement


def _of_agreement(rng: np.random.Generator) -> tuple[list[Cell], list[float], str]:
    cells: list[Cell] = []
    withheld: list[float] = []
    replications = 2_000
    for name in TABLES:
        for statistic in ("alpha", "kappa", "ICC(2,1)"):
            truths = {
                tie: float(_agree(statistic, _ratings(rng, SHARES[name], (100_000, 3), tie)).value)
                for tie in (0.4, 0.8)
            }
            for n in SIZES:
                intervals = [
                    (_agree(statistic, _ratings(rng, SHARES[name], (n, 3), tie)), truth)
                    for tie, truth in truths.items()
                    for _ in range(20 if n < 20 else replications // 2)
                ]
                held = [a.low <= truth <= a.high for a, truth in intervals if a.low is not None]
                withheld.append(1 - len(held) / len(intervals))
                if len(held) >= 0.05 * len(intervals):
                    cells.append((float(np.mean(held)), f"{statistic}, {name}, n = {n}"))
    note = (
        f"{replications:,} replications over latent correlations 0.4 and 0.8, 3 raters (kappa 2); "
        "all withheld below 20 units"
    )
    return cells, withheld, note


def _agree(statistic: str, ratings: Floats) -> Any:
    if statistic == "alpha":
        return krippendorff_alpha(ratings)
    if statistic == "kappa":
        return quadratic_kappa(ratings[:, 0], ratings[:, 1])
    return intraclass_correlation(ratings)


# ------------------------------------------------------------------------------ prediction


def _of_predictions(rng: np.random.Generator) -> tuple[list[Cell], list[float], str]:
    cells: list[Cell] = []
    withheld: list[float] = []
    replications, of_superiority, by_strata = 10_000, 3_000, 3_000
    people = {name: SHARES[f"people, {name}"] for name in ("features", "neurons")}
    judge = {name: SHARES[f"GPT-4, {name}"] for name in ("features", "neurons")}
    truth = float(superiority_of_counts(people["features"], people["neurons"]))
    for n, others, correlation in product((10, 20, 50), (30, 150), (0.4, 0.7)):
        setting = f"n = {n} of {n + others}, correlation {correlation}"
        for target, measured in simulate_coverage(
            n, rng, others=others, correlation=correlation, replications=replications
        ).items():
            cells.append((measured.coverage, f"{target}, {setting}"))
        groups = []
        for name in people:
            both = rng.standard_normal((of_superiority, n))
            own = rng.standard_normal((of_superiority, n))
            latent = correlation * both + np.sqrt(1 - correlation**2) * own
            alone = rng.standard_normal((of_superiority, others))
            human = _cut(both, people[name])
            groups.append((human, _cut(latent, judge[name]), _cut(alone, judge[name])))
        value, variance, parts = superiority_powered(groups[0], groups[1])
        inside = np.clip(value, 0, 1)
        low, high = wilson_ends(inside, variance, min(part.freedom for part in parts), TAIL)
        said = (inside > 0) & (inside < 1) & (variance > 0)
        cells.append((float(_held(low, high, truth)[said].mean()), f"P(superiority), {setting}"))
    for n, correlation, name in product((10, 20), (0.4, 0.7), people):
        share, undefined = _of_strata(rng, n, correlation, people[name], judge[name], by_strata)
        cells.append((share, f"{name} drawn by the judge's score, n = {n} of 200, {correlation}"))
        withheld.append(undefined)
    by_uncertainty = 1_500
    for n, tells in product((10, 20, 40), (True, False)):
        by_draw = _drawn.measure(n, rng, by_uncertainty, tells=tells)
        for name in ("uncertainty", "superiority"):
            setting = f"n = {n} of {_drawn.UNITS}, judge {'unsure of some' if tells else 'even'}"
            cells.append((by_draw[name].coverage, f"{name} draw, {setting}"))
            withheld.append(1 - by_draw[name].said)
    note = (
        f"PPI++ of means {replications:,} replications, of the probability of superiority "
        f"{of_superiority:,}, stratified {by_strata:,}, drawn by the judge's uncertainty "
        f"{by_uncertainty:,}; "
        "probability of superiority withheld below 10 human ratings"
    )
    return cells, withheld, note


def _of_strata(
    rng: np.random.Generator,
    n: int,
    correlation: float,
    people: Floats,
    judge: Floats,
    replications: int,
) -> tuple[float, float]:
    """Return the coverage of a mean whose units people rated by the judge's score, and the share
    of samples without an interval."""
    held = []
    for _ in range(replications):
        latent = rng.standard_normal(200)
        own = np.sqrt(1 - correlation**2) * rng.standard_normal(200)
        human = _cut(latent, people)
        judged = _cut(correlation * latent + own, judge).astype(int)
        strata = {str(unit): ("features", int(score)) for unit, score in enumerate(judged)}
        units = [int(drawn.item) for drawn in draw_for_people(strata, n, rng)]
        sizes = {int(score): int((judged == score).sum()) for score in np.unique(judged)}
        try:
            mean = predict_mean_stratified(
                human[units], [int(judged[unit]) for unit in units], sizes, scale=SCALE
            ).mean
        except TooFewRatings:
            continue
        if mean.low is not None and mean.high is not None:
            held.append(mean.low <= people @ SCORES <= mean.high)
    return float(np.mean(held)), 1 - len(held) / replications


def _cut(latent: Floats, shares: Floats) -> Floats:
    cuts = scipy.stats.norm.ppf(np.cumsum(shares)[:-1])
    return np.asarray(1 + np.searchsorted(cuts, latent), np.float64)


# ------------------------------------------------------------------------------ runs, raters


def _of_runs(rng: np.random.Generator) -> tuple[list[Cell], list[float], str]:
    """P(superiority) of recipes whose runs differ, from units nested in a few runs."""
    cells: list[Cell] = []
    withheld: list[float] = []
    replications = 1_500
    for gap, between, (runs, others), n in product(
        (0.0, 1.0), (0.0, 0.3), ((3, 3), (5, 5), (3, 1), (2, 2)), (20, 50)
    ):
        if between and runs < LEAST_RUNS:
            continue  # fewer speak of these runs, however far apart they are
        spread = between if runs >= LEAST_RUNS else 0.0
        other_spread = between if others >= LEAST_RUNS else 0.0
        setting = f"{runs} and {others} runs of {n}, {between} between runs, gap {gap}"
        large = [
            np.bincount(_scored(rng, mean + tau * rng.standard_normal(400_000)), minlength=6)
            for mean, tau in ((gap, spread), (0.0, other_spread))
        ]
        truth = float(superiority_of_counts(*large))
        held = []
        for _ in range(replications):
            arms = [
                _arm(rng, name, count, n, mean, tau)
                for name, count, mean, tau in (
                    ("first", runs, gap, spread), ("second", others, 0.0, other_spread)
                )
            ]  # fmt: skip
            made = compare_arms(*arms).superiority
            if made.low is not None and made.high is not None:
                held.append(made.low <= truth <= made.high)
        cells.append((float(np.mean(held)), setting))
        withheld.append(1 - len(held) / replications)
    return cells, withheld, f"P(superiority) of units nested in runs, {replications:,} replications"


def _arm(
    rng: np.random.Generator, name: str, runs: int, n: int, mean: float, between: float
) -> Arm:
    scores = tuple(
        _scored(rng, np.full(n, mean + between * rng.standard_normal())).astype(np.float64)
        for _ in range(runs)
    )
    return Arm(scores, tuple([(name, run, unit) for unit in range(n)] for run in range(runs)))


def _scored(rng: np.random.Generator, quality: Floats) -> Any:
    noise = 1.2 * rng.standard_normal(len(quality))
    return np.clip(np.round(3 + quality + noise), 1, 5).astype(np.int64)


def _of_raters(rng: np.random.Generator) -> tuple[list[Cell], list[float], str]:
    """Severity and spread of raters, and the sources' odds ratio, by the cumulative logit model."""
    cells: list[Cell] = []
    withheld: list[float] = []
    replications, cuts, gap = 1_000, np.array([-2.0, -0.7, 0.6, 1.9]), 0.8
    for units, raters, missing, deviation in (
        (40, 2, 0.0, 1.5), (60, 3, 0.2, 1.5), (60, 3, 0.0, 0.3), (200, 3, 0.3, 2.5)
    ):  # fmt: skip
        severity, log_spread = np.linspace(-0.8, 0.8, raters), np.linspace(0.25, -0.25, raters)
        held: dict[str, list[bool]] = {"severity": [], "spread": [], "odds ratio": []}
        said = 0
        for _ in range(replications):
            group = rng.integers(0, 2, units)
            quality = deviation * rng.standard_normal(units) + gap * group
            apart = np.exp(-log_spread)[:, None] * (cuts - cuts.mean())
            read = quality[:, None] + rng.logistic(size=(units, raters))
            at = cuts.mean() + apart + severity[:, None]
            scores = 1.0 + (read[..., None] > at).sum(axis=-1)
            scores[rng.random(scores.shape) < missing] = np.nan
            made = rater_effects(scores, list(group), list(map(str, range(raters))), (1, 0))
            odds = made.odds_ratio
            if odds is None or odds.low is None or odds.high is None:
                continue
            said += 1
            held["odds ratio"].append(odds.low <= np.exp(gap) <= odds.high)
            for k, effect in enumerate(made.raters):
                pairs_of = ((effect.severity, severity[k]), (effect.spread, np.exp(log_spread[k])))
                for name, (statistic, truth) in zip(("severity", "spread"), pairs_of, strict=True):
                    if statistic.low is not None and statistic.high is not None:
                        held[name].append(statistic.low <= truth <= statistic.high)
        setting = f"{units} units, {raters} raters, {missing:.0%} missing, deviation {deviation}"
        cells += [(float(np.mean(shares)), f"{name}, {setting}") for name, shares in held.items()]
        withheld.append(1 - said / replications)
    return cells, withheld, f"severity, spread and odds ratio, {replications:,} replications"


# ------------------------------------------------------------------------------ looks


def _of_looks(rng: np.random.Generator) -> tuple[list[Cell], str]:
    cells: list[Cell] = []
    replications, step = 10_000, 10
    looks = np.arange(LEAST_A_SOURCE, 401, step)
    spent = scipy.stats.norm.sf(boundaries(list(looks / looks[-1])))
    sequence = scipy.stats.norm.sf(confidence_sequence_multiplier(looks))
    first_ordinary = np.r_[0.025, sequence[1:]]
    beside = []
    for name, shares in SHARES.items():
        x, y = (
            np.cumsum(rng.multinomial(step, shares, (replications, looks[-1] // step)), axis=1)[
                :, LEAST_A_SOURCE // step - 1 :
            ]
            for _ in range(2)
        )
        for rule, tail in (("until clear", spent), ("undeclared looks", sequence)):
            _, low, high = superiority_ends(x, y, tail)
            cells.append((float(((low > 0.5) | (high < 0.5)).any(1).mean()), f"{rule}, {name}"))
        _, low, high = superiority_ends(x, y, first_ordinary)
        beside.append(float(((low > 0.5) | (high < 0.5)).any(1).mean()))
        _, low, high = superiority_ends(x[:, -1], y[:, -1], 0.025)  # looks before n decide nothing
        cells.append((float(((low > 0.5) | (high < 0.5)).mean()), f"fixed n, {name}"))
        _, low, high = superiority_ends(x, y, float(scipy.stats.norm.sf(NARROW)))
        for target in (0.1, 0.075):
            narrow = (high - low) / 2 * np.sqrt(1 + 1 / looks) <= target
            at = np.where(narrow.any(1), narrow.argmax(1), len(looks) - 1)
            rows = np.arange(replications)
            wrong = (low[rows, at] > 0.5) | (high[rows, at] < 0.5)
            cells.append((float(wrong.mean()), f"until narrower than {target}, {name}"))
    by_rule = {
        rule: max(share for share, setting in cells if setting.startswith(rule))
        for rule in ("fixed n", "until clear", "until narrow", "undeclared")
    }
    each = ", ".join(f"{rule} {share:.4f}" for rule, share in by_rule.items())
    return cells, (
        f"{len(looks)} looks from 20 to 400, {replications:,} replications; {each}; the first of "
        f"undeclared looks taken as the only one and the later ones by the sequence, together "
        f"{max(beside):.4f}"
    )


def _of_stops(rng: np.random.Generator) -> tuple[list[Cell], list[float], str]:
    """Whether the interval at the stop holds P, where there is a difference: for undeclared looks
    at all looks together. How many units it took, and how far off the estimates are on average."""
    cells: list[Cell] = []
    notes: list[str] = []
    replications, step = 5_000, 10
    looks = np.arange(LEAST_A_SOURCE, 401, step)
    rows = np.arange(replications)
    tails = {
        "clear": scipy.stats.norm.sf(boundaries(list(looks / looks[-1]))),
        "undeclared": scipy.stats.norm.sf(confidence_sequence_multiplier(looks)),
        "narrow": np.full(len(looks), scipy.stats.norm.sf(NARROW)),
    }
    for judge in ("GPT-4", "people"):
        shares = SHARES[f"{judge}, features"], SHARES[f"{judge}, neurons"]
        truth = float(superiority_of_counts(*shares))
        x, y = (
            np.cumsum(rng.multinomial(step, s, (replications, looks[-1] // step)), axis=1)[
                :, LEAST_A_SOURCE // step - 1 :
            ]
            for s in shares
        )
        ends = {rule: superiority_ends(x, y, tail) for rule, tail in tails.items()}
        p, low, high = ends["undeclared"]
        cells.append((float(_held(low, high, truth).all(1).mean()), f"undeclared, {judge}"))
        p, low, high = ends["clear"]
        stops = {"clear": (p, low, high, (low > 0.5) | (high < 0.5))}
        p, low, high = ends["narrow"]
        for target in (0.1, 0.075, 0.05):
            narrow = (high - low) / 2 * np.sqrt(1 + 1 / looks) <= target
            stops[f"narrower than {target}"] = (p, low, high, narrow)
        for rule, (p, low, high, stop) in stops.items():
            at = np.where(stop.any(1), stop.argmax(1), len(looks) - 1)
            held = _held(low[rows, at], high[rows, at], truth).mean()
            cells.append((float(held), f"until {rule}, {judge}"))
            bias = float(p[rows, at].mean()) - truth
            notes.append(f"{rule} {looks[at].mean():.0f} units, bias {bias:+.3f}")
        notes[-4] = f"at P = {truth:.2f} until {notes[-4]}"
    return cells, [0.0], f"mean n at the stop: {'; '.join(notes)}"


# ------------------------------------------------------------------------------ blinding


def _of_blinding(rng: np.random.Generator) -> tuple[list[Cell], str]:
    cells: list[Cell] = []
    replications = 2_000
    arms = [0, 1, 2, 2, 2]  # features, neurons, and three controls
    guessers = {
        "uniform": (1 / 3, 1 / 3, 1 / 3, 0),
        "mostly 'feature'": (0.6, 0.2, 0.2, 0),
        "mostly unknown": (0.2 / 3, 0.2 / 3, 0.2 / 3, 0.8),
        "always 'feature'": (1, 0, 0, 0),
    }
    for (name, shares), n in product(guessers.items(), (1, 2, 3, 5, 10, 20, 50)):
        tables = rng.multinomial(n, shares, (replications, len(arms)))
        alarms = np.mean([blinding_decision(table, arms).broken for table in tables])
        cells.append((float(alarms), f"{name}, {n} answers a source"))
    return cells, f"raters who guess, five sources, {replications:,} replications"


# ------------------------------------------------------------------------------ density


def _of_density(rng: np.random.Generator) -> tuple[list[Cell], str]:
    cells: list[Cell] = []
    replications = 2_000
    spoke: dict[float, list[bool]] = {}
    alone: list[bool] = []
    for gap, n in product((0.0, 0.5, 1.0, 1.5, 2.0), (50, 200)):
        rejected = []
        for slope in (0.5, 1.0):
            for _ in range(replications // 2):
                a, b = (_log_density(rng, -2 + side * gap / 2, n) for side in (-1, 1))
                arms = _driven(rng, a, slope), _driven(rng, b, slope), 10**a, 10**b
                first = density_adjusted(*arms, second_opinion=False)
                spoke.setdefault(gap, []).append(not first.refused)
                if first.refused:
                    continue
                alone.append(first.test.p_value is not None and first.test.p_value < 0.05)
                # Both opinions must reject, so the second matters where the first does.
                rejected.append(alone[-1] and density_adjusted(*arms).decision != "not resolved")
        if len(rejected) >= 0.05 * replications:
            cells.append((float(np.mean(rejected)), f"{gap} decades apart, n = {n}"))
    speaks = ", ".join(f"{gap:g}: {np.mean(said):.0%}" for gap, said in spoke.items())
    return cells, (
        f"scores driven by density alone, {replications:,} replications; says something by "
        f"decades between the arms {speaks}; pairs alone, over all settings, {np.mean(alone):.4f}"
    )


def _log_density(rng: np.random.Generator, centre: float, n: int) -> Floats:
    return np.asarray(np.clip(centre + 0.6 * rng.standard_normal(n), -4, -0.31))


def _driven(rng: np.random.Generator, log_density: Floats, slope: float) -> Floats:
    noise = rng.standard_normal(len(log_density))
    return np.asarray(np.clip(np.round(3 - slope * (log_density + 2) + noise), 1, 5))


# ------------------------------------------------------------------------------ controls


def _of_controls(rng: np.random.Generator) -> tuple[list[Cell], list[float], str]:
    """The control of `intruder` in a single run, answered by rules that read no description, whose
    mean is 0.5 over all runs. Rules that choose a place score 0.5 exactly and are left out."""
    cells: list[Cell] = []
    runs, units = 150, 20
    answers: Counter[str] = Counter()
    worst: list[Cell] = []
    for source in ("features", "neurons"):
        held: dict[str, list[float]] = {}
        for number in rng.integers(1 << 31, size=runs).tolist():
            for rule, scores in control_scores(source, units, number).items():
                if rule.startswith("number "):
                    continue
                low, high = mean_ends(np.array(scores), TAIL, (0.0, 1.0))
                held.setdefault(rule, []).append(float(low <= 0.5 <= high))
                answers[equivalence(scores, 0.5, TOLERANCE, scale=(0.0, 1.0)).answer] += 1
        rules = f"{source}, {len(held)} rules in {runs} runs of {units} units"
        cells.append((float(np.mean([inside for one in held.values() for inside in one])), rules))
        worst += [(float(np.mean(one)), f"'{rule}', {source}") for rule, one in held.items()]
    said = ", ".join(f"{answer} {n / answers.total():.1%}" for answer, n in answers.most_common())
    least, rule = min(worst)
    return (
        cells,
        [0.0],
        (
            f"least of a single rule {least:.3f} ({rule}, standard error "
            f"{(0.05 * 0.95 / runs) ** 0.5:.3f}); at chance to within {TOLERANCE}: {said}"
        ),
    )


def _of_shared_calls(rng: np.random.Generator) -> tuple[list[Cell], list[float], str]:
    """The control of scorers whose units share calls (detection, fuzzing), of made-up units: each
    description of a call is tried on the texts of the others. Texts may be easier or harder to tell
    apart whatever the description, descriptions may suit any text more or less, and either may do
    so with certain others."""
    replications, together = 400, 8
    cells: list[Cell] = []
    alone: list[Cell] = []
    for units, (texts, descriptions, pairs) in product(
        (16, 48, 96), ((0.1, 0.0, 0.05), (0.0, 0.1, 0.05), (0.05, 0.05, 0.1))
    ):
        held, naive = 0, 0
        for _ in range(replications):
            of_text, of_description = rng.normal(0, (texts, descriptions), (units, 2)).T
            between = rng.normal(0, pairs, (units, units))
            value = np.clip(
                0.5 + of_text[:, None] + of_description + (between + between.T) / 2, 0, 1
            )
            rows = {
                unit: {
                    other: float(value[unit, other])
                    for other in range(unit - unit % together, unit - unit % together + together)
                    if other != unit
                }
                for unit in range(units)
            }
            scores = np.array([np.mean(list(row.values())) for row in rows.values()])
            inside = [
                bool(low <= 0.5 <= high)
                for effect in (pair_design_effect(rows), 1.0)
                for low, high in [mean_ends(scores, TAIL, (0.0, 1.0), effect)]
            ]
            held, naive = held + inside[0], naive + inside[1]
        spread = f"{units} units, texts {texts}, descriptions {descriptions}, pairs {pairs}"
        cells.append((held / replications, spread))
        alone.append((naive / replications, spread))
    return cells, [0.0], f"units taken one by one: {min(alone)[0]:.3f}"


FIGURES: dict[str, Callable[[], dict[str, Any]]] = {
    name: functools.partial(line, name, simulate, seed)
    for name, line, simulate, seed in (
        ("coverage_min_p", _coverage, _of_superiority, 1),
        ("coverage_min_mean", _coverage, _of_means, 2),
        ("coverage_min_agreement", _coverage, _of_agreement, 3),
        ("coverage_min_ppi", _coverage, _of_predictions, 4),
        ("coverage_min_controls", _coverage, _of_controls, 10),
        ("coverage_min_shared_calls", _coverage, _of_shared_calls, 11),
        ("coverage_min_runs", _coverage, _of_runs, 8),
        ("coverage_min_rater_effects", _coverage, _of_raters, 9),
        ("false_alarms_looks", _false_alarms, _of_looks, 5),
        ("coverage_min_looks", _coverage, _of_stops, 8),
        ("blinding_false_alarms", _false_alarms, _of_blinding, 6),
        ("density_null_rejections", _false_alarms, _of_density, 7),
    )
}
