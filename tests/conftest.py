"""Fixtures for all tests: a tiny hospital, a small study, and the real reference data."""

import csv
import gc
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from shared.config import Study, load_study
from shared.strict_yaml import parse_settings
from tests.finished_runs import (
    THOROUGH,
    TINY,
    FinishedRun,
    run_without_report,
    shared_run,
    simulate,
)
from tests.site_policies import write_policy

PHASES = ("corticomedullary", "nephrographic", "excretory")
REFERENCE_DATA = (Path(__file__).resolve().parents[2] / "shared" / "data").resolve()
IHC = ("0", "2+", "1+", "3+")
STUDY = """
version: 1
name: tiny
title: A tiny study
seed: 1
sites: {training: [site_a, site_b], external: [site_d]}
endpoint: {name: HER2, column: her2_ihc, negative: ["0", "1+"], positive: ["2+", "3+"]}
phases: [corticomedullary, nephrographic, excretory]
cohort: {min_cases: 4}
radiomics: {classes: [shape, firstorder]}
clinical: {predictors: [sessile, age]}
branches:
  - {name: branch_2_5d, kind: 2.5d, network: resnet10, size: [16, 16]}
  - {name: branch_3d, kind: 3d, network: resnet10, size: [8, 16, 16]}
fusion: {exchange: embeddings, budget: report}
"""


def pytest_configure(config: pytest.Config) -> None:
    """Wait for no disk: the tests' files go with them, and a killed process loses none of them.

    A test that looks at what is flushed, or lets flushing fail, says so itself.
    """
    patch = pytest.MonkeyPatch()
    patch.setattr(os, "fsync", lambda _handle: None)
    config.add_cleanup(patch.undo)


def pytest_collection_finish() -> None:
    """Spare what was collected from the collector, which would look through it all each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def reference_data() -> Callable[[str], Path]:
    """Where real reference data lies; see `reference_file`."""
    return reference_file


def reference_file(relative: str) -> Path:
    """A file of the real reference data; the test skips, saying so, where it is absent."""
    path = REFERENCE_DATA / relative
    if not path.exists():
        pytest.skip(f"reference data {relative} is not on this machine")
    return path


@pytest.fixture
def study() -> Study:
    """Two training sites, one external site, three phases, two small branches."""
    return parse_settings(STUDY, Study, name="study.yaml")


@pytest.fixture
def make_site() -> Callable[..., Path]:
    """Write a tiny hospital and return its site.yaml; see `write_site`."""
    return write_site


def changed(study: Study, **changes: Any) -> Study:
    """The study with some top-level sections replaced by checked ones."""
    content = study.model_dump(mode="json")
    for key, value in changes.items():
        part = content.get(key)
        content[key] = part | value if isinstance(part, dict) and isinstance(value, dict) else value
    return Study.model_validate_json(json.dumps(content))


@pytest.fixture
def change() -> Callable[..., Study]:
    """Replace parts of a study: `change(study, cohort={"on_bad_case": "exclude"})`."""
    return changed


def write_site(
    folder: Path,
    *,
    n: int = 8,
    name: str = "site_a",
    role: str = "training",
    phases: tuple[str, ...] = PHASES,
    split: bool = False,
) -> Path:
    """A hospital of `n` patients with spheres in 24 x 24 x 10 volumes of 3 x 1 x 1 mm.

    Labels alternate; the tumour of a positive patient is 20 HU brighter. Returns site.yaml.
    """
    folder.mkdir(parents=True, exist_ok=True)
    splits = ("train", "tune", "internal_test") if role == "training" else ("external_test",)
    manifest, clinical = [], []
    for index in range(n):
        patient = f"P{index:03d}"
        write_patient(folder / "images", patient, phases, index)
        row = {"patient_id": patient, "mask": f"images/{patient}_mask.nii.gz"}
        row |= {f"image_{phase}": f"images/{patient}_{phase}.nii.gz" for phase in phases}
        manifest.append(row | ({"split": splits[index % len(splits)]} if split else {}))
        clinical.append(
            {
                "patient_id": patient,
                "her2_ihc": IHC[index % 4],
                "sessile": ("yes", "no")[index // 2 % 2],
                "age": str(60 + index),
            }
        )
    write_csv(folder / "manifest.csv", manifest)
    write_csv(folder / "clinical.csv", clinical)
    site_file = folder / "site.yaml"
    site_file.write_text(
        f"version: 1\nname: {name}\nrole: {role}\nsynthetic: true\n"
        "device: {kind: cpu, threads: 1}\n"
    )
    write_policy(site_file)
    return site_file


def write_patient(folder: Path, patient: str, phases: tuple[str, ...], index: int) -> None:
    """One patient's volumes and mask: a tumour of 40 HU and more in fat, air in one corner."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(index)
    z, y, x = np.mgrid[:10, :24, :24]
    radius = 5.0 + 0.3 * (index % 5)
    tumour = (3 * (z - 4.5)) ** 2 + (y - 12 - index % 3) ** 2 + (x - 11) ** 2 <= radius**2
    write_image(folder / f"{patient}_mask.nii.gz", tumour.astype(np.uint8))
    for order, phase in enumerate(phases):
        hu = np.where(tumour, 40 + 15 * order + 20 * (index % 2), -100.0)
        hu = np.round(hu + random.normal(0, 10, hu.shape))
        hu[:, :3, :3] = -1000
        write_image(folder / f"{patient}_{phase}.nii.gz", hu.astype(np.int16))


