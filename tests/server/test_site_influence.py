"""The fusion layer without each site: labels that are turned round at one of them are seen."""

from types import SimpleNamespace

import numpy as np
import pytest

from server.fit_fusion import fit_ridge
from server.fit_fusion_sums import fit_fusion_sums
from server.influence_results import influence_results
from server.report.fusion_tables import fusion_tables
from server.site_influence import coefficients_by_rows, coefficients_by_step
from server.stages.fuse import Sites, fitted_on_rows, influence_of
from shared.config import Evaluation
from shared.fusion_settings import Fusion
from shared.fusion_sums import (
    fold_moments,
    held_out_losses,
    held_out_scores,
    layer_sums,
)
from shared.glm import logistic_sums
from shared.models import FusionModel, fusion_design
from shared.scores import score_sums
from shared.stages.fuse import LossesReply, MomentsReply, StepsReply

COLUMNS = ("branch", "clinical")
SITES = ("site_a", "site_b", "site_c")
TURNED = "site_c"


def make_up(*, turned=(), n=60):
    """Rows, labels and sites: both columns say the label, and at some sites its opposite."""
    rng = np.random.default_rng(5)
    sites = np.repeat(SITES, n)
    labels = rng.integers(0, 2, len(sites))
    rows = rng.normal(labels[:, None] * [1.6, 0.6], 1.0)
    rows[::17, 1] = np.nan
    return rows, np.where(np.isin(sites, turned), 1 - labels, labels), sites


def embedded(turned=()):
    rows, labels, sites = make_up(turned=turned)
    sites = tuple(sites)
    return SimpleNamespace(columns=COLUMNS, rows=rows, labels=labels, sites=sites, spent={})


def on_rows(turned=()):
    settings = SimpleNamespace(fusion=Fusion(penalties=(1.0, 3.0)), evaluation=Evaluation())
    coordinator = SimpleNamespace(settings=settings)
    return fitted_on_rows(SimpleNamespace(embed=embedded(turned)), coordinator)


def test_without_a_sites_rows_the_layer_is_fitted_again():
    rows, labels, sites = make_up()
    model = fit_ridge(COLUMNS, rows, labels, 2.0)
    found = coefficients_by_rows(model, 2.0, rows, labels, tuple(sites))
    assert list(found) == list(SITES)
    rest = sites != "site_b"
    design = fusion_design(model.mean, model.sd, rows[rest])
    gradient = logistic_sums(design, labels[rest], found["site_b"]).score
    np.testing.assert_allclose(gradient, 2.0 * found["site_b"] * [0, 1, 1], atol=1e-8)


def test_a_site_without_whom_there_is_one_label_is_left_out():
    rows, labels, sites = make_up()
    labels = np.where(sites == "site_a", labels, 1)
    model = fit_ridge(COLUMNS, rows, labels, 2.0)
    assert set(coefficients_by_rows(model, 2.0, rows, labels, tuple(sites))) == {"site_b", "site_c"}


def sums_at(beta, model, rows, labels, sites):
    design = fusion_design(model.mean, model.sd, rows)
    return {s: logistic_sums(design[sites == s], labels[sites == s], beta) for s in SITES}


def test_one_step_from_the_fit_comes_near_the_layer_without_a_site():
    rows, labels, sites = make_up()
    model = fit_ridge(COLUMNS, rows, labels, 2.0)
    parts = sums_at(model.coefficients, model, rows, labels, sites)
    stepped = coefficients_by_step(model.coefficients, 2.0, parts)
    fitted = coefficients_by_rows(model, 2.0, rows, labels, tuple(sites))
    for site in SITES:
        moved = np.abs(fitted[site] - model.coefficients).max()
        assert np.abs(stepped[site] - fitted[site]).max() < 0.1 * moved + 0.01


def test_one_site_alone_has_no_influence_to_tell():
    rows, labels, sites = make_up()
    model = fit_ridge(COLUMNS, rows, labels, 2.0)
    parts = sums_at(model.coefficients, model, rows, labels, sites)
    assert coefficients_by_step(model.coefficients, 2.0, {"site_a": parts["site_a"]}) == {}
    assert influence_of({"site_a": model.coefficients}, {}) == ()


@pytest.mark.parametrize("turned", [(), (TURNED,)], ids=["honest", "turned round"])
def test_labels_that_are_turned_round_at_one_site_are_named_in_the_report(turned):
    record = on_rows(turned)
    told = influence_results(record.influence, record.model, 0.95)
    assert [one["site"] for one in told] == list(SITES)
    assert [one["site"] for one in told if one["contradicts"]] == list(turned)
    (table,) = fusion_tables({"fusion": {"without_site": told}})
    assert table.name == "fusion-without-site"
    assert any("labels are turned round" in note for note in table.notes) == bool(turned)
    if turned:
        changed = told[2]
        assert changed["auc"] < 0.5 < changed["auc_without"]
        without = np.array(list(changed["coefficients"].values()))
        honest = coefficients_by_rows(record.model, record.penalty, *make_up()[:2], make_up()[2])
        assert np.abs(without - honest[TURNED]).max() < 1e-6


class Federation:
    """Three sites that answer in sums alone."""

    def __init__(self, turned):
        rows, labels, sites = make_up(turned=turned)
        self.parts = {}
        for site in SITES:
            fold = np.arange((sites == site).sum()) % 3
            self.parts[site] = rows[sites == site], labels[sites == site], fold

    def ask(self, question, request, sites):
        return {site: self.answer(question.name, request, *self.parts[site]) for site in sites}

    def answer(self, name, request, rows, labels, fold):
        if name == "fusion_moments":
            return MomentsReply(fold_moments(COLUMNS, rows, fold, 3))
        layers = request.layers
        if name == "fusion_steps":
            return StepsReply(layer_sums(rows, labels, fold, layers))
        if name == "fusion_losses":
            return LossesReply(*held_out_losses(rows, labels, fold, layers))
        scores = held_out_scores(rows, fold, layers)
        return score_sums(scores, labels, bins=100, calibration_bins=5, threshold=float("nan"))


@pytest.mark.parametrize("turned", [(), (TURNED,)], ids=["honest", "turned round"])
def test_the_sums_of_the_fit_tell_it_without_a_further_question(turned):
    sites = Sites(SimpleNamespace(federation=Federation(turned), training=SITES), None)
    fit = fit_fusion_sums(COLUMNS, sites, Fusion(penalties=(1.0, 3.0), folds=3))
    asked = sites.asked
    without = sites.without(fit.model.coefficients, fit.penalty)
    assert sites.asked == asked
    told = influence_results(influence_of(without, sites.scored), fit.model, 0.95)
    assert [one["site"] for one in told if one["contradicts"]] == list(turned)
    rows, labels, of = make_up(turned=turned)
    exact = coefficients_by_rows(fit.model, fit.penalty, rows, labels, tuple(of))
    for one in told:
        found = np.array(list(one["coefficients"].values()))
        moved = np.abs(exact[one["site"]] - fit.model.coefficients).max()
        assert np.abs(found - exact[one["site"]]).max() < 0.25 * moved + 0.01


def test_the_largest_change_is_a_columns_and_not_the_intercepts():
    record = on_rows()
    for one in influence_results(record.influence, record.model, 0.95):
        assert one["largest"]["name"] in COLUMNS
        assert isinstance(record.model, FusionModel)
