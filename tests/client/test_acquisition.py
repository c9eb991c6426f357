"""How images were acquired, against the bytes of NIfTI and pydicom; and what never leaves."""

import csv
import gzip
import struct
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pydicom
import pytest

from client.acquisition import acquired
from client.images.headers import UNREADABLE, header_of
from client.site import Site, open_site
from client.stages.describe_cohort import describe
from shared.acquisition import Acquisition, Census
from shared.codec import pack
from shared.config import Study
from tests.conftest import write_csv, write_image
from tests.dicom_made import made_ct, write_series
from tests.site_policies import write_policy

MakeSite = Callable[..., Path]
KVP = ("120", "120", "120", "120", "100", "100", "100", "80")
SPACINGS = [(0.7 + 0.01 * i, 0.7 + 0.01 * i, 1.5 + 0.25 * i) for i in range(8)]


def allow(site_file: Path, least: int) -> Path:
    """Let the site tell of no fewer patients."""
    write_policy(site_file, f"release: {{min_cell: {least}}}\n")
    return site_file


@pytest.fixture
def nifti(tmp_path: Path, make_site: MakeSite) -> Path:
    """Eight patients, whose nephrographic images differ in spacing."""
    site_file = make_site(tmp_path, n=8)
    for i, spacing in enumerate(SPACINGS):
        path = tmp_path / "images" / f"P{i:03d}_nephrographic.nii.gz"
        write_image(path, np.zeros((4, 5, 6), dtype=np.int16), spacing=spacing)
    return allow(site_file, 3)


@pytest.fixture
def dicom(tmp_path: Path, make_site: MakeSite) -> Path:
    """The same with series of DICOM as nephrographic images, whose headers people wrote in."""
    site_file = make_site(tmp_path, n=8)
    with (tmp_path / "manifest.csv").open() as file:
        rows = list(csv.DictReader(file))
    for i, row in enumerate(rows):
        mine = ("SIEMENS", "Br40d") if i < 4 else ("Dr Smith's scanner, P001", "Smith P001")

        def change(_z: int, one: Any, i: int = i, mine: tuple[str, str] = mine) -> None:
            one.Manufacturer, one.ConvolutionKernel = mine[0], [mine[1], "3"]
            one.KVP = KVP[i]

        folder = tmp_path / "images" / f"S{i}"
        write_series(folder, made_ct(), spacing=SPACINGS[i], change=change)
        row["image_nephrographic"] = f"images/S{i}"
    write_csv(tmp_path / "manifest.csv", rows)
    return allow(site_file, 3)


def pixdim(path: Path) -> tuple[float, ...]:
    """The spacing (x, y, z) in a NIfTI file: `pixdim`, eight float32 from byte 76 (nifti1.h)."""
    with gzip.open(path) as file:
        return struct.unpack("<8f", file.read(108)[76:])[1:4]


def of(site_file: Path, study: Study) -> tuple[Site, Acquisition]:
    site = open_site(site_file, study)
    return site, acquired(site)["nephrographic"]


