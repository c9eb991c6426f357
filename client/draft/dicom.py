"""A patient's DICOM series and masks to a draft of the patient's line."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from client.cohort.tables import patient_key
from client.draft.guesses import Guess, LeftOut, PatientDraft, Sure
from client.draft.mask_headers import MaskHeader
from client.draft.masks import choose_masks
from client.draft.series_index import Index, Series
from client.draft.series_phases import Reading, read_phases, refusal, scans
from shared.errors import ManifestError
from shared.phases import Phase

PLACEHOLDERS: Final = frozenset(
    {"", "0", "anon", "anonymous", "anonymized", "anonymised", "unknown", "none", "na", "n/a"}
)
THICK_MM: Final = 5.0


@dataclass(slots=True)
class Patient:
    """A patient's usable series by examination, and those that no phase can be."""

    dicom_id: str
    exams: list[list[Series]] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Exam:
    """One examination, drafted."""

    images: dict[Phase, Guess]
    chosen: dict[Phase, Series]
    left_out: list[LeftOut]

    def n_sure(self) -> int:
        """How many phases may be filled in."""
        return sum(guess.written(unsure_too=False) for guess in self.images.values())


def group_patients(index: Index, *, by_folder: bool) -> list[Patient]:
    """Series by patient, in the order in which patients are first met.

    A patient is one id in the headers, or, where that is blank or a placeholder, one
    examination; with `by_folder`, one sub-folder. An examination is what shares a study or a
    frame of reference.

    Raises:
        ManifestError: With `by_folder`, if a folder holds several patients, or a patient several.
    """
    usable: list[Series] = []
    copies: dict[tuple[str, int, int], Series] = {}
    for series in index.series():
        why = refusal(series)
        if not series.is_ct or why:
            index.left_out.append(LeftOut(series.folder, f"a series {why or 'is no CT'}"))
            continue
        first = copies.setdefault((series.uid, series.n_slices, series.fingerprint), series)
        if first is not series:
            why = f"a series is a copy of the one in {first.folder}"
            index.left_out.append(LeftOut(series.folder, why))
            continue
        usable.append(series)
    if by_folder:
        _check_folders(usable)
    patients: dict[str, Patient] = {}
    for series in usable:
        key = patient_key(series.patient_id)
        known = key not in PLACEHOLDERS
        if by_folder:
            key = top_folder(series.folder)
        elif not known:
            key = f"study\0{series.study}\0{series.frame if not series.study else ''}"
        patient = patients.setdefault(key, Patient(series.patient_id if known else ""))
        _add_to_exam(patient, series)
    return list(patients.values())


def _check_folders(usable: Iterable[Series]) -> None:
    patients: dict[str, set[str]] = {}
    folders: dict[str, set[str]] = {}
    for series in usable:
        top, key = top_folder(series.folder), patient_key(series.patient_id)
        if not top:
            raise ManifestError(
                "--ids folders needs a sub-folder for each patient, but a series lies in the "
                "folder itself. Leave --ids out."
            )
        if key not in PLACEHOLDERS:
            patients.setdefault(top, set()).add(key)
            folders.setdefault(key, set()).add(top)
    for top, found in patients.items():
        if len(found) > 1:
            raise ManifestError(
                f"--ids folders needs a sub-folder for each patient, but '{top}' holds "
                f"{len(found)} patients. Leave --ids out, or give the folder above the patients'."
            )
    for tops in folders.values():
        if len(tops) > 1:
            names = ", ".join(f"'{name}'" for name in sorted(tops)[:5])
            raise ManifestError(
                f"--ids folders needs one sub-folder for each patient, but {names} hold the same "
                "patient. Leave --ids out, or put them into one."
            )


def top_folder(path: Path) -> str:
    """The sub-folder of the hospital's folder that a path starts with; empty for the folder."""
    return path.parts[0] if path.parts else ""


def _add_to_exam(patient: Patient, series: Series) -> None:
    def same(other: Series) -> bool:
        return (bool(series.study) and series.study == other.study) or (
            bool(series.frame) and series.frame == other.frame
        )

    joined = [exam for exam in patient.exams if any(same(other) for other in exam)]
    patient.exams = [exam for exam in patient.exams if not any(exam is one for one in joined)]
    patient.exams.append([one for exam in joined for one in exam] + [series])


