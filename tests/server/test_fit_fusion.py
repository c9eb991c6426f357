import warnings

import numpy as np
import pytest
from scipy.stats import zscore
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss as sklearn_log_loss

from server.fit_fusion import (
    balanced_folds,
    fit_fusion,
    fit_ridge,
    held_out_probabilities,
    log_loss,
)
from shared.fusion_settings import Fusion
from shared.models import fusion_probability

COLUMNS = ("x", "y", "z")


@pytest.fixture
def rows():
    rng = np.random.default_rng(9)
    labels = rng.integers(0, 2, 60)
    rows = rng.normal(size=(60, 3)) * [1, 20, 0.01] + [0, 5, 0]
    rows[:, 0] += 1.5 * labels
    return rows, labels


def reference(rows, labels, penalty):
    """Ridge logistic regression by scikit-learn, whose C is the inverse of the penalty."""
    return LogisticRegression(C=1 / penalty, tol=1e-10, max_iter=10_000).fit(rows, labels)


@pytest.mark.parametrize("penalty", [0.3, 3.0, 30.0])
def test_ridge_is_that_of_scikit_learn_on_standardised_columns(rows, penalty):
    model = fit_ridge(COLUMNS, *rows, penalty)
    expected = reference(zscore(rows[0]), rows[1], penalty)
    np.testing.assert_allclose(model.coefficients[1:], expected.coef_[0], atol=1e-5)
    np.testing.assert_allclose(model.coefficients[0], expected.intercept_[0], atol=1e-5)


def test_a_column_in_other_units_gives_the_same_probabilities(rows):
    x, labels = rows
    scaled = x * [1000, 1, -0.1] + [0, 7, 0]
    np.testing.assert_allclose(
        fusion_probability(fit_ridge(COLUMNS, x, labels, 1.0), x),
        fusion_probability(fit_ridge(COLUMNS, scaled, labels, 1.0), scaled),
        rtol=1e-8,
    )


def test_a_missing_value_counts_as_the_mean_of_its_column(rows):
    x, labels = rows
    x[:10, 1] = np.nan
    model = fit_ridge(COLUMNS, x, labels, 1.0)
    assert model.mean[1] == pytest.approx(x[10:, 1].mean(), rel=1e-12)
    z = (np.where(np.isnan(x), model.mean, x) - model.mean) / model.sd
    np.testing.assert_allclose(model.coefficients[1:], reference(z, labels, 1).coef_[0], atol=1e-5)


@pytest.mark.parametrize("value", [np.nan, 4.0], ids=["missing for all", "constant"])
def test_a_column_without_content_gets_no_coefficient_and_no_warning(rows, value):
    x, labels = rows
    x[:, 1] = value
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = fit_ridge(COLUMNS, x, labels, 1.0)
    assert model.coefficients[2] == pytest.approx(0, abs=1e-12)
    assert np.isfinite(fusion_probability(model, x)).all()


def test_columns_that_separate_the_labels_still_give_finite_coefficients(rows):
    x, labels = rows
    x[:, 0] = labels
    assert np.isfinite(fit_ridge(COLUMNS, x, labels, 0.3).coefficients).all()


def test_a_rows_own_label_does_not_change_its_held_out_probability(rows):
    x, labels = rows
    fold = np.arange(60) % 5
    before = held_out_probabilities(x, labels, fold, 1.0)
    turned = np.where(fold == 2, 1 - labels, labels)
    after = held_out_probabilities(x, turned, fold, 1.0)
    np.testing.assert_array_equal(after[fold == 2], before[fold == 2])
    assert (after[fold != 2] != before[fold != 2]).all()


def test_a_held_out_row_does_not_change_the_scaling_of_its_own_fold(rows):
    x, labels = rows
    fold = np.arange(60) % 5
    before = held_out_probabilities(x, labels, fold, 1.0)
    x[fold == 2, :] *= 100
    x[2] /= 100
    after = held_out_probabilities(x, labels, fold, 1.0)
    assert after[2] == pytest.approx(before[2], rel=1e-9)


def test_held_out_probabilities_are_those_of_scikit_learn_fold_by_fold(rows):
    x, labels = rows
    fold = np.arange(60) % 3
    found = held_out_probabilities(x, labels, fold, 2.0)
    for k in range(3):
        inside = fold == k
        mean, sd = x[~inside].mean(axis=0), x[~inside].std(axis=0)
        model = reference((x[~inside] - mean) / sd, labels[~inside], 2.0)
        expected = model.predict_proba((x[inside] - mean) / sd)[:, 1]
        np.testing.assert_allclose(found[inside], expected, atol=1e-5)


def test_the_penalty_with_the_smallest_held_out_loss_is_taken_and_fitted_on_all_rows(rows):
    x, labels = rows
    settings = Fusion(penalties=(0.3, 10.0, 1e5))
    sites = ["site_a"] * 40 + ["site_b"] * 20
    fit = fit_fusion(COLUMNS, x, labels, sites, settings)
    fold = balanced_folds(labels, sites, settings.folds)
    losses = [
        sklearn_log_loss(labels, held_out_probabilities(x, labels, fold, penalty))
        for penalty in settings.penalties
    ]
    np.testing.assert_allclose(fit.cv_log_loss, losses, rtol=1e-10)
    assert fit.penalty == settings.penalties[int(np.argmin(losses))] != 1e5
    whole = fit_ridge(COLUMNS, x, labels, fit.penalty)
    np.testing.assert_array_equal(fit.model.coefficients, whole.coefficients)
    assert log_loss(labels, fit.held_out) == pytest.approx(min(losses))


def test_each_fold_has_its_share_of_every_site_and_label():
    labels = np.array([0] * 20 + [1] * 10)
    sites = (["site_a", "site_b"] * 15)[:30]
    fold = balanced_folds(labels, sites, 5)
    for site in ("site_a", "site_b"):
        for label, n in ((0, 2), (1, 1)):
            rows = (labels == label) & (np.array(sites) == site)
            np.testing.assert_array_equal(np.bincount(fold[rows], minlength=5), n)


def test_few_rows_are_dealt_out_as_evenly_as_can_be():
    fold = balanced_folds(np.array([0, 1, 0, 1, 0, 1, 1]), list("abababb"), 3)
    assert sorted(np.bincount(fold)) == [2, 2, 3]


def test_fewer_rows_than_folds_are_each_held_out_once(rows):
    x, labels = rows[0][:4], np.array([0, 1, 0, 1])
    fit = fit_fusion(COLUMNS, x, labels, list("aabb"), Fusion(folds=5))
    assert np.isfinite(fit.held_out).all()


def test_a_certain_mistake_costs_much_but_not_infinitely():
    assert log_loss(np.array([1]), np.array([0.0])) == pytest.approx(-np.log(1e-12))
