"""The site's half of `select_features`."""

import numpy as np

from client.release import check_class_columns, check_classes, check_folds
from client.scoring import radiomics_scores
from client.seeds import generator_for
from client.stages.standardise import training_features
from client.workbench import Workbench
from shared.glm import LogisticSums, logistic_sums
from shared.gram import gram
from shared.models import Scale, score_design, standardise, to_scale
from shared.moments import class_moments
from shared.ranks import rank_sums
from shared.stages.select_features import (
    CalibrateRequest,
    GramReply,
    GramRequest,
    ScreenReply,
    ScreenRequest,
)


def answer_screen(request: ScreenRequest, bench: Workbench) -> ScreenReply:
    """The statistic of the study's screen for each feature."""
    names, table = training_features(bench, request.scale.extraction, request.scale.names)
    table = to_scale(request.scale, names, table, bench.site.name)
    labels = bench.site.labels(bench.site.training)
    check_class_columns(bench.site, "the screening statistic", names, table, labels)
    if bench.study.selection.screen == "van_elteren":
        return ScreenReply(rank_sums(names, table, labels), None)
    return ScreenReply(None, class_moments(names, table, labels))


def answer_gram(request: GramRequest, bench: Workbench) -> GramReply:
    """Products of the standardised features, for each fold."""
    scaled = scaled_features(bench, request.scale)
    labels = bench.site.labels(bench.site.training)
    fold = folds(labels, bench.study.selection.folds, bench)
    check_folds(bench.site, "the sums of products", labels, fold)
    return GramReply(
        tuple(
            gram(request.scale.names, scaled[fold == k], labels[fold == k])
            for k in range(bench.study.selection.folds)
        )
    )


def answer_calibrate(request: CalibrateRequest, bench: Workbench) -> LogisticSums:
    """Gradient and information of the score's calibration."""
    labels = bench.site.labels(bench.site.training)
    check_classes(bench.site, "the calibration's sums", labels)
    score = radiomics_scores(bench, bench.site.training, request.model)
    return logistic_sums(score_design(score), labels, request.beta)


def scaled_features(bench: Workbench, scale: Scale) -> np.ndarray:
    """The training cases' features on the pooled scale ``(n, p)``."""
    names, table = training_features(bench, scale.extraction, scale.names)
    return standardise(scale, names, table, bench.site.name)


def folds(labels: np.ndarray, n_folds: int, bench: Workbench) -> np.ndarray:
    """A fold for each training case ``(n,)``, balanced by label."""
    rng = generator_for(bench.study.seed, bench.site.name, "select_features")
    fold = np.empty(len(labels), dtype=int)
    start = 0
    for value in (0, 1):
        rows = rng.permutation(np.flatnonzero(labels == value))
        fold[rows] = (start + np.arange(len(rows))) % n_folds
        start += len(rows)
    return fold