def draft_patient(patient: Patient, index: Index, phases: Sequence[Phase]) -> PatientDraft:
    """One patient's line: the examination with most phases, a series for each, and the masks."""
    drawn = {uid for mask in index.masks for uid in mask.series}
    exams = [_draft_exam(exam, index, phases, drawn) for exam in patient.exams]
    scores = [(exam.n_sure(), _n_drawn(exam, index.masks)) for exam in exams]
    best = scores.index(max(scores))
    images, left_out = exams[best].images, list(exams[best].left_out)
    masks = choose_masks(exams[best].chosen, index.masks)
    if len(exams) > 1:
        n_best = scores.count(max(scores))
        text = f"; of {len(exams)} examinations under this id, the one with most phases and masks"
        if n_best > 1:
            text = f"; {n_best} examinations under this id are alike: it cannot be told which"
        images = {phase: _doubted(guess, text, n_best > 1) for phase, guess in images.items()}
        masks = {phase: _doubted(guess, text, n_best > 1) for phase, guess in masks.items()}
        for exam in patient.exams:
            if exam is not patient.exams[best]:
                left_out += [LeftOut(o.folder, "is of another examination") for o in exam]
    tops = {top_folder(one.folder) for exam in patient.exams for one in exam}
    return PatientDraft(
        images=images,
        masks=masks,
        folder=tops.pop() if len(tops) == 1 else "",
        dicom_id=patient.dicom_id,
        left_out=left_out,
    )


def _n_drawn(exam: _Exam, masks: Iterable[MaskHeader]) -> int:
    frames = {series.frame for series in exam.chosen.values()}
    return sum(bool(mask.frames() & frames) for mask in masks)


def _doubted(guess: Guess, text: str, doubted: bool) -> Guess:
    if guess.path is None:
        return guess
    sure: Sure = "unsure" if doubted else guess.sure
    return replace(guess, sure=sure, why=guess.why + text)


def _draft_exam(
    exam: Sequence[Series], index: Index, phases: Sequence[Phase], drawn: set[str]
) -> _Exam:
    readings = read_phases(exam)
    images: dict[Phase, Guess] = {}
    chosen: dict[Phase, Series] = {}
    for phase in phases:
        candidates = [one for one in readings if one.phase == phase]
        if not candidates:
            images[phase] = Guess("missing", "no series says by words or times that it is this")
            continue
        best, images[phase] = _choose(candidates, index, drawn)
        chosen[phase] = best.series
    taken = {id(series): phase for phase, series in chosen.items()}
    left_out = [
        LeftOut(one.series.folder, _why_left(one, phases))
        for one in readings
        if id(one.series) not in taken
    ]
    return _Exam(images, chosen, left_out)


def _why_left(reading: Reading, phases: Sequence[Phase]) -> str:
    what = f"a series ({_size(reading.series)})"
    if reading.phase is None:
        return f"{what} is not told to be of any phase: {reading.why}"
    if reading.phase not in phases:
        return f"{what} is {reading.phase}, which the study does not ask for: {reading.why}"
    return f"{what} is another of the {reading.phase} phase: {reading.why}"


def _choose(candidates: Sequence[Reading], index: Index, drawn: set[str]) -> tuple[Reading, Guess]:
    """One phase's series: of the surest scan, the reconstruction that serves best."""
    by_scan = scans(candidates)
    here = [scan for scan in by_scan if not all(one.series.elsewhere for one in scan)]
    by_scan = here or by_scan
    top = min(one.rank for scan in by_scan for one in scan)
    surest = [scan for scan in by_scan if min(one.rank for one in scan) == top]
    rivals = len(by_scan) - 1
    scan = [one for one in surest[0] if one.rank == top or one.rank < 2]
    obstacles = {id(one): _obstacle(one.series, index) for one in scan}

    def order(one: Reading) -> tuple[object, ...]:
        series = one.series
        return (
            bool(obstacles[id(one)]),
            series.elsewhere,
            series.uid not in drawn,
            (series.thickness_mm or 0.0) > THICK_MM,
            series.sharp is True,
            -series.n_slices,
            series.sharp is None,
        )

    best = min(scan, key=order)
    sure, why = best.sure, best.why
    if len(scan) > 1:
        reason = "a mask was drawn on it" if best.series.uid in drawn else "by slices and kernel"
        why += f"; of {len(scan)} reconstructions this one ({_size(best.series)}), {reason}"
    if len(surest) > 1:
        sure, why = "unsure", f"{why}; {len(surest)} scans at different times say the same"
    elif rivals:
        sure = "likely" if sure == "certain" else sure
        why += "; another scan may be it, but is less sure"
    obstacle = obstacles[id(best)]
    if obstacle:
        why = f"{why}; left blank, since its folder {best.series.folder} {obstacle}"
        sure = "unsure"
    return best, Guess(sure, why, best.series.folder, usable=not obstacle)


def _obstacle(series: Series, index: Index) -> str:
    n_folders = sum(series.uid in folder.series for folder in index.folders.values())
    return index.folders[series.folder].obstacle() or (
        f"holds a part of a series that lies in {n_folders} folders; put it into one"
        if n_folders > 1 and not _only_copies(series, index)
        else ""
    )


def _only_copies(series: Series, index: Index) -> bool:
    others = [f.series[series.uid] for f in index.folders.values() if series.uid in f.series]
    return len({(one.n_slices, one.fingerprint) for one in others}) == 1


def _size(series: Series) -> str:
    thickness = f" of {series.thickness_mm:g} mm" if series.thickness_mm is not None else ""
    return f"{series.n_slices} slices{thickness}"
