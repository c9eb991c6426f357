"""A draft of a hospital's manifest: walk its folder, guess what is what, and say how sure.

A person confirms it: what is unsure stays blank. No file of the hospital is moved or copied, and no
value of a header is copied, except a patient's id where the hospital asks for it.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from client.cohort.tables import clean_id, patient_key
from client.draft.dicom import draft_patient, group_patients
from client.draft.guesses import Guess, LeftOut, PatientDraft, Sure
from client.draft.masks import common_mask
from client.draft.phase_words import normal
from client.draft.series_index import Seen, index_folder
from client.draft.volume_names import VolumeGroup, draft_masks, draft_volumes, group_volumes
from shared.errors import ManifestError
from shared.phases import Phase

Ids = Literal["pseudonyms", "folders", "dicom"]
MAX_ID = 64
NAMELESS = "an image whose name says no phase"
FORMULA = "=+-@"


@dataclass(frozen=True, slots=True)
class Line:
    """One patient of the draft; `masks` has None for the one mask of all phases."""

    patient_id: str
    images: dict[Phase, Guess]
    masks: dict[Phase | None, Guess]
    roi: str
    roi_why: str
    left_out: Sequence[LeftOut]


@dataclass(frozen=True, slots=True)
class Draft:
    """What a folder seems to hold, and what of it was left out.

    `named` says that the patients' ids are those of the headers: they stand in the manifest alone.
    """

    phases: tuple[Phase, ...]
    lines: tuple[Line, ...]
    left_out: tuple[LeftOut, ...]
    n_files: int
    unsure_too: bool
    named: bool

    def counts(self) -> dict[str, Counter[Sure]]:
        """How many images of each phase, and how many masks, are how sure."""
        found: dict[str, Counter[Sure]] = {
            phase: Counter(line.images[phase].sure for line in self.lines) for phase in self.phases
        }
        found["mask"] = Counter(g.sure for line in self.lines for g in line.masks.values())
        return found

    def n_blank(self) -> int:
        """How many cells a person has to fill in."""
        guesses = [g for line in self.lines for g in (*line.images.values(), *line.masks.values())]
        return sum(not guess.written(unsure_too=self.unsure_too) for guess in guesses)


def make_draft(
    folder: Path,
    phases: Sequence[Phase],
    *,
    ids: Ids = "pseudonyms",
    unsure_too: bool = False,
    seen: Seen | None = None,
) -> Draft:
    """Look through a hospital's folder and propose its manifest.

    Args:
        phases: Those that the study asks for.
        ids: What the column patient_id holds: P001, P002 …, the name of each patient's own
            sub-folder, or the headers' PatientID.
        unsure_too: Fill in what is unsure as well, where there is a path for it.
        seen: Called with the number of files seen so far.

    Raises:
        ManifestError: If there is no such folder, no image in it, or, with `ids` as folders, not
            one sub-folder for each patient.
    """
    if not folder.is_dir():
        raise ManifestError(f"{folder}: there is no such folder. Give the folder of the images.")
    index = index_folder(folder, seen=seen)
    groups = group_volumes(index.volumes)
    patients = [
        _with_volume_masks(draft_patient(patient, index, phases), groups)
        for patient in group_patients(index, by_folder=ids == "folders")
    ]
    known = set[str]().union(*(_folders(patient) for patient in patients))
    for group in groups:
        if group.has_phase() and group.patient not in known:
            patients.append(draft_volumes(group, phases))
            continue
        why = "an image of a patient who has DICOM series" if group.patient in known else NAMELESS
        index.left_out += [LeftOut(one.file.path, why) for one in group.images]
    if not patients:
        raise ManifestError(
            f"{folder}: in {index.n_files} files there is neither a CT series nor a NIfTI or NRRD "
            "image whose name says a phase, as patient1_arterial.nii.gz. Give the folder of the "
            "images."
        )
    named = zip(_ids(patients, ids), patients, strict=True)
    lines = tuple(_line(patient_id, patient, unsure_too) for patient_id, patient in named)
    used = {guess.path for line in lines for guess in line.masks.values()}
    volume_masks = [one.file.path for group in groups for one in group.masks]
    masks = [*(mask.path for mask in index.masks), *volume_masks]
    why = "a mask that fits no series that was chosen"
    unused = [LeftOut(path, why) for path in masks if path not in used]
    left_out = (*index.left_out, *unused)
    return Draft(tuple(phases), lines, left_out, index.n_files, unsure_too, ids == "dicom")


def cell(path: Path) -> str | None:
    """A path as a manifest has it; None where no table can hold it.

    A spreadsheet takes a cell that begins with one of `FORMULA` for a formula.
    """
    text = path.as_posix()
    if not is_plain(text):
        return None
    return f"./{text}" if text[0] in FORMULA else text


def is_plain(text: str) -> bool:
    """Whether a text comes back from a table as it was."""
    return bool(text) and text.isprintable() and text == text.strip()


def _with_volume_masks(patient: PatientDraft, groups: Sequence[VolumeGroup]) -> PatientDraft:
    """Masks in NIfTI or NRRD of a patient whose images are DICOM and who has no DICOM mask."""
    if any(guess.path is not None for guess in patient.masks.values()):
        return patient
    fitting = [group for group in groups if group.masks and group.patient in _folders(patient)]
    if len(fitting) != 1:
        return patient
    return replace(patient, masks=draft_masks(fitting[0], {}, dict(patient.images)))


def _folders(patient: PatientDraft) -> set[str]:
    """The names of the folders that a patient's images lie in, as names of volumes are read."""
    paths = [guess.path for guess in patient.images.values() if guess.path is not None]
    return {normal(part) for path in paths for part in path.parts} - {""}


