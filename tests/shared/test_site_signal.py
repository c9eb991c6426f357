from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import balanced_accuracy_score

from shared.codec import pack, unpack
from shared.errors import CodecError, CohortError, ConfigError, FederationError
from shared.gram import gram, pool_grams
from shared.moments import moments
from shared.site_signal import (
    SiteLda,
    assign,
    balanced_accuracy,
    lda_from_sums,
    significant_share,
    site_anova,
)

NAMES = ("mean_hu", "entropy", "gaps", "contrast")
divisions = st.lists(st.integers(1, 89), min_size=1, max_size=7, unique=True).map(sorted)
seeds = st.integers(0, 2**32 - 1)


@pytest.fixture(scope="module")
def table():
    """Ninety correlated, z-scored cases."""
    values = np.random.default_rng(13).normal(size=(90, 4))
    values[:, 1] += values[:, 0]
    return (values - values.mean(axis=0)) / values.std(axis=0, ddof=1)


@pytest.fixture(scope="module")
def sites(table):
    """Three sites of 20, 30 and 40 cases, the second shifted in one feature."""
    a, b, c = np.split(table, [20, 50])
    return {"site_a": a, "site_b": b + np.array([0, 0, 1.5, 0]), "site_c": c}


def divided(table, seed, cuts):
    order = np.random.default_rng(seed).permutation(len(table))
    return {f"site_{k}": part for k, part in enumerate(np.split(table[order], cuts))}


def lda(tables, **settings):
    grams = [gram(NAMES, t, np.zeros(len(t), dtype=int)) for t in tables.values()]
    parts = {site: moments(NAMES, t) for site, t in tables.items()}
    return lda_from_sums(parts, pool_grams(grams), **settings)


@settings(max_examples=40, deadline=None)
@given(seed=seeds, cuts=divisions)
def test_f_and_p_are_scipys_at_any_division(table, seed, cuts):
    values = table * [1, 1, 1, 1e6] + [0, 50, 0, 1e10]
    values[::3, 2] = np.nan
    groups = list(divided(values, seed, cuts).values())
    found = site_anova([moments(NAMES, group) for group in groups])
    for j in range(4):
        seen = [values for g in groups if len(values := g[~np.isnan(g[:, j]), j])]
        assert found.tested[j] == (len(seen) > 1)
        if found.tested[j]:
            expected = stats.f_oneway(*seen)
            assert found.f[j] == pytest.approx(expected.statistic, rel=1e-8)
            assert found.p_value[j] == pytest.approx(expected.pvalue, rel=1e-8)


def test_eta_squared_is_the_share_of_variance_between_sites(sites):
    found = site_anova([moments(NAMES, part) for part in sites.values()])
    pooled = np.vstack(list(sites.values()))
    means = np.vstack([np.tile(part.mean(axis=0), (len(part), 1)) for part in sites.values()])
    np.testing.assert_allclose(found.eta_squared, means.var(axis=0) / pooled.var(axis=0))


def test_what_cannot_be_compared_is_not_tested():
    a = np.array([[5.0, 1.0, 1.0], [5.0, 1.0, 2.0]])
    b = np.array([[5.0, 2.0, np.nan], [5.0, 2.0, np.nan]])
    found = site_anova([moments(NAMES[:3], part) for part in (a, b)])
    assert found.tested.tolist() == [False, True, False]
    assert found.f.tolist() == [0, np.inf, 0]
    assert found.p_value.tolist() == [1, 0, 1]
    assert found.eta_squared.tolist() == [0, 1, 0]


def test_one_case_at_every_site_is_not_tested(table):
    found = site_anova([moments(NAMES, row[None]) for row in table[:3]])
    assert not found.tested.any()
    with pytest.raises(CohortError, match="none of 4 features"):
        significant_share(found)


def test_the_share_counts_tested_features_only(sites):
    found = site_anova([moments(NAMES, part) for part in sites.values()])
    found = replace(
        found,
        p_value=np.array([0.2, 0.5, 0.001, 1.0]),
        tested=np.array([True, True, True, False]),
    )
    share = significant_share(found)
    assert (share.n_tested, share.share, share.expected) == (3, pytest.approx(1 / 3), 0.05)


def test_sites_that_are_alike_differ_as_often_as_chance_says():
    values = np.random.default_rng(14).normal(size=(60, 4000))
    names = tuple(f"f{j}" for j in range(4000))
    share = significant_share(site_anova([moments(names, p) for p in np.split(values, [10, 35])]))
    assert share.share == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / 4000))


@pytest.mark.parametrize("shrinkage", [0.0, 0.1, 0.7, 1.0])
def test_the_scores_are_sklearns(sites, shrinkage):
    """sklearn shrinks towards the mean variance: the diagonal, where each variance is one.

    Its prior log-probabilities are taken off, since here all sites are equally likely.
    """
    X, y = np.vstack(list(sites.values())), np.repeat([0, 1, 2], [len(t) for t in sites.values()])
    within = X - np.array([X[y == k].mean(axis=0) for k in range(3)])[y]
    scaled = X / np.sqrt((within**2).mean(axis=0))
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage).fit(scaled, y)
    expected = model.decision_function(scaled) - np.log(model.priors_)
    found = lda(sites, shrinkage=shrinkage)
    np.testing.assert_allclose(X @ found.weights.T + found.offsets, expected, atol=1e-8)


