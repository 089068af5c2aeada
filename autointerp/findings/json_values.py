"""Findings as JSON values.

The form, of every run: an object of the fields of a `Comparison` by name, beside `schema`, the
number of this form. Its keys:

    schema       3; a new number wherever a key is taken away or changes its meaning
    run, about   name, and the content of run.toml
    subject      what was studied: model, site, basis, sae, latents, active, corpus, tokens, …
    plan         what was declared before the first rating: raters, rubric, first, second, stopping
                 (rule, n, half_width), alpha, equivalence, test, made_at, digest; null without one
    level        nominal coverage of the intervals about ratings
    looks        the ledger, one record a look: number, made_at, verb, rubric, rater, first, second,
                 n, asked, value, low, high, p, method, rule, stopped, digest, plan, recorded
    sources      by name: role (studied, ceiling, floor, control), names, colour
    judgements   one a rubric and rater: scale, repeats, statuses, groups (by source: mean, median,
                 shares, unrated, …), contrasts (superiority, pairs, delta, difference, tests,
                 bounds, adjusted, outcome, interim, …), trust (the controls), verdict, check (on
                 planted units), check_state (passed, chance, weak, untold, design side, other
                 version, other model, never), fails (why its scores are no evidence, or empty),
                 versions (of the rater, with how many scores), models,
                 score_errors (of units with few contexts), drawn (a person's units, where some
                 were likelier to be), short (units that a person was not asked about), reads_all,
                 reading (which look this is: rule, number, multiplier, deviations, interim, …)
    pooled       the primary pair within each rater of a rubric, and combined
    agreement, people, attention    whether raters agree with one another and with themselves
    text_asked_for one a person and rubric: items, asked (more of the contexts), share
    contexts_shown one a person, rubric and number: contexts of a unit, units, of_rubric
    rater_effects one a rubric: effects (raters: severity, spread, mean; odds_ratio, of those
                 that do not fail; unit_sd), failing, drift
    calibration  one a judge beside people: predictions (means), superiority (of the primary pair),
                 stand_in (answer, winning_rate, advantage, epsilon, people, note)
    blinding     what raters took the items for
    scorers, specificity, explained what descriptions are worth, and who wrote them
    labs         one a lab that measured units: title, columns, rows (a record each)
    attributions one a prompt and pair of tokens: prompt, target, against, sources (active, pearson,
                 spearman, rows: the units of largest ablation, with both ranks)
    known        one a file or list of labels, where concepts were measured: sources (found, mean,
                 f1, probes), rows (best units, thresholds, probes by concept)
    covers       one a source and rater that judged concepts: coverage, control, yes, curve (by
                 frequency), concepts (prompts, occurrences, units)
    matches      one a run whose dictionary was matched: share_related, median, chance_99, splits,
                 scores (higher, rho), …
    maps         one a map: digest, neighbours, seed, sources (median, near_own, mixed, kept)
    use          one a rubric and rater, where importance was measured: sources (mean, by_use,
                 effective, rho, top_share), difference (of the means by use)
    cost         one record a rater: calls, attempts, tokens, dollars, seconds
    imported     one record a file that units came from
    units, scores, plans            one record a unit; a unit, rubric and rater; a unit planned

A statistic is an object: value, low, high, n, method, level, note; what is undefined is null, and
the note says why. Fields are those of the dataclasses of this folder, with their properties that
are plain values. Arrays are lists; a table is a list of records, one a row; keys of objects are
text; times are ISO 8601, in UTC.
"""

from __future__ import annotations

import dataclasses
import datetime
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from autointerp.questions.rubric import Rubric

if TYPE_CHECKING:
    from autointerp.findings.comparison import Comparison

SCHEMA = 3


def json_values(comparison: Comparison) -> dict[str, Any]:
    """Return a comparison as JSON values; see the top of this file."""
    return {"schema": SCHEMA, **plain(comparison)}


def plain(value: Any) -> Any:
    """Return a finding as JSON values. Raises TypeError for what is none.

    Of a rubric its id, version, title and digest stand; its text is in the run.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Rubric):
        return {name: getattr(value, name) for name in ("id", "version", "title", "digest")}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: plain(part) for name, part in _parts(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(part) for part in value]
    if isinstance(value, pd.DataFrame):
        rows = zip(*(value[column] for column in value), strict=True)
        return [dict(zip(value, map(plain, row), strict=True)) for row in rows]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if value is pd.NaT or value is pd.NA:
        return None
    if isinstance(value, datetime.datetime | datetime.date):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is no JSON value: {value!r}")


def _parts(value: Any) -> list[tuple[str, Any]]:
    """Return the fields of a dataclass, then its properties that are plain values."""
    fields = [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
    properties = [
        (name, getattr(value, name))
        for name, member in vars(type(value)).items()
        if isinstance(member, property) and not name.startswith("_")
    ]
    return fields + [(name, part) for name, part in properties if _is_flat(part)]


def _is_flat(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(map(_is_flat, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_is_flat, value))
    return value is None or isinstance(value, bool | int | float | str)
