"""One patient under several masks: the same features, from one image; what fails is missing."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from client.cohort.manifest import Case
from client.images.volumes import Volume, read_case, read_pair, with_mask
from client.radiomics import ibsi
from client.radiomics.features import extract, extracted_names
from client.radiomics.ibsi import features_of_masks, ibsi_features
from client.radiomics.perturb import Mask
from client.radiomics.readings import extract_readings, redrawn_masks
from shared.phases import Phase
from shared.radiomics_settings import Radiomics
from tests.conftest import write_image

PHASES: tuple[Phase, ...] = ("corticomedullary", "excretory")
FAMILIES = ("shape", "firstorder", "glcm")
PLAIN = Radiomics(spacing_mm=(2.0, 1.0, 1.0), classes=FAMILIES)
FILTERED = PLAIN.model_copy(update={"log_sigma_mm": (1.5,), "wavelet": "coif1"})
NO_FILES = Case("B-0031", 2, None, 0, {}, {}, {})


def ball(*, radius: float = 7.0, phase: int = 0, at: tuple[int, int] = (20, 19)) -> Volume:
    z, y, x = np.mgrid[:16, :40, :40]
    mask = (2 * (z - 7.5)) ** 2 + (y - at[0]) ** 2 + (x - at[1]) ** 2 < radius**2
    noise = np.random.default_rng(3 + phase).normal(0, 20, mask.shape)
    image = np.where(mask, 60, -100) + noise
    return Volume(np.float32(np.round(image)), mask, (2.0, 1.0, 1.0), (0, 0, 0), "", 1)


def row_under(volumes: Mapping[Phase, Volume], settings: Radiomics) -> np.ndarray:
    return np.array(list(extract(NO_FILES, volumes, phases=PHASES, settings=settings).values()))


def both_phases() -> dict[Phase, Volume]:
    return {phase: ball(phase=i) for i, phase in enumerate(PHASES)}


def drawn(volumes: Mapping[Phase, Volume]) -> dict[Phase, Mask]:
    return {phase: volume.mask for phase, volume in volumes.items()}


def test_without_filters_a_reading_is_the_row_of_a_patient_with_that_mask() -> None:
    """The row is computed by itself, on the image around that mask alone."""
    volumes = both_phases()
    masks = redrawn_masks(NO_FILES, volumes, 5, seed=1)
    found = extract_readings(NO_FILES, volumes, masks, phases=PHASES, settings=PLAIN)
    for row, other in zip(found, masks, strict=True):
        alone = {phase: replace(volume, mask=other[phase]) for phase, volume in volumes.items()}
        np.testing.assert_array_equal(row, row_under(alone, PLAIN))
    assert len({row.tobytes() for row in found}) == 5


def test_with_filters_it_is_so_but_for_what_a_filter_feels_of_a_wider_margin() -> None:
    volumes = both_phases()
    masks = redrawn_masks(NO_FILES, volumes, 3, seed=1)
    found = extract_readings(NO_FILES, volumes, masks, phases=PHASES, settings=FILTERED)
    for row, other in zip(found, masks, strict=True):
        alone = {phase: replace(volume, mask=other[phase]) for phase, volume in volumes.items()}
        np.testing.assert_allclose(row, row_under(alone, FILTERED), rtol=5e-3)


def test_the_mask_as_drawn_read_alone_is_the_patients_row_to_the_bit() -> None:
    volumes = both_phases()
    (row,) = extract_readings(NO_FILES, volumes, [drawn(volumes)], phases=PHASES, settings=FILTERED)
    np.testing.assert_array_equal(row, row_under(volumes, FILTERED))


def test_an_image_is_filtered_once_for_all_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def counted(image: object, settings: Radiomics) -> object:
        calls.append(1)
        return wavelets(image, settings)

    wavelets = ibsi.wavelet_images
    monkeypatch.setattr(ibsi, "wavelet_images", counted)
    volumes = both_phases()
    masks = redrawn_masks(NO_FILES, volumes, 5, seed=1)
    extract_readings(NO_FILES, volumes, masks, phases=PHASES, settings=FILTERED)
    assert len(calls) == len(PHASES)


def test_a_mask_of_no_use_gives_missing_numbers_and_spoils_no_other() -> None:
    volume = ball()
    speck = np.zeros_like(volume.mask)
    speck[7, 20, 19] = True
    small, whole = features_of_masks(volume, [speck, volume.mask], PLAIN)
    assert small == {}
    assert whole == ibsi_features(volume, PLAIN)
    (row,) = extract_readings(
        NO_FILES, {"excretory": volume}, [{"excretory": speck}], phases=PHASES, settings=PLAIN
    )
    assert np.isnan(row).all()


def test_a_mask_on_which_the_engine_fails_spoils_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    volumes = both_phases()
    fine = drawn(volumes)
    bad = redrawn_masks(NO_FILES, volumes, 2, seed=1)[0]
    n_bad = np.count_nonzero(bad["excretory"])

    def failing(roi: object, engine: object) -> dict[str, float]:
        if np.count_nonzero(roi.mask) == n_bad:  # type: ignore[attr-defined]
            raise ValueError("no mesh")
        return shape(roi, engine)

    shape = ibsi._shape_features
    monkeypatch.setattr(ibsi, "_shape_features", failing)
    found = extract_readings(NO_FILES, volumes, [bad, fine], phases=PHASES, settings=PLAIN)
    assert np.isnan(found[0]).sum() > 0
    np.testing.assert_array_equal(found[1], row_under(volumes, PLAIN))


def test_a_phase_without_another_mask_is_missing_in_that_reading() -> None:
    volumes = both_phases()
    masks = {"excretory": volumes["excretory"].mask}
    (row,) = extract_readings(NO_FILES, volumes, [masks], phases=PHASES, settings=PLAIN)
    names = np.array(extracted_names(PHASES, PLAIN))
    missing = set(names[np.isnan(row)])
    assert missing == {name for name in names if name.startswith("corticomedullary")}


def test_phases_on_one_grid_are_redrawn_alike_and_others_by_themselves() -> None:
    volumes = both_phases()
    elsewhere = replace(ball(), origin_mm=(0.0, 0.0, 50.0), mask=ball(radius=9.0).mask)
    volumes["nephrographic"] = elsewhere
    for masks in redrawn_masks(NO_FILES, volumes, 5, seed=1):
        np.testing.assert_array_equal(masks["corticomedullary"], masks["excretory"])
        assert masks["nephrographic"].sum() > masks["excretory"].sum()
    one = redrawn_masks(NO_FILES, {"excretory": ball()}, 5, seed=1)
    again = redrawn_masks(NO_FILES, both_phases(), 5, seed=1)
    for few, many in zip(one, again, strict=True):
        np.testing.assert_array_equal(few["excretory"], many["excretory"])


@pytest.mark.parametrize(
    "direction",
    [(1, 0, 0, 0, 1, 0, 0, 0, 1), (-1, 0, 0, 0, -1, 0, 0, 0, 1), (0, 0, 1, 1, 0, 0, 0, -1, 0)],
    ids=["LPS", "RAS", "coronal"],
)
def test_another_mask_goes_back_into_the_files_own_axes(
    tmp_path: Path, direction: tuple[float, ...]
) -> None:
    volume = ball(at=(12, 25))
    options = {"spacing": (1.0, 1.3, 2.0), "origin": (5.0, -3.0, 7.0), "direction": direction}
    image = write_image(tmp_path / "i.nii.gz", volume.image.astype(np.int16), **options)
    mask = write_image(tmp_path / "m.nii.gz", volume.mask.astype(np.uint8), **options)
    case = Case("B-0031", 2, None, 0, {"excretory": image}, {"excretory": mask}, {})
    pair, turned = read_pair(case, "excretory"), read_case(case, "excretory")
    back = with_mask(pair, turned.mask)
    np.testing.assert_array_equal(
        sitk.GetArrayFromImage(back.mask), sitk.GetArrayFromImage(pair.mask)
    )
    assert back.mask.GetDirection() == pair.mask.GetDirection()
    assert back.mask.GetOrigin() == pair.mask.GetOrigin()


def test_mode_pyradiomics_reads_the_stored_files_under_the_other_mask(
    reference_data: Callable[[str], Path], tmp_path: Path
) -> None:
    image, mask = (reference_data(f"sts/STS_008/CT_{what}.nii.gz") for what in ("image", "mask"))
    case = Case("STS_008", 2, None, 0, {"excretory": image}, {"excretory": mask}, {})
    settings = Radiomics(mode="pyradiomics", spacing_mm=(3.0, 2.0, 2.0), classes=FAMILIES)
    volumes: dict[Phase, Volume] = {"excretory": read_case(case, "excretory")}
    masks = redrawn_masks(case, volumes, 2, seed=1)
    found = extract_readings(case, volumes, masks, phases=("excretory",), settings=settings)
    for i, row in enumerate(found):
        stored = with_mask(read_pair(case, "excretory"), masks[i]["excretory"]).mask
        sitk.WriteImage(stored, str(tmp_path / f"{i}.nii.gz"))
        other = replace(case, masks={"excretory": tmp_path / f"{i}.nii.gz"})
        expected = extract(other, volumes, phases=("excretory",), settings=settings)
        np.testing.assert_array_equal(row, list(expected.values()))