def test_spacings_are_those_that_the_nifti_headers_hold(nifti: Path, study: Study) -> None:
    site, told = of(nifti, study)
    zooms = [pixdim(case.images["nephrographic"]) for case in site.everyone]
    table = np.array([[(x + y) / 2, z] for x, y, z in zooms], dtype=np.float64)
    assert told.n_images == 8
    np.testing.assert_array_equal(told.spacing.n, 8)
    np.testing.assert_allclose(told.spacing.mean, table.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(told.spacing.sd, table.std(axis=0, ddof=1), rtol=1e-5)
    assert told.kvp == told.manufacturer == told.kernel == Census({"not stated": 8}, 0)


def test_spacings_and_words_of_dicom_are_those_that_pydicom_reads(
    dicom: Path, study: Study
) -> None:
    site, told = of(dicom, study)
    table, kvp = [], []
    for case in site.everyone:
        slices = [pydicom.dcmread(file) for file in case.images["nephrographic"].iterdir()]
        z = np.sort([float(one.ImagePositionPatient[2]) for one in slices])
        table.append([np.mean(slices[0].PixelSpacing), np.diff(z).mean()])
        kvp.append(f"{slices[0].KVP:g}")
    np.testing.assert_allclose(told.spacing.mean, np.mean(table, axis=0), rtol=1e-9)
    np.testing.assert_allclose(told.spacing.sd, np.std(table, axis=0, ddof=1), rtol=1e-6)
    assert sorted(kvp) == sorted(KVP)
    assert told.kvp == Census({"120": kvp.count("120")}, 4)
    assert told.manufacturer == Census({"Siemens": 4}, 4)
    assert told.kernel == Census({"Br40d": 4}, 4)


def test_a_single_patients_voltage_is_told_with_others(dicom: Path, study: Study) -> None:
    told = of(dicom, study)[1]
    assert not {"80", "100"} & set(told.kvp.counts)
    everything = of(allow_all(dicom), study)[1]
    assert everything.kvp == Census({"100": 3, "120": 4, "80": 1}, 0)


def allow_all(site_file: Path) -> Path:
    return allow(site_file, 1)


def test_free_text_of_a_header_neither_leaves_nor_is_kept(dicom: Path, study: Study) -> None:
    site = open_site(allow_all(dicom), study)
    bench: Any = SimpleNamespace(site=site, study=study)
    packed = pack(describe(bench, (site.training, site.tuning, site.internal_test)))
    assert "Br40d" in packed.text
    kept = b"".join(file.read_bytes() for file in site.cache_folder.rglob("*.npy"))
    assert b"".join(letter.encode("utf-32-le") for letter in "Br40d") in kept
    for word in ("Smith", "P001", "scanner", "Canary", "CANARY"):
        assert word not in packed.text
        assert word.encode("utf-32-le") not in kept


def test_a_header_that_cannot_be_read_counts_as_unknown(nifti: Path, study: Study) -> None:
    (nifti.parent / "images" / "P003_nephrographic.nii.gz").write_bytes(b"no image")
    told = of(nifti, study)[1]
    assert (told.n_images, told.spacing.n.tolist()) == (8, [7, 7])
    assert told.kvp == Census({"not stated": 8}, 0)


def test_of_too_few_images_only_the_number_is_told(nifti: Path, study: Study) -> None:
    allow(nifti, 9)
    told = of(nifti, study)[1]
    assert (told.n_images, told.spacing.n.tolist(), told.spacing.mean.tolist()) == (
        8,
        [0, 0],
        [0, 0],
    )
    assert told.kvp == told.manufacturer == told.kernel == Census({}, 8)


def test_what_was_read_once_is_not_read_again(
    nifti: Path, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = of(nifti, study)[1]
    with monkeypatch.context() as patch:
        patch.setattr("client.acquisition.header_of", lambda _: pytest.fail("read again"))
        again = of(nifti, study)[1]
    np.testing.assert_array_equal(first.spacing.m2, again.spacing.m2)
    (nifti.parent / "images" / "P003_nephrographic.nii.gz").write_bytes(
        b"no image, and another size"
    )
    assert of(nifti, study)[1].spacing.n.tolist() == [7, 7]


def test_no_pixel_is_read_for_it(
    dicom: Path, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("client.prepare.volumes.read_case", lambda *_, **__: pytest.fail("opened"))
    assert of(dicom, study)[1].spacing.n.tolist() == [8, 8]


def test_slices_are_along_the_body_however_a_volume_is_stored(tmp_path: Path) -> None:
    sagittal = (0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    path = write_image(
        tmp_path / "one.nii.gz",
        np.zeros((3, 4, 5), dtype=np.int16),
        spacing=(0.6, 4.0, 0.8),
        direction=sagittal,
    )
    found = header_of(path)
    assert (found.in_plane_mm, found.slice_mm) == pytest.approx((0.7, 4.0))


def test_a_header_without_words_or_with_nonsense_says_so(tmp_path: Path) -> None:
    def change(_z: int, one: Any) -> None:
        del one.Manufacturer
        one.KVP, one.ConvolutionKernel = "", None

    bare = header_of(write_series(tmp_path / "bare", made_ct(), change=change))
    assert (bare.kvp, bare.manufacturer, bare.kernel) == ("not stated",) * 3

    def large(_z: int, one: Any) -> None:
        one.KVP = "120000"

    odd = header_of(write_series(tmp_path / "odd", made_ct(), change=large))
    assert (odd.kvp, odd.manufacturer) == ("", "")
    assert header_of(tmp_path / "nothing.txt") is UNREADABLE
    (tmp_path / "empty").mkdir()
    assert header_of(tmp_path / "empty") is UNREADABLE
