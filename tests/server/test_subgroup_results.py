"""Subgroups over all sites: as if their patients lay in one table."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from statsmodels.stats.meta_analysis import combine_effects
from statsmodels.stats.proportion import proportion_confint

from server.added_results import check_belongs
from server.report.picture import to_files
from server.report.subgroups import subgroup_lines, subgroup_pictures, subgroup_tables
from server.subgroup_results import by_column, divided_results
from shared.delong import correlated_aucs
from shared.errors import CodecError, FederationError, ResultError
from shared.scores import score_sums
from shared.subgroups import SubgroupScores, members
from shared.summary import summarise
from tests.conftest import changed

N, BINS, THRESHOLD = 120, 50, 0.5
MODELS = ("clinical", "fusion")
COLUMN = {"column": "size", "groups": ["small", "middle", "large"], "of_label": False}
OF_LABEL = {"column": "ihc", "groups": ["2+", "3+"], "of_label": True}
RNG = np.random.default_rng(5)
LABELS = np.arange(N) % 2
SCORES = {model: RNG.beta(2 + LABELS, 2.5, size=N) for model in MODELS}
SCORES["fusion"][:6] = np.nan
PLACES = RNG.integers(-1, 3, N)
IHC = np.where(LABELS == 1, RNG.integers(0, 2, N), -1)


def told(rows, places, n_groups, *, shared=False, threshold=np.nan):
    """What a site with these patients tells."""
    inside = members(places[rows], LABELS[rows], n_groups, shared_negatives=shared)
    sums = {
        model: tuple(
            score_sums(
                scores[rows][group],
                LABELS[rows][group],
                bins=BINS,
                calibration_bins=10,
                threshold=threshold,
            )
            for group in inside
        )
        for model, scores in SCORES.items()
    }
    return SubgroupScores(0 if shared else int((places[rows] == -1).sum()), sums)


def pooled(model, group):
    """Binned scores and labels of one subgroup's patients who have a score."""
    rows = group & np.isfinite(SCORES[model])
    return np.floor(SCORES[model][rows] * BINS), LABELS[rows]


def check(found, model, group):
    """One subgroup's numbers against scikit-learn and statsmodels on its patients."""
    bins, labels = pooled(model, group)
    positive = bins >= THRESHOLD * BINS
    assert (found["n"], found["n_positive"]) == (len(labels), labels.sum())
    assert found["n_missing"] == group.sum() - len(labels)
    for part, label in (("sensitivity", 1), ("specificity", 0)):
        right = int((positive == label)[labels == label].sum())
        n = int((labels == label).sum())
        ends = proportion_confint(right, n, method="wilson")
        assert found[part]["value"] == pytest.approx(right / n, rel=1e-12)
        assert found[part]["ci"] == pytest.approx(ends, rel=1e-9, abs=1e-12)
    assert found["auc"] == pytest.approx(roc_auc_score(labels, bins), rel=1e-12)
    variance = float(correlated_aucs(bins, labels).variance[0])
    reach = 1.959963984540054 * np.sqrt(variance)
    ends = np.clip([found["auc"] - reach, found["auc"] + reach], 0, 1)
    assert found["auc_ci"] == pytest.approx(ends, rel=1e-9)
    return found["auc"], variance


@given(sites=st.lists(st.integers(0, 3), min_size=N, max_size=N))
@settings(max_examples=15, deadline=None)
def test_any_division_among_sites_gives_the_numbers_of_one_table(sites):
    rows = {f"site_{k}": np.array(sites) == k for k in set(sites)}
    parts = {
        "size": {site: told(r, PLACES, 3) for site, r in rows.items()},
        "ihc": {site: told(r, IHC, 2, shared=True) for site, r in rows.items()},
    }
    thresholds = dict.fromkeys(MODELS, THRESHOLD)
    found = divided_results([COLUMN, OF_LABEL], parts, sorted(rows), 0.95, thresholds)
    assert (found["size"]["silent"], found["size"]["n_without"]) == ([], (PLACES == -1).sum())
    for model in MODELS:
        of_size = found["size"]["models"][model]
        aucs, variances = zip(
            *(check(g, model, k == PLACES) for k, g in enumerate(of_size["groups"])), strict=True
        )
        expected = combine_effects(np.array(aucs), np.array(variances))
        assert of_size["between"]["q"] == pytest.approx(expected.q, rel=1e-8)
        assert of_size["between"]["p"] == pytest.approx(expected.test_homogeneity().pvalue)
        of_label = found["ihc"]["models"][model]
        for k, group in enumerate(of_label["groups"]):
            check(group, model, (k == IHC) | (LABELS == 0))
        assert of_label["between"] is None
        assert "share all negatives" in of_label["why_not"]


