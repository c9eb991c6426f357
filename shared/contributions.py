"""What each input of the fusion layer adds to a logit: linear SHAP values, and sums that pool."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shared.checks import Floats, Ints, agreed_names, require, require_counts, require_numbers
from shared.config import Study
from shared.models import FusionModel, fusion_design
from shared.moments import ClassMoments, class_moments, pool_class_moments

CLINICAL = "clinical predictors"
RADIOMICS = "radiomics score"


def source_of(column: str, study: Study) -> str:
    """The branch, the radiomics score or the clinical predictors that a fusion column is of."""
    if column == "radiomics_score":
        return RADIOMICS
    if column in study.clinical.predictors:
        return CLINICAL
    branches = [b.name for b in study.branches if column.startswith(b.name)]
    return max(branches, key=len, default=column)


def sources_of(columns: Sequence[str], study: Study) -> tuple[str, ...]:
    """The same of each column, ``(k,)``."""
    return tuple(source_of(column, study) for column in columns)


def contributions(model: FusionModel, columns: Floats) -> Floats:
    """What each column adds to each patient's logit against the mean, ``(n, k)``.

    It is the column's coefficient times (value - mean): its Shapley value in a model that is linear
    in its inputs and takes them as independent. A missing value is at its mean and adds 0. A row's
    sum and the intercept, which is the logit of the means, make the logit.

    Args:
        columns: ``(n, k)``, NaN where a patient has none.

    References:
        Lundberg & Lee (2017). A unified approach to interpreting model predictions. Advances in
        Neural Information Processing Systems 30, section 4.2 (corollary 1, linear SHAP).
    """
    design = fusion_design(model.mean, model.sd, columns)
    return np.asarray(design[:, 1:] * model.coefficients[1:])


@dataclass(frozen=True, slots=True, eq=False)
class ContributionSums:
    """What each input adds to the logits of many patients: sums from which means and SDs follow.

    Attributes:
        moments: Of the contributions, by label; every patient counts, one without a value with 0.
        absolute: The contributions' sizes, summed over both labels, ``(k,)``.
        n_missing: Patients without a value, ``(k,)``.
    """

    moments: ClassMoments
    absolute: Floats
    n_missing: Ints

    def __post_init__(self) -> None:
        shape = (len(self.names),)
        require_numbers("contributions.absolute", self.absolute, shape, minimum=0.0)
        require_counts("contributions.n_missing", self.n_missing, shape)
        classes = (self.moments.negative.n, self.moments.positive.n)
        require(all(len(set(n.tolist())) <= 1 for n in classes), "contributions: n must be one")
        require(bool((self.n_missing <= sum(classes)).all()), "contributions: more miss than are")

    @property
    def names(self) -> tuple[str, ...]:
        """The inputs, in their order."""
        return self.moments.negative.names


@dataclass(frozen=True, slots=True, eq=False)
class FusionContributions:
    """Of the same patients: each column of the fusion layer, and each source, its columns added."""

    columns: ContributionSums
    sources: ContributionSums

    def __post_init__(self) -> None:
        columns, sources = self.columns.moments, self.sources.moments
        for a, b in (
            (columns.negative.n, sources.negative.n),
            (columns.positive.n, sources.positive.n),
        ):
            require(
                set(a.tolist()) == set(b.tolist()), "contributions: sources are of other patients"
            )


def fusion_contributions(
    model: FusionModel, columns: Floats, *, known: np.ndarray, labels: Ints, sources: Sequence[str]
) -> FusionContributions:
    """Sum what columns and sources add to the logits of one hospital's patients.

    Args:
        columns: ``(n, k)``, NaN where a patient has none.
        known: A mask ``(n, k)`` of the values that are the patient's own; a source is missing where
            all its columns are.
        labels: Of the same patients, 0 or 1, ``(n,)``.
        sources: Of each column, ``(k,)``.
    """
    added = contributions(model, columns)
    parts = [[i for i, each in enumerate(sources) if each == s] for s in dict.fromkeys(sources)]
    together = np.stack([added[:, part].sum(axis=1) for part in parts], axis=1)
    some = np.stack([known[:, part].any(axis=1) for part in parts], axis=1)
    return FusionContributions(
        _sums(model.columns, added, known, labels),
        _sums(tuple(dict.fromkeys(sources)), together, some, labels),
    )


def _sums(
    names: tuple[str, ...], added: Floats, known: np.ndarray, labels: Ints
) -> ContributionSums:
    missing = (~known).sum(axis=0).astype(np.int64)
    return ContributionSums(class_moments(names, added, labels), np.abs(added).sum(axis=0), missing)


def pool_contributions(parts: Sequence[FusionContributions]) -> FusionContributions:
    """The sums of all sites' patients, as if they lay in one table.

    Raises:
        FederationError: If there are no parts, or they are of other inputs.
    """
    return FusionContributions(
        _pooled([part.columns for part in parts]), _pooled([part.sources for part in parts])
    )


def _pooled(parts: Sequence[ContributionSums]) -> ContributionSums:
    agreed_names(parts)
    return ContributionSums(
        pool_class_moments([part.moments for part in parts]),
        np.sum([part.absolute for part in parts], axis=0),
        np.sum([part.n_missing for part in parts], axis=0),
    )
