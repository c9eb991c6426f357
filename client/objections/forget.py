"""What follows from an objection: where the patient took part, and that nothing is kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from client.objections.kept import Kept
from client.objections.listed import Objections
from client.objections.took_part import Part, TookPart


@dataclass(frozen=True, slots=True)
class Forgotten:
    """One patient: what the data took part in, and how many entries of the cache were removed."""

    patient_id: str
    parts: Sequence[Part]
    n_entries: int


@dataclass(frozen=True, slots=True)
class Removal:
    """What was found and removed.

    Attributes:
        n_strays: Entries of which nobody knew whose they are.
        n_outputs: Files with networks' outputs of whole splits.
        runs: Runs whose kept answers were removed.
    """

    patients: tuple[Forgotten, ...]
    n_strays: int
    n_outputs: int
    runs: tuple[str, ...]


def forget(objections: Objections, *, folder: Path, cache: Path) -> Removal:
    """Find out where those who object took part, and remove what the cache holds of them.

    What a network learnt, or keeps of its optimiser between rounds, is of all patients together and
    stays; so do the files that people made themselves: pages, tables, predictions.

    Raises:
        StateError: If the table of who took part cannot be believed.
    """
    kept = Kept(cache)
    parts = TookPart(folder, cache).of(objections.ids.values())
    found = tuple(
        Forgotten(patient, parts[patient], kept.remove(patient))
        for patient in objections.ids.values()
    )
    runs = sorted({part.name for one in found for part in one.parts if part.what == "run"})
    removed = tuple(run for run in runs if kept.remove_answers(run))
    anybody = bool(found)
    return Removal(
        found,
        kept.remove_strays() if anybody else 0,
        kept.remove_outputs() if anybody else 0,
        removed,
    )


def removal_lines(removal: Removal) -> list[str]:
    """What was found and removed, in words."""
    lines = []
    for one in removal.patients:
        lines.append(
            f"{one.patient_id}: took part in {len(one.parts) or 'nothing'}; "
            f"{one.n_entries} entries removed from the cache"
        )
        for part in one.parts:
            of = f" of study {part.study[:16]}" if part.study else ""
            lines.append(f"    {part.what} {part.name}{of}, since {part.date[:19]}Z")
    if removal.n_strays:
        lines.append(f"{removal.n_strays} entries of an older cache removed: nobody knew whose")
    if removal.n_outputs:
        lines.append(f"{removal.n_outputs} files of networks' outputs of whole splits removed")
    lines += [f"the answers that were kept of run {run} removed" for run in removal.runs]
    return lines
