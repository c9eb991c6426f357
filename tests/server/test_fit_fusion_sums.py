"""The fusion layer fitted on sums is the one fitted on rows, however the rows are divided."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.fit_fusion import fit_ridge, held_out_probabilities
from server.fit_fusion_sums import fit_fusion_sums, start
from server.fit_together import fit_together
from shared.errors import CodecError, CohortError, WithheldError
from shared.fusion_settings import Fusion
from shared.fusion_sums import (
    NO_FOLD,
    Layers,
    fold_moments,
    held_out_losses,
    held_out_scores,
    layer_sums,
)
from shared.glm import logistic_sums, pool_logistic_sums, with_intercept
from shared.scores import pool_score_sums, score_sums

COLUMNS = ("x", "y", "z")
FUSION = Fusion(folds=4, penalties=(0.3, 3.0, 30.0))


class Sites:
    """Rows, labels and folds of sites in memory, asked as the federation asks them."""

    def __init__(self, parts):
        self.parts = parts
        self.asked = []

    def moments(self):
        self.asked.append("moments")
        return [fold_moments(COLUMNS, x, fold, FUSION.folds) for x, _, fold in self.parts]

    def steps(self, layers):
        self.asked.append(len(layers))
        told = [layer_sums(*part, layers) for part in self.parts]
        return [pool_logistic_sums(sums) for sums in zip(*told, strict=True)]

    def losses(self, layers):
        self.asked.append("losses")
        told = [held_out_losses(*part, layers) for part in self.parts]
        return tuple(np.sum(column, axis=0) for column in zip(*told, strict=True))

    def scores(self, layers):
        self.asked.append("scores")
        return pool_score_sums([counted(held_out_scores(x, fold, layers), y)
                                for x, y, fold in self.parts])  # fmt: skip


def counted(scores, labels):
    return score_sums(scores, labels, bins=100, calibration_bins=5, threshold=float("nan"))


def made_up(seed, n=80):
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % 2)
    x = rng.normal(size=(n, 3)) * [1, 20, 0.01] + [0, 500, 0] + np.outer(y, [1.0, 6.0, 0.0])
    x[rng.random(x.shape) < 0.05] = np.nan
    return x, y, rng.permutation(np.arange(n) % FUSION.folds)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**16), st.lists(st.integers(0, 80), min_size=0, max_size=4))
def test_any_division_gives_the_layer_of_all_rows_together(seed, cuts):
    x, y, fold = made_up(seed)
    cuts = sorted(cuts)
    parts = zip(*(np.split(values, cuts) for values in (x, y, fold)), strict=True)
    found = fit_fusion_sums(COLUMNS, Sites(list(parts)), FUSION)
    held_out = [held_out_probabilities(x, y, fold, penalty) for penalty in FUSION.penalties]
    losses = [-np.mean(np.log(np.where(y == 1, p, 1 - p))) for p in held_out]
    np.testing.assert_allclose(found.cv_log_loss, losses, rtol=0, atol=1e-8)
    assert found.penalty == FUSION.penalties[int(np.argmin(losses))]
    whole = fit_ridge(COLUMNS, x, y, found.penalty)
    np.testing.assert_allclose(found.model.coefficients, whole.coefficients, rtol=0, atol=1e-8)
    np.testing.assert_allclose(found.model.mean, whole.mean, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found.model.sd, whole.sd, rtol=1e-10)
    expected = counted(held_out[int(np.argmin(losses))], y)
    np.testing.assert_array_equal(found.held_out.negatives, expected.negatives)
    np.testing.assert_array_equal(found.held_out.positives, expected.positives)
    assert found.n_cases == 80


def test_one_question_carries_every_fold_and_penalty_that_still_moves():
    sites = Sites([made_up(3)])
    fit_fusion_sums(COLUMNS, sites, FUSION)
    first, *steps = sites.asked[:-2]
    assert (first, sites.asked[-2:]) == ("moments", ["losses", "scores"])
    assert steps[0] == (FUSION.folds + 1) * len(FUSION.penalties)
    assert steps == sorted(steps, reverse=True)
    assert len(steps) <= 11


class ShySites(Sites):
    """They keep sums to themselves at coefficients beyond `reach`."""

    def __init__(self, parts, reach):
        super().__init__(parts)
        self.reach = reach

    def steps(self, layers):
        told = super().steps(layers)
        if np.abs(layers.coefficients[:, 1:]).max() > self.reach:
            raise WithheldError("E_LEVERAGE")
        return told


def test_penalties_at_which_a_site_withholds_its_sums_are_given_up_and_no_other_changes():
    x, y, fold = made_up(7)
    x[:, 1] = 6 * y + x[:, 0]
    shy = ShySites([(x, y, fold)], reach=1.5)
    tried = FUSION.model_copy(update={"penalties": (0.01, 30.0, 0.3, 10.0)})
    found = fit_fusion_sums(COLUMNS, shy, tried)
    assert found.penalties == (30.0, 10.0)
    left = FUSION.model_copy(update={"penalties": found.penalties})
    alone = fit_fusion_sums(COLUMNS, Sites([(x, y, fold)]), left)
    assert (found.penalty, found.iterations) == (alone.penalty, alone.iterations)
    np.testing.assert_array_equal(found.cv_log_loss, alone.cv_log_loss)
    np.testing.assert_array_equal(found.model.coefficients, alone.model.coefficients)
    np.testing.assert_array_equal(found.held_out.positives, alone.held_out.positives)
    steps = shy.asked[1:-2]
    assert (steps[0], steps) == (20, sorted(steps, reverse=True))


def test_where_the_largest_penalty_is_withheld_nothing_is_fitted():
    x, y, fold = made_up(7)
    shy = ShySites([(x, y, fold)], reach=1e-9)
    with pytest.raises(WithheldError):
        fit_fusion_sums(COLUMNS, shy, FUSION)
    assert shy.asked.count("losses") == 0
    assert len(shy.asked) <= 2 + len(FUSION.penalties) + 1


def test_fits_in_step_are_those_one_by_one():
    x, y, _ = made_up(5)
    design = with_intercept(np.nan_to_num(x / [1, 20, 0.01]))

    def ask(_, betas):
        return [logistic_sums(design, y, beta) for beta in betas]

    both = fit_together(ask, [start(COLUMNS, penalty) for penalty in (0.3, 30.0)])
    for fit, penalty in zip(both, (0.3, 30.0), strict=True):
        (alone,) = fit_together(ask, [start(COLUMNS, penalty)])
        np.testing.assert_array_equal(fit.coefficients, alone.coefficients)


def test_a_fit_that_does_not_converge_is_refused():
    x, y, fold = made_up(1)
    x[:, 0] = y
    tiny = FUSION.model_copy(update={"penalties": (1e-9,)})
    with pytest.raises(CohortError, match=r"converged in 10|separate the labels"):
        fit_fusion_sums(COLUMNS, Sites([(x, y, fold)]), tiny)


@pytest.mark.parametrize(
    "changes",
    [{"fold": np.array([-2])}, {"fold": np.array([0.0])}, {"sd": np.zeros((1, 2))},
     {"mean": np.full((1, 2), np.nan)}, {"coefficients": np.zeros((1, 2))}],
    ids=["fold", "half a fold", "no spread", "NaN", "too few coefficients"],
)  # fmt: skip
def test_layers_that_contradict_themselves_are_refused(changes):
    sound = {"fold": np.array([NO_FOLD]), "mean": np.zeros((1, 2)), "sd": np.ones((1, 2)),
             "coefficients": np.zeros((1, 3))}  # fmt: skip
    Layers(**sound)
    with pytest.raises(CodecError):
        Layers(**(sound | changes))
