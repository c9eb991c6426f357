"""Real patients of many hospitals: federated equals pooled, however they are divided among sites.

The Cancer Genome Atlas's 1,096 breast cancer patients as Fed-TCGA-BRCA of FLamby prepares them:
columns of one clinical table, most of them 0 or 1, with ties and columns that stand twice. They
serve as a table of features that every site brings. Nothing here says anything about cancer.
"""

import csv
import json
import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.progress import LoggedProgress
from server.study import Study as Record
from server.study_folder import StudyFolder
from shared.config import Study
from shared.job import Job
from shared.strict_yaml import dump_settings
from simulation.simulate import prepare_run, run_in_process
from simulation.verify import verify_run
from tests.conftest import reference_file, write_csv
from tests.site_policies import write_policy

REGIONS = ("Canada", "Europe", "Midwest", "Northeast", "South", "West")
NOT_FEATURES = ("pid", "age_at_index", "E", "T")
SPLITS = ("train", "train", "tune", "internal_test")
Rows = list[dict[str, str]]


@pytest.fixture(scope="module")
def patients() -> Rows:
    """Everybody, with the region of the hospital that the code of the patient names."""
    with reference_file("flamby/centers.csv").open(newline="") as file:
        regions = {row["TSS Code"]: row["Region"] for row in csv.DictReader(file)}
    with reference_file("flamby/brca.csv").open(newline="") as file:
        return [row | {"region": regions[row["pid"][5:7]]} for row in csv.DictReader(file)]


def features_of(patients: Rows) -> list[str]:
    return [name for name in patients[0] if name not in (*NOT_FEATURES, "region")]


def split_of(patient: str) -> str:
    """The same split in whichever site the patient is."""
    return SPLITS[zlib.crc32(patient.encode()) % len(SPLITS)]


def write_hospital(folder: Path, name: str, patients: Rows) -> Path:
    """Two tables and a site file; that the patients are real and public is not for it to say."""
    folder.mkdir(parents=True)
    names = features_of(patients)
    write_csv(
        folder / "features.csv",
        [
            {"patient_id": row["pid"], "split": split_of(row["pid"])} | {n: row[n] for n in names}
            for row in patients
        ],
    )
    write_csv(
        folder / "clinical.csv",
        [
            {"patient_id": row["pid"], "died": row["E"][0], "age": row["age_at_index"]}
            for row in patients
        ],
    )
    site_file = folder / "site.yaml"
    site_file.write_text(
        f"version: 1\nname: {name}\nrole: training\nsynthetic: true\n"
        "data: {features: features.csv}\n"
    )
    write_policy(site_file, "release: {min_cell: 1, rows: [labels, radiomics_score, clinical]}\n")
    return site_file


def study_of(sites: Sequence[str], features: Sequence[str], **changes: Any) -> Study:
    """A study of tables alone."""
    content: dict[str, Any] = {
        "version": 1,
        "name": "brca",
        "title": "A table that every site brings",
        "seed": 1,
        "sites": {"training": list(sites)},
        "endpoint": {"name": "death", "column": "died", "negative": ["0"], "positive": ["1"]},
        "phases": ["nephrographic"],
        "cohort": {"min_cases": 1},
        "radiomics": {"mode": "table", "columns": list(features)},
        "clinical": {"predictors": ["age"]},
        "branches": [],
        "fusion": {
            "inputs": ["radiomics_score", "clinical"],
            "penalties": [3.0],
            "budget": "report",
        },
    }
    return Study.model_validate_json(json.dumps(content | changes))


def run(folder: Path, divided: Mapping[str, Rows], **changes: Any) -> tuple[Record, Job]:
    """The whole study over the sites."""
    files = [write_hospital(folder / name, name, rows) for name, rows in divided.items()]
    features = features_of(next(iter(divided.values())))
    study_file = folder / "study.yaml"
    study_file.write_text(dump_settings(study_of(sorted(divided), features, **changes)))
    progress = LoggedProgress()
    job = prepare_run(
        study_file,
        folder / "out",
        site_files=files,
        seed=None,
        threads=1,
        resume=False,
        progress=progress,
    )
    run_in_process(job, progress)
    return StudyFolder(job.out / "study").load(), job


