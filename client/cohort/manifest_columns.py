"""Which column of a manifest holds what: images and masks by phase, in a hospital's own words."""

import difflib
from dataclasses import dataclass

from client.cohort.tables import Table, need_column
from shared.config import Study
from shared.errors import ManifestError
from shared.phases import PHASES, Phase, phase_named

OWN_COLUMNS = ("patient_id", "mask", "roi", "mask2", "roi2", "split")
KINDS = ("image", "mask", "mask2")


@dataclass(frozen=True, slots=True)
class Columns:
    """Which column of the manifest holds what."""

    images: dict[Phase, str]
    masks: dict[Phase, str]
    second_masks: dict[Phase, str]


def manifest_columns(table: Table, study: Study) -> Columns:
    """The columns of a manifest for a study.

    Raises:
        ManifestError: If a column is unknown, or a phase or mask that the study needs has none.
    """
    found: dict[str, dict[Phase, str]] = {kind: {} for kind in KINDS}
    for column in table.columns:
        if column in OWN_COLUMNS:
            continue
        kind, _, word = column.partition("_")
        phase = phase_named(word) if kind in KINDS else None
        if phase is None:
            raise ManifestError(f"{table.path.name} line 1: {_unknown_column(column, study)}")
        place = found[kind]
        if phase in place:
            raise ManifestError(
                f"{table.path.name} line 1: columns '{place[phase]}' and '{column}' both name the "
                f"phase '{phase}'. Keep one."
            )
        place[phase] = column
    for phase in study.phases:
        if phase not in found["image"] and study.cohort.missing_phase == "stop":
            need_column(table, f"image_{phase}")
    if "mask" not in table.columns and not found["mask"]:
        need_column(table, "mask")
    return Columns(found["image"], found["mask"], found["mask2"])


def _unknown_column(column: str, study: Study) -> str:
    phases = dict.fromkeys((*study.phases, *PHASES))
    known = [*OWN_COLUMNS]
    known += [f"{kind}_{phase}" for kind in KINDS for phase in phases]
    near = difflib.get_close_matches(column, known, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(known)}."
    return f"'{column}' is not a column of a manifest; {hint}"