def write_image(
    path: Path,
    values: Any,
    *,
    spacing: tuple[float, ...] = (1.0, 1.0, 3.0),
    origin: tuple[float, ...] = (0.0, 0.0, 0.0),
    direction: tuple[float, ...] | None = None,
) -> Path:
    """An array (z, y, x) as an image file; spacing, origin and direction as (x, y, z)."""
    image = sitk.GetImageFromArray(np.asarray(values))
    image.SetSpacing(spacing[: image.GetDimension()] + (1.0,) * (image.GetDimension() - 3))
    if image.GetDimension() == 3:
        image.SetOrigin(origin)
        image.SetDirection(direction or (1, 0, 0, 0, 1, 0, 0, 0, 1))
    sitk.WriteImage(image, str(path))
    return path


def write_csv(path: Path, rows: list[dict[str, str]]) -> None:
    """A table as CSV; the columns are those of the first row."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="package")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """The tiny study, run once for all tests, with every question recorded."""
    return shared_run(TINY, tmp_path_factory, "finished")


@pytest.fixture(scope="package")
def thorough_run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """The same for the study that leaves nothing off."""
    return shared_run(THOROUGH, tmp_path_factory, "thorough")


@pytest.fixture
def run_study_file() -> Callable[..., dict[str, Any]]:
    """Run a study file in this process; see `simulate`."""
    return simulate


@pytest.fixture
def run_changed(tmp_path: Path, finished_run: FinishedRun) -> Callable[..., Path]:
    """Run the tiny study with some sections changed and no report, and return its folder.

    The hospitals are those of the finished run unless `sites` says others (none: make them up),
    and one round of the flat branch is trained unless `branches` says otherwise.
    """

    def run(sites: Sequence[Path] | None = None, name: str = "changed", **changes: Any) -> Path:
        study = changed(load_study(TINY), **{"branches": flat_branch(), **changes})
        found = finished_run.hospitals if sites is None else sites
        return run_without_report(study, tmp_path / name, found)

    return run


def flat_branch(**changes: Any) -> list[dict[str, Any]]:
    """The tiny study's 2.5D branch for one round, with some keys changed."""
    branch = load_study(TINY).branches[0].model_dump(mode="json")
    return [branch | {"training": branch["training"] | {"rounds": 1}} | changes]
