import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from shared.codec import pack, unpack
from shared.errors import CodecError, CohortError, ConfigError, FederationError
from shared.icc import IccSums, icc, icc_sums, pool_icc_sums

KINDS = ("1,1", "A,1", "C,1")
FEATURES = ("mean_hu", "volume", "one_mask_missing", "biased_reader", "constant")
N, K = 30, 4

# Shrout & Fleiss (1979), Table 2: four judges' ratings of six targets.
RATINGS = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float
)


def make_readings(seed):
    """Thirty patients under four masks: an offset of 1e6, gaps, a biased reader, a constant."""
    rng = np.random.default_rng(seed)
    truth, noise = rng.normal(0, 1, (N, 1, 5)), rng.normal(0, 1, (N, K, 5))
    readings = truth + noise * np.array([0.3, 0.1, 1.0, 0.2, 0.0])
    readings[..., 1] += 1e6
    readings[::4, 1, 2] = np.nan
    readings[..., 3] += np.arange(K) * 50
    readings[..., 4] = 0.1
    return readings


def anova(x):
    """Mean squares of one feature (n, k), term by term as the textbooks write them."""
    x = x[~np.isnan(x).any(axis=1)]
    x = x - x.mean()
    n, k = x.shape
    rows, columns = x.mean(axis=1, keepdims=True), x.mean(axis=0, keepdims=True)
    return {
        "n": n,
        "patients": k * (rows**2).sum() / (n - 1),
        "readings": n * (columns**2).sum() / (k - 1),
        "residual": ((x - rows - columns) ** 2).sum() / ((n - 1) * (k - 1)),
        "within": ((x - rows) ** 2).sum() / (n * (k - 1)),
    }


def textbook(x, kind, alpha=0.05):
    """Estimate and bounds of one feature by the formulas of McGraw & Wong, Tables 4 and 7."""
    ms, k = anova(x), x.shape[1]
    n, msr, msc = ms["n"], ms["patients"], ms["readings"]
    mse = ms["within"] if kind == "1,1" else ms["residual"]
    if kind == "A,1":
        r = (msr - mse) / (msr + (k - 1) * mse + k / n * (msc - mse))
        a, b = k * r / (n * (1 - r)), 1 + k * r * (n - 1) / (n * (1 - r))
        v = (a * msc + b * mse) ** 2 / (
            (a * msc) ** 2 / (k - 1) + (b * mse) ** 2 / ((n - 1) * (k - 1))
        )
        f1, f2 = stats.f.isf(alpha / 2, n - 1, v), stats.f.isf(alpha / 2, v, n - 1)
        rest = k * msc + (k * n - k - n) * mse
        low = n * (msr - f1 * mse) / (f1 * rest + n * msr)
        high = n * (f2 * msr - mse) / (rest + n * f2 * msr)
        return r, low, high
    r = (msr - mse) / (msr + (k - 1) * mse)
    freedom = n * (k - 1) if kind == "1,1" else (n - 1) * (k - 1)
    fl = msr / mse / stats.f.isf(alpha / 2, n - 1, freedom)
    fu = msr / mse * stats.f.isf(alpha / 2, freedom, n - 1)
    return r, (fl - 1) / (fl + k - 1), (fu - 1) / (fu + k - 1)


def sums_of(*ratings):
    return icc_sums(("a",), np.array(ratings, float)[:, :, None])


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), sites=st.lists(st.integers(0, 7), min_size=N, max_size=N))
@example(seed=1, sites=[0] * (N - 1) + [1])
@example(seed=2, sites=[min(i, 7) for i in range(N)])
@example(seed=3, sites=[7] * N)
def test_any_division_gives_the_pooled_analysis_of_variance(seed, sites):
    readings = make_readings(seed)
    masks = [np.array(sites) == site for site in range(8)]
    pooled = pool_icc_sums([icc_sums(FEATURES, readings[mask]) for mask in masks])
    for kind in KINDS:
        found = icc(pooled, kind)
        expected = np.transpose([textbook(readings[..., f], kind) for f in range(4)])
        got = np.array([found.estimate, found.low, found.high])
        np.testing.assert_allclose(got[:, :4], expected, rtol=1e-8, atol=1e-8)
        assert np.isnan(got[:, 4]).all()


