"""Correlated AUCs against pROC's published numbers and a computation pair by pair."""

import numpy as np
import pytest

from shared.delong import CorrelatedAucs, contrast, correlated_aucs
from shared.errors import CohortError
from shared.metrics import delong
from shared.scores import score_sums

# pROC 1.19, test suite: the cohort aSAH (41 and 72 patients) with wfns, s100b and ndka.
ASAH = CorrelatedAucs(
    np.array([0.823678861788618, 0.731368563685637, 0.611957994579946]),
    np.array(
        [
            [0.00146991470882363, 0.00119615567376754, -0.000532967856762438],
            [0.00119615567376754, 0.00266868245717244, -0.000756164938056579],
            [-0.000532967856762438, -0.000756164938056579, 0.0031908105493913],
        ]
    ),
    41,
    72,
)


def pair_by_pair(scores, labels):
    """DeLong's AUCs and covariance from every pair of patients, as in the paper of 1988."""
    positives, negatives = scores[:, labels == 1], scores[:, labels == 0]
    psi = (positives[:, :, None] > negatives[:, None, :]) + 0.5 * (
        positives[:, :, None] == negatives[:, None, :]
    )
    v10, v01 = psi.mean(axis=2), psi.mean(axis=1)
    covariance = np.cov(v10) / positives.shape[1] + np.cov(v01) / negatives.shape[1]
    return psi.mean(axis=(1, 2)), covariance


@pytest.fixture
def cohort():
    """Three correlated scores of 60 patients, the second with many ties."""
    rng = np.random.default_rng(4)
    labels = (np.arange(60) % 3 == 0).astype(np.int64)
    common = rng.normal(size=60) + labels
    scores = np.stack([common + rng.normal(size=60) for _ in range(3)])
    scores[1] = np.round(scores[1])
    return scores, labels


@pytest.mark.parametrize(
    ("weights", "z", "p"),
    [
        ((1, -1, 0), 2.20898359144091, 0.0271757822291882),
        ((1, 0, -1), 2.79777591868904, 0.00514557970691098),
        ((0, -1, 1), -1.39077002573558, 0.164295175223054),
    ],
    ids=["wfns - s100b", "wfns - ndka", "ndka - s100b"],
)
def test_differences_are_those_of_proc(weights, z, p):
    found = contrast(ASAH, np.array(weights))
    assert (found.z, found.p) == (pytest.approx(z, rel=1e-9), pytest.approx(p, rel=1e-9))


def test_intervals_are_those_of_proc():
    difference, single = contrast(ASAH, np.array([1, -1, 0])), contrast(ASAH, np.array([0, 0, 1]))
    assert (difference.low, difference.high) == pytest.approx((0.0104061770, 0.1742144192))
    assert (single.low, single.high) == pytest.approx((0.501244999, 0.722670990))


def test_aucs_and_covariance_are_those_of_every_pair(cohort):
    found = correlated_aucs(*cohort)
    auc, covariance = pair_by_pair(*cohort)
    np.testing.assert_allclose(found.auc, auc, rtol=1e-13)
    np.testing.assert_allclose(found.covariance, covariance, rtol=1e-11)
    assert (found.n_positive, found.n_negative) == (20, 40)


def test_a_mean_of_aucs_is_compared_with_its_own_variance(cohort):
    auc, covariance = pair_by_pair(*cohort)
    weights = np.array([1, -0.5, -0.5])
    found = contrast(correlated_aucs(*cohort), weights, level=0.9)
    error = np.sqrt(weights @ covariance @ weights)
    assert found.value == pytest.approx(auc[0] - auc[1:].mean())
    assert found.high - found.low == pytest.approx(2 * 1.6448536269514722 * error)


def test_binned_scores_give_what_their_counts_give():
    rng = np.random.default_rng(0)
    labels = np.arange(80) % 2
    binned = np.clip(np.floor(20 * rng.beta(2 + labels, 2)), 0, 19) / 20
    sums = score_sums(binned, labels, bins=20, calibration_bins=4, threshold=float("nan"))
    found = correlated_aucs(binned[None], labels)
    assert (found.auc[0], found.variance[0]) == pytest.approx(delong(sums), rel=1e-12)


def test_a_model_does_not_differ_from_itself(cohort):
    scores, labels = cohort
    found = contrast(correlated_aucs(scores[[0, 0, 1]], labels), np.array([1, -1, 0]))
    assert (found.value, found.low, found.high, found.p) == (0, 0, 0, 1)


def test_no_precision_is_claimed_where_nothing_varies():
    labels = np.array([0, 0, 0, 1, 1])
    scores = np.array([[0.1, 0.2, 0.3, 0.8, 0.9], [0.5] * 5])
    found = contrast(correlated_aucs(scores, labels), np.array([1, -1]))
    assert found.value == 0.5
    assert np.isnan([found.low, found.high, found.z, found.p]).all()


@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 0, 1]], ids=["one label", "one patient of it"])
def test_too_few_patients_have_no_interval(labels):
    found = contrast(correlated_aucs(np.array([[1.0, 2.0, 3.0]]), np.array(labels)), np.ones(1))
    assert np.isnan([found.low, found.high, found.p]).all()


def test_a_missing_score_is_refused():
    with pytest.raises(CohortError, match="must be finite"):
        correlated_aucs(np.array([[0.1, np.nan]]), np.array([0, 1]))
