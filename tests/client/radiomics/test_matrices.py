"""The texture matrices against PyRadiomics' own C code, on ROIs of every kind."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from client.radiomics import matrices
from client.radiomics.engine import PYRADIOMICS, feature_classes, feature_names_of
from client.radiomics.matrices import pack

TEXTURES = ("glcm", "glrlm", "glszm", "gldm", "ngtdm")
SHAPES = {
    "full box": np.ones((4, 5, 6), dtype=bool),
    "noise": np.random.default_rng(1).random((7, 6, 9)) < 0.5,
    "dust": np.random.default_rng(2).random((9, 8, 7)) < 0.04,
    "one slice": np.ones((1, 6, 5), dtype=bool),
    "one row of slices": np.ones((5, 1, 4), dtype=bool),
    "one column": np.ones((4, 5, 1), dtype=bool),
    "two by two": np.ones((2, 2, 2), dtype=bool),
    "two corners": np.isin(np.arange(60), [0, 59]).reshape(3, 4, 5),
    "checkers": np.indices((6, 5, 7)).sum(axis=0) % 2 == 0,
    "line": np.ones((1, 1, 8), dtype=bool),
}
each_shape = pytest.mark.parametrize("mask", SHAPES.values(), ids=SHAPES.keys())
each_range = pytest.mark.parametrize("n_levels", [1, 3, 12, 400], ids=lambda n: f"{n} levels")


def levels_in(mask: NDArray[np.bool_], n_levels: int) -> NDArray[np.int64]:
    """Levels with gaps, and neighbours that often share one; the first corner has the highest."""
    rng = np.random.default_rng(n_levels)
    drawn = np.repeat(rng.integers(1, n_levels + 1, mask.shape), 2, axis=2)[:, :, : mask.shape[2]]
    drawn[drawn == 2] = 1
    return np.where(mask, drawn, 0)


@each_shape
@each_range
def test_matrices_are_bit_for_bit_those_of_the_c_code(
    mask: NDArray[np.bool_], n_levels: int
) -> None:
    from radiomics import cMatrices

    levels = levels_in(mask, n_levels)
    packed, highest, near = pack(levels, mask), int(levels.max()), np.array([1])
    rows = packed.present - 1

    def by_c(name: str, *arguments: Any) -> NDArray[np.float64]:
        found = getattr(cMatrices, f"calculate_{name}")(levels, mask.copy(), *arguments, False, 0)
        counts: NDArray[np.float64] = (found[0] if isinstance(found, tuple) else found)[0]
        return counts[rows]

    np.testing.assert_array_equal(
        matrices.cooccurrences(packed), by_c("glcm", near, highest)[:, rows]
    )
    if packed.steps and matrices.has_lines(packed):
        expected = by_c("glrlm", highest, max(mask.shape))
        np.testing.assert_array_equal(matrices.run_lengths(packed), expected)
    dependences = by_c("gldm", near, highest, 0)
    np.testing.assert_array_equal(
        matrices.dependences(packed)[:, : dependences.shape[1]], dependences[:, :27]
    )
    np.testing.assert_array_equal(matrices.tone_differences(packed), by_c("ngtdm", near, highest))
    counts, sizes = matrices.zones(packed)
    zones = by_c("glszm", highest, int(mask.sum()))
    np.testing.assert_array_equal(counts, zones[:, sizes - 1])
    assert counts.sum() == zones.sum()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@each_shape
@each_range
def test_features_are_those_of_the_classes_as_they_come(
    mask: NDArray[np.bool_], n_levels: int
) -> None:
    from client.images.volumes import to_itk

    levels, spacing = levels_in(mask, n_levels), (1.0, 1.0, 1.0)
    wanted = {family: feature_names_of(family) for family in TEXTURES}
    drawn = to_itk(mask.astype(np.uint8), spacing)
    expected = {}
    with np.errstate(all="ignore"):
        found = PYRADIOMICS.features(levels * 1.0, levels, mask, spacing, wanted)
        for family in TEXTURES:
            computed = feature_classes()[family](to_itk(levels, spacing), drawn, binWidth=1)
            computed.imageArray, computed.coefficients = (
                levels,
                {
                    "grayLevels": np.unique(levels[mask]),
                    "Ng": int(levels.max()),
                },
            )
            for name, value in computed.execute().items():
                number = complex(value).real
                expected[f"{family}__{name}"] = number if np.isfinite(number) else np.nan
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-9, nan_ok=True)
