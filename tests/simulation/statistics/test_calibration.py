"""`trifed stats calibration` against statsmodels and Stata, divided by site against undivided."""

import csv
from pathlib import Path

import numpy as np
import pytest
import statsmodels
import statsmodels.api as sm
from patsy import dmatrix
from scipy.special import expit, logit

from shared.splines import PLACES
from tests.simulation.statistics.conftest import EXPECTED, without_sites, write_table

BIRTHS = Path(statsmodels.__file__).parent / "genmod" / "tests" / "results" / "stata_lbw_glm.csv"


@pytest.fixture(scope="module")
def births(tmp_path_factory):
    """189 mothers, and the probability of low birth weight that statsmodels gives each."""
    if not BIRTHS.exists():
        pytest.skip("this statsmodels comes without its own tests' low birth weight data")
    with BIRTHS.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = ("age", "lwt", "smoke", "ptl", "ht", "ui")
    X = np.array([[float(row[name]) for name in names] for row in rows])
    race = np.array([[row["race"] == "black", row["race"] == "other"] for row in rows])
    y = np.array([int(row["low"]) for row in rows])
    p = sm.Logit(y, sm.add_constant(np.column_stack([X, race]))).fit(disp=0).predict()
    columns = {"low": y, "race": [row["race"] for row in rows], "p": map(repr, p.tolist())}
    return write_table(tmp_path_factory.mktemp("births") / "births.csv", columns)


def read(path, *names):
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [np.array([float(row[name]) for row in rows]) for name in names]


@pytest.mark.parametrize("site", [[], ["--site", "race"]], ids=["undivided", "by site"])
def test_hosmer_and_lemeshows_births_are_statas_and_rs(ask, births, site):
    asked = [births, "--outcome", "low", "--scores", "p", *site]
    found = ask("calibration", *asked, "--hosmer-lemeshow")["scores"]["p"]
    expected = EXPECTED["low_birth_weight"]
    printed = expected["hosmer_lemeshow"]
    centile, type_7 = (found["hosmer_lemeshow"][rule] for rule in ("centile", "type_7"))
    assert centile["chi2"] == pytest.approx(printed["chi2"], abs=5e-3)
    assert centile["p"] == pytest.approx(printed["p"], abs=5e-5)
    assert type_7["chi2"] == pytest.approx(expected["type_7"]["chi2"], abs=5e-4)
    assert type_7["p"] == pytest.approx(expected["type_7"]["p"], abs=5e-5)
    assert [group["n"] for group in found["deciles"]] == printed["n"]
    assert [group["events"] for group in found["deciles"]] == printed["events"]
    sums = [group["expected"] for group in found["deciles"]]
    assert sums == pytest.approx(printed["expected"], abs=0.0501)
    auc = ask("roc", *asked)["scores"]["p"]["auc"]
    assert auc == pytest.approx(expected["auc"], abs=5e-5)


def test_scores_that_were_fitted_on_the_patients_are_calibrated_on_them(ask, births):
    found = ask("calibration", births, "--outcome", "low", "--scores", "p")["scores"]["p"]
    assert found["slope"]["value"] == pytest.approx(1, abs=1e-8)
    assert found["calibration_in_the_large"]["value"] == pytest.approx(0, abs=1e-8)
    assert found["observed_expected"]["value"] == pytest.approx(1, abs=1e-8)
    assert "hosmer_lemeshow" not in found


def test_slope_and_intercepts_are_statsmodels(ask, made_up):
    found = ask("calibration", made_up, "--outcome", "her2", "--scores", "clinical")
    found = found["scores"]["clinical"]
    y, p = read(made_up, "her2", "clinical")
    X = sm.add_constant(logit(p))
    slope = sm.Logit(y, X).fit(disp=0, tol=1e-13, maxiter=99)
    for k, name in enumerate(("intercept", "slope")):
        measured = [found[name]["value"], found[name]["se"], *found[name]["ci"]]
        expected = [slope.params[k], slope.bse[k], *slope.conf_int()[k]]
        assert measured == pytest.approx(expected, rel=1e-8)
    family = sm.families.Binomial()
    large = sm.GLM(y, X[:, :1], family=family, offset=logit(p)).fit(tol=1e-13)
    measured = found["calibration_in_the_large"]
    assert (measured["value"], measured["se"]) == pytest.approx((large.params[0], large.bse[0]))


