import csv
import json
from datetime import datetime
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK
from matplotlib.path import Path as Polygon

from shared.config import Study, digest, load_study
from shared.errors import StateError
from shared.phantom_settings import Phantom, PhantomSite
from shared.phases import PHASES
from simulation.phantom import RECIPE, write_cohort
from simulation.phantom_rtstruct import trace

DEMO = Path(__file__).parents[2] / "configs" / "demo.yaml"
SITES = ("a", "b", "c", "d")
DELAYS_S = {"corticomedullary": (27, 36), "nephrographic": (67, 90), "excretory": (290, 425)}
DESCRIPTIONS = {
    "a": [f"Abdomen {letter} 5.0 B30f" for letter in "NAVD"],
    "b": ["平扫", "动脉期", "静脉期", "延迟期"],
    "c": ["PLAIN", "ARTERIAL", "PORTAL VENOUS", "5 MIN DELAY"],
    "d": ["CT body 5.0mm"] * 4,
}


def study_of(file_format="dicom", n_cases=2, sites=SITES, missing_phase_rate=0.0) -> Study:
    phantom = Phantom(
        size="tiny",
        sites={f"site_{name}": PhantomSite(n_cases=n_cases, scanner=name) for name in sites},
        missing_phase_rate=missing_phase_rate,
        format=file_format,
    )
    return load_study(DEMO).model_copy(update={"phantom": phantom, "phases": PHASES, "seed": 5})


@pytest.fixture(scope="module")
def roots(tmp_path_factory) -> dict[str, Path]:
    """The same cohort as DICOM and as NIfTI."""
    found = {name: tmp_path_factory.mktemp(name) for name in ("dicom", "nifti")}
    for name, folder in found.items():
        write_cohort(study_of(name), folder)
    return found


@pytest.fixture(scope="module")
def patients(roots) -> list[tuple[str, dict[str, str], dict[str, str]]]:
    """For each patient the site and the rows of the DICOM and the NIfTI manifest."""
    found = []
    for site in (f"site_{name}" for name in SITES):
        tables = [rows(roots[name] / site) for name in ("dicom", "nifti")]
        found += [(site, *pair) for pair in zip(*tables, strict=True)]
    assert len(found) == 8
    return found


def rows(folder):
    with (folder / "manifest.csv").open(encoding="utf-8") as file:
        return [
            {
                name: str(folder / cell) if name.startswith(("image_", "mask")) and cell else cell
                for name, cell in row.items()
            }
            for row in csv.DictReader(file)
        ]


