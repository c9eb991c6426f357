"""However patients are divided among sites, every answer is that of one table."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulation.statistics.answer import as_json
from simulation.statistics.calibration import calibrate
from simulation.statistics.decision_curves import decision_curves
from simulation.statistics.discrimination import delong, roc
from simulation.statistics.reclassification import reclassify
from simulation.statistics.regression import regress
from simulation.statistics.table import Cohort, SiteRows
from tests.simulation.statistics.conftest import numbers_in

N = 70
QUESTIONS = {
    "roc": lambda cohort: roc(cohort, thresholds=(0.5,), curve=True),
    "delong": delong,
    "calibration": lambda cohort: calibrate(cohort, with_test=True),
    "dca": lambda cohort: decision_curves(cohort, np.array([0.3, 0.5]), replicates=20),
    "reclassify": lambda cohort: reclassify(cohort, (0.4, 0.6)),
    "logistic": regress,
    "firth": lambda cohort: regress(cohort, firth="always", interval="wald"),
}


@pytest.fixture(scope="module")
def whole():
    """70 patients with two probabilities that share some values, at one site."""
    rng = np.random.default_rng(12)
    y = rng.integers(0, 2, N)
    scores = 1 / (1 + np.exp(-rng.normal(np.outer([1.2, 0.7], y - 0.5))))
    site = SiteRows("all", np.arange(2, N + 2), y, np.round(scores, 2).clip(0.01, 0.99))
    terms = {"a": ("a",), "b": ("b",)}
    return Cohort("made_up.csv", "her2", ("a", "b"), terms, (site,), N, {})


def divided(cohort, numbers):
    """The same patients at as many sites as there are different numbers."""
    (all_,), sites = cohort.sites, np.array(numbers)
    parts = [
        SiteRows(str(s), all_.lines[its], all_.labels[its], all_.values[:, its])
        for s in np.unique(sites)
        for its in [sites == s]
    ]
    return replace(cohort, sites=tuple(parts))


def as_numbers(answer):
    """Every number of an answer, as it is printed."""
    return numbers_in(json.loads(as_json(answer)))


@pytest.mark.parametrize("question", QUESTIONS)
@settings(max_examples=8, deadline=None)
@given(numbers=st.lists(st.integers(0, 5), min_size=N, max_size=N))
def test_any_division_gives_the_answer_of_one_table(whole, question, numbers):
    ask = QUESTIONS[question]
    found, expected = as_numbers(ask(divided(whole, numbers))), as_numbers(ask(whole))
    assert found == pytest.approx(expected, rel=1e-8, abs=1e-10, nan_ok=True)


@pytest.mark.parametrize("question", QUESTIONS)
def test_sites_of_one_patient_each_give_the_answer_of_one_table(whole, question):
    ask = QUESTIONS[question]
    found, expected = as_numbers(ask(divided(whole, range(N)))), as_numbers(ask(whole))
    assert found == pytest.approx(expected, rel=1e-8, abs=1e-10, nan_ok=True)
