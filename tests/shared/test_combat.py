import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared import combat
from shared.codec import pack, unpack
from shared.combat import Combat, apply_combat, fit_combat
from shared.errors import CodecError, CohortError, ConfigError, FederationError
from shared.moments import moments

REFERENCE = json.loads(
    (Path(__file__).parents[1] / "references" / "combat.json").read_text("utf-8")
)
TABLES = {site: np.array(rows) for site, rows in REFERENCE["table"].items()}
NAMES = ("mean_hu", "entropy", "volume", "contrast", "energy")


@pytest.fixture(scope="module")
def cohort():
    """120 cases of five features whose sizes differ by ten powers of ten."""
    rng = np.random.default_rng(7)
    return rng.normal([40, 3, 250, 0.5, 1e10], [15, 0.4, 80, 2, 1e7], (120, 5))


def fit(tables, **settings):
    names = NAMES[: next(iter(tables.values())).shape[1]]
    return fit_combat({s: moments(names, table) for s, table in tables.items()}, **settings)


def combat_of_rows(tables, *, eb):
    """Johnson et al. (2007) written for rows: the harmonised tables, sites in the order given."""
    pooled, sizes = np.vstack(list(tables.values())), [len(t) for t in tables.values()]
    site_means = np.array([t.mean(axis=0) for t in tables.values()])
    grand = np.array(sizes) / len(pooled) @ site_means
    residual = pooled - np.repeat(site_means, sizes, axis=0)
    sd = np.sqrt((residual**2).mean(axis=0))
    harmonised = {}
    for site, table in tables.items():
        z = (table - grand) / sd
        g_hat, d_hat = z.mean(axis=0), z.var(axis=0, ddof=1)
        g, d = g_hat, d_hat
        m, s2, t2 = d_hat.mean(), d_hat.var(ddof=1), g_hat.var(ddof=1)
        a, b = (2 * s2 + m**2) / s2, (m * s2 + m**3) / s2
        for _ in range(2000 if eb else 0):
            g = (t2 * len(z) * g_hat + d * g_hat.mean()) / (t2 * len(z) + d)
            d = (0.5 * ((z - g) ** 2).sum(axis=0) + b) / (len(z) / 2 + a - 1)
        harmonised[site] = (z - g) / np.sqrt(d) * sd + grand
    return harmonised


@pytest.mark.parametrize(
    ("run", "eb", "rtol"),
    [("settled", True, 1e-10), ("plain", False, 1e-10), ("released", True, 1e-5)],
)
def test_the_estimates_are_neurocombats(run, eb, rtol):
    found, expected = fit(TABLES, eb=eb), REFERENCE[run]
    np.testing.assert_allclose(found.grand_mean, REFERENCE["grand_mean"], rtol=1e-12)
    np.testing.assert_allclose(found.pooled_var, REFERENCE["pooled_var"], rtol=1e-12)
    for site, table in TABLES.items():
        close = {"rtol": rtol, "atol": rtol}
        np.testing.assert_allclose(found.gamma_star[site], expected["gamma_star"][site], **close)
        np.testing.assert_allclose(found.delta_star[site], expected["delta_star"][site], **close)
        moved = apply_combat(found, site, table)
        np.testing.assert_allclose(moved[0], expected["harmonised_first_case"][site], **close)
        np.testing.assert_allclose(moved[-1], expected["harmonised_last_case"][site], **close)


@pytest.mark.parametrize("eb", [True, False], ids=["empirical Bayes", "plain"])
@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    halves=st.lists(st.integers(1, 59), min_size=1, max_size=7, unique=True).map(sorted),
)
def test_any_division_gives_what_the_rows_give(cohort, eb, seed, halves):
    order = np.random.default_rng(seed).permutation(120)
    parts = np.split(cohort[order], 2 * np.array(halves))
    tables = {f"site_{k}": part for k, part in enumerate(parts)}
    found = fit(tables, eb=eb, min_cases=2)
    for site, expected in combat_of_rows(tables, eb=eb).items():
        gap = apply_combat(found, site, tables[site]) - expected
        assert np.abs(gap / cohort.std(axis=0)).max() < 1e-8