def off(job: Job) -> dict[str, float]:
    """The checks of a run that are not within the tolerance."""
    checks = verify_run(job).checks
    assert len(checks) > 10
    return {c.quantity: c.largest_difference for c in checks if not c.largest_difference <= 1e-8}


def by_region(patients: Rows) -> dict[str, Rows]:
    """Six sites; eight patients are of none of the six regions."""
    divided: dict[str, Rows] = defaultdict(list)
    for row in patients:
        if row["region"] in REGIONS:
            divided[f"site_{row['region'].lower()}"].append(row)
    assert sorted(map(len, divided.values())) == [51, 162, 162, 196, 206, 311]
    return divided


OPTIONS: dict[str, dict[str, Any]] = {
    "van elteren": {"selection": {"screen": "van_elteren"}},
    "welch, adjusted, mRMR": {
        "selection": {
            "screen": "welch",
            "adjust": "benjamini_hochberg",
            "mrmr_features": 6,
            "keep_at_least": 12,
        }
    },
    "clipped": {"standardise": {"clip_quantile": 0.02}, "selection": {"screen": "welch"}},
    "combat": {
        "standardise": {"harmonise": "combat", "clip_quantile": 0.01},
        "selection": {"screen": "van_elteren", "adjust": "benjamini_hochberg"},
    },
}


@pytest.mark.parametrize("options", OPTIONS)
def test_six_regions_give_the_numbers_of_one_table(tmp_path, patients, options):
    _, job = run(tmp_path, by_region(patients), **OPTIONS[options])
    assert off(job) == {}


WELCH = {**OPTIONS["welch, adjusted, mRMR"], "standardise": {"clip_quantile": 0.02}}


def deal(
    patients: Rows, n_sites: int, n_single: int, evenness: float, seed: int
) -> dict[str, Rows]:
    """Patients dealt out by chance, at least one in train to each site.

    Some sites have one patient; the rest go, where `evenness` is low, most of them to few sites.
    """
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.full(n_sites - n_single, evenness))
    places = n_single + rng.choice(n_sites - n_single, size=len(patients), p=shares)
    in_train = [i for i, row in enumerate(patients) if split_of(row["pid"]) == "train"]
    places[rng.permutation(in_train)[:n_sites]] = np.arange(n_sites)
    divided: dict[str, Rows] = defaultdict(list)
    for row, place in zip(patients, places, strict=True):
        divided[f"site_{place}"].append(row)
    return divided


def divisions(patients: Rows) -> st.SearchStrategy[dict[str, Rows]]:
    """Patients at 2 to 8 sites, some with one patient."""
    numbers = st.integers(2, 8), st.integers(0, 4), st.floats(0.3, 10.0), st.integers(0, 2**32 - 1)
    return st.tuples(*numbers).map(lambda n: deal(patients, n[0], min(n[1], n[0] - 1), *n[2:]))


@pytest.fixture(scope="module")
def undivided(tmp_path_factory: pytest.TempPathFactory, patients: Rows) -> Record:
    """What a study finds where all patients are at one site."""
    folder = tmp_path_factory.mktemp("undivided")
    return run(folder, {"site_one": patients}, **WELCH)[0]


def test_any_division_selects_what_one_site_would(tmp_path_factory, patients, undivided):
    seen = []

    @settings(
        max_examples=12,
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(divisions(patients))
    def check(divided: dict[str, Rows]) -> None:
        seen.append(sorted(map(len, divided.values())))
        record, job = run(tmp_path_factory.mktemp("divided"), divided, **WELCH)
        assert off(job) == {}
        found, expected = record.select_features, undivided.select_features
        assert (found.screened, found.pruned) == (expected.screened, expected.pruned)
        np.testing.assert_allclose(found.p_values, expected.p_values, rtol=1e-8)
        scale, one = record.standardise.scale, undivided.standardise.scale
        assert scale.names == one.names
        for name in ("low", "high", "mean", "sd"):
            np.testing.assert_allclose(getattr(scale, name), getattr(one, name), rtol=0, atol=1e-8)
        clinical = record.clinical_model.fit.coefficients
        np.testing.assert_allclose(clinical, undivided.clinical_model.fit.coefficients, rtol=1e-8)

    check()
    assert any(sizes[0] == 1 for sizes in seen)
