"""The second reader's masks, where the study reads cases by two readers: opened and compared."""

from collections.abc import Mapping, Sequence

import numpy as np

from client.cohort.manifest import Case
from client.images.volumes import Volume
from client.radiomics.readings import second_masks
from shared.config import Study
from shared.errors import ImageError
from shared.phases import Phase

LEAST_DICE = 0.5


def second_findings(case: Case, opened: Mapping[Phase, Volume], study: Study) -> tuple[str, ...]:
    """What is worth a second look in one patient's second masks; nothing where there are none.

    Raises:
        ImageError: If one cannot be used and the study stops at such patients.
    """
    if not case.second_masks:
        return ()
    try:
        masks = second_masks(case, min_roi_voxels=study.cohort.min_roi_voxels)
    except ImageError as error:
        if study.cohort.on_bad_case == "stop":
            raise
        return (f"not read a second time: {error}",)
    texts: dict[str, list[str]] = {}
    for phase, mask in masks.items():
        first = opened[phase].mask
        both = int(np.count_nonzero(first & mask))
        dice = 2 * both / (int(np.count_nonzero(first)) + int(np.count_nonzero(mask)))
        if dice == 1:
            text = "the second reader's mask is the first one, voxel for voxel. A copy?"
            texts.setdefault(text, []).append(phase)
        elif dice < LEAST_DICE:
            text = (
                f"the second reader's mask overlaps the first by a Dice of {dice:.2f} only. "
                "Is it of the same tumour?"
            )
            texts.setdefault(text, []).append(phase)
    return tuple(f"{', '.join(phases)}: {text}" for text, phases in texts.items())


def second_reader_notes(cases: Sequence[Case], study: Study) -> list[str]:
    """How many patients a second reader has read, if the study asks for one."""
    if study.stability is None or study.stability.by != "reader":
        return []
    n_read = sum(bool(case.second_masks) for case in cases)
    if not n_read:
        return [
            "the study compares two readers, but no patient has a second reader's mask (column "
            "mask2 of the manifest); this site will have no part in it."
        ]
    return [
        f"{n_read} of {len(cases)} patients have a second reader's mask; of those in train up to "
        f"{study.stability.cases_per_site} are compared."
    ]