def test_an_external_hospital_s_own_summary_is_printed_from_every_score():
    summaries = {
        model: tuple(
            summarise(scores[k == PLACES], LABELS[k == PLACES], threshold=THRESHOLD)
            for k in range(3)
        )
        for model, scores in SCORES.items()
    }
    here = SubgroupScores(int((PLACES == -1).sum()), {}, summaries)
    found = divided_results([COLUMN], {"size": {"site_x": here}}, ["site_x"], 0.95)
    for model in MODELS:
        for k, group in enumerate(found["size"]["models"][model]["groups"]):
            rows = (k == PLACES) & np.isfinite(SCORES[model])
            exact = roc_auc_score(LABELS[rows], SCORES[model][rows])
            assert group["auc"] == pytest.approx(exact, rel=1e-12)
            assert group["sensitivity"]["value"] == pytest.approx(
                (SCORES[model][rows][LABELS[rows] == 1] >= THRESHOLD).mean()
            )
    twice = divided_results([COLUMN], {"size": {"x": here, "y": here}}, ["x", "y"], 0.95)
    groups = twice["size"]["models"]["fusion"]["groups"]
    assert [g["n"] for g in groups] == [
        2 * g["n"] for g in found["size"]["models"]["fusion"]["groups"]
    ]
    assert all(np.isnan(g["auc"]) and g["auc_ci"] is None for g in groups)


def test_a_silent_site_is_named_and_the_others_are_pooled():
    first, second = np.arange(N) < 60, np.arange(N) >= 60
    parts = {"size": {"site_a": told(first, PLACES, 3, threshold=THRESHOLD)}}
    found = divided_results([COLUMN], parts, ["site_a", "site_b"], 0.95)["size"]
    assert found["silent"] == ["site_b"]
    assert [g["n"] for g in found["models"]["clinical"]["groups"]] == [
        int(((k == PLACES) & first).sum()) for k in range(3)
    ]
    nobody = divided_results([COLUMN], {"size": {}}, ["site_a", "site_b"], 0.95)["size"]
    assert (nobody["silent"], nobody["models"]) == (["site_a", "site_b"], {})
    assert second.any()


def test_subgroups_that_the_study_does_not_have_are_refused(study):
    divided = changed(study, evaluation={"subgroups": [{"column": "sessile"}]})
    good = told(np.ones(N, dtype=bool), np.maximum(PLACES, 0) % 2, 2)
    assert by_column({"site_a": {"sessile": good}, "site_b": {}}, divided) == {
        "sessile": {"site_a": good}
    }
    three = told(np.ones(N, dtype=bool), PLACES, 3)
    for wrong in ({"sessile": three}, {"age": good}):
        with pytest.raises(FederationError, match="site_b: told of other subgroups"):
            by_column({"site_a": {}, "site_b": wrong}, divided)


def test_sums_that_are_not_the_summary_s_are_refused():
    rows = np.ones(N, dtype=bool)
    sums = told(rows, PLACES, 3, threshold=THRESHOLD).sums
    other = {
        model: tuple(summarise(scores, LABELS, threshold=THRESHOLD) for _ in range(3))
        for model, scores in SCORES.items()
    }
    with pytest.raises(CodecError, match="not the summary's"):
        SubgroupScores(0, sums, other)
    with pytest.raises(CodecError, match="unlike subgroups"):
        SubgroupScores(0, {"a": sums["fusion"], "b": sums["fusion"][:2]})


