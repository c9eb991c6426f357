"""Two rounds of sums against DeLong's covariance of all patients in one table."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.codec import pack, unpack
from shared.delong import correlated_aucs
from shared.errors import CodecError, CohortError, FederationError
from shared.metrics import delong
from shared.placements import (
    ClassHistograms,
    PlacementSums,
    class_histograms,
    every_score,
    placement_sums,
    pool_class_histograms,
    pool_placement_sums,
    pooled_aucs,
    youden_point,
)
from shared.scores import score_sums

NAMES = ("fusion", "radiomics", "clinical")
N = 60


@pytest.fixture(scope="module")
def cohort():
    """Three correlated scores of 60 patients, the second with many ties."""
    rng = np.random.default_rng(4)
    labels = (np.arange(N) % 3 == 0).astype(np.int64)
    scores = rng.normal(size=N) + labels + rng.normal(size=(3, N))
    scores[1] = np.round(scores[1])
    return scores, labels


def federated(scores, labels, site, edges=None):
    """How a federation answers: each site its counts, then its sums, as they travel."""
    edges = every_score(scores) if edges is None else edges
    masks = [site == s for s in np.unique(site)]
    counts = pool_class_histograms(
        [class_histograms(NAMES, scores[:, m], labels[m], edges) for m in masks]
    )
    counts = unpack(ClassHistograms, pack(counts))
    sums = [placement_sums(scores[:, m], labels[m], counts) for m in masks]
    return pooled_aucs(counts, pool_placement_sums([unpack(PlacementSums, pack(s)) for s in sums]))


@settings(max_examples=40, deadline=None)
@given(site=st.lists(st.integers(0, 4), min_size=N, max_size=N))
def test_any_division_among_sites_gives_delongs_covariance(cohort, site):
    found, expected = federated(*cohort, np.array(site)), correlated_aucs(*cohort)
    np.testing.assert_allclose(found.auc, expected.auc, rtol=1e-13)
    np.testing.assert_allclose(found.covariance, expected.covariance, rtol=1e-11, atol=1e-17)


def test_sites_of_one_patient_each_give_delongs_covariance(cohort):
    found, expected = federated(*cohort, np.arange(N)), correlated_aucs(*cohort)
    np.testing.assert_allclose(found.covariance, expected.covariance, rtol=1e-11, atol=1e-17)


def test_fixed_bins_give_delong_of_the_binned_scores():
    rng = np.random.default_rng(0)
    labels, bins = np.arange(80) % 2, 20
    scores = np.stack([rng.beta(2 + labels, 2) for _ in NAMES])
    edges = np.tile(np.arange(bins + 1) / bins, (3, 1))
    found = federated(scores, labels, np.arange(80) % 7, edges)
    expected = correlated_aucs(np.floor(scores * bins), labels)
    np.testing.assert_allclose(found.covariance, expected.covariance, rtol=1e-11)
    sums = score_sums(scores[0], labels, bins=bins, calibration_bins=4, threshold=float("nan"))
    assert (found.auc[0], found.variance[0]) == pytest.approx(delong(sums), rel=1e-12)


def test_scores_beyond_the_edges_count_as_the_lowest_and_highest():
    scores = np.array([[-5.0, 0.2, 0.9, 7.0, 0.5]] * 3)
    labels = np.array([0, 0, 0, 1, 1])
    edges = np.tile([0.0, 0.4, 1.0], (3, 1))
    found = federated(scores, labels, np.array([0, 0, 1, 1, 1]), edges)
    expected = correlated_aucs(np.digitize(scores, [0, 0.4, 1]).astype(float), labels)
    np.testing.assert_allclose(found.covariance, expected.covariance, rtol=1e-12)


@pytest.mark.parametrize("labels", [[0, 0, 0], [1, 1, 1], [0, 0, 1]])
def test_too_few_patients_of_a_label_have_no_variance(labels):
    found = federated(np.tile([1.0, 2, 3], (3, 1)), np.array(labels), np.array([0, 1, 1]))
    assert np.isnan(found.covariance).all()
    assert np.isnan(found.auc).all() == (len(set(labels)) == 1)


def test_a_site_that_answers_from_another_table_is_refused(cohort):
    scores, labels = cohort
    counts = class_histograms(NAMES, scores, labels, every_score(scores))
    with pytest.raises(FederationError, match="same table"):
        pooled_aucs(counts, placement_sums(scores[:, :-1], labels[:-1], counts))
    with pytest.raises(FederationError, match="same table"):
        pooled_aucs(counts, placement_sums(scores - 0.5, labels, counts))


def test_sites_that_count_between_other_edges_are_refused(cohort):
    scores, labels = cohort
    edges = every_score(scores)
    parts = [class_histograms(NAMES, scores, labels, e) for e in (edges, edges + 1)]
    with pytest.raises(FederationError, match="different edges"):
        pool_class_histograms(parts)


def test_a_missing_score_is_refused():
    with pytest.raises(CohortError, match="must be finite"):
        every_score(np.array([[0.1, np.nan]]))


def test_counts_of_different_patients_are_refused(cohort):
    scores, labels = cohort
    counts = class_histograms(NAMES, scores, labels, every_score(scores)).negative
    counts.counts[0, 0] += 1
    with pytest.raises(CodecError, match="different patients"):
        ClassHistograms(counts, counts)


@pytest.mark.parametrize("products", [np.full((1, 1), 9.0), np.full((1, 1), np.nan)])
def test_products_that_no_patients_can_have_are_refused(products):
    with pytest.raises(CodecError):
        PlacementSums(("a",), 2, 2, np.zeros(1), np.zeros(1), np.zeros((1, 1)), products)


def test_youdens_point_is_the_best_of_all_cuts(cohort):
    scores, labels = cohort
    edges = every_score(scores)
    counts = class_histograms(NAMES, scores, labels, edges)
    point = youden_point(counts.negative.counts[0], counts.positive.counts[0])
    cuts = np.sort(scores[0])
    called = scores[0] >= cuts[:, None]
    gains = called[:, labels == 1].mean(axis=1) - called[:, labels == 0].mean(axis=1)
    assert edges[0, point.bin - 1] == cuts[int(np.argmax(gains))]
    assert point.tp / 20 - point.fp / 40 == pytest.approx(max(gains), rel=1e-14)


def test_youdens_lower_bin_is_the_next_that_holds_patients():
    point = youden_point(np.array([0, 3, 0, 0, 1]), np.array([0, 1, 0, 0, 3]))
    assert (point.bin, point.lower, point.tp, point.fp) == (4, 1, 3, 1)
    assert youden_point(np.array([0, 2]), np.array([0, 0])) is None
