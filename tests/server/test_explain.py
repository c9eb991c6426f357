"""The server's half of `explain`: what is pooled, and what the results and the report say."""

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from server.explain_results import explain_results
from server.plain import clean
from server.report.explanations import explanation_pictures, explanation_tables
from server.stages import explain
from server.stages.train_branches import initial_seed
from server.study import ExplainRecord, NetworkHeat, Study
from shared.branches import Explain
from shared.config import Study as Settings
from shared.config import networks
from shared.heat import HeatSums, heat_sums
from shared.networks import build_network, get_weights
from shared.stages.explain import Reply
from tests.conftest import changed

SIZES = {"site_a": 14, "site_b": 11}


def rows(site: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(SIZES[site])
    n = SIZES[site]
    return rng.dirichlet((4, 2, 2), n), rng.dirichlet((2, 3, 9), n), rng.random((n, 8, 8))


def told(site: str) -> HeatSums:
    return heat_sums(*rows(site), n_without=1)


def test_the_second_question_is_of_the_network_before_training(on, monkeypatch):
    asked = []

    def ask(_question: Any, request: Any, sites: Any) -> dict[str, Reply]:
        asked.append(request)
        return {site: Reply(None) for site in sites}

    monkeypatch.setattr(explain, "best_weights", lambda *_: "the best round's")
    network = networks(on)[0]
    coordinator: Any = SimpleNamespace(
        settings=on, federation=SimpleNamespace(ask=ask), training=("site_a",)
    )
    explain.heat_of_network(Study(), coordinator, network)
    initial = get_weights(build_network(network, seed=initial_seed(on.seed, network.name)))
    assert asked[0].weights == "the best round's"
    np.testing.assert_array_equal(asked[1].weights.vector, initial.vector)


def run(study: Settings, replies: dict[str, HeatSums | None], patch: pytest.MonkeyPatch) -> Study:
    """The stage with sites that answer the same of every network."""
    patch.setattr(explain, "best_weights", lambda *_: None)
    asked: list[str] = []

    def ask(_question: Any, request: Any, sites: Any) -> dict[str, Reply]:
        asked.append(request.network)
        return {site: Reply(replies[site]) for site in sites}

    coordinator: Any = SimpleNamespace(
        settings=study,
        federation=SimpleNamespace(ask=ask),
        training=tuple(sorted(replies)),
        save=lambda before, **slots: replace(before, **slots),
    )
    found = explain.run(Study(), coordinator)
    assert asked == ([n.name for n in networks(study) for _ in range(2)] if study.explain else [])
    return found


def results_of(heat: NetworkHeat, study: Settings) -> Any:
    record = Study(explain=ExplainRecord({"branch_2_5d": heat}))
    results = clean(explain_results(record, study))
    json.dumps(results, allow_nan=False)
    return results["branch_2_5d"]


@pytest.fixture
def on(study: Settings) -> Settings:
    return changed(study, explain={"min_cases": 10, "grid": 8})


def test_the_numbers_are_those_of_all_sites_patients(on, monkeypatch):
    run_ = run(on, {site: told(site) for site in SIZES}, monkeypatch)
    assert list(run_.explain.networks) == ["branch_2_5d", "branch_3d"]
    found = results_of(run_.explain.networks["branch_2_5d"], on)
    shares, areas, maps = (
        np.concatenate(parts) for parts in zip(*(rows(site) for site in SIZES), strict=True)
    )
    assert (found["n"], found["n_without_heat"], found["sites"]) == (25, 2, ["site_a", "site_b"])
    for place, region in enumerate(("inside", "ring", "elsewhere")):
        x, part = shares[:, place], found[region]
        assert part["mean"] == pytest.approx(x.mean(), rel=1e-12)
        assert part["sd"] == pytest.approx(x.std(ddof=1), rel=1e-12)
        expected = stats.t.interval(0.95, 24, x.mean(), stats.sem(x))
        assert part["ci"] == pytest.approx(list(expected), rel=1e-10)
        assert part["area_share"] == pytest.approx(areas[:, place].mean(), rel=1e-12)
        assert part["enrichment"] == pytest.approx(x.mean() / areas[:, place].mean(), rel=1e-12)
        assert part["histogram"]["counts"] == np.histogram(x, 20, (0, 1))[0].tolist()
    assert found["excess"]["mean"] == pytest.approx((shares - areas)[:, 0].mean(), rel=1e-12)
    np.testing.assert_allclose(found["mean_map"], maps.mean(axis=0), rtol=1e-12)


def test_a_site_with_too_few_is_named_and_the_others_are_told_of(on, monkeypatch):
    found = run(on, {"site_a": told("site_a"), "site_b": None}, monkeypatch).explain
    results = results_of(found.networks["branch_2_5d"], on)
    assert (results["n"], results["sites_with_too_few"]) == (14, ["site_b"])
    (table,) = explanation_tables({"explanations": {"branch_2_5d": results}})
    assert "too few patients to tell anything of at site_b" in " ".join(table.notes)


def test_if_no_site_has_enough_there_are_no_numbers(on, monkeypatch):
    found = run(on, dict.fromkeys(SIZES), monkeypatch).explain
    results = results_of(found.networks["branch_2_5d"], on)
    assert (results["n"], results["inside"], results["mean_map"]) == (0, None, None)
    shown = {"explanations": {"branch_2_5d": results}}
    assert explanation_pictures(shown) == []
    assert [cell.text for cell in explanation_tables(shown)[0].rows[0]][2:] == ["0", *["–"] * 4]


def test_a_network_that_has_no_heat_anywhere_has_no_numbers_either(on):
    nobody = heat_sums(np.empty((0, 3)), np.empty((0, 3)), np.empty((0, 8, 8)), n_without=25)
    results = results_of(NetworkHeat(nobody, None, ("site_a",), ()), on)
    assert (results["n"], results["n_without_heat"], results["inside"]) == (0, 25, None)


def test_a_study_that_does_not_ask_asks_nobody_and_shows_nothing(study, monkeypatch):
    assert study.explain is None
    found = run(study, dict.fromkeys(SIZES), monkeypatch)
    assert found.explain.networks == {}
    assert explain_results(found, study) is None
    assert explanation_tables({"explanations": None}) == []
    assert explanation_pictures({}) == []


def test_the_report_has_a_map_a_histogram_and_a_line_for_each_region(on):
    results = results_of(NetworkHeat(told("site_a"), told("site_b"), ("site_a",), ()), on)
    shown = {"explanations": {"branch_2_5d": results, "branch_3d": results}}
    first, second = explanation_pictures(shown)
    assert (first.name, second.name) == ("heat-branch_2_5d", "heat-branch_3d")
    untrained = rows("site_b")[0].mean(axis=0)[0] / rows("site_b")[1].mean(axis=0)[0]
    assert results["untrained"]["inside"]["enrichment"] == pytest.approx(untrained, rel=1e-12)
    (table,) = explanation_tables(shown)
    assert table.rows[0][-1].text == f"{untrained:.2f}"
    assert "by what covering a part costs" in first.caption
    assert [panel.label for panel in first.panels] == [
        "Mean heat of branch_2_5d around the tumour",
        "Shares of the heat of branch_2_5d",
    ]
    assert [row[1].text for row in table.rows[:3]] == [
        *("inside the tumour", "in the ring", "elsewhere"),
    ]


def test_occlusion_is_the_default():
    assert Explain().method == "occlusion"
