"""The site file: what one hospital alone knows; it never leaves the hospital."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from shared.quantities import Name
from shared.strict_yaml import Settings, load_settings

Disclosure = Literal["embeddings", "labels", "radiomics_score", "clinical"]


class Data(Settings):
    """Where the patients' files are; relative paths start at the site file's folder."""

    root: str = "."
    manifest: str = "manifest.csv"
    clinical: str | None = "clinical.csv"
    resample_masks: bool = False


class Device(Settings):
    """What the site computes on; `threads: 0` means all cores."""

    kind: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Annotated[int, Field(ge=0, le=256)] = 0


class SiteSettings(Settings):
    """One hospital: its name and role, its files, its device, and what may leave it."""

    version: Literal[1]
    name: Name
    role: Literal["training", "external"]
    synthetic: bool = False
    data: Data = Data()
    cache: str = "cache"
    device: Device = Device()
    disclose: tuple[Disclosure, ...] = ()


def load_site_settings(path: Path) -> SiteSettings:
    """Read and check a site file."""
    return load_settings(path, SiteSettings)