def test_without_shrinkage_sites_end_with_one_mean_and_variance(cohort):
    tables = {"site_a": cohort[:50], "site_b": 3 * cohort[50:] + 100}
    found = fit(tables, eb=False)
    a, b = (apply_combat(found, site, table) for site, table in tables.items())
    np.testing.assert_allclose(a.mean(axis=0), b.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(a.std(axis=0, ddof=1), b.std(axis=0, ddof=1), rtol=1e-9)


def test_the_order_of_the_sites_changes_no_bit(cohort):
    tables = {"site_a": cohort[:40], "site_b": cohort[40:80], "site_c": cohort[80:]}
    found, turned = fit(tables), fit(dict(reversed(tables.items())))
    np.testing.assert_array_equal(found.grand_mean, turned.grand_mean)
    np.testing.assert_array_equal(found.gamma_star["site_b"], turned.gamma_star["site_b"])


def test_a_missing_value_stays_missing_and_the_rest_of_the_row_moves(cohort):
    table = cohort[:60].copy()
    found = fit({"site_a": table, "site_b": cohort[60:] + 5})
    whole = apply_combat(found, "site_a", table)
    table[3, 1] = np.nan
    moved = apply_combat(found, "site_a", table)
    assert np.argwhere(np.isnan(moved)).tolist() == [[3, 1]]
    np.testing.assert_array_equal(np.delete(moved, 3, axis=0), np.delete(whole, 3, axis=0))


def test_what_has_no_spread_within_sites_passes_unchanged_and_changes_nothing_else(cohort):
    with_constant, without = (
        {"site_a": a, "site_b": b}
        for a, b in [(cohort[:60], cohort[60:] + 5), (cohort[:60, 1:], cohort[60:, 1:] + 5)]
    )
    with_constant = {site: table.copy() for site, table in with_constant.items()}
    with_constant["site_a"][:, 0], with_constant["site_b"][:, 0] = 1e9, 1e-9
    found, other = fit(with_constant), fit(without)
    moved = apply_combat(found, "site_b", with_constant["site_b"])
    np.testing.assert_array_equal(moved[:, 0], 1e-9)
    np.testing.assert_array_equal(found.delta_star["site_a"][1:], other.delta_star["site_a"])


def test_a_feature_that_a_site_lacks_takes_the_shift_of_its_others(cohort):
    tables = {"site_a": cohort[:60].copy(), "site_b": cohort[60:] + 2 * cohort.std(axis=0)}
    tables["site_b"][:, 2] = np.nan
    found = fit(tables)
    others = np.delete(found.gamma_star["site_b"], 2)
    assert others.min() < found.gamma_star["site_b"][2] < others.max()
    assert fit(tables, eb=False).gamma_star["site_b"][2] == 0
    assert fit(tables, eb=False).delta_star["site_b"][2] == 1


def test_a_feature_constant_at_one_site_counts_there_as_of_pooled_spread(cohort):
    tables = {"site_a": cohort[:60], "site_b": cohort[60:].copy()}
    tables["site_b"][:, 3] = 4.0
    found = fit(tables, eb=False)
    assert found.delta_star["site_b"][3] == 1
    np.testing.assert_allclose(
        apply_combat(found, "site_b", tables["site_b"])[:, 3], found.grand_mean[3], rtol=1e-12
    )


def test_features_of_equal_spread_keep_it():
    rng = np.random.default_rng(8)
    a, b = rng.normal(size=(20, 1)), 2 * rng.normal(size=(30, 1))
    found = fit({"site_a": np.hstack([a, a]), "site_b": np.hstack([b, b])})
    plain = fit({"site_a": np.hstack([a, a]), "site_b": np.hstack([b, b])}, eb=False)
    np.testing.assert_allclose(found.delta_star["site_b"], plain.delta_star["site_b"], rtol=1e-9)


def test_a_small_site_is_named(cohort):
    with pytest.raises(CohortError, match="'site_b' has 14 training cases; ComBat needs at least"):
        fit({"site_a": cohort[:60], "site_b": cohort[60:74]})


def test_fifteen_cases_are_enough(cohort):
    assert set(fit({"site_a": cohort[:60], "site_b": cohort[60:75]}).gamma_star) == {
        "site_a",
        "site_b",
    }


def test_an_unknown_site_is_refused(cohort):
    found = fit({"site_a": cohort[:60], "site_b": cohort[60:]})
    with pytest.raises(CohortError, match="fitted at site_a, site_b, not at 'site_x'"):
        apply_combat(found, "site_x", cohort)


def test_one_feature_teaches_no_prior(cohort):
    tables = {"site_a": cohort[:60, :1], "site_b": cohort[60:, :1]}
    with pytest.raises(CohortError, match="at least two features that vary, found 1"):
        fit(tables)
    assert fit(tables, eb=False).gamma_star["site_a"].shape == (1,)


def test_an_iteration_that_does_not_settle_names_the_site(cohort, monkeypatch):
    monkeypatch.setattr(combat, "MAX_STEPS", 1)
    with pytest.raises(CohortError, match="'site_a': ComBat did not settle within 1 steps"):
        fit({"site_a": cohort[:60], "site_b": cohort[60:]})


def test_one_site_has_nothing_to_be_compared_with(cohort):
    with pytest.raises(CohortError, match="there is site_a only"):
        fit({"site_a": cohort})


def test_no_site_is_refused():
    with pytest.raises(FederationError, match="nothing to pool"):
        fit_combat({})


def test_a_variance_of_one_case_is_refused(cohort):
    with pytest.raises(ConfigError, match="at least 2"):
        fit({"site_a": cohort[:60], "site_b": cohort[60:]}, min_cases=1)


def test_combat_travels(cohort):
    sent = fit({"site_a": cohort[:60], "site_b": cohort[60:]})
    received = unpack(Combat, pack(sent))
    np.testing.assert_array_equal(received.delta_star["site_b"], sent.delta_star["site_b"])


@pytest.mark.parametrize(
    "change",
    [
        {"pooled_var": np.full(5, -1.0)},
        {"gamma_star": {"site_a": np.zeros(5)}},
        {"delta_star": {"site_a": np.zeros(5), "site_b": np.ones(5)}},
        {"grand_mean": np.full(5, np.nan)},
    ],
    ids=["negative variance", "other sites", "no spread", "nan"],
)
def test_inconsistent_estimates_are_refused(cohort, change):
    with pytest.raises(CodecError):
        replace(fit({"site_a": cohort[:60], "site_b": cohort[60:]}), **change)
