"""NIfTI and NRRD files: whose they are and what they show, which only their names can tell."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import SimpleITK as sitk  # noqa: N813

from client.draft.guesses import Guess, LeftOut, PatientDraft
from client.draft.phase_words import LETTERS, normal, said
from client.images.formats import READERS, FileError, suffix_of
from shared.phases import Phase

MASK_WORDS: Final = frozenset(
    {
        "mask", "masks", "seg", "segs", "segmentation", "segmentations", "label", "labels", "roi",
        "rois", "tumour", "tumor", "gtv", "lesion", "肿瘤", "病灶",
    }
)  # fmt: skip
PLAIN_WORDS: Final = frozenset(
    {"image", "images", "img", "ct", "scan", "volume", "phase", "nifti", "nii", "nrrd", "data"}
)
TOLERANCE_MM: Final = 1e-3


@dataclass(frozen=True, slots=True)
class VolumeFile:
    """A NIfTI or NRRD file; its path, size and spacing in the file's order of axes."""

    path: Path
    size: tuple[int, ...]
    spacing_mm: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class _Named:
    """What a file's name says: the patient, an image or a mask, the phases and their words."""

    file: VolumeFile
    patient: str
    is_mask: bool
    phases: tuple[Phase, ...]
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VolumeGroup:
    """One patient's files, by what their names say."""

    patient: str
    images: tuple[_Named, ...]
    masks: tuple[_Named, ...]

    def has_phase(self) -> bool:
        """Whether any image's name says its phase."""
        return any(one.phases for one in self.images)


def read_volume_header(path: Path, here: Path) -> VolumeFile:
    """Read a volume's size and spacing, nothing else.

    Raises:
        FileError: If its header cannot be read, or is none of a volume.
    """
    reader = sitk.ImageFileReader()
    reader.SetImageIO(READERS[suffix_of(path)])
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        raise FileError(path, "cannot be read. Export it again.") from None
    size = tuple(int(n) for n in reader.GetSize())
    if len(size) != 3:
        raise FileError(path, f"has {len(size)} axes; it must have 3. Save one volume.")
    return VolumeFile(here, size, tuple(float(step) for step in reader.GetSpacing()))


def group_volumes(files: Iterable[VolumeFile]) -> list[VolumeGroup]:
    """The files by patient, in the order in which patients are first met."""
    groups: dict[str, list[_Named]] = {}
    for file in files:
        named = _named(file)
        groups.setdefault(named.patient, []).append(named)
    return [
        VolumeGroup(
            patient,
            tuple(one for one in found if not one.is_mask),
            tuple(one for one in found if one.is_mask),
        )
        for patient, found in groups.items()
    ]


def draft_volumes(group: VolumeGroup, phases: Iterable[Phase]) -> PatientDraft:
    """One patient's line from the names of the files."""
    images = {phase: _image(group, phase) for phase in phases}
    taken = {guess.path for guess in images.values()}
    tops = {one.file.path.parts[0] for one in group.images if len(one.file.path.parts) > 1}
    in_root = any(len(one.file.path.parts) == 1 for one in group.images)
    return PatientDraft(
        images=images,
        masks=draft_masks(group, {one.file.path: one.file for one in group.images}, images),
        folder=tops.pop() if len(tops) == 1 and not in_root else "",
        left_out=[
            LeftOut(one.file.path, _why_left(one))
            for one in group.images
            if one.file.path not in taken
        ],
    )


def draft_masks(
    group: VolumeGroup, files: dict[Path, VolumeFile], images: dict[Phase, Guess]
) -> dict[Phase, Guess]:
    """The mask of each phase that has an image: its own, or the one for all phases.

    Args:
        files: The images that the size can be compared with.
    """
    found: dict[Phase, Guess] = {}
    for phase, image in images.items():
        if image.path is None:
            continue
        own = [one for one in group.masks if one.phases == (phase,)]
        fitting = own or [one for one in group.masks if not one.phases]
        paths = ", ".join(str(one.file.path) for one in fitting[:5])
        if not fitting:
            found[phase] = Guess("missing", "no file's name says that it is this patient's mask")
        elif len(fitting) > 1:
            found[phase] = Guess("unsure", f"{len(fitting)} files may be the mask: {paths}")
        else:
            found[phase] = _fitting(fitting[0].file, files.get(image.path), own=bool(own))
    return found


def _fitting(mask: VolumeFile, image: VolumeFile | None, *, own: bool) -> Guess:
    said_so = "its name says that it is this phase's mask" if own else "the patient's only mask"
    if image is None:
        return Guess("likely", said_so, mask.path)
    steps = zip(mask.spacing_mm, image.spacing_mm, strict=True)
    if mask.size != image.size or any(abs(a - b) > TOLERANCE_MM for a, b in steps):
        return Guess("unsure", f"{said_so}, but its grid is not the image's", mask.path)
    return Guess("likely", f"{said_so}, and it has the image's grid", mask.path)


def _image(group: VolumeGroup, phase: Phase) -> Guess:
    named = [one for one in group.images if phase in one.phases]
    if not named:
        return Guess("missing", "no file's name says this phase")
    paths = ", ".join(str(one.file.path) for one in named[:5])
    if len(named) > 1:
        why = f"{len(named)} files are named so: {paths}"
        return Guess("unsure", why, named[0].file.path)
    if len(named[0].phases) > 1:
        return Guess("unsure", "its name says several phases", named[0].file.path)
    return Guess("likely", f"its name says '{named[0].words[0]}'", named[0].file.path)


def _why_left(one: _Named) -> str:
    if not one.phases:
        return "its name says no phase"
    if len(one.phases) > 1:
        return "its name says several phases"
    return f"its name says '{one.words[0]}': a phase that is not asked for, or named twice"


def _named(file: VolumeFile) -> _Named:
    """The patient is what is left of the name without words for phase and mask, or the folder."""
    stem = file.path.name[: -len(suffix_of(file.path))]
    found = said(stem, letters=False)
    phases, words = found.phases, found.words
    rest = [word for word in found.rest.split() if word not in PLAIN_WORDS]
    is_mask = any(word in MASK_WORDS for word in rest)
    tokens = [t for t in re.split(r"[^0-9A-Za-z]+", stem) if normal(t) not in MASK_WORDS]
    if not phases and tokens and tokens[-1] in LETTERS:
        phases, words = (LETTERS[tokens[-1]],), (tokens[-1],)
        rest.remove(tokens[-1].lower())
    patient = [word for word in rest if word not in MASK_WORDS]
    folders = list(file.path.parent.parts)
    while folders:
        parts = set(normal(folders[-1]).split())
        if not parts or parts - MASK_WORDS - PLAIN_WORDS:
            break
        is_mask = is_mask or bool(parts & MASK_WORDS)
        folders.pop()
    if not patient and folders:
        patient = normal(folders[-1]).split()
    return _Named(file, " ".join(patient), is_mask, phases, words)
