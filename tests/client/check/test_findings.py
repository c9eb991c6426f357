"""What is worth a second look: measured on small images whose answer is known."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from client.check.clinical_findings import impossible_values, table_findings
from client.check.comparison import unlike_the_others
from client.check.findings import findings_of, same_grid
from client.check.measures import Measures, PhaseMeasures, measure
from client.cohort.manifest import Case
from client.images.volumes import Volume
from client.progress import progress_line
from shared.config import Study

SHAPE, SPACING = (20, 60, 60), (2.0, 1.0, 1.0)


def ball(centre: tuple[int, int, int] = (10, 30, 30), radius_mm: float = 10.0) -> Any:
    z, y, x = np.mgrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    squared = (2 * (z - centre[0])) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2
    return squared <= radius_mm**2


def volume(hu: float = 60.0, mask: Any = None, **more: Any) -> Volume:
    mask = ball() if mask is None else mask
    image = np.where(mask, hu, -100.0).astype(np.float32)
    image[:, :5] = -1000
    values = {"spacing_mm": SPACING, "origin_mm": (0.0, 0.0, 0.0)} | more
    return Volume(image=image, mask=mask, stored_dtype="x", mask_label=1, **values)


def measured(*, phase: Any = "nephrographic", **more: Any) -> PhaseMeasures:
    return measure({phase: volume(**more)})[phase]


def test_a_ball_is_measured_as_large_as_it_is() -> None:
    found = measured()
    assert found.volume_ml == pytest.approx(4 / 3 * math.pi, rel=0.03)
    assert found.diameter_mm == pytest.approx(20, abs=0.1)
    assert (found.n_parts, found.touches, found.roi_hu) == (1, (), 60)
    assert (found.ring_hu, found.bright_hu) == (-100, -100)
    assert found.air_share == pytest.approx(5 / 60)
    assert findings_of({"nephrographic": found}) == []


def test_the_sides_that_a_mask_reaches_are_named_as_they_lie_in_the_patient() -> None:
    assert measured(mask=ball((19, 30, 30))).touches == ("superior",)
    assert measured(mask=ball((10, 55, 4))).touches == ("posterior", "right")


def test_a_mask_that_fills_the_volume_is_measured() -> None:
    found = measured(mask=np.ones(SHAPE, dtype=bool))
    assert len(found.touches) == 6
    assert math.isnan(found.ring_hu)
    assert math.isnan(found.bright_hu)


def test_the_largest_parts_come_first_and_tiny_ones_are_counted() -> None:
    mask = ball() | ball((10, 30, 50), 4.0)
    mask[0, 50, ::3] = True
    text = findings_of({"excretory": measured(phase="excretory", mask=mask)})[0]
    assert text.startswith("excretory: the mask has 22 separate parts (4.")
    assert "20 of them below 0.1 ml" in text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"spacing_mm": (5.5, 1.0, 1.0)}, "voxels are 5.5 mm apart"),
        ({"spacing_mm": (2.0, 0.1, 0.1)}, "field of view is 6 x 6 mm"),
        ({"mask_resampled": True}, "drawn on another grid"),
        ({"roi_hu": -80.0}, "like fat or air"),
        ({"roi_hu": 320.0}, "like contrast medium"),
        ({"air_share": 0.95}, "95% of the volume is air"),
        ({"lowest_share": 0.7}, "70% of the volume has one value"),
        ({"volume_ml": 812.0}, "the mask has 8.1e+02 ml"),
    ],
)
def test_each_oddity_has_its_words(changes: dict[str, Any], said: str) -> None:
    (text,) = findings_of({"nephrographic": replace(measured(), **changes)})
    assert said in text


def test_five_millimetres_are_not_too_thick() -> None:
    assert findings_of({"nephrographic": replace(measured(), spacing_mm=(5.0004, 1, 1))}) == []


def test_what_phases_share_is_said_once() -> None:
    thick = replace(measured(), spacing_mm=(6.0, 1.0, 1.0))
    assert len(findings_of({"nephrographic": thick, "excretory": thick})) == 1
    (text,) = findings_of({"nephrographic": thick, "excretory": measured()})
    assert text.startswith("nephrographic: ")


def test_grids_and_frames_of_phases_are_compared() -> None:
    opened = {"nephrographic": volume(frame="1.2"), "excretory": volume(frame="1.3")}
    found = measure(opened)  # type: ignore[arg-type]
    assert [m.frame for m in found.values()] == [1, 2]
    assert "different DICOM frames" in findings_of(found)[0]
    assert "1.2" not in repr(found).replace("-1.2", "")
    assert same_grid(found)
    assert not same_grid(found | {"excretory": replace(found["excretory"], shape=(1, 2, 3))})


@pytest.mark.parametrize(("before", "after", "warned"), [(35, 60, False), (35, 41, True)])
def test_a_nephrographic_phase_without_contrast_is_found_out(
    before: float, after: float, warned: bool
) -> None:
    found: Measures = {
        "unenhanced": measured(phase="unenhanced", hu=before),
        "nephrographic": measured(hu=after),
    }
    texts = findings_of(found)
    assert [("no contrast in the phase called nephrographic" in t) for t in texts] == [
        True
    ] * warned


def cohort(n: int = 12) -> dict[str, Measures]:
    """Tumours of 72, 60 and 52 HU, arteries of 280, 150 and 95, patients 6 HU apart."""
    random, base, found = np.random.default_rng(1), measured(), {}
    for number in range(n):
        own = random.normal(0, 6)
        levels = {"corticomedullary": (72, 280), "nephrographic": (60, 150), "excretory": (52, 95)}
        found[f"P{number}"] = {
            phase: replace(
                base,
                roi_hu=roi + own + random.normal(0, 4),
                ring_hu=-20 + random.normal(0, 3),
                bright_hu=bright + random.normal(0, 15),
            )
            for phase, (roi, bright) in levels.items()
        }
    return found  # type: ignore[return-value]


def test_swapped_phases_are_told_from_the_sites_other_patients() -> None:
    found = cohort()
    assert unlike_the_others(found) == {}
    one = found["P3"]
    found["P3"] = one | {
        "corticomedullary": one["nephrographic"],
        "nephrographic": one["corticomedullary"],
    }
    ((patient, (text,)),) = unlike_the_others(found).items()
    assert patient == "P3"
    assert "swapped: corticomedullary and nephrographic are in another order" in text


def test_a_mask_far_from_the_others_hu_is_found_out_and_few_patients_are_not_compared() -> None:
    found = cohort()
    found["P5"] = {p: replace(m, roi_hu=m.roi_hu + 100) for p, m in found["P5"].items()}
    ((patient, (text,)),) = unlike_the_others(found).items()
    assert patient == "P5"
    assert "Does the mask lie on the tumour" in text
    assert unlike_the_others({name: found[name] for name in ("P4", "P5", "P6")}) == {}


def cases(column: str, values: list[float]) -> list[Case]:
    return [
        Case(f"P{i}", i + 2, None, 0, {}, {}, {column: value}) for i, value in enumerate(values)
    ]


def test_impossible_ages_and_negative_numbers_are_named() -> None:
    assert list(impossible_values(cases("age", [60, 150, math.nan, 71]))) == ["P1"]
    assert list(impossible_values(cases("creatinine", [60.0] * 20 + [-1]))) == ["P20"]
    assert impossible_values(cases("log_ratio", [1.0, -1.0, -2.0])) == {}
    assert impossible_values(cases("stage", [500])) == {}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([1.0] * 9, "is 1 for every patient"),
        ([1.0] * 8 + [0.0], "is 0 for 1 of 9 patients"),
        ([1.0, 0.0] * 3 + [math.nan] * 2, "is blank for 25% of 8 patients"),
    ],
)
def test_the_table_as_a_whole_is_judged(study: Study, values: list[float], said: str) -> None:
    (text,) = table_findings(cases("sessile", values), study)
    assert said in text


def test_progress_tells_the_time_left() -> None:
    assert progress_line("images", 12, 60, 30.0) == "images 12/60, about 2 min left"
    assert progress_line("images", 30, 60, 30.0) == "images 30/60, about 30 s left"
    assert progress_line("images", 60, 60, 30.0) == "images 60/60"
