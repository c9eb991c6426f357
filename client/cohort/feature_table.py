"""A hospital's patients, from images or from a ready table of radiomics features.

A table has one line for each patient: `patient_id`, the study's features as `trifed site extract`
writes them, or with `radiomics.mode: table` the columns that the study names, and `split` if the
splits are drawn already. A blank cell is a missing value. No image is opened at such a site.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from client.cohort.clinical import ClinicalTable
from client.cohort.copies import copies
from client.cohort.manifest import (
    SPLITS,
    Case,
    Exclusion,
    Manifest,
    clinical_of,
    read_manifest,
)
from client.cohort.sidecar import check_sidecar
from client.cohort.tables import (
    YES_NO,
    CaseError,
    Row,
    Table,
    check_splits,
    clean_id,
    listed,
    number_in,
    patient_key,
    read_table,
    refuse_duplicates,
)
from client.objections.listed import Objections, read_objections
from client.radiomics.features import extracted_names, feature_names, with_deltas
from client.settings import SiteSettings
from shared.config import Study
from shared.errors import ConfigError, ManifestError
from shared.phases import Phase

OWN_COLUMNS = ("patient_id", "split")
SAME_DIFFERENCE = 1e-6


@dataclass(frozen=True, slots=True)
class FeatureTable:
    """The table, its rows by patient, the features it must have and the differences it may have."""

    table: Table
    rows: dict[str, Row]
    study: Study
    names: tuple[str, ...]
    differences: tuple[str, ...]

    def features_of(self, patient_id: str) -> dict[str, float]:
        """A patient's features by name; NaN where a cell is blank.

        Raises:
            CaseError: If there is no row, a cell is no number, all are blank, those of a phase are
                though the study allows no missing phase, or a difference of phases is none.
        """
        row = self.rows.get(patient_key(patient_id))
        if row is None:
            raise CaseError(
                "features",
                f"has no row in {self.table.path.name}. Add the patient there, or remove the line.",
            )
        found = {name: self._number(row, name) for name in self.names}
        lacking = missing_phases(found, self.study)
        if all(map(np.isnan, found.values())):
            raise CaseError("features", f"has no feature at all ({self._place(row)}).")
        if lacking and self.study.cohort.missing_phase == "stop":
            raise CaseError(
                "phase",
                f"has no feature of phase '{lacking[0]}' ({self._place(row)}). Fill them in, drop "
                "the phase from 'phases' in study.yaml, or set cohort.missing_phase: allow.",
            )
        self._check_differences(row, found)
        return found

    def _number(self, row: Row, name: str) -> float:
        text = row.cells[name]
        number = None if text.lower() in YES_NO else number_in(text)
        if number is None:
            raise CaseError(
                "features",
                f"has '{text}' as {name} ({self._place(row)}); it must be a finite number with a "
                "decimal point, or blank. Correct the value.",
            )
        return number

    def _check_differences(self, row: Row, found: Mapping[str, float]) -> None:
        """What the table holds as a difference of two phases must be the difference."""
        given = [name for name in self.differences if name in self.table.columns]
        if not given:
            return
        settings, phases = self.study.radiomics, self.study.phases
        values = with_deltas(np.array([[found[n] for n in self.names]]), phases, settings)[0]
        computed = dict(zip((*self.names, *self.differences), values.tolist(), strict=True))
        for name in given:
            value = self._number(row, name)
            if not np.isclose(value, computed[name], rtol=SAME_DIFFERENCE, equal_nan=True):
                raise CaseError(
                    "features",
                    f"has {value:g} as {name} ({self._place(row)}), but the two phases differ by "
                    f"{computed[name]:g}. Correct it, or leave the column out: it is computed.",
                )

    def _place(self, row: Row) -> str:
        return f"{self.table.path.name} line {row.line}"


def read_cohort(
    site: SiteSettings, site_file: Path, study: Study, *, labels_required: bool = True
) -> Manifest:
    """Read a site's patients: from its manifest, or with the features that it brings as a table.

    Raises:
        ConfigError: If site file and study do not agree on where features come from.
        ManifestError: As `read_manifest`, and likewise for the table.
    """
    if site.data.features is not None:
        return _read_with_features(site, site_file, study, labels_required=labels_required)
    if study.radiomics.mode == "table":
        raise ConfigError(
            f"{site.name}: the study takes each site's own table of features (radiomics.mode: "
            "table). Name it as data.features in the site file."
        )
    return read_manifest(site, site_file, study, labels_required=labels_required)


def read_feature_table(site: SiteSettings, folder: Path, study: Study) -> FeatureTable:
    """Read the table that a site brings, and check its origin and its columns.

    Raises:
        ConfigError: If the study learns from images how features are extracted.
        ManifestError: If the table cannot be read, was extracted otherwise, a column is missing or
            unknown, or a patient stands twice.
    """
    if study.radiomics.given_widths is None:
        raise ConfigError(
            f"{site.name}: brings its features as a table (data.features), but the study learns "
            "the widths of grey levels from the sites' images (radiomics.bin_width_filtered_hu: "
            "learnt), which no table can follow. Give the widths in the study, or bring images."
        )
    path = folder / (site.data.features or "")
    table = read_objections(folder).taken_out_of(read_table(path, lower=False))
    if study.radiomics.mode != "table" and site.data.features_from == "trifed":
        check_sidecar(path, study)
    names = extracted_names(study.phases, study.radiomics)
    differences = feature_names(study.phases, study.radiomics)[len(names) :]
    _check_columns(table, names, differences)
    refuse_duplicates(table)
    rows = {patient_key(row.cells["patient_id"]): row for row in table.rows}
    return FeatureTable(table, rows, study, names, differences)


def missing_phases(features: Mapping[str, float], study: Study) -> list[Phase]:
    """The phases of which a patient's row holds nothing; none where columns are of no phase."""
    if study.radiomics.mode == "table":
        return []
    lacking = []
    for phase in study.phases:
        values = [v for name, v in features.items() if name.startswith(f"{phase}__")]
        if values and all(map(np.isnan, values)):
            lacking.append(phase)
    return lacking


