"""Table 1 of the report: a column for each cohort, and each cohort by label with its tests."""

import pytest

from server.report.characteristics import characteristic_tables
from tests.server.test_report import full_results


@pytest.fixture
def tables():
    return {table.name: table for table in characteristic_tables(full_results())}


def texts(table, place):
    return [row[place].text for row in table.rows]


def test_there_is_a_column_for_each_cohort_and_a_table_by_label_for_each(tables):
    assert list(tables) == [
        "characteristics",
        "characteristics-training-sites",
        "characteristics-site_x",
    ]
    assert tables["characteristics"].columns == (
        "",
        "Training sites (n\u00a0=\u00a0360)",
        "site_x (n\u00a0=\u00a0360)",
    )


def test_counts_have_percentages_and_means_deviations(tables):
    table = tables["characteristics"]
    assert texts(table, 0)[:2] == ["Age, mean (SD)", "Male, n (%)"]
    assert texts(table, 1)[:2] == ["67.9 (10.2)", "281 (78.0)"]


def test_the_test_is_named_beside_its_p_and_the_difference(tables):
    table = tables["characteristics-training-sites"]
    assert table.columns[4:] == ("P", "Test", "SMD")
    assert [row_[4].text for row_ in table.rows][:2] == [".03", ".03"]
    assert texts(table, 5)[:2] == ["Welch", "chi-square"]
    assert texts(table, 6)[0] == "−0.21"
    assert texts(tables["characteristics-site_x"], 4)[0] == "–"


def test_the_number_with_a_value_stands_beneath_where_it_is_smaller(tables):
    table = tables["characteristics-training-sites"]
    stage = next(row for row in table.rows if row[0].text.startswith("T stage"))
    assert [cell.small for cell in stage[1:4]] == ["n = 358", "n = 155", "n = 201"]
    assert stage[1].values["missing"] == 2
    assert table.rows[0][1].small == ""


def test_results_of_an_earlier_release_have_the_table_without_tests():
    groups = {g: {"n": 5, "mean": 0.4, "sd": 0.5} for g in ("all", "positive", "negative")}
    old = {"cohort": {"table": [{"variable": "male", "kind": "binary", "groups": groups}]}}
    _, by_label = characteristic_tables(old)
    assert texts(by_label, 4) == ["–"]
