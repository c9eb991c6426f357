"""Differences between hospitals, against the meta-analysis of statsmodels."""

import numpy as np
import pytest
from scipy import special, stats
from statsmodels.stats.meta_analysis import combine_effects

from shared.heterogeneity import auc_difference, auc_heterogeneity

AUCS = np.array([0.81, 0.62, 0.74, 0.9, 0.69])
VARIANCES = np.array([0.02, 0.03, 0.025, 0.01, 0.04]) ** 2 * 4


def test_it_is_statsmodels_on_the_logit_scale():
    found = auc_heterogeneity(AUCS, VARIANCES)
    logits, within = special.logit(AUCS), VARIANCES / (AUCS * (1 - AUCS)) ** 2
    expected = combine_effects(logits, within, method_re="dl")
    assert found.tau**2 == pytest.approx(expected.tau2, rel=1e-10)
    assert found.q == pytest.approx(expected.q, rel=1e-10)
    assert found.i2 == pytest.approx(expected.i2, rel=1e-10)
    assert found.p == pytest.approx(expected.test_homogeneity().pvalue, rel=1e-8)
    row = expected.summary_frame().loc["random effect"]
    low, high = row["eff"] - 1.959963984540054 * row["sd_eff"], row["ci_upp"]
    assert found.mean.value == pytest.approx(special.expit(row["eff"]), rel=1e-10)
    assert found.mean.low == pytest.approx(special.expit(low), rel=1e-8)
    assert found.mean.high == pytest.approx(special.expit(high), rel=1e-8)


def test_the_prediction_interval_is_wider_than_that_of_the_mean_and_holds_it():
    found = auc_heterogeneity(AUCS, VARIANCES)
    low, high = found.prediction
    assert low < found.mean.low < found.mean.high < high
    assert np.isnan(auc_heterogeneity(AUCS[:2], VARIANCES[:2]).prediction).all()


def test_equal_hospitals_differ_by_nothing():
    found = auc_heterogeneity([0.7] * 4, [0.001] * 4)
    assert (found.tau, found.i2, found.p) == (0.0, 0.0, 1.0)
    assert found.mean.value == pytest.approx(0.7)


def test_a_hospital_without_a_variance_is_left_out_and_one_alone_has_no_summary():
    found = auc_heterogeneity([0.7, 1.0, np.nan, 0.8], [0.01, 0.0, np.nan, 0.01])
    assert found.n_hospitals == 2
    assert auc_heterogeneity([0.7, 1.0], [0.01, 0.0]) is None


def test_the_test_of_groups_is_cochrans_q_of_statsmodels():
    found = auc_difference(AUCS, VARIANCES)
    expected = combine_effects(AUCS, VARIANCES)
    assert (found.n_groups, found.df) == (5, 4)
    assert found.q == pytest.approx(expected.q, rel=1e-10)
    assert found.p == pytest.approx(expected.test_homogeneity().pvalue, rel=1e-10)


def test_of_two_groups_it_is_the_z_test_of_two_independent_aucs():
    found = auc_difference([0.9, 0.7], [0.003, 0.004])
    z = 0.2 / np.sqrt(0.007)
    assert found.q == pytest.approx(z**2, rel=1e-12)
    assert found.p == pytest.approx(2 * stats.norm.sf(z), rel=1e-10)


def test_a_group_whose_auc_has_no_variance_has_no_weight():
    assert auc_difference([0.9, 1.0, np.nan, 0.7], [0.003, 0.0, np.nan, 0.004]).n_groups == 2
    assert auc_difference([0.9, 1.0, np.nan], [0.003, 0.0, np.nan]) is None
