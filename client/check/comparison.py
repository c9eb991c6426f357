"""A site's patients held against each other: an image twice, phases swapped, a mask off the tumour.

A patient is compared with the medians of all others, in units of their robust spread, so that a
few wrong patients do not hide each other.
"""

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from client.check.measures import Measures, PhaseMeasures
from client.cohort.manifest import Case
from shared.phases import Phase

LEAST_OTHERS = 4
FAR = 3.5
BETTER = 0.5
LEAST_SPREAD_HU = (4.0, 4.0, 20.0)
LEAST_ROI_SPREAD_HU = 15.0


def same_images(cases: Sequence[Case], found: Mapping[str, Measures]) -> dict[str, str]:
    """The patients who share an image with another, or whose phases share one, and what to do."""
    places: dict[str, list[tuple[Case, Phase]]] = defaultdict(list)
    for case in cases:
        for phase, measures in found.get(case.patient_id, {}).items():
            places[measures.content].append((case, phase))
    problems: dict[str, str] = {}
    for shared in places.values():
        for case, phase in shared if len(shared) > 1 else ():
            others = [_place(other, p) for other, p in shared if (other, p) != (case, phase)]
            problems.setdefault(
                case.patient_id,
                f"{_place(case, phase)}: the very same image stands at {' and '.join(others[:5])}. "
                "One is a copy under a wrong name: give each its own file, or keep one patient.",
            )
    return problems


def _place(case: Case, phase: Phase) -> str:
    return f"{case.patient_id}, {phase} ({case.images[phase].name}, manifest line {case.line})"


def unlike_the_others(found: Mapping[str, Measures]) -> dict[str, list[str]]:
    """Findings, by patient, of those whose contrast is not that of the site's other patients."""
    by_phases: dict[tuple[Phase, ...], list[str]] = defaultdict(list)
    for patient, measures in found.items():
        by_phases[tuple(measures)].append(patient)
    texts: dict[str, list[str]] = defaultdict(list)
    for phases, patients in by_phases.items():
        if not phases or len(patients) <= LEAST_OTHERS:
            continue
        values = np.array([[_contrast(found[p][phase]) for phase in phases] for p in patients])
        for row, patient in enumerate(patients):
            others = np.delete(values, row, axis=0)
            if swap := _swapped(values[row], others, phases):
                texts[patient].append(swap)
            elif off := _off_the_tumour(values[row], others):
                texts[patient].append(off)
    return dict(texts)


def _contrast(measures: PhaseMeasures) -> list[float]:
    """Inside the mask, around it, and the brightest near it; 0 where nothing is around it."""
    return [
        float(np.nan_to_num(v)) for v in (measures.roi_hu, measures.ring_hu, measures.bright_hu)
    ]


def _swapped(
    mine: NDArray[np.float64], others: NDArray[np.float64], phases: Sequence[Phase]
) -> str | None:
    """That two phases may be swapped: as named they are far from the others', swapped they fit.

    `mine` is (phase, measure), `others` (patient, phase, measure); the level common to a
    patient's phases is taken out, so that only the way contrast comes and goes counts.
    """
    if len(phases) < 2:
        return None
    mine, others = mine - mine.mean(axis=0), others - others.mean(axis=1, keepdims=True)
    centre = np.median(others, axis=0)
    spread = np.maximum(_spread(others, centre), LEAST_SPREAD_HU)

    def off(order: Sequence[int]) -> NDArray[np.float64]:
        return (mine[list(order)] - centre) / spread

    as_named = off(range(len(phases)))
    if np.abs(as_named).max() <= FAR:
        return None
    best = min(
        itertools.permutations(range(len(phases))), key=lambda order: float((off(order) ** 2).sum())
    )
    if (off(best) ** 2).sum() > BETTER * (as_named**2).sum():
        return None
    moved = [phases[i] for i, j in enumerate(best) if i != j]
    return (
        f"phases may be swapped: {' and '.join(moved)} are in another order here than at the "
        f"site's other patients ({np.abs(as_named).max():.1f} times their spread). Check which "
        "file is which phase."
    )


def _off_the_tumour(mine: NDArray[np.float64], others: NDArray[np.float64]) -> str | None:
    levels, level = others[:, :, 0].mean(axis=1), float(mine[:, 0].mean())
    centre = np.median(levels, keepdims=True)
    spread = max(float(_spread(levels, centre)), LEAST_ROI_SPREAD_HU)
    if abs(level - centre.item()) / spread <= FAR:
        return None
    return (
        f"the mean inside the mask is {level:.0f} HU over the phases, at the site's other patients "
        f"{centre.item():.0f}. Does the mask lie on the tumour, and are the values HU?"
    )


def _spread(values: NDArray[np.float64], centre: NDArray[np.float64]) -> NDArray[np.float64]:
    """1.4826 times the median absolute deviation: the standard deviation of a normal."""
    spread: NDArray[np.float64] = 1.4826 * np.median(np.abs(values - centre), axis=0)
    return spread
