"""`mode: pyradiomics` against a direct call of PyRadiomics, on made-up and on real images."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from client.radiomics.engine import plain_extractor, plain_number
from client.radiomics.plain import plain_features
from shared.radiomics_settings import Radiomics

FindData = Callable[[str], Path]
ALL = Radiomics(mode="pyradiomics", log_sigma_mm=(1.0, 2.0), wavelet="coif1")
ORIGINAL = Radiomics(mode="pyradiomics")
TURNED = (np.cos(0.3), -np.sin(0.3), 0, np.sin(0.3), np.cos(0.3), 0, 0, 0, 1)
FLIPPED = (-1, 0, 0, 0, 0, 1, 0, 1, 0)


def made_up(
    *,
    spacing: tuple[float, float, float] = (0.8, 0.8, 3.0),
    shape: tuple[int, int, int] = (24, 64, 60),
    centre: tuple[float, float, float] = (11.0, 30.0, 29.0),
    radius_mm: float = 10.0,
    pixel: int = sitk.sitkInt16,
) -> tuple[Any, Any]:
    """A lobulated tumour in noise; spacing (x, y, z), shape and centre (z, y, x) in voxels."""
    at = [
        (index - c) * mm
        for index, c, mm in zip(np.indices(shape), centre, reversed(spacing), strict=True)
    ]
    angle = np.arctan2(at[1], at[2])
    inside = np.sqrt(sum(a**2 for a in at)) < radius_mm * (1 + 0.15 * np.cos(3 * angle))
    rng = np.random.default_rng(5)
    values = np.where(inside, 60.0, -80.0) + rng.normal(0, 30, shape)
    image = sitk.Cast(sitk.GetImageFromArray(values), pixel)
    mask = sitk.GetImageFromArray(inside.astype(np.uint8))
    for each in (image, mask):
        each.SetSpacing(spacing)
        each.SetOrigin((-204.4, -180.3, -512.7))
    return image, mask


def direct_call(image: Any, mask: Any, settings: Radiomics) -> dict[str, float]:
    """PyRadiomics' own values in its own order, which is ours but for the names of LoG images."""
    values = plain_extractor(settings).execute(image, mask)
    sigmas = {
        f"log-sigma-{str(sigma).replace('.', '-')}-mm-3D": f"log_{sigma:g}mm"
        for sigma in settings.log_sigma_mm
    }
    found = {}
    for name, value in values.items():
        filtered, family, feature = name.split("_", 2)
        ours = sigmas.get(filtered, filtered.replace("-", "_"))
        found[f"{ours}__{family}__{feature}"] = plain_number(value)
    return found


def assert_same(image: Any, mask: Any, settings: Radiomics) -> None:
    expected = direct_call(image, mask, settings)
    found = plain_features(image, mask, settings)
    assert {name.split("__")[0] for name in found} == set(settings.filter_names)
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize(
    "pixel",
    [sitk.sitkInt16, sitk.sitkUInt8, sitk.sitkInt32, sitk.sitkFloat32, sitk.sitkFloat64],
    ids=["int16", "uint8", "int32", "float32", "float64"],
)
def test_every_pixel_type_gives_a_direct_calls_values(pixel: int) -> None:
    image, mask = made_up(pixel=sitk.sitkFloat64)
    assert_same(sitk.Cast(image + 120 if pixel == sitk.sitkUInt8 else image, pixel), mask, ALL)


@pytest.mark.parametrize(
    "made",
    [
        {"centre": (1.0, 3.0, 57.0)},
        {"centre": (22.0, 62.0, 2.0)},
        {"spacing": (1.0, 1.0, 3.0)},
        {"spacing": (1.0, 1.0, 1.0)},
        {"spacing": (0.5, 0.5, 0.5), "radius_mm": 5.0},
        {"spacing": (0.7, 0.7, 1.5), "shape": (110, 40, 40), "centre": (60.0, 20.0, 20.0)},
        {"shape": (3, 64, 60), "centre": (1.0, 30.0, 29.0)},
        {"radius_mm": 2.5},
    ],
    ids=["low border", "high border", "points on voxels", "as stored", "coarser", "tall", "thin",
         "tiny"],
)  # fmt: skip
def test_every_shape_gives_a_direct_calls_values(made: dict[str, Any]) -> None:
    assert_same(*made_up(**made), ALL)


