"""The frozen parts of the study's models: fitted by the server, applied by the sites.

Each is a few arrays and one plain function that applies them to a site's rows.
"""

from dataclasses import dataclass

import numpy as np

from shared.checks import places
from shared.codec import content_hash
from shared.glm import predict_logistic, with_intercept
from shared.moments import Moments

CLIP_SD = 5.0


@dataclass(frozen=True, slots=True)
class Extraction:
    """What the sites must share of extraction beyond the study file: widths of grey levels in HU.

    One for each filtered image, given by the study or learnt over the sites.
    """

    bin_widths_hu: dict[str, float]


@dataclass(frozen=True, slots=True, eq=False)
class SiteScale:
    """A harmonised site's own mean and standard deviation, both ``(p,)``."""

    mean: np.ndarray
    sd: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Scale:
    """How features of one extraction are put on the pooled training cases' scale; all ``(p,)``.

    Values are clipped to `low` and `high` (infinite where nothing is clipped), then standardised
    by `mean` and `sd`; at a site in `sites`, by its own instead.
    """

    extraction: Extraction
    names: tuple[str, ...]
    low: np.ndarray
    high: np.ndarray
    mean: np.ndarray
    sd: np.ndarray
    sites: dict[str, SiteScale]

    @classmethod
    def of(
        cls, extraction: Extraction, names: tuple[str, ...], mean: np.ndarray, sd: np.ndarray
    ) -> "Scale":
        """A scale that clips nothing and is the same at every site."""
        ends = np.full(len(names), np.inf)
        return cls(extraction, names, -ends, ends, mean, sd, {})

    def take(self, names: tuple[str, ...]) -> "Scale":
        """The scale of some of the features, in the order asked."""
        index = places(self.names, names)
        sites = {
            site: SiteScale(own.mean[index], own.sd[index]) for site, own in self.sites.items()
        }
        bounds = self.low[index], self.high[index]
        return Scale(self.extraction, names, *bounds, self.mean[index], self.sd[index], sites)


@dataclass(frozen=True, slots=True, eq=False)
class RadiomicsModel:
    """A linear radiomics score, and the two numbers that make it a probability."""

    scale: Scale
    coefficients: np.ndarray
    intercept: float
    calibration: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class ClinicalModel:
    """Logistic regression on clinical predictors; a blank takes the pooled training mean."""

    predictors: tuple[str, ...]
    means: np.ndarray
    coefficients: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """From a network's embedding ``(width,)`` to the k numbers that may be shared.

    They are ``(embedding - mean) @ components + offset``.
    """

    network: str
    branch: str
    mean: np.ndarray
    components: np.ndarray
    offset: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class FusionModel:
    """The fusion layer: standardised columns, ridge logistic coefficients (intercept first)."""

    columns: tuple[str, ...]
    mean: np.ndarray
    sd: np.ndarray
    coefficients: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class TrainedOn:
    """The training sites' patients in numbers that the run pooled over sites anyway.

    By them a new patient is known who is unlike. No score depends on them.

    Attributes:
        n_cases: Patients by split.
        n_positive: Those with the positive label, by split.
        variables: Moments of the clinical variables, over all splits and both labels.
        features: The scale of every radiomics feature that varies, of the split `train`; without
            the scales of single sites.
    """

    n_cases: dict[str, int]
    n_positive: dict[str, int]
    variables: Moments
    features: Scale


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """Everything that scores a patient, frozen; its hash says which model was looked at."""

    study_hash: str
    clinical: ClinicalModel
    radiomics: RadiomicsModel
    network_hashes: dict[str, str]
    projections: tuple[Projection, ...]
    fusion: FusionModel
    thresholds: dict[str, float]
    trained_on: TrainedOn | None = None

    def hash(self) -> str:
        """SHA-256 of the whole bundle."""
        return content_hash(self)


def to_scale(scale: Scale, names: tuple[str, ...], table: np.ndarray, site: str) -> np.ndarray:
    """Features of a site's table on the pooled scale ``(n, p)``; NaN where a phase is missing.

    Args:
        scale: The features wanted, in the order wanted.
        names: Column names of the table.
        table: ``(n, len(names))``.
        site: Whose table it is.
    """
    rows = table[:, places(names, scale.names)]
    own = scale.sites.get(site)
    mean, sd = (scale.mean, scale.sd) if own is None else (own.mean, own.sd)
    return np.asarray((np.clip(rows, scale.low, scale.high) - mean) / sd)


def standardise(scale: Scale, names: tuple[str, ...], table: np.ndarray, site: str) -> np.ndarray:
    """The same clipped at `CLIP_SD`; a missing feature is at its mean, 0."""
    z = np.clip(to_scale(scale, names, table, site), -CLIP_SD, CLIP_SD)
    return np.where(np.isfinite(z), z, 0.0)


def radiomics_score(
    model: RadiomicsModel, names: tuple[str, ...], table: np.ndarray, site: str
) -> np.ndarray:
    """The linear radiomics score of each case ``(n,)`` of a site's table."""
    z = standardise(model.scale, names, table, site)
    return np.asarray(z @ model.coefficients + model.intercept)


def score_design(score: np.ndarray) -> np.ndarray:
    """Design matrix ``(n, 2)`` that calibrates a score: intercept and score."""
    return with_intercept(score)


def clinical_design(means: np.ndarray, predictors: np.ndarray) -> np.ndarray:
    """Design matrix ``(n, 1 + k)``: intercept, then predictors with blanks at their mean."""
    filled = np.where(np.isfinite(predictors), predictors, means)
    return with_intercept(filled)


def project(projection: Projection, embedding: np.ndarray) -> np.ndarray:
    """The shared numbers ``(n, k)`` of embeddings ``(n, width)``; NaN rows stay NaN."""
    centred = embedding - projection.mean
    return np.asarray(centred @ projection.components + projection.offset)


def fusion_design(model_mean: np.ndarray, sd: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Intercept and standardised fusion columns; a missing one is at its mean, 0."""
    z = (columns - model_mean) / sd
    return with_intercept(np.where(np.isfinite(z), z, 0.0))


def fusion_probability(model: FusionModel, columns: np.ndarray) -> np.ndarray:
    """The fusion layer's probability of each case ``(n,)`` from its columns ``(n, k)``."""
    return predict_logistic(fusion_design(model.mean, model.sd, columns), model.coefficients)
