"""The site's half of `select_features`: bins, other sites' look, and the logistic LASSO's sums."""

from types import SimpleNamespace

import numpy as np
import pytest

from client.stages.select_features import (
    answer_bins,
    answer_count_scaled,
    answer_logistic_lasso,
    answer_look_alike,
    folds,
)
from shared.logistic_lasso_sums import Problems
from shared.models import Extraction, Scale
from shared.radiomics_settings import Selection
from shared.site_signal import SiteLda
from shared.stages.select_features import (
    BinsRequest,
    LogisticLassoRequest,
    LookRequest,
    ThresholdsRequest,
)
from tests.site_policies import made_policy

NAMES = ("a", "b", "c")
FAR = np.full(2, np.inf)
SCALE = Scale(Extraction({}), ("c", "a"), -FAR, FAR, np.array([1.0, 0.0]), np.array([2.0, 1.0]), {})


@pytest.fixture
def bench():
    """A site of 23 training cases and 6 tune cases with three features, one value missing."""
    rng = np.random.default_rng(6)
    tables = {"train": rng.normal(size=(23, 3)), "tune": rng.normal(size=(6, 3))}
    tables["train"][4, 2] = np.nan
    tables["tune"][1, 0] = np.nan
    labels = {"train": np.array([0, 1, 0] * 7 + [1, 1]), "tune": np.array([0, 1] * 3)}
    site = SimpleNamespace(
        name="site_a",
        policy=made_policy(release={"min_cell": 1}),
        training="train",
        tuning="tune",
        features=lambda cases, _: (NAMES, tables[cases]),
        labels=lambda cases: labels[cases],
    )
    study = SimpleNamespace(seed=1, selection=Selection())
    return SimpleNamespace(site=site, study=study, tables=tables, labels=labels)


def z_of(bench, split):
    """The features of `SCALE` by hand, gaps as they are."""
    table = bench.tables[split]
    return np.column_stack([(table[:, 2] - 1) / 2, table[:, 0]])


def test_values_are_counted_on_the_scale_and_gaps_left_out(bench):
    z = z_of(bench, "train")
    found = answer_count_scaled(ThresholdsRequest(SCALE, np.array([[-0.5], [0.25]])), bench)
    assert found.n.tolist() == [22, 23]
    assert found.below[:, 0].tolist() == [(z[:, 0] <= -0.5).sum(), (z[:, 1] <= 0.25).sum()]


def test_bins_are_those_of_each_label_by_numpy(bench):
    edges = np.array([[-1.0, -0.5, 0.0], [-1.0, 0.0, 1.0]])
    found = answer_bins(BinsRequest(SCALE, edges), bench)
    for label, part in ((0, found.negative), (1, found.positive)):
        rows = z_of(bench, "train")[bench.labels["train"] == label]
        for column, edge, counts in zip(rows.T, edges, part.counts, strict=True):
            bounds = [-np.inf, *edge, np.inf]
            known = column[np.isfinite(column)]
            assert counts.tolist() == np.histogram(known, bounds)[0].tolist()


def test_tune_cases_are_assigned_and_training_cases_are_not_looked_at(bench):
    lda = SiteLda(SCALE.names, ("site_a", "site_b"), np.array([[0.0, 1], [0, -1]]), np.zeros(2))
    z = np.nan_to_num(z_of(bench, "tune"), nan=0.0)
    n_first = int((z[:, 1] >= 0).sum())
    bench.tables["train"][:] = np.nan
    found = answer_look_alike(LookRequest(SCALE, lda), bench)
    assert found.counts.tolist() == [n_first, 6 - n_first]


def test_the_logistic_sums_are_of_the_folds_asked_for(bench):
    y, z = bench.labels["train"], np.nan_to_num(z_of(bench, "train"), nan=0.0)
    fold = folds(y, 5, bench)
    training = np.array([[True, True, False, True, False], [False, False, True, True, True]])
    found = answer_logistic_lasso(
        LogisticLassoRequest(SCALE, Problems(training, np.zeros((2, 2)))), bench
    )
    for i, wanted in enumerate(training):
        inside = wanted[fold]
        share = y[inside].mean()
        assert (found.n[i], found.held_n[i]) == (inside.sum(), (~inside).sum())
        np.testing.assert_allclose(found.gradient[i], z[inside].T @ (share - y[inside]), atol=1e-10)
        spread = np.cov(z[inside], rowvar=False, ddof=0) * inside.sum() * share * (1 - share)
        np.testing.assert_allclose(found.full_hessian(i), spread, atol=1e-10)
        losses = -np.log(np.where(y == 1, share, 1 - share))
        assert found.loss[i] == pytest.approx(losses[inside].sum(), rel=1e-12)
        assert found.held_loss[i] == pytest.approx(losses[~inside].sum(), rel=1e-12)
