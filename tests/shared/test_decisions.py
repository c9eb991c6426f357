"""Measures of a two-by-two table, and paired decisions, against statsmodels and scikit-learn."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, matthews_corrcoef
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from shared.codec import pack, unpack
from shared.decisions import (
    DecisionCounts,
    TwoByTwo,
    decision_counts,
    decision_measures,
    matthews,
    mcnemar,
    pool_decision_counts,
)
from shared.errors import CodecError, CohortError, FederationError

NAMES, N = ("a", "b", "c"), 40
TABLES = [TwoByTwo(30, 8, 29, 5), TwoByTwo(9, 0, 11, 3), TwoByTwo(1, 40, 2, 1)]


@pytest.fixture(scope="module")
def cohort():
    """Three scores of 40 patients on a grid, so that some stand at the threshold."""
    rng = np.random.default_rng(8)
    labels = rng.integers(0, 2, N)
    return np.round(rng.random((3, N)) + 0.3 * labels, 1), labels


def count(scores, labels):
    return decision_counts(NAMES, scores, labels, np.array([0.5, 0.6, 0.7]))


@settings(max_examples=30, deadline=None)
@given(site=st.lists(st.integers(0, 4), min_size=N, max_size=N))
def test_any_division_among_sites_gives_the_same_counts(cohort, site):
    scores, labels = cohort
    masks = [np.array(site) == s for s in set(site)]
    pooled = pool_decision_counts([count(scores[:, m], labels[m]) for m in masks])
    pooled, whole = unpack(DecisionCounts, pack(pooled)), count(scores, labels)
    np.testing.assert_array_equal(pooled.positives, whole.positives)
    np.testing.assert_array_equal(pooled.negatives, whole.negatives)


def test_counts_are_those_of_the_decisions(cohort):
    scores, labels = cohort
    called = scores >= np.array([[0.5], [0.6], [0.7]])
    right, found = called == (labels == 1), count(scores, labels)
    for i, j in itertools.permutations(range(3), 2):
        table = found.table(i)
        assert (table.tp, table.fp) == (called[i][labels == 1].sum(), called[i][labels == 0].sum())
        assert table.tp + table.tn == right[i].sum()
        only = (right[i] & ~right[j]).sum(), (right[j] & ~right[i]).sum()
        assert found.discordant(i, j) == only


@pytest.mark.parametrize("table", TABLES)
def test_intervals_of_shares_are_statsmodels(table):
    found = decision_measures(table, level=0.9)
    expected = proportion_confint(table.tp, table.tp + table.fn, alpha=0.1, method="wilson")
    sensitivity = found["sensitivity"]
    assert (sensitivity.low, sensitivity.high) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("table", TABLES)
def test_youdens_interval_is_newcombes(table):
    found = decision_measures(table)["youden"]
    expected = confint_proportions_2indep(
        table.tp, table.tp + table.fn, table.fp, table.fp + table.tn, method="newcomb"
    )
    assert (found.low, found.high) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("table", TABLES)
def test_f1_and_matthews_correlation_are_scikit_learns(table):
    y = np.repeat([1, 0, 0, 1], [table.tp, table.fp, table.tn, table.fn])
    called = np.repeat([1, 1, 0, 0], [table.tp, table.fp, table.tn, table.fn])
    found = decision_measures(table)["f1"]
    assert found.value == pytest.approx(f1_score(y, called), rel=1e-14)
    assert found.low < found.value < found.high
    assert matthews(table) == pytest.approx(matthews_corrcoef(y, called), rel=1e-12)


def test_f1_covers_its_true_value():
    rng = np.random.default_rng(1)
    shares, truth = [0.4, 0.1, 0.35, 0.15], 2 * 0.4 / (2 * 0.4 + 0.1 + 0.15)
    tables = [TwoByTwo(*map(int, rng.multinomial(80, shares))) for _ in range(2000)]
    intervals = [decision_measures(table)["f1"] for table in tables]
    covered = np.mean([i.low <= truth <= i.high for i in intervals])
    assert covered == pytest.approx(0.95, abs=0.02)


def test_what_is_not_defined_is_nan():
    found = decision_measures(TwoByTwo(0, 0, 5, 0))
    assert np.isnan([found[m].value for m in ("sensitivity", "ppv", "f1", "mcc", "youden")]).all()
    assert found["specificity"].value == 1


@pytest.mark.parametrize(("b", "c"), [(12, 3), (3, 12), (1, 0), (40, 31)])
def test_mcnemar_is_statsmodels(b, c):
    found, table = mcnemar(b, c), np.array([[50, b], [c, 20]])
    assert found.p_exact == pytest.approx(statsmodels_mcnemar(table, exact=True).pvalue, rel=1e-12)
    expected = statsmodels_mcnemar(table, exact=False, correction=True)
    assert (found.chi2, found.p) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-12)


@pytest.mark.parametrize("n", [0, 4])
def test_equal_discordant_counts_are_no_evidence(n):
    assert mcnemar(n, n).p_exact == 1


def test_sites_at_other_thresholds_are_refused(cohort):
    parts = [decision_counts(NAMES, *cohort, np.full(3, t)) for t in (0.4, 0.5)]
    with pytest.raises(FederationError, match="different thresholds"):
        pool_decision_counts(parts)


def test_a_missing_score_is_refused():
    with pytest.raises(CohortError, match="must be finite"):
        decision_counts(("a",), np.array([[np.nan]]), np.array([1]), np.array([0.5]))


@pytest.mark.parametrize(
    "both", [[[2, 3], [3, 4]], [[9, 1], [1, 1]], [[2, 1], [2, 2]]], ids=["both", "n", "symmetric"]
)
def test_counts_that_contradict_each_other_are_refused(both):
    zero = np.zeros((2, 2), dtype=np.int64)
    with pytest.raises(CodecError):
        DecisionCounts(("a", "b"), np.zeros(2), 5, 5, np.array(both), zero)


@pytest.mark.parametrize(
    "thresholds", [np.zeros(2, dtype=int), np.zeros(3), np.array([0.5, np.inf])]
)
def test_thresholds_that_are_none_of_the_scores_are_refused(thresholds):
    zero = np.zeros((2, 2), dtype=np.int64)
    with pytest.raises(CodecError, match="thresholds"):
        DecisionCounts(("a", "b"), thresholds, 5, 5, zero, zero)
