"""Radiomics against IBSI's consensus values, against PyRadiomics itself, and its own promises."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from client.cohort.manifest import Case
from client.images.volumes import Volume, read_case, to_itk
from client.radiomics.engine import plain_extractor
from client.radiomics.features import (
    extract,
    extract_ranges,
    extracted_names,
    feature_names,
    ibsi_features,
    with_deltas,
)
from client.radiomics.ibsi import discretise
from shared.errors import ConfigError, ImageError, InstallError
from shared.phases import Phase
from shared.radiomics_settings import Radiomics

PHASE: Phase = "nephrographic"
FindData = Callable[[str], Path]


def case_of(image: Path, mask: Path) -> Case:
    return Case("B-0031", 2, None, 0, {PHASE: image}, {PHASE: mask}, {})


REAL_CASES = ["pyradiomics/lung1", "sts/STS_002/CT", "sts/STS_003/CT", "sts/STS_008/CT"]


def real_case(reference_data: FindData, stem: str) -> Case:
    lung = stem.startswith("pyradiomics")
    image, mask = ("image.nrrd", "label.nrrd") if lung else ("image.nii.gz", "mask.nii.gz")
    return case_of(reference_data(f"{stem}_{image}"), reference_data(f"{stem}_{mask}"))


@pytest.mark.parametrize("stem", REAL_CASES)
def test_mode_pyradiomics_gives_what_a_direct_call_gives(
    reference_data: FindData, stem: str
) -> None:
    from radiomics.featureextractor import RadiomicsFeatureExtractor

    case = real_case(reference_data, stem)
    settings = Radiomics(mode="pyradiomics", spacing_mm=(3.0, 1.5, 1.5), log_sigma_mm=(2.0,))
    row = extract(case, {PHASE: read_case(case, PHASE)}, phases=(PHASE,), settings=settings)

    direct = RadiomicsFeatureExtractor(binWidth=25, resampledPixelSpacing=[1.5, 1.5, 3.0])
    direct.enableImageTypeByName("LoG", customArgs={"sigma": [2.0], "binWidth": 10})
    values = direct.execute(str(case.images[PHASE]), str(case.masks[PHASE]))
    expected = {n: float(v) for n, v in values.items() if not n.startswith("diagnostics")}
    found = {
        name.removeprefix(f"{PHASE}__")
        .replace("log_2mm", "log-sigma-2-0-mm-3D")
        .replace("__", "_"): value
        for name, value in row.items()
    }
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)


def ball(*, noise: float = 20.0, hu: float = 60.0) -> Volume:
    z, y, x = np.mgrid[:12, :28, :28]
    mask = (2 * (z - 5.5)) ** 2 + (y - 14) ** 2 + (x - 13) ** 2 < 49
    image = np.where(mask, hu, -100) + np.random.default_rng(3).normal(0, noise, mask.shape)
    return Volume(np.float32(np.round(image)), mask, (2.0, 1.0, 1.0), (0, 0, 0), "", 1)


FILTERS = Radiomics(
    spacing_mm=(2.0, 1.0, 1.0),
    log_sigma_mm=(1.5, 2.0),
    wavelet="coif1",
    classes=("shape", "firstorder", "glcm"),
)
NO_FILES = Case("B-0031", 2, None, 0, {}, {}, {})


def test_columns_are_phase_filter_family_feature() -> None:
    names = feature_names(("corticomedullary", "excretory"), FILTERS)
    assert "corticomedullary__original__shape__Sphericity" in names
    assert "excretory__log_1.5mm__glcm__Contrast" in names
    assert "excretory__wavelet_LLH__firstorder__Mean" in names
    assert len(set(names)) == len(names)


def test_shape_stands_once_under_the_first_phase() -> None:
    names = feature_names(("corticomedullary", "excretory"), FILTERS)
    shape = {name.split("__")[0] for name in names if "__shape__" in name}
    assert shape == {"corticomedullary"}


def test_every_column_is_computed() -> None:
    found = ibsi_features(ball(), FILTERS)
    assert {f"{PHASE}__{name}" for name in found} == set(feature_names((PHASE,), FILTERS))
    assert np.isfinite(list(found.values())).all()
    assert len(FILTERS.filter_names) == 11


def test_a_phase_that_is_missing_is_nan_and_shape_stays() -> None:
    phases: tuple[Phase, ...] = ("corticomedullary", "excretory")
    row = extract(NO_FILES, {"excretory": ball()}, phases=phases, settings=FILTERS)
    assert tuple(row) == feature_names(phases, FILTERS)
    missing = {name for name, value in row.items() if np.isnan(value)}
    assert missing == {n for n in row if n.startswith("corticomedullary") and "shape" not in n}


def test_a_width_for_each_image_is_that_width_and_no_other_image_changes() -> None:
    widths = dict.fromkeys(FILTERS.filtered_names, 10.0) | {"wavelet_LLH": 2.0}
    own = FILTERS.model_copy(update={"bin_width_filtered_hu": widths})
    narrow = FILTERS.model_copy(update={"bin_width_filtered_hu": 2.0})
    found, usual, narrowed = (ibsi_features(ball(), s) for s in (own, FILTERS, narrow))
    for name, value in found.items():
        expected = narrowed if name.startswith("wavelet_LLH__") else usual
        assert value == expected[name], name
    assert found != usual


def test_a_width_that_is_to_be_learnt_is_asked_for() -> None:
    learnt = FILTERS.model_copy(update={"bin_width_filtered_hu": "learnt"})
    with pytest.raises(ConfigError, match=r"study-frozen.yaml of a run"):
        ibsi_features(ball(), learnt)


def test_the_range_of_a_filtered_image_is_that_of_most_of_its_voxels() -> None:
    settings = FILTERS.model_copy(update={"log_sigma_mm": (), "classes": ("firstorder",)})
    ranges = extract_ranges(NO_FILES, {PHASE: ball()}, settings=settings)
    features = ibsi_features(ball(), settings)
    for name, value in zip(settings.filtered_names, ranges, strict=True):
        whole = features[f"{name}__firstorder__Range"]
        inner = features[f"{name}__firstorder__90Percentile"]
        inner -= features[f"{name}__firstorder__10Percentile"]
        assert inner < value <= whole


def test_the_range_of_a_patient_is_the_mean_over_his_phases() -> None:
    bright = replace(ball(), image=ball().image * 2)
    one, other, both = (
        extract_ranges(NO_FILES, found, settings=FILTERS)
        for found in ({PHASE: ball()}, {PHASE: bright}, {PHASE: ball(), "excretory": bright})
    )
    np.testing.assert_allclose(both, (one + other) / 2, rtol=1e-12)


def test_a_difference_of_phases_is_the_later_less_the_earlier_of_every_feature_but_shape() -> None:
    phases: tuple[Phase, ...] = ("corticomedullary", "excretory")
    settings = Radiomics(
        classes=("shape", "firstorder"), deltas=(("excretory", "corticomedullary"),)
    )
    extracted, names = extracted_names(phases, settings), feature_names(phases, settings)
    rows = np.random.default_rng(1).normal(size=(3, len(extracted)))
    rows[2, extracted.index("excretory__original__firstorder__Mean")] = np.nan
    table = dict(zip(names, with_deltas(rows, phases, settings).T, strict=True))
    differences = [name for name in names if "_minus_" in name]
    assert len(differences) == sum("excretory" in name for name in extracted)
    assert not any("__shape__" in name for name in differences)
    for name in differences:
        what = name.removeprefix("excretory_minus_corticomedullary__")
        expected = table[f"excretory__{what}"] - table[f"corticomedullary__{what}"]
        np.testing.assert_array_equal(table[name], expected)
    mean = table["excretory_minus_corticomedullary__original__firstorder__Mean"]
    assert list(np.isnan(mean)) == [False, False, True]


def test_the_stored_number_type_does_not_change_a_feature() -> None:
    """PyRadiomics' own resampling cuts fractions of HU off where a file stores whole numbers."""
    settings = FILTERS.model_copy(update={"spacing_mm": (1.5, 0.7, 0.7)})
    volume = ball()
    assert volume.image.dtype == np.float32
    as_stored = ibsi_features(volume, settings)
    whole = Volume(volume.image.astype(np.int16), volume.mask, (2.0, 1.0, 1.0), (0, 0, 0), "", 1)  # type: ignore[arg-type]
    assert ibsi_features(whole, settings) == as_stored


