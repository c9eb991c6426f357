"""The study's frozen models applied to a site's cases; the scores stay at the site."""

import numpy as np

from client.embeddings import kept_outputs
from client.release import check_classes, told_scores
from client.site import Cases
from client.workbench import Workbench
from shared.checks import Ints
from shared.config import networks
from shared.errors import CodecError
from shared.fusion_columns import fusion_names
from shared.glm import predict_logistic
from shared.models import (
    Bundle,
    ClinicalModel,
    Projection,
    RadiomicsModel,
    clinical_design,
    fusion_probability,
    project,
    radiomics_score,
    score_design,
)
from shared.scores import ScoreSums, score_sums
from shared.summary import Summary, summarise


def fusion_columns(
    bench: Workbench,
    cases: Cases,
    *,
    projections: tuple[Projection, ...],
    network_hashes: dict[str, str],
    radiomics: RadiomicsModel,
    clinical: ClinicalModel,
) -> tuple[tuple[str, ...], np.ndarray]:
    """The fusion layer's columns: names and ``(n, k)`` values, NaN where a case has none.

    Raises:
        CodecError: If the models are not those of the study's columns.
    """
    blocks: list[np.ndarray] = []
    wanted = bench.study.fusion.inputs
    if "embeddings" in wanted and bench.study.fusion.takes_scores:
        for branch in bench.study.branches:
            blocks.append(branch_logit(bench, cases, branch.name, network_hashes)[:, None])
    elif "embeddings" in wanted:
        for projection in projections:
            embeddings, _ = kept_outputs(bench, network_hashes[projection.network], cases)
            blocks.append(project(projection, embeddings))
    if "radiomics_score" in wanted:
        blocks.append(radiomics_scores(bench, cases, radiomics)[:, None])
    if "clinical" in wanted:
        rows = bench.site.clinical(cases, clinical.predictors)
        blocks.append(clinical_design(clinical.means, rows)[:, 1:])
    names, columns = fusion_names(bench.study), np.hstack(blocks)
    if columns.shape[1] != len(names):
        raise CodecError("the request's models do not give the study's fusion columns")
    return names, columns


def bundle_columns(bench: Workbench, cases: Cases, bundle: Bundle) -> np.ndarray:
    """The columns ``(n, k)`` of a frozen fusion layer, NaN where a case has none.

    Raises:
        CodecError: If the bundle's layer, or its other models, are not of the study's columns.
    """
    names, columns = fusion_columns(
        bench,
        cases,
        projections=bundle.projections,
        network_hashes=bundle.network_hashes,
        radiomics=bundle.radiomics,
        clinical=bundle.clinical,
    )
    if bundle.fusion.columns != names:
        raise CodecError("the bundle's fusion columns are not the study's")
    return columns


def probabilities(
    bench: Workbench, cases: Cases, bundle: Bundle, *, columns: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Each model's probability ``(n,)`` for a handle's cases; NaN where a branch has no input.

    Args:
        columns: The fusion layer's ``(n, k)``, where `bundle_columns` has given them already.
    """
    rows = bench.site.clinical(cases, bundle.clinical.predictors)
    found = {
        "clinical": predict_logistic(
            clinical_design(bundle.clinical.means, rows), bundle.clinical.coefficients
        )
    }
    score = radiomics_scores(bench, cases, bundle.radiomics)
    found["radiomics"] = predict_logistic(score_design(score), bundle.radiomics.calibration)
    for branch in bench.study.branches:
        found[branch.name] = branch_probability(bench, cases, branch.name, bundle.network_hashes)
    if columns is None:
        columns = bundle_columns(bench, cases, bundle)
    found["fusion"] = fusion_probability(bundle.fusion, columns)
    return found


def radiomics_scores(bench: Workbench, cases: Cases, model: RadiomicsModel) -> np.ndarray:
    """The linear radiomics score ``(n,)`` of a handle's cases."""
    names, table = bench.site.features(cases, model.scale.extraction)
    return radiomics_score(model, names, table, bench.site.name)


def branch_probability(
    bench: Workbench, cases: Cases, branch: str, network_hashes: dict[str, str]
) -> np.ndarray:
    """A branch's probability ``(n,)`` of each case; NaN where it has no input."""
    return np.asarray(1 / (1 + np.exp(-branch_logit(bench, cases, branch, network_hashes))))


def branch_logit(
    bench: Workbench, cases: Cases, branch: str, network_hashes: dict[str, str]
) -> np.ndarray:
    """A branch's one score ``(n,)``: the mean logit over the phases that a case has, or NaN."""
    logits = np.stack(
        [
            kept_outputs(bench, network_hashes[network.name], cases)[1]
            for network in networks(bench.study)
            if network.branch.name == branch
        ]
    )
    present = np.isfinite(logits)
    total = np.where(present, logits, 0.0).sum(axis=0)
    count = present.sum(axis=0)
    mean = np.full(len(total), np.nan)
    return np.asarray(np.divide(total, count, out=mean, where=count > 0))


def checked_scores(
    bench: Workbench, cases: Cases, bundle: Bundle
) -> tuple[Ints, dict[str, np.ndarray]]:
    """Labels ``(n,)`` and each model's probabilities, of which statistics may be told.

    As finely as the hospital tells of scores (`told_scores`).

    Raises:
        SmallCellError: If the patients of a label are too few.
    """
    labels = bench.site.labels(cases)
    check_classes(bench.site, f"the scores on {cases.split}", labels)
    found = probabilities(bench, cases, bundle)
    for model, scores in found.items():
        scored = labels[np.isfinite(scores)]
        check_classes(bench.site, f"{model}'s scores on {cases.split}", scored)
    bins = bench.study.evaluation.score_bins
    return labels, {m: told_scores(bench.site, scores, bins) for m, scores in found.items()}


def binned(
    bench: Workbench, bundle: Bundle, labels: Ints, found: dict[str, np.ndarray]
) -> dict[str, ScoreSums]:
    """Each model's scores in the study's bins, counted at the bundle's threshold."""
    settings = bench.study.evaluation
    return {
        model: score_sums(
            scores,
            labels,
            bins=settings.score_bins,
            calibration_bins=settings.calibration_bins,
            threshold=bundle.thresholds.get(model, float("nan")),
        )
        for model, scores in found.items()
    }


def summarised(bundle: Bundle, labels: Ints, found: dict[str, np.ndarray]) -> dict[str, Summary]:
    """Each model's scores in a few numbers, counted at the bundle's threshold."""
    return {
        model: summarise(scores, labels, threshold=bundle.thresholds.get(model, float("nan")))
        for model, scores in found.items()
    }
