"""The logistic fit, against statsmodels and a general minimiser; probes of planted columns."""

from __future__ import annotations

import numpy as np
import pytest
import scipy
import statsmodels.api as sm

from autointerp.stats.logistic import fit_logistic, sparse_probes


def made_up(rows=400, columns=3, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, columns))
    log_odds = -0.5 + x @ np.linspace(1, -1, columns)
    return x, (rng.random(rows) < 1 / (1 + np.exp(-log_odds))).astype(float), rng


def test_with_hardly_any_ridge_it_is_the_likelihoods_maximum_as_statsmodels_finds_it():
    x, y, _ = made_up()
    fit = fit_logistic(x, y, np.ones(len(y)), ridge=1e-12)
    theirs = sm.Logit(y, sm.add_constant(x)).fit(disp=False).params
    assert [fit.intercept, *fit.coefficients] == pytest.approx(theirs, abs=1e-5)


def test_weights_and_ridge_are_those_of_the_stated_loss():
    x, y, rng = made_up()
    w = rng.random(len(y))

    def loss(beta):
        log_odds = beta[0] + x @ beta[1:]
        log_loss = (w * (np.logaddexp(0, log_odds) - y * log_odds)).sum()
        return log_loss + 0.05 / 2 * w.sum() * (beta[1:] ** 2).sum()

    theirs = scipy.optimize.minimize(loss, np.zeros(4), tol=1e-12).x
    fit = fit_logistic(x, y, w, ridge=0.05)
    assert [fit.intercept, *fit.coefficients] == pytest.approx(theirs, abs=1e-4)


def test_classes_that_a_column_separates_have_a_finite_fit():
    x = np.array([[0.0], [0.0], [1.0], [1.0]])
    fit = fit_logistic(x, [0, 0, 1, 1], np.ones(4))
    assert np.isfinite(fit.coefficients).all()
    assert (fit.scores(x) > 0).tolist() == [False, False, True, True]


@pytest.mark.parametrize(
    ("x", "y", "w", "ridge", "message"),
    [
        ([[1.0]], [1, 0], [1, 1], 0.1, "do not fit"),
        ([[1.0], [2.0]], [1, 0], [1, 1], 0.0, "not above 0"),
        ([[1.0], [2.0]], [1, 1], [1, 1], 0.1, "a class has no weight"),
        ([[1.0], [2.0]], [1, 0], [1, 0], 0.1, "a class has no weight"),
    ],
)
def test_what_cannot_be_fitted_is_refused(x, y, w, ridge, message):
    with pytest.raises(ValueError, match=message):
        fit_logistic(x, y, w, ridge)


def test_probes_find_the_columns_that_make_the_truth():
    rng = np.random.default_rng(3)
    x = rng.random((2_000, 32)) * np.linspace(1, 50, 32)  # columns in units of their own
    standard = x / x.std(axis=0)
    # Columns 4, 9, 20 and 31 decide; the first more than the others.
    score = 3 * standard[:, 4] + 2 * standard[:, 9] + 2 * standard[:, 20] + 2 * standard[:, 31]
    truth = score > np.median(score)
    probes = sparse_probes(x, truth, np.ones(len(x)), (1, 2, 4, 8))
    assert probes[1].columns.tolist() == [4]
    assert set(probes[4].columns) == {4, 9, 20, 31}
    assert set(probes[4].columns) < set(probes[8].columns)
    assert ((probes[4].scores(x) > 0) == truth).mean() > 0.98
    assert [len(probes[k].columns) for k in (1, 2, 4, 8)] == [1, 2, 4, 8]


def test_with_fewer_columns_than_asked_all_that_vary_are_used():
    x, y, _ = made_up(columns=2)
    x = np.column_stack([x, np.ones(len(x))])
    probes = sparse_probes(x, y, np.ones(len(y)), (1, 8))
    assert sorted(probes[8].columns) == [0, 1]
    with pytest.raises(ValueError, match="no column varies"):
        sparse_probes(np.ones((4, 2)), [0, 1, 0, 1], np.ones(4), (1,))
