import numpy as np
import pytest
import statsmodels.api as sm
from scipy import special
from sklearn.metrics import brier_score_loss, roc_auc_score

from shared.errors import CodecError, CohortError
from shared.metrics import performance
from shared.scores import score_sums
from shared.summary import Summary, pool_summaries, summarise


@pytest.fixture(scope="module")
def scored():
    """Scores of 72 patients that are too extreme and too high, and their labels."""
    random = np.random.default_rng(5)
    logits = random.normal(0.0, 1.2, 72)
    labels = (random.random(72) < special.expit(logits)).astype(np.int64)
    return special.expit(1.7 * logits + 0.4), labels


def test_the_auc_is_that_of_scikit_learn_to_the_last_digits(scored):
    assert summarise(*scored, threshold=0.5).auc == pytest.approx(roc_auc_score(*scored[::-1]))


def test_many_bins_give_the_same_auc_interval_and_the_same_counts(scored):
    summary = performance(summarise(*scored, threshold=0.431))
    sums = score_sums(*scored, bins=1000, calibration_bins=5, threshold=0.431)
    binned = performance(sums)
    for name in ("value", "low", "high"):
        assert getattr(summary.auc, name) == pytest.approx(getattr(binned.auc, name), abs=2e-3)
    for name in ("n", "n_positive", "tp", "fp", "tn", "fn", "f1", "brier"):
        assert getattr(summary, name) == pytest.approx(getattr(binned, name), rel=1e-12)
    assert summary.sensitivity.low == binned.sensitivity.low


def test_the_brier_score_is_that_of_scikit_learn(scored):
    found = performance(summarise(*scored, threshold=0.5)).brier
    assert found == pytest.approx(brier_score_loss(scored[1], scored[0]))


def test_calibration_is_that_of_the_regressions_of_statsmodels(scored):
    scores, labels = scored
    logits, found = special.logit(scores), summarise(*scored, threshold=0.5)
    ones, family = np.ones((72, 1)), sm.families.Binomial()
    intercept = sm.GLM(labels, ones, offset=logits, family=family).fit(tol=1e-12)
    slope = sm.GLM(labels, sm.add_constant(logits), family=family).fit(tol=1e-12)
    assert found.calibration_intercept == pytest.approx(intercept.params[0], abs=1e-8)
    assert found.calibration_intercept_se == pytest.approx(intercept.bse[0], rel=1e-6)
    assert found.calibration_slope == pytest.approx(slope.params[1], rel=1e-8)
    assert found.calibration_slope_se == pytest.approx(slope.bse[1], rel=1e-6)


def test_a_patient_without_a_score_is_counted_and_no_more(scored):
    scores, labels = np.append(scored[0], np.nan), np.append(scored[1], 1)
    with_one, without = summarise(scores, labels, threshold=0.5), summarise(*scored, threshold=0.5)
    assert (with_one.n_missing, without.n_missing) == (1, 0)
    assert with_one.auc_variance == without.auc_variance
    assert with_one.n == without.n == 72


def test_scores_that_separate_the_labels_have_no_slope_but_an_auc():
    found = summarise(np.array([0.0, 0.2, 0.8, 1.0]), np.array([0, 0, 1, 1]), threshold=0.5)
    assert (found.auc, found.tp, found.tn) == (1.0, 2, 2)
    assert np.isnan(found.calibration_slope)
    assert np.isfinite(found.calibration_intercept)


@pytest.mark.parametrize("label", [0, 1])
def test_one_label_alone_is_counted_and_nothing_else_is_defined(label):
    found = summarise(np.array([0.2, 0.7]), np.array([label, label]), threshold=float("nan"))
    assert (found.n, found.tp + found.fp + found.tn + found.fn) == (2, 0)
    assert np.isnan([found.auc, found.calibration_intercept, found.calibration_slope]).all()


def test_several_hospitals_counts_are_added_but_no_auc_is_made_up(scored):
    scores, labels = scored
    parts = [summarise(scores[cut], labels[cut], threshold=0.5)
             for cut in (slice(30), slice(30, None))]  # fmt: skip
    pooled, whole = pool_summaries(parts), summarise(*scored, threshold=0.5)
    for name in ("n", "tp", "fp", "tn", "fn"):
        assert getattr(pooled, name) == getattr(whole, name)
    assert pooled.brier_sum == pytest.approx(whole.brier_sum)
    assert np.isnan(pooled.auc)
    assert pool_summaries(parts[:1]) is parts[0]


def test_a_score_that_is_no_probability_is_refused():
    with pytest.raises(CohortError, match="within 0 and 1"):
        summarise(np.array([0.5, 1.5]), np.array([0, 1]), threshold=0.5)


@pytest.mark.parametrize(
    "change", [{"tp": 3}, {"auc": 1.2}, {"brier_sum": 5.0}, {"n_missing": -1}, {"auc_variance": -1}]
)
def test_a_summary_that_contradicts_itself_is_refused(change):
    fields = {name: getattr(WHOLE, name) for name in Summary.__slots__}
    with pytest.raises(CodecError):
        Summary(**fields | change)


WHOLE = summarise(np.array([0.2, 0.6, 0.4, 0.9]), np.array([0, 0, 1, 1]), threshold=0.5)
