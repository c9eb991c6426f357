"""`trifed stats dca` against dcurves, divided by site against undivided."""

import csv

import numpy as np
import pytest
import statsmodels.api as sm

from shared.errors import ConfigError
from simulation.statistics.decision_curves import grid
from tests.simulation.statistics.conftest import EXPECTED, without_sites, write_table


def test_the_cancers_are_dcurves(ask, cancers):
    scores = ("cancerpredmarker", "famhistory")
    asked = [cancers, "--outcome", "cancer", "--scores", *scores, "--bootstrap", 0]
    found, expected = ask("dca", *asked), EXPECTED["dcurves"]
    at = [found["thresholds"].index(t) for t in expected["thresholds"]]
    curves = [found["scores"][s]["net_benefit"] for s in scores]
    curves.append(found["treat_all"]["net_benefit"])
    published = [expected[key] for key in ("net_benefit", "famhistory", "treat_all")]
    np.testing.assert_allclose(np.array(curves)[:, at], published, atol=5e-8)
    assert len(found["thresholds"]) == 99


def test_divided_by_site_is_the_undivided_answer(ask, made_up):
    asked = ["dca", made_up, "--outcome", "her2", "--scores", "fusion", "clinical"]
    asked += ["--thresholds", 0.2, 0.6, 0.1, "--bootstrap", 50]
    whole, divided = ask(*asked), ask(*asked, "--site", "hospital")
    assert without_sites(divided) == pytest.approx(without_sites(whole), rel=1e-12, abs=1e-14)
    assert without_sites(ask(*asked, "--seed", 2)) != without_sites(whole)


def test_the_band_is_as_wide_as_the_net_benefit_varies(ask, cancers):
    asked = ["--outcome", "cancer", "--scores", "cancerpredmarker"]
    found = ask("dca", cancers, *asked, "--thresholds", 0.1, 0.1, 0.1, "--bootstrap", 2000)
    with cancers.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    cancer, p = (np.array([float(r[c]) for r in rows]) for c in ("cancer", "cancerpredmarker"))
    worth = (p >= 0.1) * np.where(cancer == 1, 1, -1 / 9)
    reach = 1.959964 * worth.std() / np.sqrt(750)
    band = found["scores"]["cancerpredmarker"]
    assert band["low"][0] == pytest.approx(worth.mean() - reach, abs=0.1 * reach)
    assert band["high"][0] == pytest.approx(worth.mean() + reach, abs=0.1 * reach)


def test_a_score_that_is_no_probability_is_converted_only_if_asked(ask, refused, made_up):
    asked = ["dca", made_up, "--outcome", "her2", "--scores", "age", "--bootstrap", 0]
    assert "score 'age' is" in refused(*asked)
    found = ask(*asked, "--convert", "--thresholds", 0.4, 0.6, 0.05)
    with made_up.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    y, age = (np.array([float(row[column]) for row in rows]) for column in ("her2", "age"))
    fitted = sm.Logit(y, sm.add_constant(age)).fit(disp=0, tol=1e-13)
    t = np.array(found["thresholds"])
    called = fitted.predict()[:, None] >= t
    expected = (called * np.where(y == 1, 1, 0)[:, None]).mean(axis=0)
    expected -= (called * np.where(y == 0, 1, 0)[:, None]).mean(axis=0) * t / (1 - t)
    np.testing.assert_allclose(found["scores"]["age"]["net_benefit"], expected, atol=1e-14)
    assert "optimistic" in found["scores"]["age"]["converted"]["note"]


def test_a_score_that_separates_cannot_be_converted(refused, tmp_path):
    path = write_table(tmp_path / "t.csv", {"y": [0, 0, 1, 1], "x": [1, 2, 3, 4]})
    said = refused("dca", path, "--outcome", "y", "--scores", "x", "--convert")
    assert "score 'x' cannot be converted" in said


def test_thresholds_are_the_decimals_that_were_asked():
    assert grid(0.01, 0.99, 0.01).tolist() == [k / 100 for k in range(1, 100)]
    assert grid(0.2, 0.6, 0.15).tolist() == [0.2, 0.35, 0.5]


@pytest.mark.parametrize("asked", [(0, 0.5, 0.1), (0.6, 0.5, 0.1), (0.1, 0.5, 0), (0.1, 0.9, 1e-6)])
def test_a_grid_that_cannot_be_is_refused(asked):
    with pytest.raises(ConfigError, match="--thresholds"):
        grid(*asked)
