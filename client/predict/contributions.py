"""A patient's logit by the fusion layer, taken apart by its inputs."""

from dataclasses import dataclass

import numpy as np

from shared.config import Study
from shared.contributions import contributions, source_of
from shared.models import FusionModel


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

    The logit is linear in the columns, so that the mean logit is the logit of the means.
    """
    parts = contributions(model, columns[None])[0]
    mean_logit = float(model.coefficients[0])
    found = tuple(
        Contribution(
            column=name,
            source=source_of(name, study),
            value=float(value) if np.isfinite(value) else None,
            mean=float(mean),
            sd=float(sd),
            logit=float(part),
        )
        for name, value, mean, sd, part in zip(
            model.columns, columns, model.mean, model.sd, parts, strict=True
        )
    )
    return Explained(mean_logit + float(parts.sum()), mean_logit, found)
