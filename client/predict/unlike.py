"""Is a patient unlike those that trained the models? In words, from the bundle's pooled numbers.

A value is far if it is more than 4 standard deviations of the training patients from their mean. A
score of such a patient is extrapolated. Being near in every single number is no proof of likeness.
"""

from collections.abc import Iterator

import numpy as np

from client.predict.contributions import Contribution, explained
from client.site import Site
from shared.bundle_file import BundleFile
from shared.checks import places
from shared.contributions import CLINICAL
from shared.models import Scale
from shared.moments import Moments, is_binary

FAR_SD = 4.0
MOST_FAR = 0.05
SHOWN = 3
VOLUMES = ("__shape__MeshVolume", "__shape__VoxelVolume")
OTHER = "Another organ, scanner, reconstruction or phase than in training?"


def unlike(found: BundleFile, site: Site, columns: np.ndarray) -> list[str]:
    """In what the one patient of a site is unlike the training patients.

    Args:
        columns: The patient's fusion columns, ``(k,)``, NaN where there is none.
    """
    names, rows = site.features(site.external_test, found.bundle.radiomics.scale.extraction)
    predictors = found.bundle.clinical.predictors
    clinical = site.clinical(site.external_test, predictors)[0]
    texts = selected_features(found, names, rows[0])
    told = found.bundle.trained_on
    if told is not None:
        texts += all_features(told.features, names, rows[0])
        texts += predictors_of(told.variables.take(predictors), clinical)
    texts += fusion_inputs(explained(found.bundle.fusion, columns, found.study).columns)
    return texts


def selected_features(found: BundleFile, names: tuple[str, ...], row: np.ndarray) -> list[str]:
    """Features of the radiomics score that are far, or beyond the bounds that clip them.

    Where the study clips at quantiles, some of the training patients lie beyond each bound too.
    """
    scale = found.bundle.radiomics.scale
    values, z = deviations(scale, names, row)
    far = np.abs(z) > FAR_SD
    beyond = (values < scale.low) | (values > scale.high)
    texts = []
    if far.any():
        texts.append(
            f"{far.sum()} of {len(z)} features of the radiomics score lie more than {FAR_SD:g} "
            f"standard deviations from the training patients' mean ({_farthest(scale.names, z)}). "
            + OTHER
        )
    if beyond.any():
        quantile = found.study.standardise.clip_quantile or 0.0
        texts.append(
            f"{beyond.sum()} of {len(z)} features of the radiomics score lie beyond the pooled "
            "bounds and are clipped to them, as they are of "
            f"{2 * quantile:.0%} of the training patients, feature by feature."
        )
    return texts


def all_features(scale: Scale, names: tuple[str, ...], row: np.ndarray) -> list[str]:
    """Radiomics features, selected or not, if too many are far; the tumour's volume if it is."""
    values, z = deviations(scale, names, row)
    known = int(np.isfinite(z).sum())
    far = np.abs(z) > FAR_SD
    texts = [
        f"the tumour's volume ({name}: {values[place]:.3g} mm3) is {z[place]:+.1f} standard "
        f"deviations from the training patients' mean, {scale.mean[place]:.3g} mm3."
        for place, name in enumerate(scale.names)
        if name.endswith(VOLUMES) and far[place]
    ]
    if known and far.sum() > MOST_FAR * known:
        texts.append(
            f"{far.sum()} of all {known} radiomics features lie more than {FAR_SD:g} standard "
            f"deviations from the training patients' mean ({_farthest(scale.names, z)}): the "
            f"images are unlike those of training. {OTHER}"
        )
    return texts


def predictors_of(told: Moments, row: np.ndarray) -> list[str]:
    """Clinical predictors that are far, or neither 0 nor 1 where every training patient's was.

    Args:
        told: Of the predictors.
        row: The patient's values ``(k,)``, NaN where blank.
    """
    texts = []
    for place, (name, value, n, mean, sd) in enumerate(
        zip(told.names, row, told.n, told.mean, told.sd, strict=True)
    ):
        if np.isnan(value) or n < 2:
            continue
        yes_no = is_binary(told, place)
        if yes_no and value not in (0.0, 1.0):
            texts.append(f"{name} is {value:g}; it was 0 (no) or 1 (yes) of every patient before.")
        elif not yes_no and abs(value - mean) > FAR_SD * sd:
            texts.append(
                f"{name} is {value:g}, more than {FAR_SD:g} standard deviations from the mean of "
                f"the study's patients, {mean:.3g} (SD {sd:.3g})."
            )
    return texts


def fusion_inputs(columns: tuple[Contribution, ...]) -> list[str]:
    """What branches and the radiomics score hand the fusion layer, where it is far."""
    return [
        f"{name} of the fusion layer is {z:+.1f} standard deviations from the mean of the patients "
        "that the layer was fitted on."
        for name, z in _of_columns(columns)
        if abs(z) > FAR_SD
    ]


def deviations(
    scale: Scale, names: tuple[str, ...], row: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """A scale's features in a row ``(len(names),)``, and their z-scores, unclipped; both ``(p,)``.

    Whoever's the row is, the pooled mean and standard deviation are taken.
    """
    values = row[places(names, scale.names)]
    return values, np.asarray((values - scale.mean) / scale.sd)


def _of_columns(columns: tuple[Contribution, ...]) -> Iterator[tuple[str, float]]:
    for part in columns:
        if part.value is not None and part.source != CLINICAL:
            yield part.column, (part.value - part.mean) / part.sd


def _farthest(names: tuple[str, ...], z: np.ndarray) -> str:
    """The farthest features with their z-scores."""
    order = [i for i in np.argsort(-np.abs(np.nan_to_num(z)))[:SHOWN] if abs(z[i]) > FAR_SD]
    return ", ".join(f"{names[i]} {z[i]:+.1f}" for i in order)
