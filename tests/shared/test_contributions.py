"""What the fusion layer's inputs add to logits: by hand, and however patients are divided."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from shared.codec import content_hash, pack, unpack
from shared.contributions import (
    CLINICAL,
    RADIOMICS,
    FusionContributions,
    contributions,
    fusion_contributions,
    pool_contributions,
    sources_of,
)
from shared.errors import CodecError, FederationError
from shared.models import FusionModel, fusion_probability

NONE = np.nan
LAYER = FusionModel(
    ("flat_1", "flat_2", "age"),
    np.array([1.0, -1.0, 60.0]),
    np.array([2.0, 0.5, 10.0]),
    np.array([-0.5, 0.4, -1.0, 0.2]),
)
SOURCES = ("flat", "flat", CLINICAL)
N = 60
RNG = np.random.default_rng(4)
TABLE = RNG.normal(LAYER.mean, LAYER.sd, (N, 3))
TABLE[:20, 1] = NONE
LABELS = np.arange(N) % 2


def told(rows):
    known = np.isfinite(TABLE[rows])
    return fusion_contributions(
        LAYER, TABLE[rows], known=known, labels=LABELS[rows], sources=SOURCES
    )


def test_three_patients_by_hand():
    rows = np.array([[3.0, -1.0, 70.0], [1.0, NONE, 50.0], [-1.0, -2.0, 60.0]])
    added = [[0.4, 0.0, 0.2], [0.0, 0.0, -0.2], [-0.4, 2.0, 0.0]]
    np.testing.assert_allclose(contributions(LAYER, rows), added, atol=1e-15)
    known, labels = np.isfinite(rows), np.array([1, 0, 1])
    found = fusion_contributions(LAYER, rows, known=known, labels=labels, sources=SOURCES)
    columns, sources = found.columns, found.sources
    assert (columns.names, sources.names) == (LAYER.columns, ("flat", CLINICAL))
    np.testing.assert_array_equal(columns.n_missing, [0, 1, 0])
    np.testing.assert_allclose(columns.absolute, [0.8, 2.0, 0.4], atol=1e-15)
    positive, negative = columns.moments.positive, columns.moments.negative
    np.testing.assert_array_equal([positive.n, negative.n], [[2] * 3, [1] * 3])
    np.testing.assert_allclose(positive.mean, [0.0, 1.0, 0.1], atol=1e-15)
    np.testing.assert_allclose(positive.sd, np.array([0.8, 2.0, 0.2]) / np.sqrt(2), atol=1e-15)
    np.testing.assert_allclose(negative.mean, [0.0, 0.0, -0.2], atol=1e-15)
    np.testing.assert_array_equal(sources.n_missing, [0, 0])
    np.testing.assert_allclose(sources.absolute, [0.4 + 0.0 + 1.6, 0.4], atol=1e-15)
    np.testing.assert_allclose(sources.moments.positive.mean, [1.0, 0.1], atol=1e-15)


def test_what_inputs_add_and_the_mean_logit_make_the_logit():
    logit = special.logit(fusion_probability(LAYER, TABLE))
    added = contributions(LAYER, TABLE).sum(axis=1)
    np.testing.assert_allclose(added + LAYER.coefficients[0], logit, atol=1e-12)


def test_a_shapley_value_is_the_mean_over_every_order_of_the_inputs():
    """Of one patient, by what each input changes when it joins those before it."""
    from itertools import permutations

    row, orders = TABLE[30], list(permutations(range(3)))
    shares = np.zeros(3)
    for order in orders:
        taken = LAYER.mean.copy()
        for place in order:
            before = special.logit(fusion_probability(LAYER, taken[None]))[0]
            taken[place] = row[place]
            after = special.logit(fusion_probability(LAYER, taken[None]))[0]
            shares[place] += (after - before) / len(orders)
    np.testing.assert_allclose(contributions(LAYER, row[None])[0], shares, atol=1e-12)


@given(sites=st.lists(st.integers(0, 4), min_size=N, max_size=N))
@settings(max_examples=25, deadline=None)
def test_any_division_among_sites_gives_the_sums_of_one_table(sites):
    pooled = pool_contributions([told(np.array(sites) == k) for k in range(5)])
    filled = np.where(np.isnan(TABLE), LAYER.mean, TABLE)
    added = (filled - LAYER.mean) / LAYER.sd * LAYER.coefficients[1:]
    together = np.column_stack([added[:, :2].sum(axis=1), added[:, 2]])
    for part, values in ((pooled.columns, added), (pooled.sources, together)):
        np.testing.assert_allclose(part.absolute, np.abs(values).sum(axis=0), rtol=1e-12)
        for label, found in ((0, part.moments.negative), (1, part.moments.positive)):
            inside = values[label == LABELS]
            assert found.n.tolist() == [N // 2] * values.shape[1]
            np.testing.assert_allclose(found.mean, inside.mean(axis=0), atol=1e-12)
            np.testing.assert_allclose(found.sd, inside.std(axis=0, ddof=1), rtol=1e-10)
    assert pooled.columns.n_missing.tolist() == [0, 20, 0]
    assert pooled.sources.n_missing.tolist() == [0, 0]


def test_a_column_that_is_the_same_for_all_has_no_spread_at_all():
    rows = np.full((12, 3), 1.7)
    labels = np.arange(12) % 2
    parts = [
        fusion_contributions(
            LAYER, rows[part], known=rows[part] == 1.7, labels=labels[part], sources=SOURCES
        )
        for part in (slice(0, 5), slice(5, 12))
    ]
    assert not pool_contributions(parts).columns.moments.positive.sd.any()


def test_the_source_of_a_column_is_the_branch_with_the_longest_name_that_it_begins_with(study):
    names = ("branch_2_5d_1", "branch_3d_score", "radiomics_score", "age")
    assert sources_of(names, study) == ("branch_2_5d", "branch_3d", RADIOMICS, CLINICAL)


def test_the_sums_travel_without_loss_and_other_inputs_are_refused():
    whole = told(np.arange(N) >= 0)
    assert content_hash(unpack(FusionContributions, pack(whole))) == content_hash(whole)
    other = FusionContributions(whole.sources, whole.columns)
    with pytest.raises(FederationError, match="names other features"):
        pool_contributions([whole, other])


def test_sums_that_contradict_themselves_are_refused():
    columns, some = told(np.arange(N) >= 0).columns, told(np.arange(N) >= 30).sources
    with pytest.raises(CodecError, match="more miss"):
        replace(columns, n_missing=columns.n_missing + N)
    with pytest.raises(CodecError, match="at least 0"):
        replace(columns, absolute=-columns.absolute)
    with pytest.raises(CodecError, match="other patients"):
        FusionContributions(columns, some)
