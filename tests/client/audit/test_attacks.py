"""The attacks find what is there to be found, and not told from chance where nothing is."""

import numpy as np
import pytest

from client.audit.attacks import (
    halves,
    interval,
    link,
    member_by_row,
    own_is_nearest,
    reconstruct,
    ridge,
    told_apart,
)

N, P, K = 60, 30, 4


def chance(number=0):
    return np.random.default_rng(number)


@pytest.fixture
def known():
    return chance(1).standard_normal((N, P)) * 7 + 3


@pytest.fixture
def row_of(known):
    """What is released follows from what is known."""
    return known[:, :10] @ chance(2).standard_normal((10, K))


def test_rows_that_follow_from_what_is_known_are_found_again(known, row_of):
    found = link(known, row_of, None, chance())
    assert found.rate > 0.9
    assert found.low > 5 * found.chance
    assert found.chance == pytest.approx(2 / N)


def test_rows_that_follow_from_nothing_are_found_by_chance_alone(known):
    rates = [link(known, chance(s).standard_normal((N, K)), None, chance(s)) for s in range(20)]
    assert np.mean([found.rate for found in rates]) == pytest.approx(2 / N, abs=0.02)
    assert sum(found.low > found.chance for found in rates) <= 3


def test_the_label_beside_a_row_narrows_the_search(known):
    labels = np.arange(N) % 2
    nothing = np.zeros((N, K))
    assert link(known, nothing, labels, chance()).rate > link(known, nothing, None, chance()).rate


def test_rows_that_are_all_the_same_are_a_guess(known):
    assert link(known, np.ones((N, K)), None, chance()).rate == pytest.approx(2 / N)


def test_values_are_computed_from_rows_that_hold_them_and_from_no_others(row_of):
    values = np.column_stack([row_of[:, 0] * 3 + 1, chance(5).standard_normal(N), np.ones(N)])
    found = reconstruct(row_of, values, chance())
    assert found[0] > 0.99
    assert found[1] < 0.2
    assert np.isnan(found[2])


def test_a_missing_value_is_neither_learnt_from_nor_asked_for(row_of):
    values = row_of[:, :1].copy()
    values[::7] = np.nan
    assert reconstruct(row_of, values, chance())[0] > 0.95


def test_members_are_told_by_their_rows(known, row_of):
    others = chance(6).standard_normal((40, P)) * 7 + 3
    found = member_by_row(known, row_of, others, chance())
    assert found.low > 0.6
    assert (found.n_members, found.n_others) == (N, 40)
    noise = chance(7).standard_normal((N, K))
    found = member_by_row(known, noise, others, chance())
    assert found.low <= 0.5 <= found.high


def test_an_auc_counts_pairs():
    found = told_apart(np.array([3.0, 2.0, 5.0]), np.array([1.0, 2.0]))
    assert found.auc == pytest.approx((2 + 1.5 + 2) / 6)
    assert 0 <= found.low <= found.auc <= found.high <= 1


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [
        (0, 10, 0.0, 0.3085),
        (5, 10, 0.1871, 0.8129),
        (10, 10, 0.6915, 1.0),
        (1, 100, 0.0003, 0.0545),
    ],
)
def test_the_interval_is_clopper_and_pearsons(hits, n, low, high):
    """Tables of the exact binomial interval."""
    assert interval(hits, n) == pytest.approx((low, high), abs=6e-5)


def test_of_several_nearest_rows_one_is_drawn():
    far = np.array([[0.0, 0.0, 1.0], [2.0, 1.0, 3.0], [0.0, 0.0, 1.0]])
    np.testing.assert_allclose(own_is_nearest(far), [0.5, 1.0, 0.0])


def test_each_patient_is_a_victim_once_and_never_learnt_from_then():
    seen = np.zeros(9, dtype=int)
    for learn, victims in halves(9, chance()):
        assert not set(learn) & set(victims)
        assert len(learn) + len(victims) == 9
        seen[victims] += 1
    assert (seen == 1).all()


def test_what_is_learnt_is_ridge_regression(known):
    """Against the closed form at the penalty that leaves out best."""
    x = (known - known.mean(axis=0)) / known.std(axis=0)
    y = known[:, :1] ** 2
    said, _ = ridge(known, y, known[:5])
    centred = y - y.mean()
    forms = []
    for penalty in np.logspace(-3, 6, 28):
        slope = np.linalg.solve(x.T @ x + penalty * np.eye(P), x.T @ centred)
        forms.append(y.mean() + x[:5] @ slope)
    assert min(np.abs(said - form).max() for form in forms) < 1e-8 * np.abs(y).max()
