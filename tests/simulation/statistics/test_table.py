"""What a table must be, told by file, column and line; what is missing is counted."""

import pytest

from shared.errors import CohortError, ConfigError, ManifestError
from simulation.statistics.table import load_cohort

TEXT = """y,score,stage,hospital
1,0.9,T1,north
0,0.2,T2,south
yes,,T1,north
no,0.4,,north
1,0.7,T3,
0,n/a,T1,south
"""


@pytest.fixture
def table(tmp_path):
    """Six rows, of which some lack a score, a stage or a hospital."""
    path = tmp_path / "table.csv"
    path.write_text(TEXT, "utf-8")
    return path


def load(path, *columns, site=None, outcome="y", positive=()):
    return load_cohort(path, outcome=outcome, columns=columns, site=site, positive=positive)


def test_rows_without_a_value_are_left_out_and_counted(table):
    found = load(table, "score").account()
    assert (found["rows"], found["n"], found["left_out"]) == (6, 4, 2)
    assert found["missing"] == {"score": 2}


def test_a_row_without_a_site_is_left_out_and_counted(table):
    found = load(table, "score", site="hospital")
    assert found.account()["missing"] == {"score": 2, "site hospital": 1}
    assert [(site.name, site.lines.tolist()) for site in found.sites] == [
        ("north", [2, 5]),
        ("south", [3]),
    ]


def test_text_becomes_one_column_for_each_level_but_the_reference(table):
    found = load(table, "stage:T1")
    assert found.names == ("stage=T2", "stage=T3")
    assert found.sites[0].values.tolist() == [[0, 1, 0, 0, 0], [0, 0, 0, 1, 0]]
    assert found.n_missing == {"stage=T2": 1, "stage=T3": 1}


def test_an_outcome_of_texts_needs_the_positive_ones(table):
    with pytest.raises(ManifestError, match=r"line 2: column 'stage' holds 'T1'.*--positive"):
        load(table, "score", outcome="stage")
    assert load(table, "score", outcome="stage", positive=["T2", "T3"]).labels.tolist() == [0, 1, 1]
    with pytest.raises(ConfigError, match=r"--positive 'T9' does not occur.*T1, T2, T3"):
        load(table, "score", outcome="stage", positive=["T9"])


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            "0.4",
            "high",
            r"line 5: column 'score' holds 'high'; must be a number.*'score:reference'",
        ),
        ("0.4", "inf", "line 5: column 'score' holds 'inf'"),
        ("no,", "2,", "line 5: column 'y' holds '2'; must be 0 or 1"),
        ("score", "scores", "column 'score' is missing; did you mean 'scores'"),
        ("0.4,", "0.4", "line 5: has 3 cells but the header 4"),
    ],
)
def test_a_wrong_cell_is_named(table, old, new, says):
    table.write_text(TEXT.replace(old, new, 1), "utf-8")
    with pytest.raises(ManifestError, match=says):
        load(table, "score")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ManifestError, match=r"none\.csv: there is no such file. Check the path"):
        load(tmp_path / "none.csv", "score")


def test_a_column_asked_twice_is_refused(table):
    with pytest.raises(ConfigError, match="'score' is asked twice"):
        load(table, "score", "score")


def test_a_reference_that_does_not_occur_is_refused(table):
    with pytest.raises(ConfigError, match=r"'T0' does not occur.*T1, T2, T3"):
        load(table, "stage:T0")


def test_one_label_only_is_refused(table):
    table.write_text("y,score\n1,0.2\n1,0.3\n0,\n", "utf-8")
    with pytest.raises(CohortError, match="2 of 3 rows have every value, 2 of them with 'y' pos"):
        load(table, "score")
