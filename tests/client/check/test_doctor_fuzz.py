"""Files with bytes overwritten, turned over or cut off: read or refused in words, nothing else."""

import gzip
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from client.cohort.manifest import Case
from client.images.volumes import read_pair, use_one_thread
from shared.errors import ImageError
from tests.dicom_made import made_ct, made_roi, outline, write_rtstruct, write_seg, write_series

PHASE = "nephrographic"
CHANGES = st.lists(
    st.tuples(st.floats(0, 1), st.sampled_from(["set", "flip", "fill"]), st.integers(0, 255)),
    min_size=1,
    max_size=6,
)
KEPT = st.one_of(st.just(1.0), st.just(1.0), st.floats(0, 1))
fuzz = settings(
    max_examples=100,
    deadline=20_000,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One small image and mask in every format."""
    use_one_thread()
    folder = tmp_path_factory.mktemp("sound")
    for suffix in ("nii", "nrrd"):
        for name, values in (("ct", made_ct()), ("roi", made_roi().astype(np.uint8))):
            sitk.WriteImage(sitk.GetImageFromArray(values), str(folder / f"{name}.{suffix}"))
    series = write_series(folder / "series", made_ct())
    write_rtstruct(folder / "rs.dcm", {"tumour": outline(made_roi())})
    write_seg(folder / "seg.dcm", made_roi(), series)
    return folder


@pytest.fixture(autouse=True)
def bounded_memory() -> Iterator[None]:
    """At most 3 GB more than now."""
    if sys.platform != "linux":
        yield
        return
    import resource

    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    now = pages * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + 3 * (1 << 30), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def mutated(content: bytes, changes: Any, kept: float, head: int) -> bytes:
    """Bytes changed at shares of the first `head` bytes; the rest cut off behind a share."""
    found = bytearray(content)
    for share, how, value in changes:
        at = min(int(share * head), len(found) - 1)
        if how == "fill":
            found[at : at + 4] = bytes([value] * 4)[: len(found) - at]
        else:
            found[at] = value if how == "set" else found[at] ^ (1 << value % 8)
    return bytes(found[: int(kept * len(found))])


def read(folder: Path, image: str, mask: str, *, roi: str = "") -> None:
    """A pair is read, or refused with the patient's id and the phase first."""
    paths = {PHASE: folder / image}, {PHASE: folder / mask}
    for lenient in (False, True):
        case = Case("B-0031", 14, None, 0, *paths, {}, roi=roi, resample_mask=lenient)
        refusal = refusal_of(case)
        assert refusal.startswith(f"B-0031, {PHASE}: ") or not refusal
        assert "canary" not in refusal.lower()


def refusal_of(case: Case) -> str:
    """Why a pair is refused; empty where it is read."""
    try:
        read_pair(case, PHASE)
    except ImageError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("which", ["ct", "roi"])
@pytest.mark.parametrize("suffix", ["nii", "nrrd"])
def test_headers_of_nifti_and_nrrd(sound: Path, tmp_path: Path, suffix: str, which: str) -> None:
    names = {name: f"{name}.{suffix}" for name in ("ct", "roi")}
    for name in names.values():
        shutil.copy(sound / name, tmp_path)
    content = (sound / names[which]).read_bytes()

    @fuzz
    @given(CHANGES, KEPT)
    def run(changes: Any, kept: float) -> None:
        (tmp_path / names[which]).write_bytes(mutated(content, changes, kept, head=400))
        read(tmp_path, names["ct"], names["roi"])

    run()


@pytest.mark.parametrize("inside", [True, False], ids=["inside", "outside"])
def test_packed_nifti(sound: Path, tmp_path: Path, inside: bool) -> None:
    shutil.copy(sound / "roi.nii", tmp_path)
    content = (sound / "ct.nii").read_bytes()
    packed = gzip.compress(content)

    @fuzz
    @given(CHANGES, KEPT)
    def run(changes: Any, kept: float) -> None:
        if inside:
            written = gzip.compress(mutated(content, changes, kept, head=352))
        else:
            written = mutated(packed, changes, kept, head=len(packed))
        (tmp_path / "ct.nii.gz").write_bytes(written)
        read(tmp_path, "ct.nii.gz", "roi.nii")

    run()


def test_a_slice_of_a_dicom_series(sound: Path, tmp_path: Path) -> None:
    shutil.copytree(sound / "series", tmp_path / "series")
    path = sorted((tmp_path / "series").iterdir())[2]
    content = path.read_bytes()

    @fuzz
    @given(CHANGES, KEPT)
    def run(changes: Any, kept: float) -> None:
        path.write_bytes(mutated(content, changes, kept, head=len(content)))
        read(tmp_path, "series", str(sound / "rs.dcm"), roi="tumour")

    run()


@pytest.mark.parametrize("name", ["rs.dcm", "seg.dcm"])
def test_masks_in_dicom(sound: Path, tmp_path: Path, name: str) -> None:
    content = (sound / name).read_bytes()

    @fuzz
    @given(CHANGES, KEPT, st.sampled_from([600, 1500, len(content)]))
    def run(changes: Any, kept: float, head: int) -> None:
        (tmp_path / name).write_bytes(mutated(content, changes, kept, head))
        read(tmp_path, str(sound / "series"), name, roi="tumour")

    run()
