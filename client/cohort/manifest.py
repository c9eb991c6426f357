"""manifest.csv and clinical.csv to checked cases: who takes part, with which files and label.

Nothing here opens an image. Every problem names the file, the line, the patient and a remedy.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import get_args

from client.cohort.clinical import ClinicalTable, read_clinical
from client.cohort.manifest_columns import Columns, manifest_columns
from client.cohort.tables import (
    CaseError,
    Row,
    Table,
    check_splits,
    clean_id,
    listed,
    read_table,
    refuse_duplicates,
)
from client.objections.listed import read_objections
from client.settings import SiteSettings
from shared.config import Split, Study
from shared.errors import CohortError, ManifestError
from shared.phases import Phase
from shared.stages.describe_cohort import ExclusionKind

SPLITS: dict[str, Split] = {name: name for name in get_args(Split)}


@dataclass(frozen=True, slots=True)
class Case:
    """One patient: where the files are, the label and the clinical data.

    `split` is None until it is drawn; `label` is None where labels were not asked for;
    `clinical` holds NaN where the table is blank. `line` is the line of the manifest. `roi` is
    the tumour's name in a DICOM mask, empty where it has only one; `resample_mask` allows a mask
    that was drawn on another grid. `features` is the patient's row of a table that the site brings
    instead of images; empty where it has images. `second_masks` are a second reader's, of some
    phases or of none, and `second_roi` the tumour's name in these. `groups` are the places of the
    patient's subgroups, by column.
    """

    patient_id: str
    line: int
    split: Split | None
    label: int | None
    images: dict[Phase, Path]
    masks: dict[Phase, Path]
    clinical: dict[str, float]
    roi: str = ""
    resample_mask: bool = False
    features: dict[str, float] = field(default_factory=dict)
    second_masks: dict[Phase, Path] = field(default_factory=dict)
    second_roi: str = ""
    groups: dict[str, int] = field(default_factory=dict)

    @property
    def by_second_reader(self) -> "Case":
        """The same patient with the second reader's masks, and the phases that have one."""
        images = {phase: self.images[phase] for phase in self.second_masks}
        return replace(self, images=images, masks=self.second_masks, roi=self.second_roi)


@dataclass(frozen=True, slots=True)
class Exclusion:
    """A patient set aside: the kind of reason, which may be counted, and the reason itself."""

    patient_id: str
    line: int
    kind: ExclusionKind
    reason: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """The usable cases, and the patients set aside.

    Attributes:
        n_objected: Patients of the tables who object; their number stays in the hospital.
        n_unknown: Ids on the list of objections that the tables do not know.
    """

    cases: tuple[Case, ...]
    exclusions: tuple[Exclusion, ...] = ()
    n_objected: int = 0
    n_unknown: int = 0


@dataclass(frozen=True, slots=True)
class _Reader:
    """What reading one row of the manifest needs to know."""

    table: Table
    columns: Columns
    clinical: ClinicalTable | None
    study: Study
    settings: SiteSettings
    root: Path


@dataclass(slots=True)
class _Found:
    cases: list[Case] = field(default_factory=list)
    exclusions: list[Exclusion] = field(default_factory=list)


def read_manifest(
    site: SiteSettings, site_file: Path, study: Study, *, labels_required: bool = True
) -> Manifest:
    """Read a site's manifest and clinical table into cases, in the order of the manifest.

    `data.root`, `data.manifest` and `data.clinical` start at the site file's folder; the paths
    in the manifest start at `data.root` and may not leave it. With `labels_required=False` the
    clinical table is not read. Patients who object are as if they stood nowhere.

    Raises:
        ManifestError: If a table is not readable, a column is missing or unknown, or a patient
            stands twice; and, unless `cohort.on_bad_case` is `exclude`, if any patient cannot
            be used. Up to ten problems are listed.
    """
    folder, objections = site_file.parent, read_objections(site_file.parent)
    everybody = read_table(folder / (site.data.manifest or ""), lower=True)
    table, n_objected = objections.taken_out_of(everybody), objections.in_table(everybody)
    reader = _Reader(
        table=table,
        columns=manifest_columns(table, study),
        clinical=clinical_of(site, folder, study) if labels_required else None,
        study=study,
        settings=site,
        root=(folder / site.data.root).resolve(),
    )
    refuse_duplicates(table)
    check_splits(table, site.role)
    found = _read_cases(reader)
    n_unknown = len(objections) - n_objected
    return Manifest(tuple(found.cases), tuple(found.exclusions), n_objected, n_unknown)


def check_cohort_size(
    cases: Sequence[Case], study: Study, site_name: str, *, n_excluded: int = 0
) -> None:
    """Refuse a site with too few usable patients.

    Raises:
        CohortError: If fewer than `cohort.min_cases` patients remain.
    """
    least = study.cohort.min_cases
    if len(cases) < least:
        raise CohortError(
            f"{site_name}: has {len(cases)} usable patients ({n_excluded} excluded), but the "
            f"study asks for at least {least} (cohort.min_cases). Repair or add patients."
        )


