"""Mesh and diameters against PyRadiomics' own C code, on masks of every kind."""

import numpy as np
import pytest
from numpy.typing import NDArray

from client.images.volumes import Triple, to_itk
from client.radiomics.engine import PYRADIOMICS, feature_classes

RANDOM = np.random.default_rng(4)
Z, Y, X = np.indices((21, 30, 26))
MASKS = {
    "ball": (Z - 10) ** 2 + (Y - 14) ** 2 + (X - 12) ** 2 < 81,
    "bent": (np.abs(Z - 10 - 6 * np.sin(Y / 5)) < 3) & (np.abs(X - 9 - Y / 4) < 4),
    "ring": (np.abs(np.hypot(Y - 14, X - 12) - 9) < 2) & (np.abs(Z - 10) < 3),
    "two parts": (Z < 4) & (Y < 5) & (X < 6) | (Z > 16) & (Y > 20) & (X > 20),
    "noise": RANDOM.random((9, 10, 11)) < 0.5,
    "dust": RANDOM.random((12, 11, 13)) < 0.03,
    "voxel": np.ones((1, 1, 1), dtype=bool),
    "line": np.ones((1, 7, 1), dtype=bool),
    "plate": np.ones((1, 6, 9), dtype=bool),
    "tilted plate": np.eye(8, dtype=bool)[:, :, None].repeat(5, axis=2),
    "box": np.ones((4, 5, 6), dtype=bool),
}


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (3.0, 0.7, 0.9)], ids=["cubes", "slices"])
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS.keys())
def test_shape_is_that_of_the_class_as_it_comes(
    mask: NDArray[np.bool_], spacing_mm: Triple
) -> None:
    drawn = to_itk(mask.astype(np.uint8), spacing_mm)
    with np.errstate(all="ignore"):
        values = feature_classes()["shape"](drawn, drawn, label=1).execute()
        found = PYRADIOMICS.shape(mask, spacing_mm)
    expected = {name: float(value) for name, value in values.items()}
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-9, nan_ok=True)


def test_every_pattern_of_eight_voxels_counts_as_in_the_c_code() -> None:
    """Noise holds all 256 patterns, each of them in many places."""
    mask = np.random.default_rng(8).random((14, 15, 16)) < 0.5
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(mask, 1), (2, 2, 2)).reshape(-1, 8)
    assert len(np.unique(windows, axis=0)) == 256
    drawn = to_itk(mask.astype(np.uint8), (2.0, 1.0, 1.5))
    expected = feature_classes()["shape"](drawn, drawn, label=1).execute()
    found = PYRADIOMICS.shape(mask, (2.0, 1.0, 1.5))
    for name in ("MeshVolume", "SurfaceArea"):
        assert found[name] == pytest.approx(float(expected[name]), rel=1e-12)
