"""What a row about a single patient is made coarse to before it leaves.

Ten digits of a score are a fingerprint by which whoever sees the patient's later scan, or another
table, finds the row again; the layer does not need them.
"""

import numpy as np

from shared.checks import Floats
from shared.config import Study
from shared.fusion_settings import SCORE_STEP
from shared.models import RadiomicsModel

LARGEST_HALF = float(np.finfo(np.float16).max)


def coarse(
    study: Study, columns: tuple[str, ...], rows: Floats, radiomics: RadiomicsModel
) -> Floats:
    """Rows ``(n, k)`` as they may leave: scores in steps, embeddings in half precision.

    With `scores` every logit is a multiple of `SCORE_STEP`, and the radiomics score is one of what
    its calibration makes as long on the scale of logits.
    """
    found = rows.copy()
    slope = abs(float(radiomics.calibration[1]))
    for i, column in enumerate(columns):
        if column in study.clinical.predictors:
            continue
        if not study.fusion.takes_scores:
            if column != "radiomics_score":
                found[:, i] = half_precision(rows[:, i])
            continue
        step = SCORE_STEP
        if column == "radiomics_score" and slope > 1e-12:
            step = SCORE_STEP / slope
        found[:, i] = np.round(rows[:, i] / step) * step
    return found


def half_precision(values: Floats) -> Floats:
    """Values with the eleven binary digits of half precision; beyond its range, at its end."""
    inside = np.clip(values, -LARGEST_HALF, LARGEST_HALF)
    return inside.astype(np.float16).astype(np.float64)


def by_value(rows: Floats, labels: np.ndarray) -> np.ndarray:
    """An order of rows that hangs on nothing but what they hold, NaN last, ``(n,)``."""
    return np.lexsort((labels, *rows.T[::-1]))
