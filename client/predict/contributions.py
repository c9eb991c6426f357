"""What each input of the fusion layer adds to a patient's logit: linear SHAP values."""

from dataclasses import dataclass

import numpy as np

from shared.config import Study
from shared.models import FusionModel, fusion_design

CLINICAL = "clinical predictors"
RADIOMICS = "radiomics score"


@dataclass(frozen=True, slots=True)
class Contribution:
    """One column of the fusion layer.

    Attributes:
        column: Its name.
        source: The branch, the radiomics score or the clinical predictors that it comes from.
        value: The patient's value; None where there is none, and the mean was taken.
        mean: Over the patients that the fusion layer was fitted on.
        sd: Likewise.
        logit: What the value adds to the logit against the mean.
    """

    column: str
    source: str
    value: float | None
    mean: float
    sd: float
    logit: float


@dataclass(frozen=True, slots=True)
class Explained:
    """A patient's logit, taken apart: it is `mean_logit` and the columns' logits, summed."""

    logit: float
    mean_logit: float
    columns: tuple[Contribution, ...]

    @property
    def sources(self) -> dict[str, float]:
        """The logits by where the columns come from, summed."""
        found: dict[str, float] = {}
        for column in self.columns:
            found[column.source] = found.get(column.source, 0.0) + column.logit
        return found


def explained(model: FusionModel, columns: np.ndarray, study: Study) -> Explained:
    """The fusion layer's logit of one patient, whose columns are ``(k,)``, NaN where it has none.

    A column adds its coefficient times (value - mean), which is its Shapley value in a model that
    is linear in its inputs and takes them as independent. The logit is linear in the columns, so
    that the mean logit is the logit of the means.

    References:
        Lundberg & Lee (2017). A unified approach to interpreting model predictions. Advances in
        Neural Information Processing Systems 30, section 4.2 (corollary 1, linear SHAP).
    """
    design = fusion_design(model.mean, model.sd, columns[None])[0]
    parts = design * model.coefficients
    found = tuple(
        Contribution(
            column=name,
            source=_source(name, study),
            value=float(value) if np.isfinite(value) else None,
            mean=float(mean),
            sd=float(sd),
            logit=float(part),
        )
        for name, value, mean, sd, part in zip(
            model.columns, columns, model.mean, model.sd, parts[1:], strict=True
        )
    )
    return Explained(float(parts.sum()), float(parts[0]), found)


def _source(column: str, study: Study) -> str:
    """The part of the fusion layer that a column comes from."""
    if column == "radiomics_score":
        return RADIOMICS
    if column in study.clinical.predictors:
        return CLINICAL
    branches = [b.name for b in study.branches if column.startswith(b.name)]
    return max(branches, key=len, default=column)
