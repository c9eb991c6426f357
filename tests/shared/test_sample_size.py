"""Riley's criteria, against published numbers and against draws."""

import numpy as np
import pytest

from shared.errors import ConfigError
from shared.sample_size import anticipated_r2, budget, largest_r2, sample_size


@pytest.mark.parametrize(
    ("r2", "n_parameters", "needed"),
    [(0.263, 6, 174), (0.263, 10, 290), (0.263, 20, 579),
     (0.348, 6, 123), (0.348, 10, 205), (0.348, 20, 409)],
)  # fmt: skip
def test_shrinkage_needs_the_cases_of_riley_at_an_even_prevalence(r2, n_parameters, needed):
    # The R2 of the published rows is rounded to three places.
    least, most = (
        sample_size(n_parameters, prevalence=0.5, r2=r2 + off).for_shrinkage
        for off in (0.0005, -0.0005)
    )
    assert least <= needed <= most <= 1.005 * least


def test_the_example_of_the_pmsampsize_package_is_met():
    found = sample_size(24, prevalence=0.174, r2=0.288)
    assert (found.for_shrinkage, found.for_optimism, found.for_prevalence) == (623, 662, 221)
    assert found.needed == 662


@pytest.mark.parametrize(("auc", "r2"), [(0.80, 0.263), (0.85, 0.348)])
def test_the_anticipated_r2_is_rileys_to_the_precision_of_draws(auc, r2):
    assert anticipated_r2(auc, 0.5) == pytest.approx(r2, abs=0.003)


@pytest.mark.parametrize(("auc", "prevalence"), [(0.8, 0.5), (0.7, 0.2), (0.9, 0.85)])
def test_the_anticipated_r2_is_that_of_a_logistic_regression_on_draws(auc, prevalence):
    from scipy.stats import norm
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss

    n, rng = 400_000, np.random.default_rng(1)
    labels = (np.arange(n) < prevalence * n).astype(int)
    x = rng.normal(size=n) + np.sqrt(2) * norm.ppf(auc) * labels
    fitted = LogisticRegression(C=np.inf).fit(x[:, None], labels).predict_proba(x[:, None])
    null = -prevalence * np.log(prevalence) - (1 - prevalence) * np.log(1 - prevalence)
    expected = 1 - np.exp(-2 * (null - log_loss(labels, fitted)))
    assert anticipated_r2(auc, prevalence) == pytest.approx(expected, abs=0.003)


def test_labels_may_change_places():
    assert anticipated_r2(0.8, 0.2) == pytest.approx(anticipated_r2(0.8, 0.8), rel=1e-9)


def test_no_model_explains_more_than_one_that_is_always_right():
    assert largest_r2(0.5) == pytest.approx(0.75, rel=1e-12)
    assert 0.7 < anticipated_r2(0.9999, 0.5) < 0.75


@pytest.mark.parametrize("n_cases", [10, 28, 29, 173, 174, 600])
def test_the_budget_is_the_largest_number_that_fits(n_cases):
    allowed = budget(n_cases, prevalence=0.5, r2=0.263)
    assert sample_size(allowed + 1, prevalence=0.5, r2=0.263).needed > n_cases
    assert allowed == 0 or sample_size(allowed, prevalence=0.5, r2=0.263).needed <= n_cases


def test_what_no_model_can_have_is_refused():
    for n_parameters, prevalence, r2 in ((0, 0.5, 0.2), (3, 0.5, 0.75), (3, 0.5, 0), (3, 1.0, 0.2)):
        with pytest.raises(ConfigError):
            sample_size(n_parameters, prevalence=prevalence, r2=r2)
    with pytest.raises(ConfigError, match=r"above 0\.5"):
        anticipated_r2(0.5, 0.5)
