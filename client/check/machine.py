"""The machine a hospital computes on: what it has, and what of it does not suffice."""

import math
import os
import platform
import re
import shutil
import stat
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from client.check.measures import Measures
from client.radiomics.engine import INSTALL, engine_version
from client.radiomics.features import feature_names
from client.settings import Device
from client.workers import n_threads
from shared.config import Study, digest, networks
from shared.identity import code_hash, installed_version, package_folder, radiomics_version
from shared.networks import input_shape

LIBRARIES = ("trifed", "numpy", "scipy", "simpleitk", "pydicom", "torch", "monai", "flwr")
FLOAT32, FLOAT64 = 4, 8
SPARE_BYTES = 1_000_000_000
YEARS = (2025, 2100)
NO_TORCH, NO_GPU = "unknown: torch is not installed", "none; training runs on the CPU"
WORLD = stat.S_IROTH | stat.S_IWOTH


def describe_machine(cache_folder: Path, study: Study) -> dict[str, str]:
    """Cores, memory, disk, GPU, clock, versions and hashes, as text by name."""
    disk = disk_usage(cache_folder)
    memory = available_memory()
    found = {
        "cores": f"{n_threads(0)} of {os.cpu_count()}",
        "memory": "unknown" if memory is None else f"{memory / 1e9:.1f} GB free",
        "disk": f"{disk.free / 1e9:.0f} GB free of {disk.total / 1e9:.0f} GB",
        "GPU": _gpu(),
        "clock": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "Python": platform.python_version(),
        "PyRadiomics": engine_version() or "not installed",
    }
    found |= {name: installed_version(name) or "not installed" for name in LIBRARIES}
    return found | {"study hash": digest(study), "code hash": code_hash()}


def machine_problems(
    cache_folder: Path, device: Device, study: Study, n_cases: int
) -> tuple[list[str], list[str]]:
    """What keeps this machine from taking part, and what may."""
    problems, notes = [], []
    if not engine_version() and study.radiomics.mode != "table":
        problems.append(
            f"PyRadiomics is not installed, but the study needs it. Install it: {INSTALL}"
        )
    if device.kind == "cuda" and _gpu() in (NO_GPU, NO_TORCH):
        problems.append("device.kind is cuda, but torch finds no GPU. Set it to auto or cpu.")
    if not _is_writable(cache_folder):
        problems.append(f"nothing can be written to {cache_folder}. Set cache in site.yaml.")
    needed = cache_bytes(study, n_cases)
    needed = max(0, needed - _size_of(cache_folder))
    free = disk_usage(cache_folder).free
    if needed > free:
        problems.append(
            f"the cache will need {needed / 1e9:.1f} GB at {cache_folder}, but {free / 1e9:.1f} GB "
            "are free. Make room, or set cache in site.yaml to another disk."
        )
    elif needed + SPARE_BYTES > free:
        notes.append(
            f"the cache will need {needed / 1e9:.1f} GB of the {free / 1e9:.1f} GB free at "
            f"{cache_folder}; make room."
        )
    kept, memory = inputs_bytes(study, n_cases), available_memory()
    if memory is not None and kept > memory:
        notes.append(
            f"the networks' inputs will take {kept / 1e9:.1f} GB of memory, but {memory / 1e9:.1f} "
            "GB are free. Free some, or ask for a smaller size or fewer stacks in the study."
        )
    year = datetime.now(UTC).year
    if not YEARS[0] <= year <= YEARS[1]:
        problems.append(f"the clock says {year}, so certificates will be refused. Set the clock.")
    notes += _other_versions()
    return problems, notes


def cache_bytes(study: Study, n_cases: int) -> int:
    """What the cache of so many patients takes on disk, about."""
    row = len(feature_names(study.phases, study.radiomics)) * FLOAT64
    return inputs_bytes(study, n_cases) + n_cases * row


def inputs_bytes(study: Study, n_cases: int) -> int:
    """What the networks' inputs of so many patients take, in the cache and in memory."""
    values = sum(math.prod(input_shape(network)) for network in networks(study))
    return n_cases * values * FLOAT32


def memory_note(measured: Mapping[str, Measures], workers: int) -> list[str]:
    """That the largest patient, read by every worker at once, would not fit into the memory."""
    sizes = [
        sum(m.shape[0] * m.shape[1] * m.shape[2] for m in found.values())
        for found in measured.values()
    ]
    memory = available_memory()
    needed = max(sizes, default=0) * FLOAT64 * workers
    if memory is None or needed <= memory:
        return []
    return [
        f"{workers} workers may need {needed / 1e9:.1f} GB of memory for the largest patients, "
        f"but {memory / 1e9:.1f} GB are free. Set device.threads in site.yaml lower."
    ]


def permission_note(site_file: Path) -> list[str]:
    """That everybody on this machine may read or change the site file."""
    if os.name != "posix" or not site_file.stat().st_mode & WORLD:
        return []
    return [f"every user of this machine can read {site_file.name}; chmod 640 {site_file.name}."]


def available_memory() -> int | None:
    """Bytes of memory that programs can still have; None where that cannot be told."""
    try:
        found = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
        if found:
            return int(found[1]) * 1024
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return None


def disk_usage(folder: Path) -> "shutil._ntuple_diskusage":
    """The disk of a folder, which need not exist yet."""
    return shutil.disk_usage(_existing(folder))


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


def _is_writable(folder: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=_existing(folder)):
            return True
    except OSError:
        return False


def _size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.npy"))


def _other_versions() -> list[str]:
    """The libraries that are not those of constraints.txt, where that file lies beside us."""
    folder = package_folder("client")
    file = None if folder is None else folder.parent / "constraints.txt"
    if file is None or not file.is_file():
        return []
    pinned = dict(re.findall(r"^([\w.-]+)==([^\s;]+)", file.read_text("utf-8"), re.MULTILINE))
    pairs = [(name, installed_version(name)) for name in LIBRARIES] + [
        tuple(radiomics_version().split())
    ]
    texts = [
        f"{name} {found} ({pinned[name]})"
        for name, found in (pair for pair in pairs if len(pair) == 2)
        if found and name in pinned and found.split("+")[0] != pinned[name]
    ]
    if not texts:
        return []
    return [
        f"versions that are not those of constraints.txt (in brackets): {', '.join(texts)}. All "
        "sites must have the same; install again with constraints.txt."
    ]


def _gpu() -> str:
    try:
        import torch
    except ImportError:
        return NO_TORCH
    if not torch.cuda.is_available():
        return NO_GPU
    memory = torch.cuda.get_device_properties(0).total_memory / 1e9
    return f"{torch.cuda.get_device_name(0)}, {memory:.0f} GB"
