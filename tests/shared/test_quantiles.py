import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats

from shared.codec import pack, unpack
from shared.errors import CodecError, CohortError, ConfigError, FederationError
from shared.quantiles import (
    Bisection,
    CountsBelow,
    Histograms,
    bisection,
    counts_below,
    histogram,
    mann_whitney_from_histograms,
    pool_counts_below,
    pool_histograms,
)

FEATURES = ("mean_hu", "volume", "gaps", "grey_levels", "constant")
N = 40
PERCENT = (1, 7, 25, 50, 75, 95, 99)
QUANTILES = tuple(percent / 100 for percent in PERCENT)
LOW = np.array([-10.0, 0.9e6, -8.0, -20.0, -1.0])
HIGH = np.array([10.0, 1.1e6, 8.0, 20.0, 1.0])


def make_table(seed):
    """Forty patients: an offset of 1e6, half of a feature missing, ties, a constant."""
    rng = np.random.default_rng(seed)
    table = rng.normal(0, 1, (N, 5))
    table[:, 1] = 1e6 + 1e3 * table[:, 1]
    table[::2, 2] = np.nan
    table[:, 3] = np.round(2 * table[:, 3])
    table[:, 4] = 0.1
    return table


def divide(table, sites):
    return [table[np.array(sites)[: len(table)] == site] for site in range(8)]


def search(start, parts):
    """Ask every part until the search is done: the quantiles and the number of rounds."""
    rounds = 0
    while not start.done:
        answers = [counts_below(start.names, part, start.thresholds) for part in parts]
        start, rounds = start.tell(pool_counts_below(answers)), rounds + 1
    return start, rounds


def smallest_reaching(values, percent):
    """The smallest value with at least `percent` of the values at or below it."""
    values = np.sort(values[~np.isnan(values)])
    place = -(-percent * len(values) // 100)  # rounded up, in whole numbers
    return values[max(place, 1) - 1]


divisions = st.lists(st.integers(0, 7), min_size=N, max_size=N)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), sites=divisions)
@example(seed=1, sites=[0] * (N - 1) + [1])
@example(seed=2, sites=[min(i, 7) for i in range(N)])
def test_any_division_gives_the_pooled_quantiles(seed, sites):
    table = make_table(seed)
    start = bisection(FEATURES, QUANTILES, low=LOW, high=HIGH, tolerance=1e-9)
    found, rounds = search(start, divide(table, sites))
    assert rounds == 30
    exact = np.array([[smallest_reaching(column, k) for k in PERCENT] for column in table.T])
    width = 1e-9 * (HIGH - LOW)[:, None]
    assert (exact <= found.result).all()
    assert (found.result < exact + width).all()
    assert not found.clamped.any()
    np.testing.assert_array_equal(found.result, search(start, [table])[0].result)


def test_to_the_last_digit_it_is_numpys_inverted_cdf():
    table = make_table(4)[:, :1]
    start = bisection(("a",), (0.25, 0.5, 0.75), low=-4, high=4, tolerance=1e-15)
    found, _ = search(start, [table])
    expected = np.quantile(table[:, 0], (0.25, 0.5, 0.75), method="inverted_cdf")
    np.testing.assert_allclose(found.result[0], expected, rtol=0, atol=1e-14)


def test_a_share_that_binary_cannot_write_asks_for_the_right_case():
    values = np.arange(1.0, 101.0)[:, None]
    assert 0.07 * 100 > 7
    found, _ = search(bisection(("a",), (0.07,), low=0, high=128, tolerance=2**-7), [values])
    assert found.result[0, 0] == 7


def test_quantiles_outside_the_bounds_are_clamped_and_say_so():
    values = np.arange(1.0, 101.0)[:, None]
    start = bisection(("a",), (0.05, 0.1, 0.5, 0.9, 0.95), low=10, high=90, tolerance=1e-3)
    found, rounds = search(start, [values])
    assert rounds == start.rounds == 10
    assert found.clamped[0].tolist() == [-1, -1, 0, 0, 1]
    assert found.result[0, [0, 1, 3, 4]].tolist() == [10, 10, 90, 90]
    assert 50 <= found.result[0, 2] < 50 + 80e-3


def test_a_feature_nobody_has_is_missing():
    table = np.column_stack([np.arange(4.0), np.full(4, np.nan)])
    found, _ = search(bisection(("a", "b"), (0.5,), low=0, high=8, tolerance=1e-3), [table])
    assert np.isnan(found.result[1, 0])
    assert found.clamped.tolist() == [[0], [0]]
    assert found.n.tolist() == [4, 0]


