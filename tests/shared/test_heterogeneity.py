"""Differences between hospitals, against the meta-analysis of statsmodels."""

import numpy as np
import pytest
from scipy import special
from statsmodels.stats.meta_analysis import combine_effects

from shared.heterogeneity import auc_heterogeneity

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
