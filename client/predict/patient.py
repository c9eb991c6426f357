"""A new patient as a site of one case: from a hospital's tables, or from files that are named."""

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from client.cohort.clinical import read_clinical
from client.cohort.feature_table import read_cohort
from client.cohort.manifest import Case
from client.cohort.tables import CaseError, clean_id, patient_key
from client.objections.listed import read_objections
from client.policy.load import load_policy
from client.policy.packs import pack_policy
from client.policy.settings import Policy
from client.predict.named_files import SPLIT, NamedFiles, case_of, refuse_missing
from client.prepare import Progress
from client.settings import Data, Device, SiteSettings, load_site_settings
from client.site import Site, silent
from client.workers import n_threads
from shared.config import Study
from shared.errors import ConfigError, ManifestError


@dataclass(frozen=True, slots=True)
class TablePatient:
    """A patient of a hospital's manifest."""

    site_file: Path
    patient_id: str


def wanted_of(options: argparse.Namespace) -> NamedFiles | TablePatient:
    """The patient that the command line names.

    Raises:
        ConfigError: If it names nobody, or somebody in both ways.
    """
    files = [*options.image, *options.mask, *options.clinical, options.roi]
    if options.site or options.patient:
        if any(files) or options.resample_mask:
            raise ConfigError(
                "name the patient in one way: --site with --patient takes images, mask and "
                "clinical values from the hospital's tables; --image, --mask and --clinical name "
                "them without."
            )
        if not (options.site and options.patient):
            raise ConfigError("--site SITE.yaml and --patient ID go together; give both.")
        return TablePatient(options.site, options.patient)
    if not options.image:
        raise ConfigError(
            "no patient is named. Give --site SITE.yaml --patient ID, or --image PHASE=PATH for "
            "each phase with --mask PATH and --clinical NAME=VALUE."
        )
    return NamedFiles(
        tuple(options.image),
        tuple(options.mask),
        tuple(options.clinical),
        options.roi,
        options.resample_mask,
    )


@contextmanager
def opened(
    wanted: NamedFiles | TablePatient,
    study: Study,
    *,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Iterator[Site]:
    """The patient as a site of one case, all of whose split `external_test` it is.

    What is computed of a hospital's patient is kept in its cache folder; of named files nothing is.

    Raises:
        ConfigError: If an option does not say what it must.
        PolicyError: If the hospital has no policy in force.
        ManifestError: If the patient is not in the tables, or a file is not there.
        CohortError: If a phase is missing that the models must have.
    """
    progress = progress or silent
    if isinstance(wanted, TablePatient):
        settings = load_site_settings(wanted.site_file)
        policy = load_policy(wanted.site_file, settings)
        case = _from_tables(wanted, settings, study)
        yield _site_of(case, wanted.site_file, settings, policy, study, threads, progress)
        return
    if study.radiomics.mode == "table":
        raise ConfigError(
            "the bundle's radiomics features come from tables (radiomics.mode: table), not from "
            "images. Name a site file whose data.features is the table: --site SITE.yaml."
        )
    case = case_of(wanted, study)
    with tempfile.TemporaryDirectory(prefix="trifed-") as home:
        root = next(iter(case.images.values())).anchor
        settings = SiteSettings(
            version=1,
            name=_stranger(study),
            role="external",
            data=Data(root=root, resample_masks=wanted.resample),
            device=Device(threads=0 if threads is None else threads),
        )
        file, policy = Path(home) / "site.yaml", pack_policy("strict")
        yield _site_of(case, file, settings, policy, study, threads, progress)


def _from_tables(wanted: TablePatient, settings: SiteSettings, study: Study) -> Case:
    """The patient's case; no problem of another patient stands in the way.

    Raises:
        ManifestError: If the patient is not there, or cannot be used.
    """
    cohort = study.cohort.model_copy(update={"on_bad_case": "exclude", "missing_phase": "allow"})
    lenient = study.model_copy(update={"cohort": cohort})
    manifest = read_cohort(settings, wanted.site_file, lenient, labels_required=False)
    key = patient_key(wanted.patient_id)
    if read_objections(wanted.site_file.parent).include(wanted.patient_id):
        raise ManifestError(
            f"{clean_id(wanted.patient_id)}: stands on objections.csv, and is not looked at."
        )
    for exclusion in manifest.exclusions:
        if patient_key(exclusion.patient_id) == key:
            raise ManifestError(exclusion.reason)
    found = [case for case in manifest.cases if patient_key(case.patient_id) == key]
    if not found:
        raise ManifestError(
            f"{settings.name}: has no patient '{clean_id(wanted.patient_id)}' in its tables. Check "
            "the id, or add a line for the patient."
        )
    clinical = _clinical_row(found[0], wanted.site_file.parent, settings, study)
    return replace(found[0], split=SPLIT, clinical=clinical)


def _clinical_row(
    case: Case, folder: Path, settings: SiteSettings, study: Study
) -> dict[str, float]:
    if settings.data.clinical is None:
        raise ManifestError(
            f"{settings.name}: data.clinical is not set, but the bundle has clinical predictors "
            f"({', '.join(study.clinical.predictors)}). Set it in the site file; a column "
            f"'{study.endpoint.column}' need not be there."
        )
    path = folder / settings.data.clinical
    try:
        table = read_clinical(path, study, labelled=False, objections=read_objections(folder))
        return table.numbers_of(case.patient_id)
    except CaseError as problem:
        raise ManifestError(f"{path.name}: case {case.patient_id} {problem}") from None


def _site_of(
    case: Case,
    site_file: Path,
    settings: SiteSettings,
    policy: Policy,
    study: Study,
    threads: int | None,
    progress: Progress,
) -> Site:
    """A site of this one case, whose problems stop it."""
    cohort = study.cohort.model_copy(update={"on_bad_case": "stop"})
    site = Site(
        site_file,
        settings,
        study.model_copy(update={"cohort": cohort}),
        policy=policy,
        threads=n_threads(settings.device.threads if threads is None else threads),
        progress=progress,
    )
    site.take_only(case)
    refuse_missing(study, site.lacking(case))
    return site


def _stranger(study: Study) -> str:
    """The name of a hospital that trained nothing."""
    name = "new_patient"
    while name in study.sites.training:
        name += "_"
    return name