def _line(patient_id: str, patient: PatientDraft, unsure_too: bool) -> Line:
    images = {phase: _writable(guess) for phase, guess in patient.images.items()}
    by_phase = {phase: _writable(guess) for phase, guess in patient.masks.items()}
    common = common_mask(by_phase)
    masks: dict[Phase | None, Guess] = {}
    if common is not None:
        masks[None] = common
    else:
        masks.update(by_phase.items())
    if not masks:
        masks[None] = Guess("missing", "no phase was found that a mask could belong to")
    roi, roi_why = _roi([g for g in masks.values() if g.written(unsure_too=unsure_too)])
    return Line(patient_id, images, masks, roi, roi_why, patient.left_out)


def _roi(masks: Sequence[Guess]) -> tuple[str, str]:
    """The tumour's name in the masks that are filled in, if it can stand in a table, and why."""
    why = "; ".join(dict.fromkeys(guess.roi_why for guess in masks if guess.roi_why))
    rois = {guess.roi for guess in masks}
    roi = rois.pop() if len(rois) == 1 else ""
    if rois:
        return "", f"the masks name the tumour differently; {why}"
    if roi and not _is_cell(roi):
        return "", f"{why}, but no table can hold its name: choose another in the mask"
    return roi, why


def _is_cell(text: str) -> bool:
    return is_plain(text) and text[0] not in FORMULA


def _writable(guess: Guess) -> Guess:
    if guess.path is None or cell(guess.path) is not None:
        return guess
    why = f"{guess.why}; left blank: its path has letters that no table can hold. Rename it"
    return replace(guess, sure="unsure", why=why, usable=False)


def _ids(patients: Sequence[PatientDraft], ids: Ids) -> Iterator[str]:
    """An id for each patient, all different; a pseudonym where the asked one cannot be used."""
    asked = [
        clean_id({"pseudonyms": "", "folders": one.folder, "dicom": one.dicom_id}[ids])
        for one in patients
    ]
    if ids == "folders" and not all(asked):
        raise ManifestError(
            "--ids folders needs a sub-folder for each patient, but some patient's images lie in "
            "none or in several. Leave --ids out."
        )
    taken = {patient_key(name) for name in asked}
    given: set[str] = set()
    number = 0
    for name in asked:
        good = _is_cell(name) and len(name) <= MAX_ID
        if not good or patient_key(name) in given:
            number += 1
            while f"p{number:03d}" in taken:
                number += 1
            name = f"P{number:03d}"
        given.add(patient_key(name))
        yield name