@pytest.mark.parametrize("knots", [3, 4, 5])
def test_the_curve_and_its_band_are_statsmodels(ask, made_up, knots):
    asked = ["--outcome", "her2", "--scores", "fusion", "--knots", knots, "--level", "0.9"]
    found = ask("calibration", made_up, *asked)["scores"]["fusion"]["curve"]
    y, p = read(made_up, "her2", "fusion")
    at = np.quantile(logit(p), PLACES[knots])
    np.testing.assert_allclose(found["knots"], expit(at), rtol=1e-12)
    bounds = {"inner": at[1:-1], "low": at[0], "high": at[-1]}
    formula = "cr(x, knots=inner, lower_bound=low, upper_bound=high) - 1"
    design = dmatrix(formula, {"x": logit(p), **bounds})
    fitted = sm.GLM(y, np.asarray(design), family=sm.families.Binomial()).fit(tol=1e-13)
    shown = dmatrix(formula, {"x": logit(found["score"]), **bounds})
    eta = np.asarray(shown) @ fitted.params
    reach = 1.6448536269514722 * np.sqrt(
        np.einsum("ij,jk,ik->i", shown, fitted.cov_params(), shown)
    )
    np.testing.assert_allclose(found["observed"], expit(eta), rtol=1e-7)
    np.testing.assert_allclose(found["low"], expit(eta - reach), rtol=1e-7)
    np.testing.assert_allclose(found["high"], expit(eta + reach), rtol=1e-7)


def test_divided_by_site_is_the_undivided_answer(ask, made_up):
    asked = ["calibration", made_up, "--outcome", "her2", "--scores", "fusion", "clinical"]
    asked.append("--hosmer-lemeshow")
    whole, divided = ask(*asked), ask(*asked, "--site", "hospital")
    expected = pytest.approx(without_sites(whole), rel=1e-9, abs=1e-12, nan_ok=True)
    assert without_sites(divided) == expected


def test_a_site_without_a_usable_row_takes_part_with_nothing(ask, made_up):
    with made_up.open("a", encoding="utf-8") as file:
        file.write("1,,0.4,60,T1,e\n")
    asked = [
        "calibration",
        made_up,
        "--outcome",
        "her2",
        "--scores",
        "fusion",
        "--site",
        "hospital",
    ]
    found = ask(*asked)
    assert found["table"]["sites"]["e"]["n"] == 0
    assert found["scores"]["fusion"]["slope"]["se"] > 0


def test_a_score_with_few_values_says_why_it_has_no_curve(ask, tmp_path):
    columns = {"y": [0, 1, 0, 1, 1, 0, 1, 0], "p": [0.2] * 4 + [0.7] * 4}
    path = write_table(tmp_path / "few.csv", columns)
    found = ask("calibration", path, "--outcome", "y", "--scores", "p")["scores"]["p"]
    assert "too few different values" in found["curve"]["undefined"]
    assert found["slope"]["se"] > 0


def test_zero_and_one_are_named_until_they_are_clipped(ask, refused, tmp_path):
    path = write_table(tmp_path / "t.csv", {"y": [0, 1, 0, 1], "p": [0, 0.6, 0.5, 0.4]})
    asked = ["calibration", path, "--outcome", "y", "--scores", "p"]
    assert "t.csv line 2: score 'p' is 0, which has no logit" in refused(*asked)
    assert ask(*asked, "--clip", "1e-3")["clip"] == 1e-3


def test_what_is_no_probability_is_named(refused, tmp_path):
    path = write_table(tmp_path / "t.csv", {"y": [0, 1, 0, 1], "p": [0.1, 3.5, 0.5, 0.4]})
    said = refused("calibration", path, "--outcome", "y", "--scores", "p")
    assert "t.csv line 3: score 'p' is 3.5, which must be a probability" in said