@settings(max_examples=30, deadline=None)
@given(seed=seeds, cuts=divisions)
def test_any_division_counts_what_the_rows_count(table, seed, cuts):
    tables = divided(table, seed, cuts)
    found = lda(tables, shrinkage=0.2)
    means = np.array([t.mean(axis=0) for t in tables.values()])
    within = np.vstack([t - t.mean(axis=0) for t in tables.values()])
    S = within.T @ within / 90
    S = 0.8 * S + 0.2 * np.diag(np.diag(S))
    distance = [np.einsum("ij,jk,ik->i", table - m, np.linalg.inv(S), table - m) for m in means]
    expected = np.bincount(np.argmin(distance, axis=0), minlength=len(tables))
    np.testing.assert_array_equal(assign(found, table), expected)
    scores = table @ found.weights.T + found.offsets
    np.testing.assert_allclose(
        -2 * (scores - scores[:, :1]), (distance - distance[0]).T, rtol=1e-8, atol=1e-8
    )


def test_sites_counts_add_to_sklearns_balanced_accuracy(sites):
    found = lda(sites)
    confusion = np.array([assign(found, part) for part in sites.values()])
    X, y = np.vstack(list(sites.values())), np.repeat([0, 1, 2], [20, 30, 40])
    guess = (X @ found.weights.T + found.offsets).argmax(axis=1)
    expected = balanced_accuracy_score(y, guess)
    assert balanced_accuracy(confusion) == pytest.approx(expected, rel=1e-12)


def test_shifted_sites_are_told_apart_and_alike_ones_are_not():
    rng = np.random.default_rng(15)
    X, held_out = rng.normal(size=(2, 3, 200, 4))
    for shift, low, high in ((0.0, 0.23, 0.43), (6.0, 0.99, 1.0)):
        step = shift * np.arange(3)
        found = lda({f"site_{k}": X[k] + step[k] for k in range(3)})
        confusion = np.array([assign(found, held_out[k] + step[k]) for k in range(3)])
        assert low <= balanced_accuracy(confusion) <= high


def test_sites_stand_in_the_order_of_their_names(sites):
    turned = lda(dict(reversed(sites.items())))
    assert turned.sites == ("site_a", "site_b", "site_c")
    np.testing.assert_allclose(turned.weights, lda(sites).weights, atol=1e-12)


def test_a_site_without_held_out_cases_is_left_out():
    assert balanced_accuracy(np.array([[3, 1, 0], [0, 0, 0], [1, 0, 1]])) == (0.75 + 0.5) / 2


def test_a_constant_feature_has_no_weight(sites):
    constant = {site: part * [1, 1, 1, 0] for site, part in sites.items()}
    assert not lda(constant).weights[:, 3].any()


def test_repeated_features_need_shrinkage(sites):
    repeated = {site: part[:, [0, 1, 2, 2]] for site, part in sites.items()}
    with pytest.raises(CohortError, match="raise the shrinkage"):
        lda(repeated, shrinkage=0.0)
    assert np.isfinite(lda(repeated, shrinkage=0.1).weights).all()


def test_moments_and_gram_of_other_rows_are_refused(sites):
    parts = {site: moments(NAMES, part) for site, part in sites.items()}
    rows = np.vstack(list(sites.values()))
    labels = np.zeros(90, dtype=int)
    with pytest.raises(FederationError, match="the sites count 90 cases, the Gram 89"):
        lda_from_sums(parts, gram(NAMES, rows[1:], labels[1:]))
    with pytest.raises(FederationError, match="same complete rows"):
        lda_from_sums(parts, gram(NAMES, rows + 1, labels))


def test_one_site_has_no_other_to_be_told_from(sites):
    with pytest.raises(CohortError, match="there is site_a only"):
        lda({"site_a": sites["site_a"]})


def test_a_site_without_cases_is_named(sites):
    with pytest.raises(CohortError, match="'site_d' has no cases"):
        lda({**sites, "site_d": np.empty((0, 4))})


def test_a_table_without_spread_is_refused(sites):
    with pytest.raises(CohortError, match="none of 4 features varies within the sites"):
        lda({site: np.zeros((5, 4)) for site in sites})


@pytest.mark.parametrize("shrinkage", [-0.1, 1.1, float("nan")])
def test_shrinkage_lies_between_none_and_all(sites, shrinkage):
    with pytest.raises(ConfigError, match="from 0 to 1"):
        lda(sites, shrinkage=shrinkage)


def test_missing_values_cannot_be_assigned(sites):
    with pytest.raises(CohortError, match="replace missing values"):
        assign(lda(sites), np.full((1, 4), np.nan))


def test_what_is_not_a_confusion_table_is_refused():
    with pytest.raises(CodecError, match="shape"):
        balanced_accuracy(np.array([[1, 2, 3], [0, 1, 0]]))
    with pytest.raises(CohortError, match="no site has a case"):
        balanced_accuracy(np.zeros((2, 2), dtype=int))


def test_the_discriminant_travels(sites):
    sent = lda(sites)
    received = unpack(SiteLda, pack(sent))
    assert received.sites == ("site_a", "site_b", "site_c")
    np.testing.assert_array_equal(assign(received, sites["site_b"]), assign(sent, sites["site_b"]))
