"""One patient's images, or row of features, under two names."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client.cohort.copies import copies, is_telling
from client.cohort.manifest import Case
from client.site import open_site
from shared.config import Study
from shared.errors import ImageError

MakeSite = Callable[..., Path]
Change = Callable[..., Study]


def case(patient: str, line: int) -> Case:
    return Case(patient, line, None, 0, {}, {}, {})


def found(*rows: list[float]) -> dict[str, str]:
    """The copies among patients of these rows, the last line first."""
    cases = [case(f"P{i}", i + 2) for i in range(len(rows))]
    return copies(cases[::-1], {c.patient_id: np.array(rows[i]) for i, c in enumerate(cases)})


ROW = [0.1, 2.5, -1.25, 7.0]


def test_the_later_of_two_equal_rows_is_a_copy_of_the_earlier():
    (problem,) = found(ROW, [0.2, 2.5, -1.25, 7.0], ROW).items()
    assert problem[0] == "P2"
    assert "P2 (line 4)" in problem[1]
    assert "P0 (line 2)" in problem[1]


def test_a_difference_in_the_last_bit_is_a_difference():
    assert found(ROW, [np.nextafter(0.1, 1), *ROW[1:]]) == {}


def test_missing_values_at_the_same_places_do_not_hide_a_copy():
    assert set(found([np.nan, *ROW], [np.nan, *ROW])) == {"P1"}


@pytest.mark.parametrize(
    "row", [[np.nan] * 4, [0.0, 1.0, 1.0, 63.0], [0.5, 0.5, 0.5, 1.0], [0.5, 0.25, 3.0, np.nan]]
)
def test_rows_that_may_be_equal_by_chance_are_not_judged(row):
    assert not is_telling(np.array(row))
    assert found(row, row) == {}


def copy_images(folder: Path, source: str, target: str) -> None:
    """Give a patient another one's files."""
    for path in (folder / "images").glob(f"{source}_*"):
        copy = path.with_name(path.name.replace(source, target))
        copy.write_bytes(path.read_bytes())


def test_the_same_images_twice_stop_the_site(
    tmp_path: Path, make_site: MakeSite, study: Study
) -> None:
    site_file = make_site(tmp_path, n=6)
    copy_images(tmp_path, "P001", "P004")
    site = open_site(site_file, study)
    with pytest.raises(ImageError) as caught:
        site.prepare()
    assert "P004 (line 6)" in str(caught.value)
    assert "P001 (line 3)" in str(caught.value)


@pytest.mark.parametrize("width", [10.0, "learnt"])
def test_the_later_copy_is_set_aside_where_bad_cases_are(
    tmp_path: Path, make_site: MakeSite, study: Study, change: Change, width: Any
) -> None:
    site_file = make_site(tmp_path, n=6)
    copy_images(tmp_path, "P001", "P004")
    radiomics = {"classes": ["firstorder"], "log_sigma_mm": [1.0, 2.0, 3.0]}
    asked = change(
        study,
        cohort={"on_bad_case": "exclude"},
        radiomics=radiomics | {"bin_width_filtered_hu": width},
        branches=[],
        fusion={"inputs": ["radiomics_score"]},
    )
    site = open_site(site_file, asked)
    assert [(e.patient_id, e.kind) for e in site.exclusions] == [("P004", "image")]
    assert len(site.everyone) == 5