@pytest.mark.parametrize(("tolerance", "rounds"), [(0.9, 1), (0.5, 1), (0.1, 4), (1e-6, 20)])
def test_the_number_of_rounds_follows_from_the_tolerance(tolerance, rounds):
    assert bisection(("a",), (0.5,), low=0, high=1, tolerance=tolerance).rounds == rounds


def test_bounds_of_any_size_can_be_halved():
    reach = np.finfo(float).max
    found, _ = search(bisection(("a",), (0.5,), low=-reach, high=reach), [np.array([[1.0]])])
    assert np.isfinite(found.result).all()


def test_counts_below_are_those_of_the_pooled_table():
    table = make_table(3)
    thresholds = np.column_stack([LOW, np.nanmedian(table, axis=0), HIGH])
    parts = np.split(table, (1, 1, 17))
    pooled = pool_counts_below([counts_below(FEATURES, part, thresholds) for part in parts])
    expected = (table[:, :, None] <= thresholds).sum(axis=0)
    np.testing.assert_array_equal(pooled.below, expected)
    assert pooled.n.tolist() == [40, 40, 20, 40, 40]


def test_a_search_travels_and_goes_on():
    table = make_table(6)
    start = bisection(FEATURES, (0.5,), low=LOW, high=HIGH)
    later = start.tell(counts_below(FEATURES, table, start.thresholds))
    received = unpack(Bisection, pack(later))
    np.testing.assert_array_equal(
        search(received, [table])[0].result, search(later, [table])[0].result
    )


def test_other_cases_in_a_later_round_are_refused():
    table = make_table(6)
    start = bisection(FEATURES, (0.5,), low=LOW, high=HIGH)
    later = start.tell(counts_below(FEATURES, table, start.thresholds))
    with pytest.raises(FederationError, match="round 2 of 20: the number of cases changed"):
        later.tell(counts_below(FEATURES, table[1:], later.thresholds))


def test_answers_to_another_question_are_refused():
    start = bisection(("a",), (0.5,), low=0, high=1, tolerance=0.5)
    table = np.array([[0.2]])
    with pytest.raises(FederationError, match="no answer of shape"):
        start.tell(counts_below(("a",), table, np.array([[0.5]])))
    done = start.tell(counts_below(("a",), table, start.thresholds))
    with pytest.raises(FederationError, match="no answer of shape"):
        done.tell(counts_below(("a",), table, done.thresholds))
    with pytest.raises(FederationError, match="names other features"):
        start.tell(counts_below(("b",), table, start.thresholds))


def test_a_search_that_is_not_done_has_no_result():
    with pytest.raises(FederationError, match="only 0 of 20 rounds"):
        _ = bisection(("a",), (0.5,), low=0, high=1).result


@pytest.mark.parametrize(
    "change",
    [
        *({"quantiles": q} for q in ((0.0,), (1.0,), ())),
        *({"low": low} for low in (1.0, np.nan, [0.0, 0.0])),
        *({"tolerance": tolerance} for tolerance in (0.0, 1.0, np.nan)),
        {"high": np.inf},
    ],
    ids=str,
)
def test_unusable_settings_are_refused(change):
    asked = {"quantiles": (0.5,), "low": 0.0, "high": 1.0, "tolerance": 0.1} | change
    with pytest.raises(ConfigError):
        bisection(("a",), **asked)


@pytest.mark.parametrize("thresholds", [np.zeros(1), np.zeros((2, 1)), np.array([[np.inf]])])
def test_unusable_thresholds_are_refused(thresholds):
    with pytest.raises(CodecError, match="thresholds"):
        counts_below(("a",), np.ones((2, 1)), thresholds)


def test_counts_that_cannot_be_are_refused():
    with pytest.raises(CodecError, match="must not exceed n"):
        CountsBelow(("a",), np.array([2]), np.array([[1, 3]]))
    with pytest.raises(CodecError, match="counts of label 1"):
        mann_whitney_from_histograms(np.ones((1, 3), int), np.ones((1, 2), int))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), sites=divisions)
