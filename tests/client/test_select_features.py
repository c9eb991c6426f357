from types import SimpleNamespace

import numpy as np
import pytest

from client.stages.select_features import answer_calibrate, answer_gram, answer_screen, folds
from shared.glm import logistic_sums
from shared.gram import gram, pool_grams
from shared.models import Extraction, RadiomicsModel, Scale, radiomics_score, score_design
from shared.radiomics_settings import Selection
from shared.ranks import rank_sums
from shared.stages.select_features import CalibrateRequest, GramRequest, ScreenRequest
from tests.site_policies import made_policy

NAMES = ("a", "b", "c")
SCALE = Scale.of(Extraction({}), ("c", "a"), np.array([1.0, 0.0]), np.array([2.0, 1.0]))


@pytest.fixture
def bench():
    """A site of 23 training cases with three features; `select` changes the study's selection."""
    rng = np.random.default_rng(6)
    table, labels = rng.normal(size=(23, 3)), np.array([0, 1, 0] * 7 + [1, 1])
    table[4, 2] = np.nan
    site = SimpleNamespace(
        name="site_a",
        policy=made_policy(release={"min_cell": 1}),
        training="train",
        features=lambda _cases, _extraction: (NAMES, table),
        labels=lambda _: labels,
        rows=(table, labels),
    )
    return SimpleNamespace(site=site, study=SimpleNamespace(seed=1, selection=Selection()))


def standardised(bench):
    """The features of `SCALE` by hand."""
    table, _ = bench.site.rows
    z = np.column_stack([(table[:, 2] - 1) / 2, table[:, 0]])
    return np.where(np.isnan(z), 0, np.clip(z, -5, 5))


def test_ranks_are_those_of_the_asked_features_in_the_order_asked(bench):
    table, labels = bench.site.rows
    reply = answer_screen(ScreenRequest(SCALE), bench)
    expected = rank_sums(("c", "a"), table[:, [2, 0]], labels)
    assert (reply.ranks.names, reply.moments) == (("c", "a"), None)
    np.testing.assert_array_equal(reply.ranks.deviation, expected.deviation)
    np.testing.assert_array_equal(reply.ranks.n, [22, 23])


def test_with_welch_moments_leave_and_ranks_stay(bench):
    bench.study.selection = Selection(screen="welch")
    table, labels = bench.site.rows
    reply = answer_screen(ScreenRequest(SCALE), bench)
    assert reply.ranks is None
    z = (np.nanmean(table[labels == 0, 2]) - 1) / 2
    np.testing.assert_allclose(reply.moments.positive.mean[1], table[labels == 1, 0].mean())
    np.testing.assert_allclose(reply.moments.negative.mean[0], z)


def test_the_folds_products_pool_to_those_of_all_training_cases(bench):
    reply = answer_gram(GramRequest(SCALE), bench)
    total, z = pool_grams(reply.folds), standardised(bench)
    labels = bench.site.rows[1]
    assert (len(reply.folds), total.names, total.n) == (5, ("c", "a"), 23)
    np.testing.assert_allclose(total.xx, z.T @ z, rtol=1e-10)
    np.testing.assert_allclose(total.xy, z.T @ labels, rtol=1e-10)
    assert total.sum_y == labels.sum()


def test_each_fold_holds_its_own_cases(bench):
    labels = bench.site.rows[1]
    fold, z = folds(labels, 5, bench), standardised(bench)
    for k, part in enumerate(answer_gram(GramRequest(SCALE), bench).folds):
        expected = gram(SCALE.names, z[fold == k], labels[fold == k])
        np.testing.assert_allclose(part.xx, expected.xx, rtol=1e-12)
        assert part.n == expected.n


@pytest.mark.parametrize("n_folds", [2, 5, 10])
def test_folds_are_balanced_in_size_and_label(bench, n_folds):
    labels = bench.site.rows[1]
    fold = folds(labels, n_folds, bench)
    for rows in (labels == 0, labels == 1, labels >= 0):
        sizes = np.bincount(fold[rows], minlength=n_folds)
        assert sizes.max() - sizes.min() <= 1


def test_folds_are_drawn_from_seed_and_site_alone(bench):
    labels = bench.site.rows[1]
    first = folds(labels, 5, bench)
    np.testing.assert_array_equal(folds(labels, 5, bench), first)
    bench.site.name = "site_b"
    assert (folds(labels, 5, bench) != first).any()
    bench.site.name, bench.study.seed = "site_a", 2
    assert (folds(labels, 5, bench) != first).any()


def test_the_calibration_step_is_that_of_the_score_on_the_labels(bench):
    model = RadiomicsModel(SCALE, np.array([0.5, -1.0]), 0.2, np.zeros(2))
    beta = np.array([0.1, 0.8])
    found = answer_calibrate(CalibrateRequest(model, beta), bench)
    score = standardised(bench) @ [0.5, -1.0] + 0.2
    expected = logistic_sums(np.column_stack([np.ones(23), score]), bench.site.rows[1], beta)
    np.testing.assert_allclose(found.score, expected.score, rtol=1e-10)
    np.testing.assert_allclose(found.information, expected.information, rtol=1e-10)
    table, _ = bench.site.rows
    design = score_design(radiomics_score(model, NAMES, table, "site_a"))
    np.testing.assert_allclose(design, np.column_stack([np.ones(23), score]), rtol=1e-10)
