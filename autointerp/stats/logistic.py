"""Logistic regression with a ridge, and probes that use few of many columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

from autointerp.stats.results import Floats, Integers

STEPS = 100
CLOSE = 1e-8  # of the gradient, per unit of weight
RIDGE = 1e-3  # per unit of weight, on columns of spread 1: keeps separable classes finite


@dataclass(frozen=True)
class LogisticFit:
    """P(true) = scipy.special.expit(intercept + x @ coefficients)."""

    intercept: float
    coefficients: Floats

    def scores(self, x: npt.ArrayLike) -> Floats:
        """Return the log odds [n] of rows [n, columns]."""
        return np.asarray(np.asarray(x, np.float64) @ self.coefficients + self.intercept)


@dataclass(frozen=True)
class SparseProbe:
    """A logistic regression on some of the columns.

    Attributes:
        columns: [k] which, the one that matters most first.
        fit: On these, in the columns' own units.
    """

    columns: Integers
    fit: LogisticFit

    def scores(self, x: npt.ArrayLike) -> Floats:
        """Return the log odds [n] of rows [n, all columns]."""
        return self.fit.scores(np.asarray(x, np.float64)[:, self.columns])


def fit_logistic(
    x: npt.ArrayLike, truth: npt.ArrayLike, weights: npt.ArrayLike, ridge: float = RIDGE
) -> LogisticFit:
    """Return the fit that has the smallest weighted log loss plus ½ ridge · W · |coefficients|².

    W is the sum of the weights; the intercept is not shrunk. Newton's method, each step halved
    until the loss falls, which for a ridge above 0 leads to the one minimum there is.

    Args:
        x: [n, columns].
        truth: [n] 0 or 1.
        weights: [n], at least 0.

    Raises ValueError if shapes differ, the ridge is not above 0, or a class has no weight.
    """
    rows = np.asarray(x, np.float64)
    y, w = np.asarray(truth, np.float64), np.asarray(weights, np.float64)
    if rows.ndim != 2 or y.shape != (len(rows),) or w.shape != y.shape:
        raise ValueError(f"x {rows.shape}, truth {y.shape} and weights {w.shape} do not fit")
    if not ridge > 0:
        raise ValueError(f"ridge {ridge} is not above 0")
    if not (w @ y > 0 and w @ (1 - y) > 0):
        raise ValueError("a class has no weight")
    w = w / w.sum()
    design = np.column_stack([np.ones(len(rows)), rows])
    penalty = np.array([0.0, *[ridge] * rows.shape[1]])
    beta = np.zeros(design.shape[1])

    def loss(at: Floats) -> float:
        log_odds = design @ at
        return float(w @ (np.logaddexp(0, log_odds) - y * log_odds) + penalty @ at**2 / 2)

    now = loss(beta)
    for _ in range(STEPS):
        p = scipy.special.expit(design @ beta)
        gradient = design.T @ (w * (p - y)) + penalty * beta
        if np.abs(gradient).max() < CLOSE:
            break
        curvature = (design.T * (w * p * (1 - p))) @ design + np.diag(penalty)
        curvature[0, 0] += 1e-12
        step = np.linalg.solve(curvature, gradient)
        size = 1.0
        while (after := loss(beta - size * step)) > now and size > 1e-10:
            size /= 2
        if after >= now:
            break
        beta, now = beta - size * step, after
    return LogisticFit(float(beta[0]), beta[1:])


def sparse_probes(
    x: npt.ArrayLike,
    truth: npt.ArrayLike,
    weights: npt.ArrayLike,
    sizes: Sequence[int],
    ridge: float = RIDGE,
) -> dict[int, SparseProbe]:
    """Return a probe of each of the `sizes`, of as many columns as there are where there are fewer.

    All columns are fitted, half of them are kept, those with the largest coefficients per standard
    deviation, and so on; before a size is passed it is fitted. So the smaller probes use columns
    of the larger ones. Columns without spread are never used.

    Raises ValueError as `fit_logistic` does, or if no column varies.
    Source: Gurnee et al. 2023, "Finding Neurons in a Haystack: Case Studies with Sparse Probing",
    adaptive thresholding.
    """
    rows = np.asarray(x, np.float64)
    centre, spread = rows.mean(axis=0), rows.std(axis=0)
    kept = np.flatnonzero(spread > 0)
    if not len(kept):
        raise ValueError("no column varies")
    standard = (rows - centre) / np.where(spread > 0, spread, 1.0)
    probes: dict[int, SparseProbe] = {}
    for size in sorted({min(size, len(kept)) for size in sizes}, reverse=True):
        while len(kept) > size:
            fit = fit_logistic(standard[:, kept], truth, weights, ridge)
            order = np.argsort(-np.abs(fit.coefficients), kind="stable")
            kept = kept[order[: max(size, len(kept) // 2)]]
        fit = fit_logistic(standard[:, kept], truth, weights, ridge)
        kept = kept[np.argsort(-np.abs(fit.coefficients), kind="stable")]
        fit = fit_logistic(standard[:, kept], truth, weights, ridge)
        own = fit.coefficients / spread[kept]
        probes[size] = SparseProbe(
            kept, LogisticFit(fit.intercept - float(own @ centre[kept]), own)
        )
    return {size: probes[min(size, max(probes))] for size in sizes}