@pytest.fixture(scope="module")
def results():
    rows = np.arange(N) < 90
    parts = {
        "size": {"site_a": told(rows, PLACES, 3)},
        "ihc": {"site_a": told(rows, IHC, 2, shared=True)},
    }
    thresholds = dict.fromkeys(MODELS, THRESHOLD)
    sites = ["site_a", "site_b"]
    inside = divided_results([COLUMN, OF_LABEL], parts, sites, 0.95, thresholds)
    whole = {"auc": 0.72, "auc_ci": [0.6, 0.8], "n": N, "n_positive": 60}
    return {
        "endpoint": {"name": "HER2"},
        "models": {model: {"internal_test": whole} for model in MODELS},
        "subgroups": {
            "columns": [COLUMN, OF_LABEL],
            "internal_test": inside,
            "external_test": {},
            "added": {"far.away": inside},
        },
    }


def test_the_table_has_every_model_in_every_subgroup_the_headline_first(results):
    inside, added = subgroup_tables(results)
    assert (inside.name, added.name) == ("subgroups-internal_test", "subgroups-far.away")
    assert [line[0].text for line in inside.rows] == ["Fusion"] * 5 + ["Clinical"] * 5
    names = [line[1].text for line in inside.rows[:5]]
    assert names[:3] == ["Size: small", "Size: middle", "Size: large"]
    assert names[3:] == ["HER2 2+ and all negatives", "HER2 3+ and all negatives"]
    p = [line[6].text for line in inside.rows[:5]]
    assert p[0] not in ("", "–")
    assert p[1:] == ["", "", "–", ""]


def test_the_section_says_what_subgroups_are_worth_and_who_is_silent(results):
    first, *silent = subgroup_lines(results)
    for words in ("named in the study file beforehand", "Nothing is adjusted", "wide intervals"):
        assert words in first
    assert "nothing was told by site_b" in silent[0]
    assert subgroup_lines({"subgroups": {"columns": []}}) == []


def test_a_column_that_every_hospital_is_silent_of_is_said_to_be_so():
    nobody = divided_results([COLUMN], {"size": {}}, ["site_a"], 0.95)
    silent = {
        "models": {"fusion": {"internal_test": {"auc": 0.7, "n": 9, "n_positive": 4}}},
        "subgroups": {"columns": [COLUMN], "internal_test": nobody},
    }
    (table,) = subgroup_tables(silent)
    assert [line[1].text for line in table.rows] == ["Size: nothing was told"]
    assert subgroup_pictures(silent) == []
    assert "nothing was told by site_a" in subgroup_lines(silent)[1]


def test_the_forest_has_the_whole_cohort_and_each_subgroup(results):
    (picture,) = subgroup_pictures(results)
    assert len(picture.panels) == 1
    svg = to_files(picture, synthetic=True, dpi=60)["svg"].decode()
    assert "All internal test patients (n = 120, 60 positive)" in svg
    assert svg.count("Size: ") == 3
    assert svg.count("HER2 ") == 2
    assert "synthetic data" in svg
    assert subgroup_pictures({"models": {"fusion": {}}, "subgroups": {"columns": []}}) == []


def test_names_with_braces_or_dots_are_printed_as_they_are(results):
    odd = {"column": "a{}.b", "groups": ["{x}", "1.5"], "of_label": False}
    part = told(np.ones(N, dtype=bool), np.maximum(PLACES, 0) % 2, 2)
    found = divided_results([odd], {"a{}.b": {"site_a": part}}, ["site_a"], 0.95)
    divided = {"columns": [odd], "internal_test": found}
    (table,) = subgroup_tables(results | {"subgroups": divided})
    assert [line[1].text for line in table.rows[:2]] == ["A{}.b: {x}", "A{}.b: 1.5"]


def test_an_added_hospital_s_subgroups_must_be_the_run_s():
    part = told(np.ones(N, dtype=bool), PLACES, 3)
    reply = SimpleNamespace(summaries={"fusion": 0}, subgroups={"size": part})
    result = SimpleNamespace(bundle_hash="b", reply=reply)
    run = {"study": {"bundle_hash": "b"}, "models": {"fusion": {}}}
    run["subgroups"] = {"columns": [OF_LABEL]}
    with pytest.raises(ResultError, match="other subgroups"):
        check_belongs(result, run, "run")
