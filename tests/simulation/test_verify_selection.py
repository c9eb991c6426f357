"""A deliberate error in choosing features is found, whichever screen and LASSO the study has."""

import re
from dataclasses import replace

import numpy as np
import pytest

from server.stages.select_features import run
from shared import logistic_lasso
from simulation.verification.lasso import check_frequency, check_lasso
from simulation.verification.select_features import check_looks, check_pruning, check_screen
from tests.made_up_sites import begin

OFF = 1e-6
STUDIES = {
    "linear": {"lasso": "linear", "screen": "welch"},
    "logistic": {"lasso": "logistic", "screen": "mann_whitney", "min_frequency": 0.3},
}


@pytest.fixture(scope="module")
def finished():
    """A finished stage of each study, of eight penalties, with its pooled rows and settings."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logistic_lasso, "N_ALPHAS", 8)
        for name, selection in STUDIES.items():
            coordinator, study, pooled = begin(selection)
            found[name] = run(study, coordinator), pooled, coordinator.settings
    return found


def bumped(values, place=0):
    found = np.array(values, dtype=float)
    found.flat[place] += OFF
    return found


def lasso(**changes):
    """Change fields of the record's LASSO."""

    def apply(record):
        fit = record.lasso
        return replace(record, lasso=replace(fit, **{k: f(fit) for k, f in changes.items()}))

    return apply


def one_feature_less(fit):
    return replace(fit, names=fit.names[1:], coefficients=fit.coefficients[1:])


def one_case_moved(record):
    counts = np.array(record.looks.counts)
    counts[0, :2] += [1, -1]
    return replace(record, looks=replace(record.looks, counts=counts))


BREAKS = {
    "p-value": (
        check_screen,
        "(welch|mann_whitney) p-values",
        lambda r: replace(r, p_values=bumped(r.p_values)),
    ),
    "features after pruning": (
        check_pruning,
        "features left by pruning",
        lambda r: replace(r, pruned=r.pruned[:-1]),
    ),
    "a case that looks like another site": (
        check_looks,
        "cases that look like each site",
        one_case_moved,
    ),
    "balanced accuracy": (
        check_looks,
        "balanced accuracy of the site",
        lambda r: replace(
            r, looks=replace(r.looks, balanced_accuracy=r.looks.balanced_accuracy + OFF)
        ),
    ),
    "largest penalty": (
        check_lasso,
        "LASSO largest penalty",
        lasso(alphas=lambda fit: bumped(fit.alphas)),
    ),
    "first error": (
        check_lasso,
        "LASSO cross-validation error",
        lasso(cv_error=lambda fit: bumped(fit.cv_error)),
    ),
    "last error": (
        check_lasso,
        "LASSO cross-validation error",
        lasso(cv_error=lambda fit: bumped(fit.cv_error, -1)),
    ),
    "standard error": (
        check_lasso,
        "LASSO error's standard error",
        lasso(cv_se=lambda fit: bumped(fit.cv_se, 3)),
    ),
    "penalty": (check_lasso, "LASSO penalty", lasso(alpha=lambda fit: fit.alpha + OFF)),
    "coefficient": (
        check_lasso,
        "LASSO coefficients",
        lasso(coefficients=lambda fit: bumped(fit.coefficients)),
    ),
    "intercept": (
        check_lasso,
        "LASSO intercept",
        lasso(intercept=lambda fit: fit.intercept + OFF),
    ),
    "a feature lost": (
        check_lasso,
        "LASSO features",
        lambda r: replace(r, lasso=one_feature_less(r.lasso)),
    ),
    "frequency": (
        check_frequency,
        "selection frequencies",
        lambda r: replace(r, frequency=bumped(r.frequency)),
    ),
    "candidates": (
        check_frequency,
        "features kept often enough",
        lambda r: replace(r, candidates=r.candidates[:-1]),
    ),
}


@pytest.mark.parametrize("name", STUDIES)
@pytest.mark.parametrize("broken", BREAKS)
def test_a_number_off_by_a_millionth_is_found(finished, name, broken):
    study, pooled, settings = finished[name]
    check, quantity, change = BREAKS[broken]
    wrong = replace(study, select_features=change(study.select_features))
    lines = {line.quantity: line.largest_difference for line in check(wrong, pooled, settings)}
    (found,) = [off for what, off in lines.items() if re.fullmatch(quantity, what)]
    assert found > 1e-8


@pytest.mark.parametrize("name", STUDIES)
@pytest.mark.parametrize("check", [check_screen, check_looks, check_lasso, check_frequency])
def test_without_an_error_nothing_is_found(finished, name, check):
    study, pooled, settings = finished[name]
    assert all(line.largest_difference <= 1e-9 for line in check(study, pooled, settings))


def test_edges_that_are_not_quantiles_are_found(finished):
    study, pooled, settings = finished["logistic"]
    record = study.select_features
    moved = replace(study, select_features=replace(record, edges=record.edges + 0.01))
    lines = {c.quantity: c.largest_difference for c in check_screen(moved, pooled, settings)}
    assert lines["edges of bins, beyond the tolerance"] > 1e-8


def test_a_better_feature_left_out_by_the_screen_is_found(finished):
    study, pooled, settings = finished["linear"]
    record = study.select_features
    names, p_values = record.screened[1:], record.p_values[1:]
    wrong = replace(study, select_features=replace(record, screened=names, p_values=p_values))
    lines = {c.quantity: c.largest_difference for c in check_screen(wrong, pooled, settings)}
    assert lines["smallest p-values"] > 1e-8
