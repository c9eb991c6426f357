"""Images from disk: what is accepted, and what every refusal says."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from client.cohort.manifest import Case
from client.images.volumes import Volume, read_case
from shared.errors import ImageError

PHASE = "nephrographic"
FLIPPED = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0)
SWAPPED = (0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0)
OBLIQUE = (0.995, -0.0998, 0.0, 0.0998, 0.995, 0.0, 0.0, 0.0, 1.0)


def read(image: Path, mask: Path, **options: Any) -> Volume:
    case = Case("B-0031", 14, None, 0, {PHASE: image}, {PHASE: mask}, {})
    return read_case(case, PHASE, **options)


def store(path: Path, values: Any, **geometry: Any) -> Path:
    """An array (z, y, x) as a file; geometry as SimpleITK's (x, y, z)."""
    image = sitk.GetImageFromArray(values)
    for name, value in ({"Spacing": (0.5, 0.6, 3.0)} | geometry).items():
        getattr(image, f"Set{name}")(value)
    sitk.WriteImage(image, str(path))
    return path


def ct(dtype: Any = np.int16) -> Any:
    values = np.full((4, 6, 8), -100, dtype=np.float64)
    values[1:3, 2:4, 3:6] = 50
    values[0] = -1000
    return values.astype(dtype)


def roi(value: int = 1, dtype: Any = np.uint8) -> Any:
    mask = np.zeros((4, 6, 8), dtype=dtype)
    mask[1:3, 2:4, 3:6] = value
    return mask


@pytest.mark.parametrize("suffix", ["nii", "nii.gz", "nrrd"])
def test_a_volume_is_z_y_x_in_hu_with_its_mask(tmp_path: Path, suffix: str) -> None:
    image = store(tmp_path / f"ct.{suffix}", ct())
    volume = read(image, store(tmp_path / f"roi.{suffix}", roi(7)))
    assert volume.image.shape == volume.mask.shape == (4, 6, 8)
    assert volume.spacing_mm == pytest.approx((3.0, 0.6, 0.5))
    assert (volume.image.dtype, volume.mask_label) == (np.dtype(np.float32), 7)
    np.testing.assert_array_equal(volume.image, ct())
    np.testing.assert_array_equal(volume.mask, roi() == 1)


@pytest.mark.parametrize("direction", [FLIPPED, SWAPPED], ids=["flipped", "swapped"])
def test_axes_are_brought_into_one_orientation(tmp_path: Path, direction: Any) -> None:
    image = store(tmp_path / "ct.nrrd", ct(), Direction=direction)
    volume = read(image, store(tmp_path / "roi.nrrd", roi(), Direction=direction))
    expected = ct()[:, ::-1, ::-1] if direction == FLIPPED else ct().transpose(0, 2, 1)
    np.testing.assert_array_equal(volume.image, expected)
    assert volume.image[volume.mask].min() == 50


@pytest.mark.parametrize(
    ("geometry", "said"),
    [
        ({"Spacing": (0.5, 0.6, 3.01)}, "spacing (3.01, 0.6, 0.5) mm but the volume (3.0, 0.6"),
        ({"Origin": (0.0, 0.0, 0.01)}, "origin (0.01, 0.0, 0.0) mm"),
        ({"Direction": FLIPPED}, "another direction"),
    ],
)
def test_a_mask_off_the_volumes_grid_is_refused(
    tmp_path: Path, geometry: dict[str, Any], said: str
) -> None:
    mask = store(tmp_path / "roi.nrrd", roi(), **geometry)
    with pytest.raises(ImageError, match=r"B-0031, nephrographic: roi\.nrrd") as caught:
        read(store(tmp_path / "ct.nrrd", ct()), mask)
    assert said in str(caught.value)
    assert "resample the mask" in str(caught.value)


def test_a_mask_within_a_thousandth_of_a_millimetre_is_accepted(tmp_path: Path) -> None:
    mask = store(tmp_path / "roi.nrrd", roi(), Origin=(0.0, 0.0009, 0.0))
    assert read(store(tmp_path / "ct.nrrd", ct()), mask).mask.any()


def odd(values: Any, index: tuple[int, int, int], value: float) -> Any:
    values[index] = value
    return values


BAD_MASKS = {
    "another shape": (roi()[:3], "shape (3, 6, 8) but the volume (4, 6, 8)"),
    "empty": (roi(0), "the mask is empty"),
    "two labels": (odd(roi(), (0, 0, 0), 2), "the values 1, 2"),
    "a fraction": (roi().astype(np.float32) * 0.5, "0.5"),
    "too small": (odd(roi(0), (0, 0, 0), 1), "1 voxels; the study asks for 5"),
}