def contents(root):
    return {p.relative_to(root): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def slices(folder):
    """A series' slices, from the feet to the head."""
    found = [pydicom.dcmread(path) for path in Path(folder).iterdir()]
    return sorted(found, key=lambda one: one.ImagePositionPatient[2])


def rasterised(structures, name, like):
    """A ROI as voxels (z, y, x): those whose centres lie inside its polygons, even-odd."""
    number = next(r.ROINumber for r in structures.StructureSetROISequence if r.ROIName == name)
    roi = next(r for r in structures.ROIContourSequence if r.ReferencedROINumber == number)
    n_x, n_y, n_z = like.GetSize()
    inside = np.zeros((n_z, n_y * n_x), bool)
    centres = np.mgrid[:n_x, :n_y].T.reshape(-1, 2) * like.GetSpacing()[:2] + like.GetOrigin()[:2]
    for contour in roi.ContourSequence:
        assert contour.ContourGeometricType == "CLOSED_PLANAR"
        points = np.array(contour.ContourData, float).reshape(-1, 3)
        assert len(points) == contour.NumberOfContourPoints
        z = (points[:, 2] - like.GetOrigin()[2]) / like.GetSpacing()[2]
        assert np.allclose(z, round(z[0]), atol=1e-4)
        inside[round(z[0])] ^= Polygon(points[:, :2]).contains_points(centres)
    return inside.reshape(n_z, n_y, n_x)


def test_a_series_has_the_grid_and_the_hu_of_the_nifti_file(patients):
    for _, dicom, nifti in patients:
        for phase in PHASES:
            expected = SimpleITK.ReadImage(nifti[f"image_{phase}"])
            reader = SimpleITK.ImageSeriesReader()
            reader.SetFileNames(reader.GetGDCMSeriesFileNames(dicom[f"image_{phase}"]))
            found = reader.Execute()
            assert found.GetSize() == expected.GetSize()
            assert found.GetDirection() == expected.GetDirection()
            np.testing.assert_allclose(found.GetSpacing(), expected.GetSpacing(), atol=1e-5)
            np.testing.assert_allclose(found.GetOrigin(), expected.GetOrigin(), atol=1e-4)
            np.testing.assert_array_equal(
                SimpleITK.GetArrayFromImage(found),
                np.rint(SimpleITK.GetArrayFromImage(expected)),
            )


def test_the_contours_give_back_the_very_mask(patients):
    for _, dicom, nifti in patients:
        expected = SimpleITK.ReadImage(nifti["mask"])
        structures = pydicom.dcmread(dicom["mask"])
        found = rasterised(structures, dicom["roi"], expected)
        np.testing.assert_array_equal(found, SimpleITK.GetArrayFromImage(expected) == 1)
        assert rasterised(structures, "BODY", expected).all()


@pytest.mark.parametrize(
    "mask",
    [
        [[0, 0, 0], [0, 1, 0], [0, 0, 0]],
        [[1, 1, 1], [1, 0, 1], [1, 1, 1]],
        [[1, 0, 1], [0, 1, 0], [1, 0, 1]],
        [[0, 1, 1, 1, 1], [1, 0, 0, 0, 1], [1, 0, 1, 0, 1], [1, 0, 0, 1, 0], [1, 1, 1, 1, 1]],
        [[0, 0], [0, 0]],
    ],
    ids=["one pixel", "hole", "only corners touch", "island in a hole", "nothing"],
)
def test_polygons_hold_the_centres_of_the_mask_and_no_others(mask):
    mask = np.array(mask, np.uint8)
    centres = np.argwhere(mask >= 0)[:, ::-1]
    inside = np.zeros(mask.size, bool)
    for polygon in trace(mask):
        inside ^= Polygon(polygon).contains_points(centres)
    np.testing.assert_array_equal(inside.reshape(mask.shape), mask == 1)


def test_the_contours_lie_on_the_slices_of_one_series(patients):
    for _, dicom, _ in patients:
        structures = pydicom.dcmread(dicom["mask"])
        (frame,) = structures.ReferencedFrameOfReferenceSequence
        (series,) = frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence
        image = slices(dicom["image_unenhanced"])
        heights = {one.SOPInstanceUID: one.ImagePositionPatient[2] for one in image}
        assert {one.FrameOfReferenceUID for one in image} == {frame.FrameOfReferenceUID}
        assert {one.SeriesInstanceUID for one in image} == {series.SeriesInstanceUID}
        assert {o.ReferencedSOPInstanceUID for o in series.ContourImageSequence} == set(heights)
        for roi in structures.ROIContourSequence:
            for contour in roi.ContourSequence:
                (reference,) = contour.ContourImageSequence
                height = heights[reference.ReferencedSOPInstanceUID]
                assert set(contour.ContourData[2::3]) == {height}


def test_descriptions_are_those_of_the_site(patients):
    for site, dicom, _ in patients:
        found = [slices(dicom[f"image_{phase}"])[0].SeriesDescription for phase in PHASES]
        assert found == DESCRIPTIONS[site[-1]]


def test_times_tell_the_phase(patients):
    for _, dicom, _ in patients:
        injected = []
        for phase in PHASES:
            first = slices(dicom[f"image_{phase}"])[-1]
            assert first.InstanceNumber == 1
            if phase == "unenhanced":
                assert not first.ContrastBolusAgent
                assert "ContrastBolusStartTime" not in first
                plain = first.AcquisitionTime
                continue
            injected.append(first.ContrastBolusStartTime)
            assert plain < injected[-1]
            taken, start = (
                datetime.strptime(text, "%H%M%S.%f")
                for text in (first.AcquisitionTime, injected[-1])
            )
            low, high = DELAYS_S[phase]
            assert low <= (taken - start).total_seconds() <= high
            assert first.ContrastBolusAgent
        assert len(set(injected)) == 1


def test_every_object_has_its_identifier_and_says_that_it_is_synthetic(roots):
    found = [
        pydicom.dcmread(path) for path in roots["dicom"].glob("site_*/*s/**/*") if path.is_file()
    ]
    assert len({one.SOPInstanceUID for one in found}) == len(found) == 8 * (4 * 16 + 1)
    assert len({one.StudyInstanceUID for one in found}) == 8
    assert len({one.SeriesInstanceUID for one in found}) == 8 * 5
    for one in found:
        assert one.PatientName == f"Synthetic^{one.PatientID}"
        assert "synthetic" in (one.get("ImageComments") or one.StructureSetDescription)
        assert one.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
        assert one.file_meta.MediaStorageSOPInstanceUID == one.SOPInstanceUID


def test_no_path_tells_the_phase_or_the_order(roots, patients):
    for path in contents(roots["dicom"]):
        assert not any(phase in str(path) for phase in PHASES)
    folder = Path(patients[0][1]["image_excretory"])
    by_name = [pydicom.dcmread(path).InstanceNumber for path in sorted(folder.iterdir())]
    assert by_name not in (sorted(by_name), sorted(by_name, reverse=True))


def test_an_interrupted_call_is_completed_with_the_same_bytes(tmp_path):
    def interrupt(*_):
        raise KeyboardInterrupt

    study, whole = study_of(sites=("b",)), tmp_path / "whole"
    write_cohort(study, whole)
    cut = tmp_path / "cut"
    with pytest.raises(KeyboardInterrupt):
        write_cohort(study, cut, progress=interrupt)
    leftover = cut / "site_b" / "images" / "B-0002" / ".tmp-7-0123abcd"
    leftover.mkdir(parents=True)
    (leftover / "IM_000000").write_bytes(b"half a sli")
    write_cohort(study, cut)
    assert contents(cut) == contents(whole)
    assert not leftover.exists()


def test_a_failed_write_leaves_no_folder(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError("no space left")

    monkeypatch.setattr(pydicom.Dataset, "save_as", full)
    with pytest.raises(OSError, match="no space"):
        write_cohort(study_of(sites=("b",)), tmp_path)
    assert not list((tmp_path / "site_b" / "images" / "B-0001").iterdir())


def test_missing_phases_leave_an_empty_cell_and_no_folder(tmp_path):
    write_cohort(study_of(sites=("c",), n_cases=3, missing_phase_rate=0.5), tmp_path)
    table = rows(tmp_path / "site_c")
    cells = {row[f"image_{phase}"] for row in table for phase in PHASES}
    assert "" in cells
    assert {str(p) for p in tmp_path.glob("site_c/images/*/*")} == cells - {""}
    for row in table:
        series = pydicom.dcmread(row["mask"]).ReferencedFrameOfReferenceSequence[0]
        drawn = series.RTReferencedStudySequence[0].RTReferencedSeriesSequence[0].SeriesInstanceUID
        there = [row[f"image_{phase}"] for phase in PHASES if row[f"image_{phase}"]]
        assert drawn == slices(there[0])[0].SeriesInstanceUID


def test_a_nifti_cohorts_mark_does_not_hang_on_the_format(roots):
    study = study_of("nifti")
    kept = study.model_dump(mode="json", include={"seed", "sites", "phases", "phantom"})
    assert kept["phantom"].pop("format") == "nifti"
    marker = json.loads((roots["nifti"] / "cohort.json").read_text())
    assert marker["cohort"] == digest({"recipe": RECIPE, **kept})


def test_a_folder_holds_one_format_alone(roots):
    with pytest.raises(StateError, match="Choose another folder"):
        write_cohort(study_of("dicom"), roots["nifti"])
