"""Do the parts of a bundle fit together, and to its study?"""

from collections.abc import Mapping

import numpy as np

from shared.codec import content_hash
from shared.config import Study, digest, networks
from shared.errors import BundleError
from shared.models import (
    Bundle,
    FusionModel,
    Projection,
    RadiomicsModel,
    Scale,
    SiteScale,
    TrainedOn,
)
from shared.networks import EMBEDDING_WIDTH, Weights


def check_bundle(bundle: Bundle, study: Study, weights: Mapping[str, Weights]) -> None:
    """Refuse a bundle that is not the study's, or whose arrays have other shapes, types or NaN.

    Raises:
        BundleError: Naming the part.
    """
    _demand(bundle.study_hash == digest(study), "study.yaml is not the study of its models")
    clinical, k = bundle.clinical, len(study.clinical.predictors)
    _demand(clinical.predictors == study.clinical.predictors, "the predictors are not the study's")
    _numbers("clinical.means", clinical.means, (k,))
    _numbers("clinical.coefficients", clinical.coefficients, (k + 1,))
    _check_radiomics(bundle.radiomics)
    _check_networks(bundle, study, weights)
    _check_fusion(bundle.fusion, _fusion_columns(bundle, study))
    _demand(set(bundle.thresholds) == set(study.model_names), "a model has no threshold")
    if bundle.trained_on is not None:
        _check_trained_on(bundle.trained_on, bundle)
    for threshold in bundle.thresholds.values():
        _demand(np.isnan(threshold) or 0 <= threshold < 1, "a threshold is not within 0 and 1")


def _check_trained_on(told: TrainedOn, bundle: Bundle) -> None:
    _demand(set(told.n_cases) == set(told.n_positive), "training patients are of other splits")
    for split, n in told.n_cases.items():
        _demand(0 <= told.n_positive[split] <= n, f"the count of positive {split} patients")
    _demand(set(bundle.clinical.predictors) <= set(told.variables.names), "a predictor is unknown")
    _demand(not told.features.sites, "the training features are of single sites")
    _check_scale(told.features)
    selected = set(bundle.radiomics.scale.names)
    _demand(selected <= set(told.features.names), "a selected feature is no training feature")


def _check_radiomics(model: RadiomicsModel) -> None:
    _check_scale(model.scale)
    p = len(model.scale.names)
    _numbers("radiomics.coefficients", model.coefficients, (p,))
    _numbers("radiomics.calibration", model.calibration, (2,))
    _demand(np.isfinite(model.intercept), "radiomics.intercept is not finite")


def _check_scale(scale: Scale) -> None:
    p = len(scale.names)
    _demand(len(set(scale.names)) == p, "a feature stands twice")
    for what in ("low", "high"):
        bound = getattr(scale, what)
        fits = bound.dtype == np.float64 and bound.shape == (p,) and not np.isnan(bound).any()
        _demand(fits, f"radiomics.{what} is not {p} bounds")
    parts: list[Scale | SiteScale] = [scale, *scale.sites.values()]
    for part in parts:
        _numbers("radiomics.mean", part.mean, (p,))
        _numbers("radiomics.sd", part.sd, (p,), positive=True)
    widths = scale.extraction.bin_widths_hu.values()
    _demand(all(np.isfinite(w) and w > 0 for w in widths), "a width of grey levels is not above 0")


def _check_networks(bundle: Bundle, study: Study, weights: Mapping[str, Weights]) -> None:
    found = {network.name: network for network in networks(study)}
    same = set(found) == set(bundle.network_hashes) == set(weights)
    _demand(same, "the networks are not the study's")
    for name, each in weights.items():
        _demand(bool(np.isfinite(each.vector).all()), f"the weights of {name} are not finite")
        right = content_hash(each) == bundle.network_hashes[name]
        _demand(right, f"the weights of {name} are not those of the models")
    for projection in bundle.projections:
        _demand(projection.network in found, f"{projection.network} is no network of the study")
        branch = found[projection.network].branch
        _check_projection(projection, EMBEDDING_WIDTH[branch.network])


def _check_projection(projection: Projection, width: int) -> None:
    k = len(projection.offset)
    _numbers(f"{projection.network}.mean", projection.mean, (width,))
    _numbers(f"{projection.network}.components", projection.components, (width, k))
    _numbers(f"{projection.network}.offset", projection.offset, (k,))


def _fusion_columns(bundle: Bundle, study: Study) -> tuple[str, ...]:
    """The fusion layer's columns, as a site makes them of the other parts."""
    parts = {
        "embeddings": tuple(
            f"{projection.network}_{i + 1}"
            for projection in bundle.projections
            for i in range(len(projection.offset))
        ),
        "radiomics_score": ("radiomics_score",),
        "clinical": bundle.clinical.predictors,
    }
    return tuple(
        name for part, names in parts.items() if part in study.fusion.inputs for name in names
    )


def _check_fusion(fusion: FusionModel, columns: tuple[str, ...]) -> None:
    k = len(columns)
    _demand(fusion.columns == columns, "the fusion layer's columns are not those of its inputs")
    _numbers("fusion.mean", fusion.mean, (k,))
    _numbers("fusion.sd", fusion.sd, (k,), positive=True)
    _numbers("fusion.coefficients", fusion.coefficients, (k + 1,))


def _numbers(
    what: str, array: np.ndarray, shape: tuple[int, ...], *, positive: bool = False
) -> None:
    fits = array.dtype == np.float64 and array.shape == shape
    _demand(fits, f"{what} must be float64 of shape {shape}, not {array.dtype} of {array.shape}")
    _demand(bool(np.isfinite(array).all()), f"{what} is not finite")
    _demand(not positive or bool((array > 0).all()), f"{what} is not above 0")


def _demand(holds: bool | np.bool_, what: str) -> None:
    if not holds:
        raise BundleError(f"contradicts itself: {what}. Get it again from whoever made it.")
