"""Files that are cut off, changed or not what they say."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from client.images.integrity import damage

SUFFIXES = ["nii", "nii.gz", "nrrd"]


def store(path: Path) -> Path:
    values = np.random.default_rng(0).integers(-1000, 1000, (6, 20, 20)).astype(np.int16)
    sitk.WriteImage(sitk.GetImageFromArray(values), str(path), True)
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_whole_file_has_no_damage(tmp_path: Path, suffix: str) -> None:
    assert damage(store(tmp_path / f"ct.{suffix}")) is None


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_file_that_is_cut_off_is_found_out(tmp_path: Path, suffix: str, share: float) -> None:
    path = store(tmp_path / f"ct.{suffix}")
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert "again" in str(damage(path))


@pytest.mark.parametrize("suffix", ["nii.gz", "nrrd"])
def test_a_changed_byte_of_a_packed_file_is_found_out(tmp_path: Path, suffix: str) -> None:
    path = store(tmp_path / f"ct.{suffix}")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))
    assert "damaged" in str(damage(path))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_noise_is_found_out(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"ct.{suffix}"
    path.write_bytes(np.random.default_rng(1).bytes(5000))
    assert damage(path) is not None


def test_a_packed_file_beside_its_unpacked_namesake_is_refused(tmp_path: Path) -> None:
    """ITK's NIfTI reader takes the voxels of the one when it is asked for the other."""
    store(tmp_path / "ct.nii")
    assert "lies beside ct.nii" in str(damage(store(tmp_path / "ct.nii.gz")))


def test_big_endian_headers_are_understood(tmp_path: Path) -> None:
    path = tmp_path / "ct.nii"
    header = bytearray(352)
    header[0:4] = (348).to_bytes(4, "big")
    header[40:48] = b"".join(n.to_bytes(2, "big") for n in (3, 2, 2, 2))
    header[72:74] = (16).to_bytes(2, "big")
    header[108:112] = np.array(352, dtype=">f4").tobytes()
    path.write_bytes(bytes(header) + bytes(16))
    assert damage(path) is None
    path.write_bytes(bytes(header) + bytes(15))
    assert "holds 367 bytes, its header says 368" in str(damage(path))


def test_nothing_follows_a_missing_file(tmp_path: Path) -> None:
    assert "cannot be read" in str(damage(tmp_path / "gone.nii"))


@pytest.mark.parametrize("suffix", ["nii", "nii.gz"])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("size", [2, 40])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_not_finite_is_found_out(
    tmp_path: Path, suffix: str, kind: type, size: int, value: float
) -> None:
    """ITK's NIfTI reader takes it for 0."""
    path, values = tmp_path / f"ct.{suffix}", np.zeros((size,) * 3, dtype=kind)
    sitk.WriteImage(sitk.GetImageFromArray(values), str(path))
    assert damage(path) is None
    values[-1, -1, -1] = value
    sitk.WriteImage(sitk.GetImageFromArray(values), str(path))
    assert "not finite" in str(damage(path))