def feature_rows(cases: Sequence[Case], names: Sequence[str]) -> NDArray[np.float64]:
    """The brought features of some cases ``(n, p)``, in the order of the names."""
    rows = [[case.features[name] for name in names] for case in cases]
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(names))


def _check_columns(table: Table, names: Sequence[str], differences: Sequence[str]) -> None:
    given, known = set(table.columns), {*OWN_COLUMNS, *names, *differences}
    missing = [name for name in names if name not in given]
    unknown = [column for column in table.columns if column not in known]
    if missing:
        near = difflib.get_close_matches(missing[0], unknown or ("",), n=1, cutoff=0.5)
        hint = f"; is it '{near[0]}'?" if near else "."
        raise ManifestError(
            f"{table.path.name} line 1: {len(missing)} of the study's {len(names)} features are "
            f"missing, the first is '{missing[0]}'{hint} Name the columns as the study does."
        )
    if unknown:
        near = difflib.get_close_matches(unknown[0], known, n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'?" if near else "take it out."
        raise ManifestError(
            f"{table.path.name} line 1: '{unknown[0]}' is no feature of the study; {hint}"
        )


def _read_with_features(
    site: SiteSettings, site_file: Path, study: Study, *, labels_required: bool
) -> Manifest:
    folder, objections = site_file.parent, read_objections(site_file.parent)
    features = read_feature_table(site, folder, study)
    named, n_objected = _who(site, folder, features.table, objections)
    clinical = clinical_of(site, folder, study) if labels_required else None
    cases: list[Case] = []
    found: list[tuple[CaseError, Case]] = []
    for row in named.rows:
        case = _named(row)
        try:
            cases.append(_filled(case, features, clinical))
        except CaseError as problem:
            found.append((problem, case))
    rows = {case.patient_id: feature_rows([case], features.names)[0] for case in cases}
    twice = copies(cases, rows)
    exclusions = [
        Exclusion(case.patient_id, case.line, why.kind, f"{_where(named, case)} {why}")
        for why, case in found
    ] + [
        Exclusion(
            case.patient_id, case.line, "features", f"{named.path.name}: {twice[case.patient_id]}"
        )
        for case in cases
        if case.patient_id in twice
    ]
    if exclusions and study.cohort.on_bad_case == "stop":
        raise ManifestError(listed([exclusion.reason for exclusion in exclusions]))
    usable = tuple(case for case in cases if case.patient_id not in twice)
    return Manifest(usable, tuple(exclusions), n_objected, len(objections) - n_objected)


def _who(
    site: SiteSettings, folder: Path, features: Table, objections: Objections
) -> tuple[Table, int]:
    """The table that names the patients, and how many in it object.

    It is the manifest where there is one, else the features.
    """
    check_splits(features, site.role)
    if site.data.manifest is None:
        n_objected = objections.in_table(read_table(features.path, lower=False))
        return features, n_objected
    everybody = read_table(folder / site.data.manifest, lower=True)
    manifest, n_objected = objections.taken_out_of(everybody), objections.in_table(everybody)
    strange = [column for column in manifest.columns if column not in OWN_COLUMNS]
    if strange:
        raise ManifestError(
            f"{manifest.path.name} line 1: column '{strange[0]}': this site brings its features as "
            "a table (data.features) and no image is opened, so the manifest holds patient_id and "
            "split alone. Take the other columns out, or leave data.manifest out of the site file."
        )
    if "split" in manifest.columns and "split" in features.columns:
        raise ManifestError(
            f"{manifest.path.name} and {features.path.name} both have a column split. Keep one."
        )
    refuse_duplicates(manifest)
    check_splits(manifest, site.role)
    if "split" not in features.columns:
        return manifest, n_objected
    splits = {patient_key(row.cells["patient_id"]): row.cells["split"] for row in features.rows}
    rows = [
        Row(row.line, row.cells | {"split": splits.get(patient_key(row.cells["patient_id"]), "")})
        for row in manifest.rows
    ]
    return replace(manifest, rows=tuple(rows)), n_objected


def _named(row: Row) -> Case:
    """A patient of whom no more is known than the id and the split."""
    return Case(
        patient_id=clean_id(row.cells["patient_id"]),
        line=row.line,
        split=SPLITS.get(row.cells.get("split", "").lower()),
        label=None,
        images={},
        masks={},
        clinical={},
    )


def _filled(case: Case, features: FeatureTable, clinical: ClinicalTable | None) -> Case:
    row = features.features_of(case.patient_id)
    if clinical is None:
        return replace(case, features=row)
    label, numbers = clinical.label_of(case.patient_id), clinical.numbers_of(case.patient_id)
    groups = clinical.groups_of(case.patient_id)
    return replace(case, features=row, label=label, clinical=numbers, groups=groups)


def _where(table: Table, case: Case) -> str:
    return f"{table.path.name} line {case.line}: case {case.patient_id}"
