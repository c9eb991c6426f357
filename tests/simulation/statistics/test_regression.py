"""`trifed stats logistic` against Greene, Hosmer and Lemeshow, Stata and statsmodels."""

from pathlib import Path

import numpy as np
import pytest
import statsmodels
import statsmodels.api as sm
from statsmodels.stats.outliers_influence import variance_inflation_factor

from tests.simulation.statistics.conftest import EXPECTED, without_sites, write_table

BIRTHS = Path(statsmodels.__file__).parent / "genmod" / "tests" / "results" / "stata_lbw_glm.csv"


@pytest.fixture
def spector(tmp_path):
    """Spector and Mazzeo's 32 students."""
    data = sm.datasets.spector.load_pandas()
    columns = {"GRADE": data.endog.astype(int), **{c: data.exog[c] for c in data.exog}}
    return write_table(tmp_path / "spector.csv", columns)


@pytest.fixture
def separated(tmp_path):
    """Ten patients, of whom all with sessile tumours have label 1."""
    columns = {
        "her2": [0, 0, 0, 0, 0, 1, 1, 1, 1, 1],
        "sessile": [0, 0, 0, 0, 0, 0, 0, 1, 1, 1],
        "age": [61, 70, 55, 68, 74, 66, 59, 71, 63, 78],
        "hospital": list("aabbabaabb"),
    }
    return write_table(tmp_path / "separated.csv", columns)


def column(model, key, names):
    return [model["coefficients"][name][key] for name in names]


def test_spector_and_mazzeo_are_greenes_and_statsmodels(ask, spector):
    data, expected = sm.datasets.spector.load_pandas(), EXPECTED["spector"]
    found = ask("logistic", spector, "--outcome", "GRADE", "--predictors", "GPA", "TUCE", "PSI")
    model, names = found["multivariable"], ("intercept", "GPA", "TUCE", "PSI")
    np.testing.assert_allclose(column(model, "beta", names), expected["coefficients"], atol=1e-5)
    np.testing.assert_allclose(column(model, "se", names), expected["se"], atol=1e-5)
    assert model["log_likelihood"] == pytest.approx(expected["log_likelihood"], abs=1e-6)
    assert model["pseudo_r2"]["mcfadden"] == pytest.approx(expected["pseudo_r2"], abs=5e-6)
    X = sm.add_constant(data.exog.to_numpy())
    fitted = sm.Logit(data.endog.to_numpy(), X).fit(disp=0, tol=1e-13, maxiter=99)
    np.testing.assert_allclose(column(model, "beta", names), fitted.params, rtol=1e-8)
    np.testing.assert_allclose(column(model, "se", names), fitted.bse, rtol=1e-8)
    np.testing.assert_allclose(column(model, "z", names), fitted.tvalues, rtol=1e-8)
    np.testing.assert_allclose(column(model, "p", names), fitted.pvalues, rtol=1e-7)
    np.testing.assert_allclose(column(model, "or_ci", names), np.exp(fitted.conf_int()), rtol=1e-7)
    ratio = model["likelihood_ratio"]
    assert (ratio["chi2"], ratio["df"], ratio["p"]) == pytest.approx(
        (fitted.llr, 3, fitted.llr_pvalue), rel=1e-9
    )
    assert model["aic"] == pytest.approx(fitted.aic, rel=1e-12)
    inflation = [variance_inflation_factor(X, k) for k in (1, 2, 3)]
    assert [model["vif"][n] for n in names[1:]] == pytest.approx(inflation, rel=1e-10)


def test_each_predictor_stands_alone_as_well(ask, spector):
    asked = ["--outcome", "GRADE", "--predictors", "GPA"]
    found = ask("logistic", spector, *asked, "PSI")
    assert found["univariable"]["GPA"] == ask("logistic", spector, *asked)["univariable"]["GPA"]
    assert found["multivariable"]["events_per_predictor"] == 11 / 2


needs_births = pytest.mark.skipif(
    not BIRTHS.exists(), reason="this statsmodels comes without its tests' data"
)


@needs_births
@pytest.mark.parametrize("site", [[], ["--site", "race"]], ids=["undivided", "by site"])
def test_low_birth_weight_is_statas(ask, site):
    expected = EXPECTED["low_birth_weight"]
    predictors = ["age", "lwt", "race:white", "smoke", "ptl", "ht", "ui"]
    found = ask("logistic", BIRTHS, "--outcome", "low", "--predictors", *predictors, *site)
    model = found["multivariable"]
    measured = {name: model["coefficients"][name]["or"] for name in expected["or"]}
    assert measured == pytest.approx(expected["or"], rel=2e-7)
    assert model["coefficients"]["smoke"]["or_ci"] == pytest.approx(expected["smoke_ci"], rel=2e-7)
    assert model["log_likelihood"] == pytest.approx(expected["log_likelihood"], abs=5e-4)
    assert set(found["univariable"]["race:white"]["vif"]) == {"race=black", "race=other"}


