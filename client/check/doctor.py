"""Is this hospital ready to join? Which patient, which file, what to do.

Everything that training opens is opened, or read where the site brings a table of features, and
nothing leaves the hospital.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from client.check.clinical_findings import impossible_values, table_findings
from client.check.comparison import same_images, unlike_the_others
from client.check.feature_findings import brought, feature_findings
from client.check.findings import findings_of
from client.check.machine import (
    available_memory,
    describe_machine,
    machine_problems,
    memory_note,
    permission_note,
)
from client.check.measures import Measures
from client.check.policy_findings import policy_problems, small_cells, small_cohort
from client.check.report import CheckReport, Verdict, clipped
from client.check.second_masks import second_reader_notes
from client.check.subgroup_notes import subgroup_notes
from client.cohort.feature_table import read_cohort
from client.cohort.manifest import Case, Manifest, check_cohort_size
from client.cohort.splits import assign_splits
from client.policy.settings import Policy
from client.prepare import PATIENT_LIMIT_S, Outcome, Progress, check_images
from client.settings import SiteSettings, check_role, load_site_settings
from client.workers import Limits, n_threads
from shared.config import Study, digest
from shared.errors import TrifedError

LEAST_MEMORY_BYTES = 2 << 30


@dataclass(slots=True)
class _Found:
    """What is known of the patients, by id, as the check goes on."""

    manifest: Manifest | None = None
    bad: dict[str, str] = field(default_factory=dict)
    measures: dict[str, Measures] = field(default_factory=dict)
    warnings: dict[str, list[str]] = field(default_factory=dict)
    verdicts: tuple[Verdict, ...] = ()

    @property
    def cases(self) -> tuple[Case, ...]:
        return () if self.manifest is None else self.manifest.cases

    @property
    def n_imaged(self) -> int:
        return sum(bool(case.images) for case in self.cases)

    def warn(self, texts: Mapping[str, Sequence[str]]) -> None:
        for patient, found in texts.items():
            self.warnings.setdefault(patient, []).extend(found)


def check_site(
    site_file: Path,
    study: Study,
    *,
    threads: int | None = None,
    progress: Progress | None = None,
    isolated: bool = True,
    limits: Limits | None = None,
    study_hash: str = "",
    guest: bool = False,
) -> CheckReport:
    """Open every table, image and mask of a site and say what is ready and what is not.

    A patient who cannot be used is a verdict, tables that cannot are a problem: no error either.

    Args:
        threads: Worker processes; None takes `device.threads`, and 0 all cores.
        progress: Called as (what, done, total).
        isolated: Read images in processes of their own, so that none can stop the check.
        limits: Of the time and memory for one patient; by default 300 s and this machine's share.
        study_hash: The study's hash as the coordinator told it, or its beginning; empty if untold.
        guest: Whether the study need not name the site, which was invited to evaluate only.

    Raises:
        ConfigError: If the site file cannot be read.
    """
    settings = load_site_settings(site_file)
    policy, beyond_it = policy_problems(site_file, settings, study)
    problems = beyond_it + _wrong_role(settings, study, guest) + _wrong_study(study, study_hash)
    workers = n_threads(settings.device.threads if threads is None else threads)
    look = partial(
        check_images,
        study=study,
        threads=workers,
        progress=progress or (lambda *_: None),
        isolated=isolated,
        limits=limits or _limits(workers),
    )
    found = _Found()
    try:
        found.manifest = read_cohort(settings, site_file, _set_aside(study))
        if settings.data.features is None:
            _compare(found, look(found.cases))
        found.warn(impossible_values(_usable(found)))
        found.verdicts = _verdicts(found, study, settings.name)
        problems += _cohort_problems(found, study, settings, policy)
    except TrifedError as error:
        problems.append(str(error))
    cache_folder = site_file.parent / settings.cache
    faults, notes = machine_problems(cache_folder, settings.device, study, found.n_imaged)
    notes = memory_note(found.measures, workers) + permission_note(site_file) + notes
    return CheckReport(
        site=settings.name,
        role=settings.role,
        verdicts=found.verdicts,
        problems=(*problems, *faults),
        notes=(*_objections(found), *_of_patients(found, settings, policy, study), *notes),
        machine=describe_machine(cache_folder, study),
        features=brought(settings, study),
    )


def _of_patients(found: _Found, settings: SiteSettings, policy: Policy, study: Study) -> list[str]:
    """What is worth knowing of the patients and their tables as a whole."""
    usable = _usable(found)
    notes = _notes(found.verdicts, settings)
    if settings.role == "training":
        notes += second_reader_notes(usable, study)
    splits = {verdict.patient_id: verdict.split for verdict in found.verdicts if verdict.ready}
    notes += subgroup_notes(usable, splits, policy, study)
    return notes + feature_findings(usable, settings, study) + table_findings(usable, study)


def _limits(workers: int) -> Limits:
    memory = available_memory()
    share = None if memory is None else max(LEAST_MEMORY_BYTES, memory // workers)
    return Limits(PATIENT_LIMIT_S, share)


def _set_aside(study: Study) -> Study:
    """The study, with bad cases set aside, so that all of them are found."""
    cohort = study.cohort.model_copy(update={"on_bad_case": "exclude"})
    return study.model_copy(update={"cohort": cohort})


def _wrong_role(settings: SiteSettings, study: Study, guest: bool) -> list[str]:
    try:
        check_role(settings, study, guest=guest)
    except TrifedError as error:
        return [str(error)]
    return []


def _wrong_study(study: Study, told: str) -> list[str]:
    found = digest(study)
    if found.startswith(told.lower()):
        return []
    return [
        f"the study file has the hash {found[:16]}..., but the coordinator's begins with {told}: "
        "some setting differs, and the run would refuse this site. Get the file from the "
        "coordinator again."
    ]


def _usable(found: _Found) -> list[Case]:
    return [case for case in found.cases if case.patient_id not in found.bad]


def _compare(found: _Found, outcomes: Mapping[str, Outcome]) -> None:
    """Judge what was measured: each patient, and all against each other."""
    found.bad = {p: o.problem for p, o in outcomes.items() if o.problem is not None}
    found.measures = {p: o.measures for p, o in outcomes.items() if o.problem is None}
    found.bad |= same_images(found.cases, found.measures)
    usable = {case.patient_id: found.measures[case.patient_id] for case in _usable(found)}
    found.warn({patient: findings_of(measures) for patient, measures in usable.items()})
    found.warn({patient: outcomes[patient].warnings for patient in usable})
    found.warn(unlike_the_others(usable))


def _verdicts(found: _Found, study: Study, site_name: str) -> tuple[Verdict, ...]:
    verdicts = [
        Verdict(
            case.patient_id,
            case.line,
            str(case.split),
            case.label,
            "",
            tuple(clipped(text) for text in found.warnings.get(case.patient_id, ())),
            found.measures.get(case.patient_id, {}),
        )
        for case in assign_splits(_usable(found), study, site_name)
    ]
    verdicts += [
        Verdict(case.patient_id, case.line, "", case.label, clipped(found.bad[case.patient_id]))
        for case in found.cases
        if case.patient_id in found.bad
    ]
    set_aside = () if found.manifest is None else found.manifest.exclusions
    verdicts += [Verdict(e.patient_id, e.line, "", None, clipped(e.reason)) for e in set_aside]
    return tuple(sorted(verdicts, key=lambda verdict: verdict.line))


def _cohort_problems(
    found: _Found, study: Study, settings: SiteSettings, policy: Policy
) -> list[str]:
    n_unusable = len(found.bad) + (0 if found.manifest is None else len(found.manifest.exclusions))
    problems = []
    if n_unusable and study.cohort.on_bad_case == "stop":
        problems.append(
            f"{n_unusable} patients cannot be used, and the study stops at such patients. "
            "Repair them, take them out of the manifest, or set cohort.on_bad_case: exclude."
        )
    try:
        check_cohort_size(_usable(found), study, settings.name, n_excluded=n_unusable)
    except TrifedError as error:
        problems.append(str(error))
    problems += small_cohort(policy, settings, _usable(found))
    return problems + small_cells(policy, found.verdicts)


def _objections(found: _Found) -> list[str]:
    """How many object, and how many of the list nobody knows."""
    if found.manifest is None:
        return []
    n, n_unknown = found.manifest.n_objected, found.manifest.n_unknown
    notes = [f"{n} patients object (objections.csv): nothing of theirs was read"] if n else []
    if n_unknown:
        notes.append(
            f"warning: {n_unknown} ids of objections.csv stand in no table of this site. Compare "
            "them with the manifest: a patient whose id is misspelt there still takes part."
        )
    return notes


def _notes(verdicts: Sequence[Verdict], settings: SiteSettings) -> list[str]:
    notes = ["synthetic data: these patients are made up"] if settings.synthetic else []
    labels = {v.label for v in verdicts if v.ready and v.split == "train"}
    if settings.role == "training" and verdicts and labels != {0, 1}:
        notes.append("the training split holds one label only; see the table of splits")
    return notes
