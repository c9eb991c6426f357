"""How the images were acquired at each site, as their headers say."""

from collections.abc import Mapping
from typing import Any

from server.report.table import Cell, Table, row, shown
from server.report.words import DASH, count, is_number, number

SPACING_WORDS = {"in_plane_mm": "spacing in the plane", "slice_mm": "from slice to slice"}
CENSUS_WORDS = {"kvp": "kVp", "manufacturer": "maker", "kernel": "kernel"}
NOTES = (
    "From the images' headers. Spacings: mean (SD) in mm; beneath, of how many images where that "
    "is not all. Tube voltage, maker and kernel stand in "
    "DICOM images only: number of images of each, and “not stated” where the header says nothing.",
    "Other or too few: makers and kernels that are on no list of known ones, and values of so few "
    "images that the hospital does not tell them.",
)


def acquisition_tables(cohort: Mapping[str, Any]) -> list[Table]:
    """A line for each site and phase; no table where no site tells of its images."""
    sites = cohort.get("sites") or {}
    rows, without = [], []
    for site, value in sites.items():
        phases = value.get("acquisition") or {}
        rows += [_line(site, phase, found) for phase, found in phases.items()]
        if "acquisition" in value and not phases:
            without.append(site)
    images = [f"No images, but a table of features: {', '.join(without)}."] if without else []
    columns = (
        *("Site", "Phase", "Images", "In plane (mm)", "Slices (mm)"),
        *("Tube voltage (kVp)", "Maker", "Kernel"),
    )
    title = "Acquisition by site"
    return (
        [Table("acquisition", title, columns, tuple(rows), (*NOTES, *images), texts=2)]
        if rows
        else []
    )


def _line(site: str, phase: str, found: Mapping[str, Any]) -> tuple[Cell, ...]:
    spacings = (_spacing(found, of) for of in SPACING_WORDS)
    words = (Cell(_census(found, of) or DASH) for of in CENSUS_WORDS)
    return row(site, phase, shown(found.get("n_images"), count), *spacings, *words)


def _spacing(found: Mapping[str, Any], of: str) -> Cell:
    told = found.get(of) or {}
    values = {"": told.get("mean"), "SD": told.get("sd"), "n": told.get("n")}
    if not is_number(told.get("mean")):
        return Cell(DASH, values=values)
    small = "" if told.get("n") == found.get("n_images") else f"n = {count(told.get('n'))}"
    return Cell(_mean(told), small, values)


def _mean(told: Mapping[str, Any]) -> str:
    return f"{number(told.get('mean'))} ({number(told.get('sd'))})"


def _census(found: Mapping[str, Any], of: str) -> str:
    """Each value with its number of images; empty where no header says anything."""
    told: Mapping[str, Any] = found.get(of) or {}
    if set(told) <= {"not stated"}:
        return ""
    return "; ".join(f"{value}: {count(n)}" for value, n in told.items())


def spacing_words(of: str, found: Mapping[str, Any]) -> str:
    """A spacing as part of a sentence; empty where it is not told."""
    told = found.get(of) or {}
    return f"{SPACING_WORDS[of]} {_mean(told)} mm" if is_number(told.get("mean")) else ""


def census_words(of: str, found: Mapping[str, Any]) -> str:
    """Counts by value as part of a sentence; empty where no header says anything."""
    text = _census(found, of)
    return f"{CENSUS_WORDS[of]} {text}" if text else ""
