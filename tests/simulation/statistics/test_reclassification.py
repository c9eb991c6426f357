"""`trifed stats reclassify`, divided by site against undivided."""

import pytest

from tests.simulation.statistics.conftest import without_sites, write_table


def test_the_moves_of_a_small_table_are_counted(ask, tmp_path):
    columns = {
        "y": [1, 1, 1, 0, 0],
        "old": [0.1, 0.4, 0.7, 0.4, 0.2],
        "new": [0.5, 0.6, 0.2, 0, 0.2],
    }
    path = write_table(tmp_path / "t.csv", columns)
    found = ask("reclassify", path, "--outcome", "y", "--scores", "old", "new", "--cuts", 0.3)
    assert found["moves"]["positive"] == [[0, 1], [1, 1]]
    assert found["moves"]["negative"] == [[1, 0], [1, 0]]
    assert found["nri"]["value"] == pytest.approx(0 + 1 / 2)
    assert found["nri_continuous"]["value"] == pytest.approx(1 / 3 + 1 / 2)
    assert found["idi"]["value"] == pytest.approx(0.1 / 3 + 0.2)


def test_divided_by_site_is_the_undivided_answer(ask, made_up):
    asked = ["reclassify", made_up, "--outcome", "her2", "--scores", "clinical", "fusion"]
    asked += ["--cuts", 0.3, 0.6]
    whole, divided = ask(*asked), ask(*asked, "--site", "hospital")
    assert without_sites(divided) == pytest.approx(without_sites(whole), rel=1e-10)


def test_one_score_alone_is_refused(refused, made_up):
    said = refused("reclassify", made_up, "--outcome", "her2", "--scores", "fusion")
    assert "--scores must name the old and the new score; found 1" in said
