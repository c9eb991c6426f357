"""The same images twice: two patients whose radiomics features are equal to the last bit."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from client.cohort.manifest import Case

LEAST_TELLING = 3
"""Different values that are no whole numbers, so many of which no two patients share by chance."""


def copies(cases: Sequence[Case], rows: Mapping[str, NDArray[np.float64]]) -> dict[str, str]:
    """The patients whose row is an earlier one's, by id, and what to do about it.

    Earlier is by the line of the table that names the patients. A row is judged only if it holds
    enough numbers that must have been measured: rows of categories and counts may well be equal.
    """
    first: dict[bytes, Case] = {}
    problems: dict[str, str] = {}
    for case in sorted(cases, key=lambda case: case.line):
        row = rows.get(case.patient_id)
        if row is None or not is_telling(row):
            continue
        earlier = first.setdefault(row.tobytes(), case)
        if earlier is not case:
            problems[case.patient_id] = (
                f"{case.patient_id} (line {case.line}): its radiomics features are those of "
                f"{earlier.patient_id} (line {earlier.line}) to the last bit: these are the same "
                "images, or one row copied. Give each patient its own, or keep one of the two."
            )
    return problems


def is_telling(row: NDArray[np.float64]) -> bool:
    """Whether a row of features belongs to one patient alone."""
    known = row[np.isfinite(row)]
    return len(np.unique(known[known != np.round(known)])) >= LEAST_TELLING
