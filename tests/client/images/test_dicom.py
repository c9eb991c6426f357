"""DICOM series and masks: what is read, and what every refusal says."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from client.cohort.manifest import Case
from client.images.volumes import Volume, read_case
from client.radiomics.features import ibsi_features
from shared.errors import ImageError
from shared.radiomics_settings import Radiomics
from tests.dicom_made import (
    ORIGIN,
    SPACING,
    made_ct,
    made_roi,
    outline,
    write_rtstruct,
    write_seg,
    write_series,
)

PHASE = "nephrographic"


def case_of(image: Path, mask: Path, **more: Any) -> Case:
    return Case("B-0031", 14, None, 0, {PHASE: image}, {PHASE: mask}, {}, **more)


def read(image: Path, mask: Path, **more: Any) -> Volume:
    return read_case(case_of(image, mask, **more), PHASE)


@pytest.fixture
def series(tmp_path: Path) -> Path:
    return write_series(tmp_path / "1f3a", made_ct())


@pytest.fixture
def rtstruct(tmp_path: Path) -> Path:
    rois = {"BODY": [], "Tumour": outline(made_roi()), "bladder": outline(made_ct() > -500)}
    return write_rtstruct(tmp_path / "rs.dcm", rois)


def test_a_series_is_sorted_by_position_and_in_hu(series: Path, rtstruct: Path) -> None:
    volume = read(series, rtstruct, roi="tumour")
    np.testing.assert_array_equal(volume.image, made_ct())
    np.testing.assert_array_equal(volume.mask, made_roi())
    assert volume.spacing_mm == pytest.approx(SPACING[::-1])
    assert volume.origin_mm == pytest.approx(ORIGIN[::-1])
    assert "signed integer" in volume.stored_dtype
    assert not volume.mask_resampled


def test_a_seg_of_some_slices_lands_where_it_was_drawn(series: Path, tmp_path: Path) -> None:
    seg = write_seg(tmp_path / "seg.dcm", made_roi(), series)
    volume = read(series, seg)
    np.testing.assert_array_equal(volume.mask, made_roi())
    assert not volume.mask_resampled


def test_a_nifti_mask_on_a_series_and_a_series_from_above(tmp_path: Path) -> None:
    def from_above(_z: int, dataset: Any) -> None:
        dataset.ImageOrientationPatient = [-1, 0, 0, 0, 1, 0]
        dataset.ImagePositionPatient[0] = ORIGIN[0] + 9 * SPACING[0]

    series = write_series(tmp_path / "s", made_ct()[:, :, ::-1], change=from_above)
    image = sitk.GetImageFromArray(made_roi().astype(np.uint8))
    image.SetSpacing(SPACING)
    image.SetOrigin(ORIGIN)
    sitk.WriteImage(image, str(tmp_path / "m.nii.gz"))
    with pytest.raises(ImageError, match=r"origin|direction"):
        read(series, tmp_path / "m.nii.gz")
    volume = read(series, tmp_path / "m.nii.gz", resample_mask=True)
    np.testing.assert_array_equal(volume.image, made_ct())
    np.testing.assert_array_equal(volume.mask, made_roi())


def test_holes_are_cut_out(series: Path, tmp_path: Path) -> None:
    whole, hole = made_roi(), np.zeros_like(made_roi())
    hole[2, 4, 4:6] = True
    rs = write_rtstruct(tmp_path / "rs", {"GTV": outline(whole) + outline(hole)})
    np.testing.assert_array_equal(read(series, rs).mask, whole & ~hole)


def test_contours_of_a_thicker_series_need_leave_to_be_resampled(tmp_path: Path) -> None:
    thin = write_series(tmp_path / "s", made_ct((18, 8, 10)), spacing=(0.5, 0.6, 1.0))
    thick = np.zeros((6, 8, 10), dtype=bool)
    thick[2:4, 3:6, 3:7] = True
    rs = write_rtstruct(tmp_path / "rs", {"GTV": outline(thick)})
    with pytest.raises(ImageError, match=r"other slices.*3\.00 slices apart.*resample_masks: true"):
        read(thin, rs)
    volume = read(thin, rs, resample_mask=True)
    assert volume.mask_resampled
    expected = np.zeros((18, 8, 10), dtype=bool)
    expected[5:11, 3:6, 3:7] = True
    np.testing.assert_array_equal(volume.mask, expected)


def without(*names: str) -> Any:
    def change(_z: int, dataset: Any) -> None:
        for name in names:
            del dataset[name]

    return change


def setting(**values: Any) -> Any:
    def change(_z: int, dataset: Any) -> None:
        for name, value in values.items():
            setattr(dataset, name, value)

    return change


def at(number: int, **values: Any) -> Any:
    def change(z: int, dataset: Any) -> None:
        if z == number:
            setting(**values)(z, dataset)

    return change


def tilted(z: int, dataset: Any) -> None:
    dataset.ImagePositionPatient[1] = ORIGIN[1] + 0.5 * z


BROKEN_SERIES = {
    "a slice is missing": (lambda z, _: z != 3, "a slice is missing between IM017 and IM031"),
    "two slices are missing": (lambda z, _: z not in (2, 3), "2 slices are missing between"),
    "uneven": (at(3, ImagePositionPatient=[-2, 7, -92.2]), "uneven slices: 1.80 mm"),
    "a slice twice": (at(3, ImagePositionPatient=[-2, 7, -94.0]), "a slice twice"),
    "tilted": (tilted, r"tilted gantry.*9\.5 degrees"),
    "oblique": (setting(ImageOrientationPatient=[1, 0, 0, 0, 0.95, 0.3122]), "tilted|oblique"),
    "two series": (at(3, SeriesInstanceUID="1.2.3"), r"holds 2 series \(5, 1 slices\)"),
    "two frames": (at(3, FrameOfReferenceUID="1.2.3"), "another frame of reference than"),
    "two sizes": (at(3, PixelSpacing=[0.7, 0.7]), "another pixel spacing than"),
    "no rescale": (without("RescaleSlope"), "no rescale slope and intercept"),
    "not HU": (setting(RescaleType="US"), "another unit than HU"),
    "slope 0": (setting(RescaleSlope=0), "impossible position, spacing or rescale"),
    "spacing 0": (setting(PixelSpacing=[0, 0.5]), "impossible position"),
    "no position": (without("ImagePositionPatient"), "damaged or not valid DICOM"),
    "localizer": (setting(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), "is a localizer"),
    "derived": (setting(ImageType=["DERIVED", "SECONDARY", "MPR"]), "is a derived image"),
    "burnt in": (setting(BurnedInAnnotation="YES"), "burnt into its pixels"),
    "inverted": (setting(PhotometricInterpretation="MONOCHROME1"), "is no grey image"),
    "frames": (setting(NumberOfFrames="7"), "has many frames"),
    "a bomb": (setting(Rows=60000, Columns=60000), "must have 1 to 500,000,000 voxels"),
    "secondary capture": (setting(SOPClassUID="1.2.840.10008.5.1.4.1.1.7"), "secondary capture"),
    "too few": (lambda z, _: z < 2, "holds 2 slices, at least 3"),
    "none": (lambda *_: False, "holds no slice of a CT"),
}


@pytest.mark.parametrize("name", BROKEN_SERIES)
def test_a_broken_series_is_named_rightly(tmp_path: Path, rtstruct: Path, name: str) -> None:
    change, words = BROKEN_SERIES[name]
    series = write_series(tmp_path / "s", made_ct(), change=change)
    with pytest.raises(ImageError, match=words) as refusal:
        read(series, rtstruct, roi="tumour")
    assert str(refusal.value).startswith(f"B-0031, {PHASE}: s")
    assert "anary" not in str(refusal.value).lower()


def cut(path: Path, n_bytes: int) -> None:
    path.write_bytes(path.read_bytes()[:n_bytes])


@pytest.mark.parametrize("left", [50, 200, 700, -40])
def test_a_slice_that_is_cut_off_is_named(series: Path, rtstruct: Path, left: int) -> None:
    cut(series / "IM017", left)
    with pytest.raises(ImageError, match=r"1f3a/IM017: is (cut off|not a|damaged)"):
        read(series, rtstruct, roi="tumour")


def test_strangers_in_the_folder_are_named(series: Path, rtstruct: Path) -> None:
    (series / "notes.txt").write_text("hello")
    with pytest.raises(ImageError, match=r"1f3a/notes\.txt: is not a DICOM file"):
        read(series, rtstruct, roi="tumour")
    (series / "notes.txt").unlink()
    (series / "IM999").symlink_to(series / "IM003")
    with pytest.raises(ImageError, match=r"1f3a/IM999: is a link"):
        read(series, rtstruct, roi="tumour")
    (series / "IM999").unlink()
    (series / "rs").write_bytes(rtstruct.read_bytes())
    (series / ".DS_Store").write_text("x")
    read(series, rtstruct, roi="tumour")


def broken_masks(folder: Path) -> dict[str, tuple[Path, str, str]]:
    drawn = outline(made_roi())
    outside = outline(made_roi(), origin=(50.0, 7.0, -100.0))
    slanted = [[v + (i == 2) * 2.0 for i, v in enumerate(contour)] for contour in drawn]
    return {
        "another frame": (
            write_rtstruct(folder / "a", {"x": drawn}, frame="1.9"),
            "",
            "another fr",
        ),
        "no such name": (
            write_rtstruct(folder / "b", {"GTV": drawn, "ctv": drawn}),
            "tumour",
            "no ROI named 'tumour'; it has 'GTV', 'ctv'",
        ),
        "which?": (write_rtstruct(folder / "c", {"GTV": drawn, "ctv": drawn}), "", "Say which is"),
        "same name": (
            write_rtstruct(folder / "d", {"GTV": drawn, "gtv ": drawn}),
            "gtv",
            "2 ROIs named",
        ),
        "no contours": (write_rtstruct(folder / "e", {"GTV": []}), "", "no ROI with contours"),
        "outside": (write_rtstruct(folder / "f", {"GTV": outside}), "", "outside of the volume"),
        "slanted": (write_rtstruct(folder / "g", {"GTV": slanted}), "", "not parallel"),
        "two points": (write_rtstruct(folder / "h", {"G": [drawn[0][:6]]}), "", "contour of 2"),
        "too small": (
            write_rtstruct(
                folder / "i", {"G": outline(np.pad(made_roi()[:0], ((0, 6), (0, 0), (0, 0))))}
            ),
            "",
            "no ROI",
        ),
    }


MASKS = ("another frame", "no such name", "which?", "same name", "no contours", "outside",
         "slanted", "two points", "too small")  # fmt: skip


@pytest.mark.parametrize("name", MASKS)
def test_a_broken_mask_is_named_rightly(series: Path, tmp_path: Path, name: str) -> None:
    path, roi, words = broken_masks(tmp_path)[name]
    with pytest.raises(ImageError, match=words) as refusal:
        read(series, path, roi=roi)
    assert str(refusal.value).startswith(f"B-0031, {PHASE}: {path.name}: ")


def test_a_seg_of_another_frame_and_a_ct_slice_are_no_masks(series: Path, tmp_path: Path) -> None:
    other = write_series(tmp_path / "o", made_ct(), frame="1.9", series="1.8")
    seg = write_seg(tmp_path / "seg.dcm", made_roi(), other)
    with pytest.raises(ImageError, match="another frame of reference"):
        read(series, seg)
    with pytest.raises(ImageError, match="neither RTSTRUCT nor SEG"):
        read(series, series / "IM017")


def test_a_dicom_mask_needs_a_dicom_series(tmp_path: Path, rtstruct: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(made_ct()), str(tmp_path / "ct.nrrd"))
    with pytest.raises(ImageError, match="a volume that is not DICOM"):
        read(tmp_path / "ct.nrrd", rtstruct, roi="tumour")


def test_the_three_ways_to_store_a_volume_give_the_same_features(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    values = np.round(rng.normal(40, 30, (12, 24, 24))).astype(np.int16)
    mask = np.zeros(values.shape, dtype=np.uint8)
    mask[3:9, 6:18, 5:19] = 1
    series = write_series(tmp_path / "s", values)
    rows = [case_of(series, write_rtstruct(tmp_path / "rs", {"T": outline(mask)}))]
    for suffix, kind in (("nii.gz", np.int16), ("nrrd", np.float32)):
        for name, array in (("ct", values.astype(kind)), ("roi", mask)):
            image = sitk.GetImageFromArray(array)
            image.SetSpacing(SPACING)
            image.SetOrigin(ORIGIN)
            sitk.WriteImage(image, str(tmp_path / f"{name}.{suffix}"))
        rows.append(case_of(tmp_path / f"ct.{suffix}", tmp_path / f"roi.{suffix}"))
    settings = Radiomics(log_sigma_mm=(2.0,), wavelet="coif1", resegment_hu=(-100.0, 200.0))
    first, *others = [ibsi_features(read_case(row, PHASE), settings) for row in rows]
    for other in others:
        for name, value in first.items():
            assert other[name] == pytest.approx(value, rel=1e-9, abs=1e-9), name


def test_the_ibsi_ct_phantom_from_dicom_has_the_published_mask(reference_data: Any) -> None:
    folder = reference_data("ibsi/ibsi_1_ct_radiomics_phantom/dicom")
    (mask,) = (folder / "mask").iterdir()
    case = case_of(folder / "image", mask)
    volume = read_case(replace(case, roi="GTV-1"), PHASE)
    assert int(volume.mask.sum()) == 125_256
    published = sitk.ReadImage(str(folder.parent / "nifti/mask/mask.nii.gz"))
    np.testing.assert_array_equal(volume.mask, sitk.GetArrayFromImage(published) != 0)
