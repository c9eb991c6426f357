"""Made-up patients: label, latents and covariates with a known association.

The label acts through four latents (texture, enhancement, surface, context) that the images
express, and through four covariates whose odds ratios are given by a table. Everything else
a patient has is independent of the label.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import ndtr, ndtri

from shared.config import Study
from shared.errors import ConfigError
from shared.phantom_settings import Phantom

IHC_LEVELS: Final = ("0", "1+", "2+", "3+")
IHC_SHARES: Final = ((0.40, 0.60), (0.62, 0.38))
IHC_SHIFTS: Final = (-0.65, -0.35, 0.40, 0.65)
POSITIVE_SHARE: Final = 0.51
NUISANCES: Final = (
    "age",
    "male",
    "smoking",
    "haematuria",
    "multifocal",
    "diameter_mm",
    "haemoglobin",
    "creatinine",
)


@dataclass(frozen=True, slots=True)
class Latents:
    """One number for each way in which the label shows in the images.

    In a preset: the distance between the classes' means, in standard deviations.
    """

    texture: float
    enhancement: float
    surface: float
    context: float


@dataclass(frozen=True, slots=True)
class Predictor:
    """How often a covariate is present, given the label."""

    positive: float
    negative: float

    def chance(self, label: int, *, associated: bool) -> float:
        """The probability that it is present; without association the mean of the two."""
        if not associated:
            return (self.positive + self.negative) / 2
        return self.positive if label else self.negative


PREDICTORS: Final = {
    "sessile": Predictor(0.64, 0.35),
    "hydronephrosis": Predictor(0.34, 0.15),
    "pelvic_pain": Predictor(0.26, 0.11),
    "node_positive": Predictor(0.26, 0.10),
}
PRESETS: Final = {
    "null": Latents(0.0, 0.0, 0.0, 0.0),
    "hard": Latents(0.77, 0.70, 0.77, 0.84),
    "paper": Latents(1.1, 1.0, 1.1, 1.2),
    "easy": Latents(1.6, 1.4, 1.0, 1.3),
}
RADIUS_MM: Final = {"tiny": (10.0, 24.0), "small": (7.0, 18.0), "medium": (7.0, 22.0)}


@dataclass(frozen=True, slots=True)
class Patient:
    """A made-up patient; with the study's seed everything about the images follows from it."""

    seed: int
    site: str
    index: int
    patient_id: str
    label: int
    her2_ihc: str
    latents: Latents
    predictors: dict[str, int]
    nuisances: dict[str, float | None]
    radius_mm: float


def generator(*key: int | str) -> np.random.Generator:
    """A generator that depends on nothing but its key, for instance (seed, site, patient)."""
    text = "\x1f".join(str(part) for part in key)
    digest = hashlib.sha256(text.encode()).digest()
    return np.random.default_rng(np.random.SeedSequence(int.from_bytes(digest)))


def phantom_of(study: Study) -> Phantom:
    """The study's phantom.

    Raises:
        ConfigError: If the study file describes none.
    """
    if study.phantom is None:
        raise ConfigError(
            f"study '{study.name}' has no 'phantom', so there are no patients to make up. "
            "Add 'phantom' with its sites, or use the hospitals' own files."
        )
    return study.phantom


def draw_patients(study: Study, site: str) -> list[Patient]:
    """The patients of one site, in the order of their ids.

    The number of positive patients is exact: `n_positive`, or 51 % rounded.

    Raises:
        ConfigError: If there is no phantom, or `n_positive` exceeds `n_cases`.
    """
    phantom = phantom_of(study)
    prefix = _prefixes(phantom.sites)[site]
    missing = generator(study.seed, site, "missing").uniform(0.03, 0.08)
    return [
        _draw_patient(
            generator(study.seed, site, index, "patient"),
            phantom,
            seed=study.seed,
            site=site,
            index=index,
            patient_id=f"{prefix}-{index + 1:04d}",
            label=label,
            missing=missing,
        )
        for index, label in enumerate(_labels(phantom, site, seed=study.seed))
    ]


def _labels(phantom: Phantom, site: str, *, seed: int) -> list[int]:
    settings = phantom.sites[site]
    n_positive = settings.n_positive
    if n_positive is None:
        n_positive = round(POSITIVE_SHARE * settings.n_cases)
    if n_positive > settings.n_cases:
        raise ConfigError(
            f"phantom.sites.{site}.n_positive is {n_positive}, but there are only "
            f"{settings.n_cases} cases (n_cases). Lower it."
        )
    labels = np.arange(settings.n_cases) < n_positive
    return [int(label) for label in generator(seed, site, "labels").permutation(labels)]


def _draw_patient(
    rng: np.random.Generator,
    phantom: Phantom,
    *,
    seed: int,
    site: str,
    index: int,
    patient_id: str,
    label: int,
    missing: float,
) -> Patient:
    level = 2 * label + int(rng.random() >= IHC_SHARES[label][0])
    associated = phantom.preset != "null"
    predictors = {
        name: int(rng.random() < predictor.chance(label, associated=associated))
        for name, predictor in PREDICTORS.items()
    }
    radius_mm = _radius(rng, RADIUS_MM[phantom.size])
    return Patient(
        seed=seed,
        site=site,
        index=index,
        patient_id=patient_id,
        label=label,
        her2_ihc=IHC_LEVELS[level],
        latents=_latents(rng, PRESETS[phantom.preset], shift=IHC_SHIFTS[level]),
        predictors=predictors,
        nuisances=_nuisances(rng, radius_mm, missing=missing),
        radius_mm=radius_mm,
    )


def _latents(rng: np.random.Generator, distance: Latents, *, shift: float) -> Latents:
    """Normal with unit variance about means that rise with the IHC level."""
    return Latents(
        texture=rng.normal(shift * distance.texture),
        enhancement=rng.normal(shift * distance.enhancement),
        surface=rng.normal(shift * distance.surface),
        context=rng.normal(shift * distance.context),
    )


def _radius(rng: np.random.Generator, bounds_mm: tuple[float, float]) -> float:
    """Log-normal about 14 mm (sigma 0.33), truncated to what fits the field."""
    below, above = ndtr(np.log(np.array(bounds_mm) / 14) / 0.33)
    return float(14 * np.exp(0.33 * ndtri(rng.uniform(below, above))))


def _nuisances(
    rng: np.random.Generator, radius_mm: float, *, missing: float
) -> dict[str, float | None]:
    """Covariates that say nothing about the label; None where the record is silent."""
    male = rng.random() < 0.82
    values = (
        float(round(np.clip(rng.normal(67, 10), 30, 95))),
        float(male),
        float(rng.random() < 0.48),
        float(rng.random() < 0.78),
        float(rng.random() < 0.30),
        float(round(2 * radius_mm)),
        float(round(rng.normal(138 if male else 124, 16))),
        float(round(84 * np.exp(rng.normal(0, 0.25)))),
    )
    silent = rng.random(len(values)) < missing
    return {
        name: None if gone else value
        for name, value, gone in zip(NUISANCES, values, silent, strict=True)
    }


def _prefixes(sites: Iterable[str]) -> dict[str, str]:
    """What patient ids begin with: ``site_a`` gives A, unless another site would give the same."""
    names = sorted(sites)
    short = {name: name.rsplit("_", 1)[-1].upper() or name.upper() for name in names}
    if len(set(short.values())) < len(names):
        return {name: name.upper() for name in names}
    return short
