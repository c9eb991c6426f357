"""Two models' decisions: McNemar, NRI and IDI by their definitions, however patients divide."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar

from shared.codec import pack, unpack
from shared.errors import CodecError, CohortError, FederationError
from shared.paired import PairedSums, decided, paired_sums, pool_paired_sums, reclassified
from shared.reclassification import (
    integrated_improvement,
    net_reclassification,
    reclassification_sums,
)

N, MODELS = 80, ("clinical", "flat", "fusion")
THRESHOLDS = np.array([0.5, 0.45, 0.6])
PAIRS = [(1, 0), (2, 0), (2, 1)]


@pytest.fixture(scope="module")
def cohort():
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, N)
    return rng.beta(1.5 + labels, 2, size=(3, N)), labels


@pytest.fixture(scope="module")
def whole(cohort):
    return paired_sums(MODELS, *cohort, THRESHOLDS)


@settings(max_examples=30, deadline=None)
@given(site=st.lists(st.integers(0, 4), min_size=N, max_size=N))
def test_any_division_among_sites_gives_the_same_sums(cohort, whole, site):
    scores, labels = cohort
    masks = [np.array(site) == s for s in set(site)]
    parts = [paired_sums(MODELS, scores[:, m], labels[m], THRESHOLDS) for m in masks]
    pooled = unpack(PairedSums, pack(pool_paired_sums(parts)))
    np.testing.assert_array_equal(pooled.decisions.positives, whole.decisions.positives)
    np.testing.assert_array_equal(pooled.decisions.negatives, whole.decisions.negatives)
    np.testing.assert_array_equal(pooled.n, whole.n)
    np.testing.assert_allclose(pooled.sums, whole.sums, rtol=1e-12)
    np.testing.assert_allclose(pooled.products, whole.products, rtol=1e-12)


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_mcnemars_p_is_statsmodels_of_who_is_decided_rightly(cohort, whole, first, second):
    scores, labels = cohort
    right = (scores >= THRESHOLDS[:, None]) == labels
    a, b = right[first], right[second]
    table = [[(a & b).sum(), (a & ~b).sum()], [(~a & b).sum(), (~a & ~b).sum()]]
    found = decided(whole, first, second)
    assert (found.only_first, found.only_second) == (table[0][1], table[1][0])
    assert found.p_exact == pytest.approx(statsmodels_mcnemar(table, exact=True).pvalue, rel=1e-12)


@pytest.mark.parametrize(("new", "old"), PAIRS)
def test_the_nri_of_decisions_is_the_difference_of_the_youden_indices(cohort, whole, new, old):
    scores, labels = cohort
    called = scores >= THRESHOLDS[:, None]
    youden = [2 * balanced_accuracy_score(labels, called[k]) - 1 for k in (new, old)]
    found = net_reclassification(reclassified(whole, new, old))
    assert found.value == pytest.approx(youden[0] - youden[1], abs=1e-12)


@pytest.mark.parametrize(("new", "old"), PAIRS)
def test_the_idi_is_that_of_the_two_columns(cohort, whole, new, old):
    scores, labels = cohort
    expected = integrated_improvement(
        reclassification_sums(scores[old], scores[new], labels, np.empty(0))
    )
    found = integrated_improvement(reclassified(whole, new, old))
    for name in ("value", "low", "high", "z", "p"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=1e-9)


def test_a_score_at_its_threshold_is_positive_and_without_one_nothing_is_decided():
    scores, labels = np.array([[0.5, 0.4], [0.9, 0.9]]), np.array([1, 0])
    found = paired_sums(("a", "b"), scores, labels, np.array([0.5, 0.95]))
    assert found.decisions.positives.tolist() == [[1, 0], [0, 0]]
    assert found.decisions.negatives.tolist() == [[0, 0], [0, 0]]
    none = paired_sums(("a", "b"), scores, labels, np.array([0.5, np.nan]))
    assert decided(none, 0, 1) is None
    assert none.decisions.positives.tolist() == [[1, 0], [0, 0]]


def test_a_model_against_itself_changes_nothing():
    scores, labels = np.array([[0.3, 0.8, 0.1]] * 2), np.array([0, 1, 1])
    found = reclassified(paired_sums(("a", "b"), scores, labels, np.array([0.5, 0.5])), 1, 0)
    assert integrated_improvement(found).value == 0
    assert np.isnan(integrated_improvement(found).p)


def test_sites_that_decided_at_other_thresholds_are_not_pooled(cohort, whole):
    other = paired_sums(MODELS, *cohort, THRESHOLDS + 0.1)
    with pytest.raises(FederationError, match="different thresholds"):
        pool_paired_sums([whole, other])


def test_a_score_outside_of_probabilities_is_refused(cohort):
    scores, labels = cohort
    with pytest.raises(CohortError, match="within 0 and 1"):
        paired_sums(MODELS, scores * 2, labels, THRESHOLDS)
    with pytest.raises(CohortError):
        paired_sums(MODELS, np.where(scores > 0.9, np.nan, scores), labels, THRESHOLDS)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sums", np.full((2, 3), N + 1.0)),
        ("products", np.triu(np.ones((2, 3, 3)))),
        ("products", np.full((2, 3, 3), np.nan)),
    ],
)
def test_sums_that_no_patients_can_have_are_refused(whole, field, value):
    parts = {name: getattr(whole, name) for name in ("decisions", "sums", "products")}
    with pytest.raises(CodecError):
        PairedSums(**parts | {field: value})
