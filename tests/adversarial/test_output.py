"""What would tell too much, or do something in whoever opens it: refused, gridded, escaped."""

import csv
import io

import numpy as np
import pytest

from client.releases.ledger import ReleaseLedger
from client.releases.row import file_content
from client.releases.table import as_csv
from server.report.csv_table import to_csv
from server.report.table import Table
from server.report.table import row as cells
from shared.codec import content_hash
from shared.errors import PolicyError
from shared.fusion_sums import Layers
from shared.letter import read
from shared.models import ClinicalModel, Extraction, RadiomicsModel, Scale
from shared.stages.embed import Parts, RowsRequest
from shared.stages.evaluate import ScoresRequest
from shared.stages.external_evaluate import LEVELS, ExternalReply
from shared.stages.fuse import LayersRequest
from tests.adversarial.hospital import (
    PHASE,
    answers,
    asks,
    build,
    names_nobody,
    refuses,
    served,
    small_study,
    write_site_file,
)
from tests.conftest import write_site
from tests.made_bundle import bundle_without_networks

FEATURE = f"{PHASE}__original__firstorder__Mean"
RADIOMICS = RadiomicsModel(
    Scale.of(Extraction({}), (FEATURE,), np.zeros(1), np.ones(1)), np.ones(1), 0.0, np.zeros(2)
)
CLINICAL = ClinicalModel(("sessile", "age"), np.array([0.5, 65.0]), np.zeros(3))
ROWS = RowsRequest((Parts((), {}, RADIOMICS),), CLINICAL)
ONE = np.zeros((1, 3))
SUMS = LayersRequest(ROWS, Layers(np.array([-1]), ONE, ONE + 1, np.zeros((1, 4))))


def exchanging(how):
    """A study whose fusion layer is fitted so."""
    return small_study(fusion={"inputs": ["radiomics_score", "clinical"], "exchange": how})


@pytest.mark.row("T26")
@pytest.mark.parametrize(
    ("how", "name", "request_"),
    [
        ("statistics", "embed_rows", ROWS),
        ("embeddings", "fusion_steps", SUMS),
    ],
    ids=["sums alone", "sums that nobody fits"],
)
def test_rows_of_patients_leave_only_as_the_study_says(tmp_path, how, name, request_):
    build(tmp_path / "a", n=6)
    with served(write_site_file(tmp_path / "a"), exchanging(how)) as hospital:
        refuses(hospital, asks(name, request_), "E_POLICY")


@pytest.mark.row("T26")
@pytest.mark.parametrize(
    ("how", "release"),
    [
        ("embeddings", {"rows": []}),
        ("embeddings", {"rows": ["labels"]}),
        ("embeddings", {"rows": ["embeddings", "clinical"]}),
        ("scores", {"rows": ["embeddings", "labels"]}),
        ("embeddings", {"exchange": "statistics"}),
    ],
    ids=["nothing", "labels alone", "no labels", "no scores", "sums at most"],
)
def test_a_study_that_wants_rows_beyond_the_policy_is_not_served(tmp_path, how, release):
    build(tmp_path / "a", n=6)
    site_file = write_site_file(tmp_path / "a", **release)
    with (
        pytest.raises(PolicyError, match="release") as refusal,
        served(site_file, exchanging(how)) as hospital,
    ):
        assert hospital
    names_nobody(refusal.value.code)


N = 11


@pytest.fixture(scope="module")
def made():
    """Models of one phase's features, made by hand."""
    return bundle_without_networks(small_study(phases=["excretory"]))


@pytest.fixture
def external(tmp_path, made):
    """An external hospital of eleven patients that tells what its site file says."""

    def at(level, min_cell=1):
        folder = tmp_path / f"{level}{min_cell}"
        write_site(folder, n=N, name="site_d", role="external", phases=("excretory",))
        who = {"name": "site_d", "role": "external"}
        site_file = write_site_file(folder, **who, min_cell=min_cell, external=level)
        return served(site_file, made.study)

    return at


def shapes(letter):
    return [array.shape for array in letter.arrays.values()]


@pytest.mark.row("T76")
@pytest.mark.parametrize("level", LEVELS)
def test_nothing_of_a_single_patient_is_told_below_the_level_that_says_so(external, made, level):
    """No ROC of every score, no row of a patient: counts, sums, and bins that are fixed before."""
    with external(level) as hospital:
        told = answers(hospital, asks("external_scores", ScoresRequest(made.bundle)))
    each = [shape for shape in shapes(told) if N in shape]
    assert bool(each) == (level == "scores")
    found = read(ExternalReply, told)
    bins = made.study.evaluation.score_bins
    assert all(len(sums.negatives) == bins for sums in found.sums.values())


@pytest.mark.row("T76")
@pytest.mark.row("T21")
def test_a_cohort_with_a_class_of_five_is_not_evaluated_where_ten_are_asked_for(external, made):
    with external("summary", min_cell=10) as hospital:
        refuses(hospital, asks("external_scores", ScoresRequest(made.bundle)), "E_SMALL_CELL")


@pytest.mark.row("T77")
def test_the_same_models_on_the_same_cohort_are_told_the_first_answer(external, made):
    asked = ScoresRequest(made.bundle)
    with external("binned") as hospital:
        first = read(ExternalReply, answers(hospital, asks("external_scores", asked)))
        again = read(ExternalReply, answers(hospital, asks("external_scores", asked, run="1" * 32)))
    assert content_hash(first) == content_hash(again)
    assert again.looks == 1


FORMULAS = ["=HYPERLINK(1)", "+cmd|' /C calc'!A0", "@SUM(A1)", "-1+1|x", "\t=1", "\r=1"]


@pytest.mark.row("T50")
@pytest.mark.parametrize("formula", FORMULAS)
def test_no_spreadsheet_computes_a_name(tmp_path, formula):
    table = Table("t", "T", ("Site", formula), (cells(formula, "-0.5"),))
    header, line = read_back(to_csv(table).decode())
    _, of_ledger = read_back(as_csv(ledger_rows(tmp_path, formula)))
    for cell in (*header, line[0], *of_ledger):
        assert not cell.startswith(("=", "+", "-", "@", "\t", "\r")), cell
    assert line[1] == "-0.5"


def read_back(text):
    return list(csv.reader(io.StringIO(text, newline="")))


def ledger_rows(folder, to):
    ledger = ReleaseLedger(folder, folder)
    ledger.release(file_content(b"x"), run="", question="evaluate", least_cell=None, to=to)
    return ledger.rows()
