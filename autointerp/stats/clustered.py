"""P(superiority) of values that come in clusters, such as tokens of documents."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from autointerp.stats.bounded import AT_SEPARATION, not_past_separation, wilson_ends
from autointerp.stats.results import Floats, Statistic, as_level, as_scores
from autointerp.text import count

LEAST_CLUSTERS = 5
METHOD = (
    "area under the ROC curve, variance of placements summed by cluster (Obuchowski 1997), Wilson "
    f"at the effective n; {AT_SEPARATION}"
)


def clustered_superiority(
    over: npt.ArrayLike,
    under: npt.ArrayLike,
    over_clusters: npt.ArrayLike,
    under_clusters: npt.ArrayLike,
    level: float = 0.95,
    *,
    value: float | None = None,
) -> Statistic:
    """Return P(over > under) + ½ P(equal) with an interval over clusters, not over values.

    A cluster may hold values of both classes. One cluster spread like both classes together is
    added to each, as `superiority` adds a unit, so that complete separation has an interval too.
    `n` counts the values.

    Args:
        over, under: [n] and [m].
        over_clusters, under_clusters: Whose each value is, as whole numbers.
        value: The estimate, where it is known from more values than these, which then only say
            how it varies; None for that of these.

    The interval is undefined below `LEAST_CLUSTERS` clusters of either class.

    Raises TooFewRatings if a class has fewer than two values.
    Source: Obuchowski 1997, Biometrics 53:567; DeLong et al. 1988, Biometrics 44:837.
    """
    as_level(level)
    x, y = as_scores(over, 2), as_scores(under, 2)
    clusters = np.asarray(over_clusters), np.asarray(under_clusters)
    if len(clusters[0]) != len(x) or len(clusters[1]) != len(y):
        raise ValueError("give a cluster for each value")
    place_x, place_y = _placements(x, y), 1 - _placements(y, x)
    estimate = float(place_x.mean())
    n = (len(x), len(y))
    distinct = [len(np.unique(one)) for one in clusters]
    shown = estimate if value is None else value
    if min(distinct) < LEAST_CLUSTERS:
        few = count(min(distinct), "document")
        note = f"values of one class are of {few}; {LEAST_CLUSTERS} are needed"
        return Statistic(shown, None, None, n, METHOD, level, note)
    names, at = np.unique(np.concatenate(clusters), return_inverse=True)
    totals = np.zeros(len(names))
    added = 0.0
    for place, own, size in (
        (place_x, at[: len(x)], distinct[0]),
        (place_y, at[len(x) :], distinct[1]),
    ):
        totals += np.bincount(own, place - estimate, len(names)) / len(place)
        # Half of the added cluster is placed like this class, half like values tied with the other.
        spread = (np.mean((place - estimate) ** 2) + (0.5 - estimate) ** 2) / 2
        added += float(spread) / (size + 1) ** 2
    variance = float(len(names) / (len(names) - 1) * (totals**2).sum()) + added
    smallest = min(distinct)
    smoothed = (smallest * estimate + (estimate + 0.5) / 2) / (smallest + 1)
    tail = (1 - level) / 2
    low, high = wilson_ends(shown, variance, smallest - 1, tail, variance_at=smoothed)
    low, high = not_past_separation(low, high, smallest, tail)
    return Statistic(shown, float(low), float(high), n, METHOD, level)


def _placements(values: Floats, others: Floats) -> Floats:
    """Return the share of the others that each value beats, ties counted half."""
    ascending = np.sort(others)
    below = np.searchsorted(ascending, values, "left") + np.searchsorted(ascending, values, "right")
    return np.asarray(below / 2 / len(others))