def test_the_padding_is_wide_enough_for_the_filters(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = FILTERS.model_copy(update={"spacing_mm": (1.0, 1.0, 1.0)})
    narrow = ibsi_features(ball(), settings)
    monkeypatch.setattr("client.radiomics.ibsi.LOG_REACH", 30.0)
    monkeypatch.setattr("client.radiomics.ibsi.WAVELET_REACH", 40)
    wide = ibsi_features(ball(), settings)
    assert narrow == pytest.approx(wide, rel=2e-3)


def test_grey_levels_start_at_the_ranges_lower_bound() -> None:
    image = np.array([[[-49.0, -26.0, -25.0, 0.0, 99.0]]])
    mask = np.array([[[True, True, True, True, False]]])
    assert discretise(image, mask, width=25, low=-50).tolist() == [[[1, 1, 2, 3, 0]]]
    assert discretise(image, mask, width=20).tolist() == [[[1, 2, 2, 4, 0]]]


def test_values_outside_the_range_leave_the_intensities_but_not_the_shape() -> None:
    ranged = FILTERS.model_copy(update={"resegment_hu": (40.0, 80.0)})
    free, kept = ibsi_features(ball(), FILTERS), ibsi_features(ball(), ranged)
    assert kept["original__shape__VoxelVolume"] == free["original__shape__VoxelVolume"]
    assert kept["original__firstorder__Minimum"] >= 40
    assert kept["original__firstorder__Maximum"] <= 80


@pytest.mark.parametrize("box", [(3, 6, 6), (1, 6, 6), (1, 1, 20), (12, 28, 28)])
@pytest.mark.parametrize("noise", [0.0, 80.0])
def test_thin_flat_and_huge_rois_have_features(box: tuple[int, int, int], noise: float) -> None:
    volume = ball(noise=noise, hu=-100)
    volume.mask[:] = False
    volume.mask[tuple(slice(0, n) for n in box)] = True
    assert len(ibsi_features(volume, FILTERS)) == len(feature_names((PHASE,), FILTERS))


def test_a_roi_that_vanishes_is_refused_naming_the_patient() -> None:
    ranged = FILTERS.model_copy(update={"resegment_hu": (500.0, 600.0)})
    with pytest.raises(ImageError, match=r"B-0031, nephrographic: .*the ROI has 0 voxels"):
        extract(NO_FILES, {PHASE: ball()}, phases=(PHASE,), settings=ranged)


def test_without_pyradiomics_the_error_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "radiomics", None)
    with pytest.raises(InstallError, match="pip install --no-build-isolation pyradiomics"):
        feature_names((PHASE,), FILTERS)


def test_the_plain_extractor_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    image = to_itk(ball().image, (2.0, 1.0, 1.0))
    mask = to_itk(ball().mask.astype(np.uint8), (2.0, 1.0, 1.0))
    plain_extractor(FILTERS).execute(image, mask)
    ibsi_features(ball(), FILTERS)
    assert capsys.readouterr() == ("", "")
