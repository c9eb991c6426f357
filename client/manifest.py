"""manifest.csv and clinical.csv to checked cases: who takes part, with which files and label.

Nothing here opens an image. Every problem names the file, the line, the patient and a remedy.
"""

import csv
import difflib
import hashlib
import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args

from client.settings import SiteSettings
from shared.config import Split, Study
from shared.errors import CohortError, ManifestError
from shared.phases import PHASES, Phase, phase_named

SHOWN = 10
BLANK = frozenset({"", "na", "n/a", "nan"})
YES_NO = {"yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}
ExclusionKind = Literal["phase", "mask", "file", "label", "clinical", "image"]
SPLITS: dict[str, Split] = {name: name for name in get_args(Split)}
SHARES: tuple[Split, ...] = ("train", "tune", "internal_test")


@dataclass(frozen=True, slots=True)
class Case:
    """One patient: where the files are, the label and the clinical data.

    `split` is None until it is drawn; `label` is None where labels were not asked for;
    `clinical` holds NaN where the table is blank. `line` is the line of the manifest.
    """

    patient_id: str
    line: int
    split: Split | None
    label: int | None
    images: dict[Phase, Path]
    masks: dict[Phase, Path]
    clinical: dict[str, float]


@dataclass(frozen=True, slots=True)
class Exclusion:
    """A patient set aside: the kind of reason, which may be counted, and the reason itself."""

    patient_id: str
    line: int
    kind: ExclusionKind
    reason: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """The usable cases, and the patients set aside."""

    cases: tuple[Case, ...]
    exclusions: tuple[Exclusion, ...] = ()


class _CaseError(Exception):
    """One patient cannot be used; the text continues a sentence that begins with the patient."""

    def __init__(self, kind: ExclusionKind, text: str) -> None:
        super().__init__(text)
        self.kind: ExclusionKind = kind


@dataclass(frozen=True, slots=True)
class _Row:
    line: int
    cells: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Table:
    path: Path
    columns: tuple[str, ...]
    rows: tuple[_Row, ...]

    def where(self, row: _Row, patient_id: str) -> str:
        return f"{self.path.name} line {row.line}: case {patient_id or '(blank)'}"


@dataclass(frozen=True, slots=True)
class _Columns:
    """Which column of the manifest holds what."""

    images: dict[Phase, str]
    masks: dict[Phase, str]
    shared_mask: bool
    split: bool


@dataclass(frozen=True, slots=True)
class _Clinical:
    """The clinical table: its rows by patient key, and the columns that hold numbers."""

    table: _Table
    rows: dict[str, _Row]
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Reader:
    """What reading one row of the manifest needs to know."""

    table: _Table
    columns: _Columns
    clinical: _Clinical | None
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
    clinical table is not read.

    Raises:
        ManifestError: If a table is not readable, a column is missing or unknown, or a patient
            stands twice; and, unless `cohort.on_bad_case` is `exclude`, if any patient cannot
            be used. Up to ten problems are listed.
        CohortError: If fewer than `cohort.min_cases` patients remain.
    """
    folder = site_file.parent
    table = _read_table(folder / site.data.manifest, lower=True)
    reader = _Reader(
        table=table,
        columns=_manifest_columns(table, study),
        clinical=_read_clinical(site, folder, study) if labels_required else None,
        study=study,
        settings=site,
        root=(folder / site.data.root).resolve(),
    )
    _refuse_duplicates(table)
    _check_splits(reader)
    found = _read_cases(reader)
    check_cohort_size(found.cases, study, site.name, n_excluded=len(found.exclusions))
    return Manifest(tuple(found.cases), tuple(found.exclusions))


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


def assign_splits(cases: Iterable[Case], study: Study, site_name: str) -> list[Case]:
    """Give every case without a split one; a split that the manifest gives is kept.

    At an external site all cases are `external_test`. Elsewhere train, tune and internal_test
    are drawn by `cohort.splits` within each label, patients in the order of the SHA-256 of
    seed, site and id, so that the draw does not depend on the manifest's order. Whole numbers
    are had by largest remainder; ties go to the split that is furthest below its share.
    """
    given = list(cases)
    if site_name in study.sites.external:
        return [replace(case, split=case.split or "external_test") for case in given]
    drawn: dict[str, Split] = {}
    waiting = [case for case in given if case.split is None]
    totals = dict.fromkeys(SHARES, 0)
    for label in sorted({-1 if case.label is None else case.label for case in waiting}):
        members = [c for c in waiting if (-1 if c.label is None else c.label) == label]
        members.sort(key=lambda case: _draw_key(study.seed, site_name, case.patient_id))
        counts = _allot(len(members), study, totals)
        splits = [split for split in SHARES for _ in range(counts[split])]
        drawn |= {case.patient_id: split for case, split in zip(members, splits, strict=True)}
    return [replace(case, split=case.split or drawn[case.patient_id]) for case in given]


def _draw_key(seed: int, site_name: str, patient_id: str) -> bytes:
    return hashlib.sha256(f"{seed}|{site_name}|{patient_id}".encode()).digest()


def _allot(n_cases: int, study: Study, totals: dict[Split, int]) -> dict[Split, int]:
    """Whole numbers for each split by largest remainder; `totals` is brought up to date."""
    shares = {split: float(getattr(study.cohort.splits, split)) for split in SHARES}
    quotas = {split: round(n_cases * shares[split], 9) for split in SHARES}
    counts = {split: math.floor(quotas[split]) for split in SHARES}
    n_after = sum(totals.values()) + n_cases
    order = sorted(
        SHARES,
        key=lambda split: (
            counts[split] - quotas[split],
            totals[split] + counts[split] - n_after * shares[split],
        ),
    )
    for split in order[: n_cases - sum(counts.values())]:
        counts[split] += 1
    for split in SHARES:
        totals[split] += counts[split]
    return counts


def _read_cases(reader: _Reader) -> _Found:
    found = _Found()
    problems: list[str] = []
    for row in reader.table.rows:
        patient_id = clean_id(row.cells["patient_id"])
        try:
            found.cases.append(_read_case(reader, row, patient_id))
        except _CaseError as problem:
            text = f"{reader.table.where(row, patient_id)} {problem}"
            problems.append(text)
            found.exclusions.append(Exclusion(patient_id, row.line, problem.kind, text))
    if problems and reader.study.cohort.on_bad_case == "stop":
        raise ManifestError(listed(problems))
    return found


def listed(problems: Sequence[str]) -> str:
    """The first ten problems, one a line, and how many more there are."""
    shown = list(problems[:SHOWN])
    if len(problems) > SHOWN:
        shown.append(f"... and {len(problems) - SHOWN} more")
    return "\n".join(shown)


def _read_case(reader: _Reader, row: _Row, patient_id: str) -> Case:
    images = _paths(reader, row, reader.columns.images)
    lacking = [phase for phase in reader.study.phases if phase not in images]
    if lacking and (reader.study.cohort.missing_phase == "stop" or not images):
        raise _CaseError(
            "phase",
            f"has no image for phase '{lacking[0]}'. Add the path, drop the phase from 'phases' "
            "in study.yaml, or set cohort.missing_phase: allow.",
        )
    clinical_row = None if reader.clinical is None else _clinical_row(reader.clinical, patient_id)
    return Case(
        patient_id=patient_id,
        line=row.line,
        split=SPLITS.get(row.cells.get("split", "").lower()),
        label=None if clinical_row is None else _label(reader, clinical_row),
        images=images,
        masks=_mask_paths(reader, row, images),
        clinical={} if clinical_row is None else _clinical_values(reader, clinical_row),
    )


def _paths(reader: _Reader, row: _Row, columns: Mapping[Phase, str]) -> dict[Phase, Path]:
    """The paths of one row, by phase in the study's order; a blank cell is left out."""
    filled = {phase: row.cells[column] for phase, column in columns.items() if row.cells[column]}
    return {
        phase: _inside(reader.root, filled[phase], columns[phase])
        for phase in reader.study.phases
        if phase in filled
    }


def _mask_paths(reader: _Reader, row: _Row, images: Mapping[Phase, Path]) -> dict[Phase, Path]:
    masks = _paths(reader, row, reader.columns.masks)
    common = row.cells.get("mask", "")
    for phase in images:
        if phase not in masks and common:
            masks[phase] = _inside(reader.root, common, "mask")
        if phase not in masks:
            raise _CaseError(
                "mask",
                f"has no mask for phase '{phase}'. Add the path in column 'mask' or "
                f"'mask_{phase}', or drop the phase from 'phases' in study.yaml.",
            )
    return {phase: masks[phase] for phase in images}


def _inside(root: Path, text: str, column: str) -> Path:
    """An existing path under the data root, symbolic links followed."""
    try:
        path = (root / text).resolve()
        exists = path.exists()
    except (OSError, ValueError, RuntimeError) as error:
        raise _CaseError("file", f"has in column '{column}' no usable path ({error}).") from None
    if not path.is_relative_to(root):
        raise _CaseError(
            "file",
            f"has in column '{column}' the path '{text}', which leaves the data root {root}. "
            "Move the file under data.root, or set data.root in site.yaml.",
        )
    if not exists:
        raise _CaseError(
            "file",
            f"has in column '{column}' the path '{text}', but there is no such file under "
            f"{root}. Check the path.",
        )
    return path


def _label(reader: _Reader, row: _Row) -> int:
    endpoint = reader.study.endpoint
    value = row.cells[endpoint.column]
    if value in endpoint.positive or value in endpoint.negative:
        return int(value in endpoint.positive)
    known = ", ".join((*endpoint.negative, *endpoint.positive))
    raise _CaseError(
        "label",
        f"has '{value}' as {endpoint.column} ({_place(reader, row)}); the study knows {known}. "
        "Correct the value.",
    )


def _clinical_values(reader: _Reader, row: _Row) -> dict[str, float]:
    if reader.clinical is None:
        return {}
    values: dict[str, float] = {}
    for column in reader.clinical.columns:
        number = _number(row.cells[column])
        if number is None:
            raise _CaseError(
                "clinical",
                f"has '{row.cells[column]}' as {column} ({_place(reader, row)}); it must be a "
                "number with a decimal point, yes or no, or blank. Correct the value.",
            )
        values[column] = number
    return values


def _place(reader: _Reader, row: _Row) -> str:
    name = reader.clinical.table.path.name if reader.clinical else ""
    return f"{name} line {row.line}"


def _number(text: str) -> float | None:
    """A finite number, yes/no as 1/0, or NaN where blank; None where it is none of these."""
    word = text.strip().lower()
    if word in BLANK:
        return math.nan
    if word in YES_NO:
        return YES_NO[word]
    try:
        number = float(word)
    except ValueError:
        return None
    return number if math.isfinite(number) and "_" not in word else None


def _read_clinical(site: SiteSettings, folder: Path, study: Study) -> _Clinical:
    if site.data.clinical is None:
        raise ManifestError(
            f"{site.name}: data.clinical is not set, but the study needs labels. Set it in "
            "site.yaml to the table that holds them."
        )
    table = _read_table(folder / site.data.clinical, lower=False)
    _need_column(table, study.endpoint.column)
    asked = tuple(dict.fromkeys((*study.clinical.predictors, *study.cohort.describe)))
    for column in asked:
        _need_column(table, column)
    _refuse_duplicates(table)
    rows = {_key(row.cells["patient_id"]): row for row in table.rows}
    extra = [
        column
        for column in table.columns
        if column not in ("patient_id", study.endpoint.column, *asked)
        and all(_number(row.cells[column]) is not None for row in table.rows)
    ]
    return _Clinical(table, rows, (*asked, *extra))


def _clinical_row(clinical: _Clinical, patient_id: str) -> _Row:
    row = clinical.rows.get(_key(patient_id))
    if row is None:
        raise _CaseError(
            "clinical",
            f"has no row in {clinical.table.path.name}. Add the patient there, or remove the line.",
        )
    return row


def _manifest_columns(table: _Table, study: Study) -> _Columns:
    images: dict[Phase, str] = {}
    masks: dict[Phase, str] = {}
    for column in table.columns:
        if column in ("patient_id", "mask", "split"):
            continue
        kind, _, word = column.partition("_")
        phase = phase_named(word) if kind in ("image", "mask") else None
        if phase is None:
            raise ManifestError(f"{table.path.name} line 1: {_unknown_column(column, study)}")
        place = images if kind == "image" else masks
        if phase in place:
            raise ManifestError(
                f"{table.path.name} line 1: columns '{place[phase]}' and '{column}' both name the "
                f"phase '{phase}'. Keep one."
            )
        place[phase] = column
    for phase in study.phases:
        if phase not in images and study.cohort.missing_phase == "stop":
            _need_column(table, f"image_{phase}")
    if "mask" not in table.columns and not masks:
        _need_column(table, "mask")
    return _Columns(images, masks, "mask" in table.columns, "split" in table.columns)


def _unknown_column(column: str, study: Study) -> str:
    phases = dict.fromkeys((*study.phases, *PHASES))
    known = ["patient_id", "mask", "split"]
    known += [f"{kind}_{phase}" for kind in ("image", "mask") for phase in phases]
    near = difflib.get_close_matches(column, known, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(known)}."
    return f"'{column}' is not a column of a manifest; {hint}"


def _need_column(table: _Table, column: str) -> None:
    if column in table.columns:
        return
    near = difflib.get_close_matches(column, table.columns, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"found: {', '.join(table.columns)}."
    raise ManifestError(f"{table.path.name} line 1: column '{column}' is missing; {hint}")


def _check_splits(reader: _Reader) -> None:
    """A split must be one that the site's role has, and stand for all patients or for none."""
    if not reader.columns.split:
        return
    role = reader.settings.role
    allowed: tuple[str, ...] = ("external_test",) if role == "external" else SHARES
    given = [row.cells["split"].lower() for row in reader.table.rows]
    if not any(given):
        return
    problems = [
        f"{reader.table.where(row, clean_id(row.cells['patient_id']))} has split "
        f"'{row.cells['split']}'; at a site with role {role} it must be one of "
        f"{', '.join(allowed)}. Correct it, or leave the whole column out to have it drawn."
        for row, split in zip(reader.table.rows, given, strict=True)
        if split not in allowed
    ]
    if problems:
        raise ManifestError(listed(problems))


def _refuse_duplicates(table: _Table) -> None:
    """The same patient twice stops everything: it would stand in two splits."""
    first: dict[str, _Row] = {}
    problems = []
    for row in table.rows:
        patient_id = clean_id(row.cells["patient_id"])
        if not patient_id:
            problems.append(f"{table.where(row, '')} has no patient_id. Add it.")
            continue
        earlier = first.setdefault(_key(patient_id), row)
        if earlier is not row:
            splits = [r.cells.get("split", "") for r in (earlier, row)]
            both = f" (in splits {splits[0]} and {splits[1]})" if splits[0] != splits[1] else ""
            problems.append(
                f"{table.where(row, patient_id)} stands already in line {earlier.line}{both}. "
                "Keep one line for each patient."
            )
    if problems:
        raise ManifestError(listed(problems))


def clean_id(text: str) -> str:
    """A patient id without surrounding space, in Unicode's composed form."""
    return unicodedata.normalize("NFC", text).strip()


def _key(patient_id: str) -> str:
    """Ids that differ only in case, composition or surrounding space are one patient."""
    return unicodedata.normalize("NFC", clean_id(patient_id).casefold())


def _read_table(path: Path, *, lower: bool) -> _Table:
    """A CSV file as text: header in line 1, every cell stripped, blank lines left out."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = list(_numbered(csv.reader(file, strict=True)))
    except FileNotFoundError:
        raise ManifestError(f"{path}: there is no such file. Check data in site.yaml.") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ManifestError(
            f"{path}: cannot be read ({error}). Save it as CSV with commas, in UTF-8."
        ) from None
    if not lines:
        raise ManifestError(f"{path}: is empty. The first line must name the columns.")
    columns = tuple(cell.strip().lower() if lower else cell.strip() for cell in lines[0][1])
    _check_header(path, columns)
    return _Table(path, columns, tuple(_row(path, columns, *line) for line in lines[1:]))


def _numbered(reader: Iterable[list[str]]) -> Iterable[tuple[int, list[str]]]:
    """Each record that is not blank, with the line that it starts in."""
    line = 1
    for cells in reader:
        if any(cell.strip() for cell in cells):
            yield line, cells
        line = int(getattr(reader, "line_num", line)) + 1


def _check_header(path: Path, columns: tuple[str, ...]) -> None:
    if len(columns) == 1 and ";" in columns[0]:
        raise ManifestError(
            f"{path.name} line 1: the columns are divided by semicolons. Save it with commas."
        )
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        raise ManifestError(f"{path.name} line 1: column '{twice[0]}' stands twice. Keep one.")
    _need_column(_Table(path, columns, ()), "patient_id")


def _row(path: Path, columns: tuple[str, ...], line: int, cells: list[str]) -> _Row:
    if len(cells) != len(columns):
        raise ManifestError(
            f"{path.name} line {line}: has {len(cells)} cells but the header {len(columns)}. "
            "Add the missing commas, or quote a cell that holds one."
        )
    return _Row(line, {c: cell.strip() for c, cell in zip(columns, cells, strict=True)})