@needs_births
def test_firths_fit_and_profiles_of_low_birth_weight_are_firthmodels(ask):
    expected = EXPECTED["low_birth_weight_firth"]
    asked = ["--predictors", "age", "lwt", "race:white", "smoke", "ptl", "ht", "ui"]
    found = ask("logistic", BIRTHS, "--outcome", "low", *asked, "--firth", "always")
    model = found["multivariable"]
    for name, measured in model["coefficients"].items():
        published = pytest.approx(expected["coefficients"][name], rel=1e-8)
        assert [measured["beta"], *measured["ci"]] == published
    published = expected["penalised_log_likelihood"]
    assert model["penalised_log_likelihood"] == pytest.approx(published, rel=1e-13)


def test_four_counts_are_hosmer_and_lemeshows(ask, tmp_path):
    expected = EXPECTED["chd_age"]
    cells = list(expected["cells"].values())
    columns = {
        "chd": np.repeat(["no", "yes", "no", "yes"], cells),
        "age": np.repeat(["young", "young", "old", "old"], cells),
    }
    path = write_table(tmp_path / "chd.csv", columns)
    found = ask("logistic", path, "--outcome", "chd", "--predictors", "age:young")
    model = found["multivariable"]
    names = ("intercept", "age=old")
    assert column(model, "beta", names) == pytest.approx(expected["coefficients"], abs=1e-6)
    assert column(model, "se", names) == pytest.approx(expected["se"], abs=1e-6)
    assert model["coefficients"]["age=old"]["ci"] == pytest.approx(expected["ci"], abs=1e-6)
    assert model["log_likelihood"] == pytest.approx(expected["log_likelihood"], abs=1e-6)


@pytest.mark.parametrize("firth", ["auto", "always"])
def test_divided_by_site_is_the_undivided_answer(ask, made_up, firth):
    asked = ["logistic", made_up, "--outcome", "her2", "--predictors", "age", "fusion"]
    asked += ["stage:T1", "--firth", firth]
    whole, divided = ask(*asked), ask(*asked, "--site", "hospital")
    assert without_sites(divided) == pytest.approx(without_sites(whole), rel=1e-8, abs=1e-9)


@pytest.mark.parametrize("firth", ["never", "always"])
def test_a_site_without_a_usable_row_takes_part_with_nothing(ask, spector, firth):
    text = spector.read_text("utf-8").splitlines()
    rows = [f"{text[0]},site", *(f"{line},a" for line in text[1:]), "1,,20,0,b"]
    spector.write_text("\n".join(rows), "utf-8")
    asked = ["logistic", spector, "--outcome", "GRADE", "--predictors", "GPA", "PSI"]
    asked += ["--firth", firth]
    whole, divided = ask(*asked), ask(*asked, "--site", "site")
    assert divided["table"]["sites"]["b"]["n"] == 0
    assert without_sites(divided) == pytest.approx(without_sites(whole), rel=1e-8)


def test_separated_labels_get_firths_fit_with_its_reason(ask, separated):
    found = ask("logistic", separated, "--outcome", "her2", "--predictors", "age", "sessile")
    sessile = found["univariable"]["sessile"]
    assert sessile["method"] == found["multivariable"]["method"] == "Firth"
    assert found["univariable"]["age"]["method"] == "maximum likelihood"
    assert "drop 'sessile'" in sessile["why_firth"]
    # A half is added to each of the four cells: 5 and 2, 0 and 3.
    expected = (3.5 / 0.5) / (2.5 / 5.5)
    assert sessile["coefficients"]["sessile"]["or"] == pytest.approx(expected, rel=1e-8)
    assert sessile["coefficients"]["sessile"]["interval"] == "profile"
    asked = ["--outcome", "her2", "--predictors", "sessile", "--interval", "wald"]
    wald = ask("logistic", separated, *asked)["multivariable"]["coefficients"]["sessile"]
    assert wald["ci"] == pytest.approx([wald["beta"] + s * 1.959964 * wald["se"] for s in (-1, 1)])


def test_firth_never_refuses_separated_labels(refused, separated):
    asked = ["--outcome", "her2", "--predictors", "sessile", "--firth", "never"]
    assert "drop 'sessile'" in refused("logistic", separated, *asked)


def test_predictors_that_repeat_each_other_are_named(refused, tmp_path, spector):
    text = spector.read_text("utf-8").splitlines()
    rows = [text[0] + ",GPA2", *(f"{line},{2 * float(line.split(',')[1])}" for line in text[1:])]
    path = tmp_path / "twice.csv"
    path.write_text("\n".join(rows), "utf-8")
    said = refused("logistic", path, "--outcome", "GRADE", "--predictors", "GPA", "GPA2")
    assert "predictors repeat each other: GPA, GPA2" in said


def test_text_without_a_second_value_is_refused(refused, tmp_path):
    path = write_table(tmp_path / "t.csv", {"y": [0, 1, 1, 0], "sex": ["m"] * 4})
    said = refused("logistic", path, "--outcome", "y", "--predictors", "sex:m")
    assert "'sex:m' has no value but the reference" in said
