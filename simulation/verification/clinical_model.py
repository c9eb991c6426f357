"""The clinical model and the regressions beside it, again."""

import numpy as np
from scipy import stats

from server.coordinator import need
from server.study import ClinicalRecord, Study
from shared.config import Study as Settings
from shared.regressions import Regression
from simulation.verification import formulas
from simulation.verification.checks import Check, difference
from simulation.verification.rows import PooledRows


def check_clinical(study: Study, pooled: PooledRows, settings: Settings) -> list[Check]:
    """Coefficients and standard errors of the clinical model, and all numbers of the regressions.

    A model with Firth's penalty is compared with `formulas.firth`, the others with scikit-learn.
    """
    record: ClinicalRecord = need(study.clinical_model, "clinical_model")
    means = np.nanmean(pooled.clinical, axis=0)
    filled = np.where(np.isfinite(pooled.clinical), pooled.clinical, means)
    columns = dict(zip(settings.clinical.predictors, filled.T, strict=True))
    found = [one for one in (*record.alone, record.together, record.by_site) if one is not None]
    again = [_again(one, columns, pooled) for one in found]
    checks = [Check("clinical_model", "means for blanks", difference(record.model.means, means))]
    if record.together is not None:
        beta, se, *_ = again[len(record.alone)]
        checks += [
            Check("clinical_model", "coefficients", difference(record.fit.coefficients, beta)),
            Check("clinical_model", "standard errors", difference(record.fit.se, se)),
        ]
    told = [(one.fit.coefficients, one.fit.se, one.chi2, one.p, one.inflation) for one in found]
    for k, quantity in enumerate(QUANTITIES):
        off = max(difference(mine[k], theirs[k]) for mine, theirs in zip(told, again, strict=True))
        checks.append(Check("clinical_model", f"regressions: {quantity}", off))
    return checks


QUANTITIES = (
    "coefficients",
    "standard errors",
    "likelihood ratios",
    "likelihood ratio p-values",
    "variance inflation",
)


def _again(
    found: Regression, columns: dict[str, np.ndarray], pooled: PooledRows
) -> tuple[np.ndarray, np.ndarray, float, float, np.ndarray]:
    """The same from the rows: coefficients, standard errors, ratio, its p, and inflation."""
    X = np.column_stack([columns[name] for name in found.terms.predictors])
    groups = [pooled.sites == site for site in np.unique(pooled.sites)]
    if not found.terms.by_site:
        groups = [np.ones(len(X), dtype=bool)]
    design = np.column_stack([*groups, X]).astype(float)
    y = pooled.labels
    if found.method == "firth":
        beta, se, reached = formulas.firth(design, y)
        null = formulas.firth(design, y, n_free=len(groups))[2]
    else:
        beta, se, reached = formulas.free_logistic(design, y)
        null = sum(formulas.share_log_likelihood(y[rows]) for rows in groups)
    chi2 = 2 * (reached - null)
    inflation = formulas.variance_inflation(design, len(groups))
    return beta, se, chi2, float(stats.chi2.sf(chi2, X.shape[1])), inflation
