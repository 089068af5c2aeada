"""Figures made of sums over documents, with intervals by leaving groups of documents out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
import scipy

from autointerp.stats.results import Floats, Statistic

Sums: TypeAlias = "Mapping[str, Floats]"

METHOD = "delete-a-group jackknife over documents (Kott 2001, J. Official Statistics 17:521)"


def of_sums(
    sums: Sums,
    figure: Callable[[Sums], float],
    counted: str,
    level: float = 0.95,
    undefined: str = "its denominator is 0",
) -> Statistic:
    """Return a figure of sums over tokens, and its interval.

    Tokens of a document are alike, so whole documents are left out, a group of them at a time.

    Args:
        sums: [groups] or [groups, width] each: what each group of documents adds.
        figure: Of the sums of all groups that are not left out; NaN where it is undefined.
        counted: The sum that says how many tokens a group has. Groups without any do not count.

    Source: Kott 2001; Shao and Tu 1995, The Jackknife and Bootstrap, 2.1.
    """
    tokens = sums[counted]
    held = np.flatnonzero(tokens > 0)
    n = (int(tokens.sum()),)
    whole = {name: values[held].sum(0) for name, values in sums.items()}
    value = figure(whole) if len(held) else np.nan
    if not np.isfinite(value):
        return Statistic(None, None, None, n, METHOD, level, undefined)
    if len(held) < 2:
        return Statistic(float(value), None, None, n, METHOD, level, "all tokens are of one group")
    left_out = np.array(
        [figure({name: whole[name] - sums[name][group] for name in sums}) for group in held]
    )
    if not np.isfinite(left_out).all():
        note = "it is undefined where a group of documents is left out"
        return Statistic(float(value), None, None, n, METHOD, level, note)
    groups = len(held)
    variance = (groups - 1) / groups * ((left_out - left_out.mean()) ** 2).sum()
    reach = float(scipy.special.stdtrit(groups - 1, (1 + level) / 2)) * float(np.sqrt(variance))
    return Statistic(float(value), float(value - reach), float(value + reach), n, METHOD, level)