@pytest.mark.parametrize(
    "changes",
    [
        {"resegment_hu": (20.0, 100.0)},
        {"log_sigma_mm": (), "wavelet": None},
        {"original": False, "log_sigma_mm": ()},
        {"log_sigma_mm": (40.0,)},
        {"wavelet": "haar", "classes": ("glcm", "firstorder")},
        {"bin_width_hu": 5.0, "log_sigma_mm": (), "wavelet": None},
        {"spacing_mm": (2.0, 1.0, 1.5)},
    ],
    ids=["range", "original", "wavelet", "LoG too wide", "two classes", "many levels", "spacing"],
)
def test_every_setting_gives_a_direct_calls_values(changes: dict[str, Any]) -> None:
    settings = ALL.model_copy(update=changes)
    image, mask = made_up()
    found = plain_features(image, mask, settings)
    expected = direct_call(image, mask, settings)
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("direction", [TURNED, FLIPPED], ids=["oblique", "flipped"])
def test_the_axes_may_run_in_any_direction(direction: tuple[float, ...]) -> None:
    image, mask = made_up()
    image.SetDirection(direction)
    mask.SetDirection(direction)
    assert_same(image, mask, ALL)


@pytest.mark.parametrize("off_mm", [0.0004, 0.3])
def test_a_mask_on_another_grid_gives_a_direct_calls_values(off_mm: float) -> None:
    image, mask = made_up()
    mask.SetOrigin([value + off_mm for value in mask.GetOrigin()])
    assert_same(image, mask, ORIGINAL)


def test_only_the_neighbourhood_decides_and_to_the_last_bit() -> None:
    """The crop may not be felt: a point on a voxel is cut at 60 or at 59.999..., one HU apart."""
    image, mask = made_up(spacing=(1.0, 1.0, 3.0), shape=(24, 200, 200), centre=(11.0, 80.0, 120.0))
    found, expected = plain_features(image, mask, ORIGINAL), direct_call(image, mask, ORIGINAL)
    exact = ("firstorder__Minimum", "firstorder__Median", "firstorder__Maximum", "glcm__Contrast")
    names = [f"original__{name}" for name in exact]
    assert [found[name] for name in names] == pytest.approx([expected[n] for n in names], rel=1e-15)


@pytest.mark.parametrize(
    ("box", "range_hu", "reason"),
    [
        ((0, 0, 0), None, "no voxel of the mask is 1"),
        ((1, 1, 1), None, "extends along 0 axes"),
        ((1, 1, 9), None, "extends along 1 axes"),
        ((5, 9, 9), (900.0, 999.0), "0 voxels within"),
    ],
    ids=["empty", "voxel", "line", "range"],
)
def test_what_pyradiomics_refuses_is_refused(
    box: tuple[int, int, int], range_hu: tuple[float, float] | None, reason: str
) -> None:
    image, mask = made_up(spacing=(1.0, 1.0, 1.0))
    drawn = np.zeros((24, 64, 60), dtype=np.uint8)
    drawn[tuple(slice(9, 9 + n) for n in box)] = 1
    roi = sitk.GetImageFromArray(drawn)
    roi.CopyInformation(mask)
    settings = ORIGINAL.model_copy(update={"resegment_hu": range_hu})
    with pytest.raises(ValueError):  # noqa: PT011
        direct_call(image, roi, settings)
    with pytest.raises(ValueError, match=reason):
        plain_features(image, roi, settings)


REAL = ["pyradiomics/lung1", "pyradiomics/brain1", "pyradiomics/breast1", "sts/STS_002/CT",
        "sts/STS_003/CT", "sts/STS_008/CT"]  # fmt: skip


@pytest.mark.parametrize("stem", REAL)
def test_real_images_give_a_direct_calls_values(reference_data: FindData, stem: str) -> None:
    sarcoma = stem.startswith("sts")
    endings = ("image.nii.gz", "mask.nii.gz") if sarcoma else ("image.nrrd", "label.nrrd")
    image, mask = (sitk.ReadImage(str(reference_data(f"{stem}_{name}"))) for name in endings)
    assert_same(image, mask, ALL.model_copy(update={"spacing_mm": (3.0, 1.5, 1.5)}))
