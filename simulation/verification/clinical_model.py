"""The clinical model, again."""

import numpy as np

from server.coordinator import need
from server.study import ClinicalRecord, Study
from shared.config import Study as Settings
from simulation.verification import formulas
from simulation.verification.checks import Check, difference
from simulation.verification.rows import PooledRows


def check_clinical(study: Study, pooled: PooledRows, settings: Settings) -> list[Check]:  # noqa: ARG001
    """Coefficients and standard errors of the clinical model."""
    record: ClinicalRecord = need(study.clinical_model, "clinical_model")
    means = np.nanmean(pooled.clinical, axis=0)
    filled = np.where(np.isfinite(pooled.clinical), pooled.clinical, means)
    beta, se = formulas.logistic(filled, pooled.labels, ridge=0.0)
    return [
        Check("clinical_model", "means for blanks", difference(record.model.means, means)),
        Check("clinical_model", "coefficients", difference(record.fit.coefficients, beta)),
        Check("clinical_model", "standard errors", difference(record.fit.se, se)),
    ]
