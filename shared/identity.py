"""Which code and libraries run here: what the first handshake compares."""

import functools
import hashlib
import importlib.util
import platform
from importlib import metadata
from pathlib import Path

PACKAGES = ("shared", "client", "server", "simulation")
LIBRARIES = ("flwr", "torch", "monai", "numpy", "scipy", "simpleitk", "pydantic", "opacus")


@functools.cache
def code_hash() -> str:
    """SHA-256 over the source of our packages, each from where this process imports it.

    In Flower's simulation a package of the same name in the current folder can win over the
    installed one without a word; this hash is of what really runs.
    """
    digest = hashlib.sha256()
    for name in PACKAGES:
        if (folder := package_folder(name)) is None:
            continue
        for path in sorted(folder.rglob("*.py")):
            digest.update(f"{name}/{path.relative_to(folder).as_posix()}".encode() + b"\0")
            digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()


def package_folder(name: str) -> Path | None:
    """Where this process imports a package from; None where there is none of that name."""
    found = importlib.util.find_spec(name)
    return Path(found.origin).resolve().parent if found and found.origin else None


@functools.cache
def _versions() -> tuple[tuple[str, str], ...]:
    found = [("python", platform.python_version())]
    found += [(library, metadata.version(library).split("+")[0]) for library in LIBRARIES]
    return (*found, ("radiomics", radiomics_version()))


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that the numbers depend on."""
    return dict(_versions())


def installed_version(package: str) -> str | None:
    """The installed version of a package; None where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def release() -> str:
    """The installed release of trifed; 'unknown' where it runs from a folder."""
    return installed_version("trifed") or "unknown"


def radiomics_version() -> str:
    """Version of the radiomics engine, whichever package brought it; 'absent' without one."""
    for package in ("pyradiomics", "pyradiomics-cuda"):
        version = installed_version(package)
        if version is not None:
            return f"{package} {version}"
    return "absent"


def differing_versions(theirs: dict[str, str], mine: dict[str, str]) -> str:
    """The libraries whose versions differ, in words; empty if none do.

    A micro release of Python may differ, and nothing else.
    """

    def comparable(name: str, version: str) -> str:
        return version.rsplit(".", 1)[0] if name == "python" else version

    return ", ".join(
        f"{name} {theirs.get(name, 'absent')} there, {mine.get(name, 'absent')} here"
        for name in sorted({*theirs, *mine})
        if comparable(name, theirs.get(name, "absent"))
        != comparable(name, mine.get(name, "absent"))
    )
