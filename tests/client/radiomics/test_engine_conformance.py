"""What every engine must pass: IBSI's consensus values, and PyRadiomics' own on a made-up ROI.

A new engine is one more entry of `ENGINES`.
"""

import numpy as np
import pytest

from client.images.volumes import Volume, to_itk
from client.radiomics.engine import PYRADIOMICS, FeatureEngine, feature_classes, feature_names_of
from client.radiomics.features import ibsi_features
from shared.radiomics_settings import Radiomics
from tests.ibsi_values import IBSI, off

ENGINES: dict[str, FeatureEngine] = {"pyradiomics": PYRADIOMICS}
FAMILIES = ("firstorder", "glcm", "glrlm", "glszm", "gldm", "ngtdm")
SPACING = (2.0, 1.0, 1.5)
each_engine = pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES.keys())


@each_engine
def test_the_digital_phantom_has_the_consensus_values(engine: FeatureEngine) -> None:
    phantom = IBSI["digital_phantom"]
    mask, spacing = np.array(phantom["mask"], dtype=bool), (2.0, 2.0, 2.0)
    volume = Volume(np.float32(phantom["levels"]), mask, spacing, (0, 0, 0), "", 1)
    settings = Radiomics(spacing_mm=spacing, bin_width_hu=1.0)
    assert off(ibsi_features(volume, settings, engine=engine), "digital_phantom") == {}


def made_up_roi(n_levels: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image, levels with gaps, and a mask that fills its box only in part."""
    rng = np.random.default_rng(11)
    z, y, x = np.mgrid[:9, :14, :13]
    mask = (z - 4) ** 2 / 16 + (y - 6.5) ** 2 / 42 + (x - 6) ** 2 / 36 <= 1
    levels = np.where(mask, rng.integers(1, n_levels + 1, mask.shape), 0)
    levels[levels == 3] = 4
    return levels * 25.0 + rng.uniform(-12, 12, mask.shape), levels, mask


@each_engine
@pytest.mark.parametrize("n_levels", [1, 2, 9, 60], ids=lambda n: f"{n} levels")
def test_features_are_those_of_pyradiomics_on_the_same_levels(
    engine: FeatureEngine, n_levels: int
) -> None:
    image, levels, mask = made_up_roi(n_levels)
    wanted = {family: feature_names_of(family) for family in FAMILIES}
    with np.errstate(all="ignore"):
        found = engine.features(image, levels, mask, SPACING, wanted)
        expected = {}
        drawn = to_itk(mask.astype(np.uint8), SPACING)
        for family in FAMILIES:
            binned = {"binWidth": 1} if family != "firstorder" else {"binWidth": 25}
            values = image if family == "firstorder" else levels.astype(float)
            computed = feature_classes()[family](to_itk(values, SPACING), drawn, label=1, **binned)
            for name, value in computed.execute().items():
                expected[f"{family}__{name}"] = float(np.real(value))
    shifted = {"firstorder__Entropy", "firstorder__Uniformity"}
    assert set(found) == set(expected)
    kept = {name: value for name, value in found.items() if name not in shifted}
    assert kept == pytest.approx(
        {name: expected[name] for name in kept}, rel=1e-9, abs=1e-9, nan_ok=True
    )


@each_engine
def test_the_histogram_counts_the_levels(engine: FeatureEngine) -> None:
    image, levels, mask = made_up_roi(9)
    names = {"firstorder": ("Entropy", "Uniformity")}
    found = engine.features(image, levels, mask, SPACING, names)
    share = np.unique(levels[mask], return_counts=True)[1] / np.count_nonzero(mask)
    expected = [-(share * np.log2(share)).sum(), (share**2).sum()]
    assert list(found.values()) == pytest.approx(expected, rel=1e-9)


@each_engine
def test_shape_is_that_of_pyradiomics(engine: FeatureEngine) -> None:
    _, _, mask = made_up_roi(2)
    drawn = to_itk(mask.astype(np.uint8), SPACING)
    expected = feature_classes()["shape"](drawn, drawn, label=1).execute()
    assert engine.shape(mask, SPACING) == pytest.approx(
        {name: float(np.real(value)) for name, value in expected.items()}, rel=1e-9
    )


@each_engine
def test_only_what_is_wanted_is_computed_and_nothing_is_changed(engine: FeatureEngine) -> None:
    image, levels, mask = made_up_roi(9)
    before = image.copy(), levels.copy(), mask.copy()
    wanted = {"glszm": ("ZoneEntropy",), "firstorder": ("Mean", "Median")}
    found = engine.features(image, levels, mask, SPACING, wanted)
    assert set(found) == {"glszm__ZoneEntropy", "firstorder__Mean", "firstorder__Median"}
    for array, copy in zip((image, levels, mask), before, strict=True):
        np.testing.assert_array_equal(array, copy)
