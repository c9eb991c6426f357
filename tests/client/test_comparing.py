"""What a site tells to compare models: of complete patients, and only where cells are large."""

from types import SimpleNamespace

import numpy as np
import pytest

from client.comparing import check_counted, comparable, compared_here, counted
from shared.comparison import score_edges
from shared.delong import correlated_aucs
from shared.errors import CodecError
from shared.placements import (
    class_histograms,
    placement_sums,
    pool_class_histograms,
    pool_placement_sums,
    pooled_aucs,
)
from tests.site_policies import made_policy

BINS, N = 50, 90
MODELS = ("clinical", "branch", "fusion")
NONE = np.nan
BUNDLE = SimpleNamespace(thresholds={"fusion": 0.3, "clinical": 0.5})


def site(limit=5):
    return SimpleNamespace(name="site_a", policy=made_policy(release={"min_cell": limit}))


@pytest.fixture(scope="module")
def cohort():
    """Three models' scores of 90 patients; six of either label lack the branch's."""
    rng = np.random.default_rng(8)
    labels = np.arange(N) % 2
    scores = rng.beta(2 + labels, 2, size=(3, N))
    scores[1, :12] = NONE
    return dict(zip(MODELS, scores, strict=True)), labels


def test_sites_give_delong_of_the_binned_scores_of_all_complete_patients(cohort):
    found, labels = cohort
    where = np.arange(N) % 3
    where[:12] = 0
    parts = [({m: s[where == k] for m, s in found.items()}, labels[where == k]) for k in range(3)]
    told = [comparable(site(), *part) for part in parts]
    pooled = pool_class_histograms([counted(site(), *part, BINS) for part in parts])
    result = pooled_aucs(pooled, pool_placement_sums([placement_sums(*t, pooled) for t in told]))
    table = np.stack(list(found.values()))[:, 12:]
    expected = correlated_aucs(np.floor(table * BINS), labels[12:])
    assert (result.n_positive, result.n_negative) == (39, 39)
    np.testing.assert_allclose(result.auc, expected.auc, rtol=1e-12)
    np.testing.assert_allclose(result.covariance, expected.covariance, rtol=1e-10)


def test_the_few_whom_a_difference_of_counts_would_tell_of_keep_a_site_silent(cohort):
    found, labels = cohort
    assert comparable(site(6), *cohort) is not None
    assert comparable(site(7), found, labels) is None
    assert compared_here(site(7), found, labels, BUNDLE) is None
    assert counted(site(7), found, labels, BINS) is None


def test_too_few_complete_patients_of_a_label_keep_a_site_silent(cohort):
    found, labels = cohort
    rows = np.r_[12:60:2, 13, 15, 17, 19]
    few = {model: scores[rows] for model, scores in found.items()}
    assert comparable(site(4), few, labels[rows]) is not None
    assert comparable(site(5), few, labels[rows]) is None


def test_whom_no_model_scores_is_no_difference_of_counts(cohort):
    found, labels = cohort
    table = {model: np.where(np.arange(N) < 12, NONE, scores) for model, scores in found.items()}
    scores, kept = comparable(site(7), table, labels)
    assert (scores.shape, len(kept)) == ((3, 78), 78)


def test_an_external_site_compares_every_score_and_counts_those_left_out(cohort):
    found, labels = cohort
    compared = compared_here(site(), found, labels, BUNDLE)
    expected = correlated_aucs(np.stack(list(found.values()))[:, 12:], labels[12:])
    assert (compared.models, compared.n_left_out) == (MODELS, 12)
    np.testing.assert_array_equal(compared.aucs.covariance, expected.covariance)
    np.testing.assert_array_equal(compared.paired.decisions.thresholds, [0.5, NONE, 0.3])
    called = np.stack(list(found.values()))[[0, 2], 12:] >= [[0.5], [0.3]]
    both = [(called[0] & called[1] & (labels[12:] == y)).sum() for y in (0, 1)]
    decisions = compared.paired.decisions
    assert [decisions.negatives[0, 2], decisions.positives[0, 2]] == both


def test_pooled_counts_without_this_sites_patients_are_refused(cohort):
    found, labels = cohort
    own = counted(site(), found, labels, BINS)
    check_counted(own, own)
    scores, kept = comparable(site(), found, labels)
    fewer = class_histograms(MODELS, scores[:, 1:], kept[1:], score_edges(3, BINS))
    with pytest.raises(CodecError, match="do not hold this site's patients"):
        check_counted(own, fewer)


@pytest.mark.parametrize(("names", "bins"), [(MODELS, 2 * BINS), (("a", "b", "c"), BINS)])
def test_pooled_counts_in_other_bins_or_of_other_models_are_refused(cohort, names, bins):
    own = counted(site(), *cohort, BINS)
    told = comparable(site(), *cohort)
    with pytest.raises(CodecError, match="other models or bins"):
        check_counted(own, class_histograms(names, *told, score_edges(3, bins)))