def _read_cases(reader: _Reader) -> _Found:
    found = _Found()
    problems: list[str] = []
    for row in reader.table.rows:
        patient_id = clean_id(row.cells["patient_id"])
        try:
            found.cases.append(_read_case(reader, row, patient_id))
        except CaseError as problem:
            text = f"{reader.table.where(row, patient_id)} {problem}"
            problems.append(text)
            found.exclusions.append(Exclusion(patient_id, row.line, problem.kind, text))
    if problems and reader.study.cohort.on_bad_case == "stop":
        raise ManifestError(listed(problems))
    return found


def _read_case(reader: _Reader, row: Row, patient_id: str) -> Case:
    images = _paths(reader, row, reader.columns.images)
    lacking = [phase for phase in reader.study.phases if phase not in images]
    if lacking and (reader.study.cohort.missing_phase == "stop" or not images):
        raise CaseError(
            "phase",
            f"has no image for phase '{lacking[0]}'. Add the path, drop the phase from 'phases' "
            "in study.yaml, or set cohort.missing_phase: allow.",
        )
    clinical = reader.clinical
    return Case(
        patient_id=patient_id,
        line=row.line,
        split=SPLITS.get(row.cells.get("split", "").lower()),
        label=None if clinical is None else clinical.label_of(patient_id),
        images=images,
        masks=_mask_paths(reader, row, images),
        clinical={} if clinical is None else clinical.numbers_of(patient_id),
        roi=row.cells.get("roi", ""),
        resample_mask=reader.settings.data.resample_masks,
        second_masks=_second_masks(reader, row, images),
        second_roi=row.cells.get("roi2", "") or row.cells.get("roi", ""),
        groups={} if clinical is None else clinical.groups_of(patient_id),
    )


def _paths(reader: _Reader, row: Row, columns: Mapping[Phase, str]) -> dict[Phase, Path]:
    """The paths of one row, by phase in the study's order; a blank cell is left out."""
    filled = {phase: row.cells[column] for phase, column in columns.items() if row.cells[column]}
    return {
        phase: _inside(reader.root, filled[phase], columns[phase])
        for phase in reader.study.phases
        if phase in filled
    }


def _mask_paths(reader: _Reader, row: Row, images: Mapping[Phase, Path]) -> dict[Phase, Path]:
    masks = _paths(reader, row, reader.columns.masks)
    common = row.cells.get("mask", "")
    for phase in images:
        if phase not in masks and common:
            masks[phase] = _inside(reader.root, common, "mask")
        if phase not in masks:
            raise CaseError(
                "mask",
                f"has no mask for phase '{phase}'. Add the path in column 'mask' or "
                f"'mask_{phase}', or drop the phase from 'phases' in study.yaml.",
            )
    return {phase: masks[phase] for phase in images}


def _second_masks(reader: _Reader, row: Row, images: Mapping[Phase, Path]) -> dict[Phase, Path]:
    """The second reader's masks by phase, if the study asks; a phase without one is left out."""
    stability = reader.study.stability
    if stability is None or stability.by != "reader":
        return {}
    masks = _paths(reader, row, reader.columns.second_masks)
    if row.cells.get("mask2"):
        common = _inside(reader.root, row.cells["mask2"], "mask2")
        masks = dict.fromkeys(images, common) | masks
    return {phase: masks[phase] for phase in images if phase in masks}


def _inside(root: Path, text: str, column: str) -> Path:
    """An existing path under the data root, symbolic links followed."""
    try:
        path = (root / text).resolve()
        exists = path.exists()
    except (OSError, ValueError, RuntimeError) as error:
        raise CaseError("file", f"has in column '{column}' no usable path ({error}).") from None
    if not path.is_relative_to(root):
        raise CaseError(
            "file",
            f"has in column '{column}' the path '{text}', which leaves the data root {root}. "
            "Move the file under data.root, or set data.root in site.yaml.",
        )
    if not exists:
        raise CaseError(
            "file",
            f"has in column '{column}' the path '{text}', but there is no such file under "
            f"{root}. Check the path.",
        )
    return path


def clinical_of(site: SiteSettings, folder: Path, study: Study) -> ClinicalTable:
    """The site's clinical table.

    Raises:
        ManifestError: If the site file names none, or it cannot be used.
    """
    if site.data.clinical is None:
        raise ManifestError(
            f"{site.name}: data.clinical is not set, but the study needs labels. Set it in "
            "site.yaml to the table that holds them."
        )
    return read_clinical(folder / site.data.clinical, study, objections=read_objections(folder))
