"""Nearly the same asked twice: cohorts that differ by a patient, terms that differ by an edge."""

import csv

import numpy as np
import pytest

from shared.letter import read
from shared.models import Extraction, Scale
from shared.stages.describe_cohort import CountReply, CountRequest, Request
from shared.stages.select_features import BinsRequest, ScreenRequest
from shared.stages.standardise import Request as Moments
from tests.adversarial.hospital import PHASE, answers, asks, refuses, row, served, write_site_file
from tests.conftest import write_csv
from tests.site_policies import write_policy

N_PATIENTS = 16
OTHER_RUN = "0b" * 16
FEATURE = f"{PHASE}__original__firstorder__Mean"
RULE = "cohort: {min_delta: 3}\nrelease: {min_cell: 1}\n"


@pytest.fixture
def ruled(folder):
    """A hospital's site file whose policy compares what is told with what was told."""
    site_file = write_site_file(folder.folder)
    write_policy(site_file, RULE)
    return site_file


def change(site_file, keep):
    """Let the tables hold some of their patients alone."""
    for name in ("manifest.csv", "clinical.csv"):
        path = site_file.with_name(name)
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        write_csv(path, [each for each in rows if keep(int(each["patient_id"][1:]))])


COHORTS = [
    row("T22", "one patient less", lambda number: number != 5),
    row("T22", "two of one label less", lambda number: number not in {5, 7}),
    row("T22", "a cohort within it", lambda number: number < 14),
]


@pytest.mark.parametrize("keep", COHORTS)
def test_a_cohort_that_differs_by_few_from_an_earlier_one_is_not_told_of(ruled, study, keep):
    with served(ruled, study) as hospital:
        answers(hospital, asks("describe_cohort", Request()))
    change(ruled, keep)
    with served(ruled, study) as hospital:
        refuses(hospital, asks("describe_cohort", Request(), run=OTHER_RUN), "E_DIFF")


@pytest.mark.row("T22")
def test_where_nothing_is_compared_the_difference_is_the_patients_age(ruled, study):
    write_policy(ruled)
    sums = []
    for keep in (lambda _: True, lambda number: number != 5):
        change(ruled, keep)
        with served(ruled, study) as hospital:
            reply = hospital.service.answer("describe_cohort", Request()).variables.positive
        age = reply.names.index("age")
        sums.append(reply.n[age] * np.array([1, reply.mean[age]]))
    np.testing.assert_allclose(sums[0] - sums[1], [1, 65])


@pytest.mark.row("T78")
@pytest.mark.row("T22")
def test_an_objection_between_two_runs_stops_the_statistic_and_an_exception_names_the_cohort(
    ruled, study
):
    with served(ruled, study) as hospital:
        answers(hospital, asks("describe_cohort", Request()))
    ruled.with_name("objections.csv").write_text("patient_id\nP005\n")
    with served(ruled, study) as hospital:
        refuses(hospital, asks("describe_cohort", Request(), run=OTHER_RUN), "E_DIFF")
        name = hospital.service._told.state()
    write_policy(ruled, RULE.replace("min_delta: 3", f"min_delta: 3, differing: ['{name}']"))
    with served(ruled, study) as hospital:
        answers(hospital, asks("describe_cohort", Request(), run=OTHER_RUN))


def scale(high=np.inf, mean=0.0):
    ends = np.array([high])
    return Scale(Extraction({}), (FEATURE,), -ends, ends, np.array([mean]), np.full(1, 50.0), {})


EDGES = np.array([[0.0, 0.5, 1.0, 1.5]])
MOVED = np.array([[0.0, 0.5, 1.1, 1.5]])
ENDS = np.array([1e3]), np.array([1e3 + 1])
TERMS = [
    row("T23", "an edge of the bins", "bin_features", BinsRequest(scale(), EDGES),
        BinsRequest(scale(), MOVED)),
    row("T23", "an end of the scale", "screen_features", ScreenRequest(scale(high=1e6)),
        ScreenRequest(scale(high=2e6))),
    row("T23", "the scale's mean", "screen_features", ScreenRequest(scale()),
        ScreenRequest(scale(mean=1.0))),
    row("T23", "the ends that moments are clipped to", "standardise",
        Moments(Extraction({}), (FEATURE,), -ENDS[0], ENDS[0]),
        Moments(Extraction({}), (FEATURE,), -ENDS[0], ENDS[1])),
]  # fmt: skip


@pytest.mark.parametrize(("name", "first", "second"), TERMS)
def test_one_statistic_in_two_terms_is_refused_in_the_run_after_a_restart_too(
    ruled, study, name, first, second
):
    with served(ruled, study) as hospital:
        answers(hospital, asks(name, first))
        refuses(hospital, asks(name, second), "E_DIFF")
    with served(ruled, study) as hospital:
        refuses(hospital, asks(name, second), "E_DIFF")


def count(*thresholds):
    return asks("count_variables", CountRequest(("age",), np.array([thresholds], dtype=float)))


def found_largest(ask):
    """The largest value, by halving: the least number that all are at or below."""
    low, high = 0.0, 128.0
    for _ in range(11):
        middle = (low + high) / 2
        counts = ask(middle)
        low, high = (low, middle) if (counts.below == counts.n).all() else (middle, high)
    return high


@pytest.mark.row("T36")
def test_the_oldest_patients_age_is_found_by_halving_where_ends_are_told(ruled, study):
    with served(ruled, study) as hospital:
        largest = found_largest(told_by(hospital))
    assert abs(largest - (60 + N_PATIENTS - 1)) < 0.1


def told_by(hospital):
    return lambda number: read(CountReply, answers(hospital, count(number))).positive


@pytest.mark.row("T36")
def test_where_ends_are_hidden_no_search_comes_nearer_than_to_three_patients(ruled, study):
    write_policy(ruled, RULE.replace("min_cell: 1", "min_cell: 1, min_tail: 3"))
    with served(ruled, study) as hospital:
        largest = found_largest(told_by(hospital))
        assert largest < 60 + N_PATIENTS - 5 + 0.1
        counts = [told_by(hospital)(60 + N_PATIENTS - 2.0)]
        assert all((one.below == one.n).all() for one in counts)
        refuses(hospital, count(63.5), "E_DIFF")


@pytest.mark.row("T36")
def test_more_numbers_than_a_search_asks_for_are_not_counted_at(ruled, study):
    with served(ruled, study) as hospital:
        refuses(hospital, count(*range(10)), "E_DIFF")