def test_any_division_gives_the_pooled_histogram(seed, sites):
    table = make_table(seed)
    edges = np.nanquantile(table, (0.1, 0.4, 0.5, 0.9), axis=0).T.copy()
    pooled = pool_histograms([histogram(FEATURES, part, edges) for part in divide(table, sites)])
    for column, row, counts in zip(table.T, edges, pooled.counts, strict=True):
        inside, _ = np.histogram(column, row)
        below, above = (column < row[0]).sum(), (column > row[-1]).sum()
        assert counts.tolist() == [below, *inside, above]


def scipys(negative, positive):
    """Mann & Whitney's test of the cases that stand in the bins."""
    bins = np.arange(len(negative))
    cases = np.repeat(bins, positive), np.repeat(bins, negative)
    found = stats.mannwhitneyu(*cases, method="asymptotic", use_continuity=False)
    return np.sign(found.statistic - len(cases[0]) * len(cases[1]) / 2), found.pvalue


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), sites=divisions)
def test_mann_whitney_is_scipys_on_the_bins_of_any_division(seed, sites):
    table, labels = make_table(seed), np.arange(N) % 4 // 2
    table[labels == 1] += 0.5
    edges = np.linspace(LOW / 2 + HIGH / 2 - 1.5, LOW / 2 + HIGH / 2 + 1.5, 12, axis=1)
    counts = []
    for label in (0, 1):
        parts = divide(np.where(labels[:, None] == label, table, np.nan), sites)
        counts.append(pool_histograms([histogram(FEATURES, t, edges) for t in parts]).counts)
    z, p = mann_whitney_from_histograms(*counts)
    sign, expected = np.transpose([scipys(*pair) for pair in zip(*counts, strict=True)])
    np.testing.assert_allclose(p, expected, rtol=0, atol=1e-10)
    np.testing.assert_array_equal(np.sign(z), sign)


@pytest.mark.parametrize(
    ("negative", "positive"),
    [
        ([3, 9, 4, 0, 1], [0, 5, 2, 8, 8]),
        ([100_000, 1, 0], [50_000, 0, 2]),
        ([400_000, 500_000, 3], [300_000, 600_000, 9]),
    ],
    ids=["few", "nearly all tied", "many"],
)
def test_mann_whitney_keeps_its_digits(negative, positive):
    z, p = mann_whitney_from_histograms(np.array([negative]), np.array([positive]))
    sign, expected = scipys(negative, positive)
    assert p[0] == pytest.approx(expected, rel=1e-8, abs=1e-10)
    assert np.sign(z[0]) == sign


@pytest.mark.parametrize(
    ("negative", "positive"),
    [
        ([0, 5, 0], [0, 7, 0]),
        ([1, 2, 3], [0, 0, 0]),
        ([0, 0, 0], [0, 0, 0]),
        ([1, 0, 0], [0, 0, 0]),
    ],
    ids=["one bin", "one class", "nobody", "one case"],
)
def test_nothing_to_compare_has_p_one(negative, positive):
    z, p = mann_whitney_from_histograms(np.array([negative]), np.array([positive]))
    assert (z[0], p[0]) == (0, 1)


def test_histograms_travel():
    sent = histogram(FEATURES, make_table(1), np.stack([LOW, HIGH], axis=1))
    received = unpack(Histograms, pack(sent))
    np.testing.assert_array_equal(received.counts, sent.counts)


def test_sites_that_counted_otherwise_are_refused():
    table = np.ones((2, 1))
    parts = [histogram(("a",), table, np.array([[0.0, right]])) for right in (1.0, 2.0)]
    with pytest.raises(FederationError, match="different edges"):
        pool_histograms(parts)
    parts = [counts_below(("a",), table, np.zeros((1, t))) for t in (1, 2)]
    with pytest.raises(FederationError, match="different numbers of thresholds"):
        pool_counts_below(parts)


@pytest.mark.parametrize(
    "edges",
    [
        np.zeros(2),
        np.zeros((1, 1)),
        np.array([[1.0, 0.0]]),
        np.array([[0.0, np.inf]]),
        np.zeros((2, 2)),
    ],
    ids=["shape", "one edge", "decreasing", "infinite", "features"],
)
def test_unusable_edges_are_refused(edges):
    with pytest.raises(CodecError, match="edges"):
        histogram(("a",), np.ones((2, 1)), edges)


@pytest.mark.parametrize("count", [histogram, counts_below])
def test_infinite_values_are_refused(count):
    with pytest.raises(CohortError, match="the first is 'a'"):
        count(("a",), np.array([[np.inf]]), np.array([[0.0, 1.0]]))
