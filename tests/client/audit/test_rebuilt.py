"""Rows are rebuilt from sums that give them away, and not from those that the product tells."""

from dataclasses import replace

import numpy as np

from client.audit.attacks import link
from client.audit.rebuilt import Step, matched, rebuild
from shared.fusion_sums import NO_FOLD, Layers, fold_moments, layer_sums


def chance(number=0):
    return np.random.default_rng(number)


def layers_at(coefficients):
    m, k = len(coefficients), coefficients.shape[1] - 1
    fold = np.full(m, NO_FOLD, dtype=np.int64)
    return Layers(fold, np.zeros((m, k)), np.ones((m, k)), coefficients)


def told(rows, labels, fold, coefficients):
    layers = layers_at(coefficients)
    return Step(layers, layer_sums(rows, labels, fold, layers))


def worst(rows, truth):
    return np.abs(matched(rows, truth) - truth).max()


def test_a_server_that_asks_wildly_of_few_patients_gets_their_rows():
    """The attack works: sums at forty wild coefficients are more than three patients' rows."""
    rows, labels = np.array([[-1.2], [0.3], [2.1]]), np.array([0, 1, 1])
    fold = np.zeros(3, dtype=np.int64)
    wild = chance(1).normal(scale=3.0, size=(40, 2))
    found = rebuild(fold_moments(["a"], rows, fold, 1), [told(rows, labels, fold, wild)], chance())
    assert found.misfit[1] < 0.01 * found.misfit[0]
    assert worst(found.rows, rows) < 0.05
    assert worst(found.drawn, rows) > 0.2
    assert found.n_numbers == 40 * (2 + 4 + 1)


def test_score_and_information_alone_are_enough_for_that():
    rows, labels = np.array([[-1.2], [0.3], [2.1]]), np.array([0, 1, 1])
    fold = np.zeros(3, dtype=np.int64)
    step = told(rows, labels, fold, chance(1).normal(scale=3.0, size=(40, 2)))
    step = Step(step.layers, tuple(replace(sums, log_likelihood=0.0) for sums in step.sums))
    found = rebuild(fold_moments(["a"], rows, fold, 1), [step], chance())
    assert worst(found.rows, rows) < 0.05


def test_the_sums_of_an_honest_fit_give_no_patient_away():
    n, k = 40, 4
    rows = chance(2).standard_normal((n, k))
    labels = (rows[:, 0] + chance(3).standard_normal(n) > 0).astype(np.int64)
    fold = np.arange(n) % 5
    path = np.linspace(0, 1, 6)[:, None] * np.array([0.1, 0.8, 0.0, 0.1, -0.1])
    steps = [told(rows, labels, fold, path[i : i + 1]) for i in range(len(path))]
    found = rebuild(fold_moments(list("abcd"), rows, fold, 5), steps, chance())
    assert found.misfit[1] < found.misfit[0]
    order = np.argsort(fold, kind="stable")
    truth, known = rows[order], rows[order]
    mine = link(known, matched(found.rows, truth), None, chance(4)).rate
    drawn = link(known, matched(found.drawn, truth), None, chance(4)).rate
    assert mine <= 5 * max(drawn, 1 / n)


def test_rebuilt_rows_are_graded_in_the_order_of_the_patients():
    truth = chance(5).standard_normal((8, 2))
    shuffled = truth[chance(6).permutation(8)]
    np.testing.assert_array_equal(matched(shuffled, truth), truth)