@pytest.mark.parametrize(("mask", "said"), BAD_MASKS.values(), ids=BAD_MASKS)
def test_a_bad_mask_is_refused(tmp_path: Path, mask: Any, said: str) -> None:
    image, mask = store(tmp_path / "ct.nrrd", ct()), store(tmp_path / "roi.nrrd", mask)
    with pytest.raises(ImageError, match=r"B-0031, nephrographic: roi\.nrrd") as caught:
        read(image, mask, min_roi_voxels=5)
    assert said in str(caught.value)


BAD_IMAGES = {
    "not finite": (odd(ct(np.float32), (0, 0, 0), np.nan), "not finite"),
    "too low": (odd(ct(np.float32), (0, 0, 0), -5000), "from -5000 to 50"),
    "too high": (odd(ct(np.float32), (0, 0, 0), 40000), "to 40000"),
    "a picture": ((ct() % 200).astype(np.uint8), "a picture's grey levels"),
    "grey levels in 16 bits": ((ct() + 1000) // 8, "a picture's grey levels"),
    "rescale not applied": (ct() + 1024, "mean of 1074 inside the mask"),
}


@pytest.mark.parametrize(("values", "said"), BAD_IMAGES.values(), ids=BAD_IMAGES)
def test_what_is_no_ct_in_hu_is_refused(tmp_path: Path, values: Any, said: str) -> None:
    image, mask = store(tmp_path / "ct.nrrd", values), store(tmp_path / "roi.nrrd", roi())
    with pytest.raises(ImageError, match=r"B-0031, nephrographic: ct\.nrrd") as caught:
        read(image, mask)
    assert said in str(caught.value)


def test_oblique_axes_are_refused(tmp_path: Path) -> None:
    image = store(tmp_path / "ct.nrrd", ct(), Direction=OBLIQUE)
    mask = store(tmp_path / "roi.nrrd", roi(), Direction=OBLIQUE)
    with pytest.raises(ImageError, match=r"oblique .* resample volume and mask"):
        read(image, mask)


def test_four_axes_are_refused(tmp_path: Path) -> None:
    image = sitk.JoinSeries([sitk.GetImageFromArray(ct())] * 2)
    sitk.WriteImage(image, str(tmp_path / "ct.nii"))
    with pytest.raises(ImageError, match="has 4 axes"):
        read(tmp_path / "ct.nii", store(tmp_path / "roi.nii", roi()))


def test_colours_are_refused(tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(np.stack([ct()] * 3, axis=-1), isVector=True)
    sitk.WriteImage(image, str(tmp_path / "ct.nrrd"))
    with pytest.raises(ImageError, match="3 values a voxel"):
        read(tmp_path / "ct.nrrd", store(tmp_path / "roi.nrrd", roi()))


def test_an_absurd_size_is_refused_before_it_is_read(tmp_path: Path) -> None:
    header = "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 4000 4000 4000\nencoding: raw\n\n"
    (tmp_path / "ct.nrrd").write_bytes(header.encode())
    with pytest.raises(ImageError, match="4000"):
        read(tmp_path / "ct.nrrd", store(tmp_path / "roi.nrrd", roi()))


@pytest.mark.parametrize("key", ["data file", "datafile", "Data File"])
def test_a_detached_nrrd_header_is_refused(tmp_path: Path, key: str) -> None:
    header = f"NRRD0004\ntype: short\ndimension: 3\nsizes: 8 6 4\nencoding: raw\n{key}: secret\n"
    (tmp_path / "ct.nrrd").write_text(header)
    (tmp_path / "secret").write_bytes(ct().tobytes())
    with pytest.raises(ImageError, match="in another file"):
        read(tmp_path / "ct.nrrd", store(tmp_path / "roi.nrrd", roi()))


def test_a_folder_and_an_unknown_kind_are_refused(tmp_path: Path) -> None:
    mask = store(tmp_path / "roi.nrrd", roi())
    with pytest.raises(ImageError, match="is not a DICOM file"):
        read(tmp_path, mask)
    with pytest.raises(ImageError, match=r"must be one of \.nii"):
        read(tmp_path / "ct.png", mask)


@pytest.mark.parametrize("stem", ["pyradiomics/lung1", "sts/STS_002/CT", "sts/STS_008/CT"])
def test_real_cts_are_accepted(reference_data: Callable[[str], Path], stem: str) -> None:
    names = ("image.nrrd", "label.nrrd") if "lung" in stem else ("image.nii.gz", "mask.nii.gz")
    volume = read(*(reference_data(f"{stem}_{name}") for name in names), min_roi_voxels=30)
    assert -200 < volume.image[volume.mask].mean() < 100


@pytest.mark.parametrize("name", ["brain1", "breast1"])
def test_real_mr_images_are_refused(reference_data: Callable[[str], Path], name: str) -> None:
    paths = [reference_data(f"pyradiomics/{name}_{kind}.nrrd") for kind in ("image", "label")]
    with pytest.raises(ImageError, match="Give the CT volume in HU"):
        read(*paths)