@settings(max_examples=60, deadline=None)
@given(
    readings=st.lists(
        st.lists(st.one_of(st.just(np.nan), st.integers(-3, 3)), min_size=3, max_size=3),
        min_size=1,
        max_size=12,
    ),
    sites=st.lists(st.integers(0, 4), min_size=12, max_size=12),
    offset=st.sampled_from([0, 10**6, -(10**6) / 3]),
)
def test_any_readings_however_tied_or_missing_pool_to_the_sums_of_one_table(
    readings, sites, offset
):
    table = np.array(readings, float)[:, :, None] + offset
    parts = [icc_sums(("a",), table[np.array(sites)[: len(table)] == s]) for s in range(5)]
    pooled, whole = pool_icc_sums(parts), icc_sums(("a",), table)
    np.testing.assert_array_equal(pooled.n, whole.n)
    for field in ("mean", "between", "effect", "residual", "within"):
        got, expected = getattr(pooled, field), getattr(whole, field)
        np.testing.assert_allclose(got, expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(
    ("kind", "estimate", "low", "high"),
    # Estimates: Shrout & Fleiss, Table 4. Bounds: the output for the same table that is printed
    # in the manual of R's psych package, function ICC.
    [
        ("1,1", 0.17, -0.133, 0.723),
        ("A,1", 0.29, 0.019, 0.761),
        ("C,1", 0.71, 0.342, 0.946),
    ],
)
def test_six_targets_and_four_judges_are_as_published(kind, estimate, low, high):
    found = icc(sums_of(*RATINGS), kind)
    assert round(found.estimate[0], 2) == estimate
    assert (round(found.low[0], 3), round(found.high[0], 3)) == (low, high)


def test_the_mean_squares_are_as_published():
    """Shrout & Fleiss, Table 3: 11.24 between targets, 6.26 within, 32.49 judges, 1.02 residual."""
    sums = sums_of(*RATINGS)
    assert round(sums.between[0] * 4 / 5, 2) == 11.24
    assert round(sums.within[0] / 18, 2) == 6.26
    assert round(6 * (sums.effect**2).sum() / 3, 2) == 32.49
    assert round(sums.residual[0] / 15, 2) == 1.02


def test_the_sums_of_squares_are_those_of_statsmodels():
    readings = make_readings(5)[..., 3]
    patient, reading = np.indices(readings.shape)
    long = pd.DataFrame({"y": readings.ravel(), "i": patient.ravel(), "j": reading.ravel()})
    squares = anova_lm(ols("y ~ C(i) + C(j)", long).fit())["sum_sq"]
    sums = icc_sums(("a",), readings[..., None])
    assert sums.between[0] * K == pytest.approx(squares["C(i)"], rel=1e-9)
    assert N * (sums.effect**2).sum() == pytest.approx(squares["C(j)"], rel=1e-9)
    assert sums.residual[0] == pytest.approx(squares["Residual"], rel=1e-8)


@pytest.mark.parametrize("kind", ["1,1", "C,1"])
def test_the_bounds_are_where_the_f_test_just_rejects(kind):
    ms, found = anova(RATINGS), icc(sums_of(*RATINGS), kind, confidence=0.9)
    error, freedom = (ms["within"], 18) if kind == "1,1" else (ms["residual"], 15)
    for rho, tail in ((found.low[0], stats.f.sf), (found.high[0], stats.f.cdf)):
        ratio = ms["patients"] / error * (1 - rho) / (1 + 3 * rho)
        assert tail(ratio, 5, freedom) == pytest.approx(0.05, rel=1e-9)


@pytest.mark.parametrize(("kind", "truth"), [("1,1", 0.8), ("A,1", 0.64), ("C,1", 0.8)])
def test_the_interval_holds_the_truth_as_often_as_it_says(kind, truth):
    """Variances 4 of patients, 1 of residual; agreement loses another 1.25 to random readers.

    The bounds of "A,1" are approximate and known to be narrow with few readers who differ much.
    """
    rng = np.random.default_rng(11)
    studies = 4000
    readings = rng.normal(0, 2, (20, 1, studies)) + rng.normal(0, 1, (20, 5, studies))
    if kind != "1,1":
        readings += rng.normal(0, np.sqrt(1.25), (1, 5, studies))
    found = icc(icc_sums(tuple(map(str, range(studies))), readings), kind)
    held = ((found.low <= truth) & (truth <= found.high)).mean()
    assert held == pytest.approx(0.95, abs=0.015 if kind != "A,1" else 0.04)


def test_a_reader_who_adds_two_is_consistent_but_does_not_agree():
    """The manual of MedCalc: (2, 4), (4, 6), (6, 8) have consistency 1 and agreement 0.6667."""
    sums = sums_of((2, 4), (4, 6), (6, 8))
    assert round(icc(sums, "A,1").estimate[0], 4) == 0.6667
    found = icc(sums, "C,1")
    assert (found.estimate[0], found.low[0], found.high[0]) == (1, 1, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_identical_readings_of_different_patients_have_icc_one(kind):
    found = icc(pool_icc_sums([sums_of((1, 1, 1)), sums_of((5, 5, 5), (7, 7, 7))]), kind)
    assert (found.estimate[0], found.low[0], found.high[0]) == (1, 1, 1)


def test_patients_who_do_not_differ_have_icc_zero_or_none():
    sums = pool_icc_sums([sums_of((0.1, 0.2)), sums_of((0.1, 0.2), (0.1, 0.2))])
    agreement = icc(sums, "A,1")
    assert (agreement.estimate[0], agreement.low[0], agreement.high[0]) == (0, 0, 0)
    assert np.isnan(icc(sums, "C,1").estimate[0])
    assert icc(sums, "1,1").estimate[0] == pytest.approx(-1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [0.1, 1e6 / 3, -7e9, 0.0])
def test_a_constant_has_no_icc_at_any_number_of_sites(kind, value):
    parts = [icc_sums(("a",), np.full((n, 3, 1), value)) for n in (1, 7, 0, 2)]
    found = icc(pool_icc_sums(parts), kind)
    assert np.isnan([found.estimate, found.low, found.high]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_fewer_than_two_patients_have_no_icc_and_no_warning(kind):
    sums = pool_icc_sums([sums_of((1, 2), (np.nan, 3)), icc_sums(("a",), np.empty((0, 2, 1)))])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = icc(sums, kind)
    assert sums.n.tolist() == [1]
    assert np.isnan([found.estimate, found.low, found.high]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_bounds_enclose_the_estimate_also_where_it_is_negative(kind):
    readings = np.random.default_rng(8).normal(0, 1, (3, 3, 500))
    readings -= 0.9 * readings.mean(axis=1, keepdims=True)
    found = icc(icc_sums(tuple(map(str, range(500))), readings), kind)
    assert (found.estimate < 0).mean() > 0.9
    assert (found.low <= found.estimate).all()
    assert (found.estimate <= found.high).all()
    assert (found.high <= 1).all()


def test_a_higher_confidence_is_a_wider_interval():
    narrow, wide = (icc(sums_of(*RATINGS), "A,1", confidence) for confidence in (0.8, 0.99))
    assert wide.low[0] < narrow.low[0] < narrow.high[0] < wide.high[0]


def test_icc_sums_travel():
    sent = icc_sums(FEATURES, make_readings(1))
    received = unpack(IccSums, pack(sent))
    np.testing.assert_array_equal(received.effect, sent.effect)
    assert received.k == K


@pytest.mark.parametrize(
    "readings",
    [np.zeros((3, 2)), np.zeros((3, 1, 1)), np.zeros((3, 2, 2)), np.full((3, 2, 1), np.inf)],
    ids=["two axes", "one reading", "columns", "infinite"],
)
def test_unusable_readings_are_refused(readings):
    with pytest.raises(CohortError):
        icc_sums(("a",), readings)


@pytest.mark.parametrize(
    ("between", "effect", "residual"),
    [
        (np.array([-1.0]), np.zeros((2, 1)), np.zeros(1)),
        (np.zeros(1), np.zeros((2, 1)), np.array([-1.0])),
        (np.zeros(1), np.zeros((1, 1)), np.zeros(1)),
        (np.zeros(1), np.zeros(2), np.zeros(1)),
        (np.zeros(1), np.full((2, 1), np.nan), np.zeros(1)),
    ],
    ids=["between", "residual", "one reading", "shape", "not finite"],
)
def test_inconsistent_sums_are_refused(between, effect, residual):
    with pytest.raises(CodecError, match="icc_sums"):
        IccSums(("a",), np.array([3]), np.zeros(1), between, effect, residual)


def test_sites_with_other_readings_are_refused():
    with pytest.raises(FederationError, match=r"\[2, 3\] readings"):
        pool_icc_sums([sums_of((1, 2)), sums_of((1, 2, 3))])


@pytest.mark.parametrize(("kind", "confidence"), [("2,1", 0.95), ("C,1", 1.0), ("C,1", 0.0)])
def test_unknown_kinds_and_confidences_are_refused(kind, confidence):
    with pytest.raises(ConfigError):
        icc(sums_of(*RATINGS), kind, confidence)
