"""The fusion columns' scale from numbers that are known before, where noise is to cover the fit.

A scale from the fitted cases themselves would have to be paid for. A branch's score and the
radiomics score are logits, or become one by the frozen calibration; clinical predictors have the
mean and deviation that `describe_cohort` told.
"""

import numpy as np

from server.coordinator import need
from server.study import CohortRecord, SelectionRecord, Study
from shared.checks import Floats
from shared.config import Study as Settings
from shared.fusion_columns import fusion_names
from shared.fusion_sums import LEAST_SD
from shared.moments import pool_class_moments, pool_moments

LOGIT_SD = 1.5
"""What a logit of a useful model is taken to deviate by; the ridge penalty is for this unit."""
UNKNOWN = (0.0, LOGIT_SD)
"""Of a column that nothing is known of, such as a branch's logit."""
RADIOMICS_SCORE = "radiomics_score"


def known_scale(study: Study, settings: Settings) -> tuple[Floats, Floats]:
    """Mean and deviation of each fusion column, both ``(k,)``; nothing is asked.

    Raises:
        StateError: If a stage that they are from has not run.
    """
    cohort: CohortRecord = need(study.describe_cohort, "describe_cohort")
    selection: SelectionRecord = need(study.select_features, "select_features")
    by_label = pool_class_moments([site.variables for site in cohort.sites.values()])
    found = pool_moments([by_label.negative, by_label.positive])
    sds = np.sqrt(found.m2 / np.maximum(found.n, 1))
    scale = {
        name: (mean, sd if sd > LEAST_SD else 1.0)
        for name, mean, sd in zip(found.names, found.mean.tolist(), sds.tolist(), strict=True)
    }
    intercept, slope = selection.model.calibration.tolist()
    if abs(slope) > LEAST_SD:
        scale[RADIOMICS_SCORE] = (-intercept / slope, LOGIT_SD / abs(slope))
    scales = [scale.get(name, UNKNOWN) for name in fusion_names(settings)]
    return np.array([mean for mean, _ in scales]), np.array([sd for _, sd in scales])
