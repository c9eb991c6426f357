"""One scale for all sites: clipped, harmonised, and equal to what one table would give."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.stages import discretise as site_discretise
from client.stages import standardise as site_standardise
from server.stages import discretise, standardise
from server.study import DiscretiseRecord, StabilityRecord, Study
from shared.errors import CohortError
from shared.models import Extraction, to_scale
from shared.radiomics_settings import Radiomics, Standardise
from shared.stages.discretise import COUNT_RANGES
from shared.stages.standardise import COUNT_FEATURES, STANDARDISE
from simulation.verification import formulas
from tests.site_policies import made_policy

NAMES = ("a", "b", "c", "huge", "flat")
ANSWERS = {
    STANDARDISE: site_standardise.answer,
    COUNT_FEATURES: site_standardise.answer_count,
    COUNT_RANGES: site_discretise.answer,
}
DONE = Study(
    discretise=DiscretiseRecord(Extraction({}), None), stability=StabilityRecord(None, None, None)
)


def table_of(n, seed=0):
    """Features of unlike sizes, one of 1e10, one heavy-tailed with gaps, one constant."""
    rng = np.random.default_rng(seed)
    table = rng.normal(size=(n, 5)) * [1, 3, 50, 1e9, 0] + [0, -2, 300, 1e10, 7]
    table[:, 1] = np.sinh(table[:, 1])
    table[3::11, 2] = np.nan
    return table


def coordinator_of(parts, **settings):
    """A coordinator whose sites hold the parts of a table."""
    benches = {}
    for i, rows in enumerate(parts):
        name = f"site_{i}"
        site = SimpleNamespace(
            name=name,
            policy=made_policy(release={"min_cell": 1}),
            training="train",
            features=lambda _cases, _extraction, rows=rows: (NAMES, rows),
            ranges=lambda _cases, rows=rows: (NAMES, rows),
        )
        benches[name] = SimpleNamespace(site=site)
    asked = []

    def ask(question, request, sites):
        asked.append(question.name)
        return {site: ANSWERS[question](request, benches[site]) for site in sorted(sites)}

    return SimpleNamespace(
        settings=SimpleNamespace(**settings),
        federation=SimpleNamespace(ask=ask),
        training=tuple(sorted(benches)),
        save=lambda _study, **slots: SimpleNamespace(**slots),
        asked=asked,
    )


def run(parts, **section):
    coordinator = coordinator_of(parts, standardise=Standardise(**section))
    return standardise.run(DONE, coordinator).standardise, coordinator


def cut(table, cuts):
    return np.split(table, sorted(cuts))


cuts = st.sets(st.integers(1, 59), min_size=1, max_size=7)


@settings(max_examples=25, deadline=None)
@given(cuts=cuts, quantile=st.sampled_from([None, 0.02, 0.1]))
def test_any_division_gives_the_scale_of_one_clipped_table(cuts, quantile):
    table = table_of(60)
    record, _ = run(cut(table, cuts), clip_quantile=quantile)
    clipped = formulas.prepare_features(table, np.zeros(60), clip_quantile=quantile, combat=False)
    assert record.scale.names == ("a", "b", "c", "huge")
    mean, sd = np.nanmean(clipped, axis=0)[:4], np.nanstd(clipped, axis=0, ddof=1)[:4]
    np.testing.assert_allclose(record.scale.mean / sd, mean / sd, rtol=0, atol=1e-8)
    np.testing.assert_allclose(record.scale.sd, sd, rtol=1e-8)
    z = to_scale(record.scale, NAMES, table, "site_0")
    np.testing.assert_allclose(z, (clipped[:, :4] - mean) / sd, rtol=0, atol=1e-8)


def test_whoever_is_beyond_a_quantile_has_the_value_of_whoever_is_at_it():
    record, _ = run(cut(table_of(60), [20, 41]), clip_quantile=0.1)
    table = table_of(60)[:, 0]
    clipped = np.clip(table, record.scale.low[0], record.scale.high[0])
    at = np.quantile(table, [0.1, 0.9], method="inverted_cdf")
    assert (clipped == clipped.min()).sum() == (table <= at[0]).sum() == 6
    assert (clipped == clipped.max()).sum() == (table >= at[1]).sum() == 7


def test_without_clipping_each_site_is_asked_once():
    _, coordinator = run(cut(table_of(60), [30]))
    assert coordinator.asked == ["standardise"]


@settings(max_examples=15, deadline=None)
@given(first=st.integers(16, 40), second=st.integers(16, 40), quantile=st.sampled_from([None, 0.1]))
def test_harmonised_features_are_those_of_combat_on_one_table(first, second, quantile):
    n = first + second + 20
    table, sites = table_of(n, seed=4), np.repeat([0, 1, 2], [first, second, 20])
    table[sites == 1, :4] *= 1.3
    record, _ = run(cut(table, [first, first + second]), harmonise="combat", clip_quantile=quantile)
    moved = formulas.prepare_features(table[:, :4], sites, clip_quantile=quantile, combat=True)
    expected = (moved - np.nanmean(moved, axis=0)) / np.nanstd(moved, axis=0, ddof=1)
    for site in range(3):
        z = to_scale(record.scale, NAMES, table[sites == site], f"site_{site}")
        np.testing.assert_allclose(z, expected[sites == site], rtol=0, atol=1e-8)


def test_harmonising_makes_the_sites_alike_and_an_external_site_is_left_as_it_is():
    table = table_of(60)
    table[30:, 0] += 4
    record, _ = run(cut(table, [30]), harmonise="combat")
    assert record.sites.p_value[0] < 1e-6 < 0.5 < record.harmonised.p_value[0]
    assert set(record.scale.sites) == {"site_0", "site_1"}
    outside = to_scale(record.scale, NAMES, table, "site_9")
    np.testing.assert_allclose(
        outside[:, 0], (table[:, 0] - record.scale.mean[0]) / record.scale.sd[0]
    )


def test_harmonising_is_refused_where_a_site_is_too_small():
    with pytest.raises(CohortError, match="'site_1' has 14 training cases"):
        run(cut(table_of(60), [46]), harmonise="combat")


def test_features_of_which_none_varies_are_refused():
    with pytest.raises(CohortError, match="no radiomics feature varies"):
        run([np.ones((5, 5)), np.ones((4, 5))])


@settings(max_examples=15, deadline=None)
@given(cuts=cuts)
def test_any_division_learns_the_widths_of_one_table(cuts):
    ranges = np.abs(table_of(60)[:, :5]) % 4000 + 0.5
    ranges[:, 4] = 3.2
    learnt = SimpleNamespace(given_widths=None, filtered_names=NAMES)
    coordinator = coordinator_of(cut(ranges, cuts), radiomics=learnt)
    record = discretise.run(Study(), coordinator).discretise
    median = np.nanquantile(ranges, 0.5, axis=0, method="inverted_cdf")
    np.testing.assert_allclose(record.median_ranges_hu, median, rtol=1e-8)
    assert list(record.extraction.bin_widths_hu.values()) == [
        float(f"{value / 32:.3g}") for value in median
    ]


def test_given_widths_ask_no_site():
    given = Radiomics(log_sigma_mm=(2.0,), wavelet="haar", bin_width_filtered_hu=4.0)
    coordinator = coordinator_of([], radiomics=given)
    record = discretise.run(Study(), coordinator).discretise
    assert record.extraction.bin_widths_hu == dict.fromkeys(given.filtered_names, 4.0)
    assert (coordinator.asked, record.median_ranges_hu) == ([], None)


def test_widths_cannot_be_learnt_where_no_case_has_an_image():
    learnt = SimpleNamespace(given_widths=None, filtered_names=NAMES)
    with pytest.raises(CohortError, match=r"give radiomics\.bin_width"):
        discretise.run(Study(), coordinator_of([np.full((3, 5), np.nan)], radiomics=learnt))
