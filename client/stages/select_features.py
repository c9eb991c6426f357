"""The site's half of `select_features`."""

import numpy as np

from client.folds import deal, training_without
from client.leverage import (
    check_carried,
    check_inside,
    check_logistic,
    check_open,
    ends_of,
)
from client.release import (
    LEAST_OF_A_CLASS,
    check_cases,
    check_class_columns,
    check_classes,
    check_columns,
    check_folds,
)
from client.scoring import radiomics_scores
from client.seeds import generator_for
from client.site import Cases
from client.workbench import Workbench
from shared.checks import places
from shared.glm import LogisticSums, logistic_sums
from shared.gram import gram
from shared.logistic_lasso_sums import LogisticLassoSums, lasso_rows, sum_lasso_rows
from shared.models import Scale, score_design, standardise, to_scale
from shared.moments import class_moments
from shared.quantiles import CountsBelow, counts_below, histogram
from shared.ranks import rank_sums
from shared.site_signal import assign
from shared.stages.select_features import (
    BinsReply,
    BinsRequest,
    CalibrateRequest,
    GramReply,
    GramRequest,
    LogisticLassoRequest,
    LookReply,
    LookRequest,
    ScreenReply,
    ScreenRequest,
    ThresholdsRequest,
)


def answer_screen(request: ScreenRequest, bench: Workbench) -> ScreenReply:
    """The statistic of the study's screen for each feature."""
    cases = training_without(bench, request.held_out)
    names, table = request.scale.names, gappy_features(bench, cases, request.scale)
    labels = bench.site.labels(cases)
    check_class_columns(bench.site, "the screening statistic", names, table, labels)
    check_apart(bench, "the screening statistic", cases, request.scale, labels)
    if bench.study.selection.screen == "van_elteren":
        return ScreenReply(rank_sums(names, table, labels), None)
    return ScreenReply(None, class_moments(names, table, labels))


def answer_count_scaled(request: ThresholdsRequest, bench: Workbench) -> CountsBelow:
    """How many training cases have a feature at or below each threshold of the scale."""
    cases = training_without(bench, request.held_out)
    names, table = request.scale.names, gappy_features(bench, cases, request.scale)
    check_columns(bench.site, "the count", names, table)
    return counts_below(names, table, request.thresholds)


def answer_bins(request: BinsRequest, bench: Workbench) -> BinsReply:
    """Each feature's histogram of the training cases of each label."""
    cases = training_without(bench, request.held_out)
    names, table = request.scale.names, gappy_features(bench, cases, request.scale)
    labels = bench.site.labels(cases)
    check_class_columns(bench.site, "the histogram", names, table, labels)
    return BinsReply(
        histogram(names, table[labels == 0], request.edges),
        histogram(names, table[labels == 1], request.edges),
    )


def answer_gram(request: GramRequest, bench: Workbench) -> GramReply:
    """Products of the standardised features, for each fold."""
    cases = training_without(bench, request.held_out)
    scaled, labels = scaled_features(bench, cases, request.scale), bench.site.labels(cases)
    fold = folds(labels, bench.study.selection.folds, bench, request.held_out)
    check_folds(bench.site, "the sums of products", labels, fold)
    check_apart(bench, "the sums of products", cases, request.scale, fold)
    return GramReply(
        tuple(
            gram(request.scale.names, scaled[fold == k], labels[fold == k])
            for k in range(bench.study.selection.folds)
        )
    )


def answer_look_alike(request: LookRequest, bench: Workbench) -> LookReply:
    """How many tune cases, which the discriminant was not fitted on, look like each site's."""
    check_cases(bench.site, "the count of look-alikes", len(bench.site.tuning))
    scaled = scaled_features(bench, bench.site.tuning, request.scale)
    return LookReply(assign(request.lda, scaled))


def answer_logistic_lasso(request: LogisticLassoRequest, bench: Workbench) -> LogisticLassoSums:
    """This site's part of the problems, at its own best intercept for each."""
    cases = training_without(bench, request.held_out)
    scaled, labels = scaled_features(bench, cases, request.scale), bench.site.labels(cases)
    fold = folds(labels, bench.study.selection.folds, bench, request.held_out)
    check_folds(bench.site, "the sums of the LASSO", labels, fold)
    check_apart(bench, "the sums of the LASSO", cases, request.scale, fold)
    rows = lasso_rows(scaled, labels, fold, request.problems)
    check_carried(bench.site, "the sums of the LASSO", rows.weights, rows.residual)
    check_open(bench.site, "the sums of the LASSO", rows.weights, rows.residual)
    return sum_lasso_rows(scaled, rows)


def answer_calibrate(request: CalibrateRequest, bench: Workbench) -> LogisticSums:
    """Gradient and information of the score's calibration."""
    labels = bench.site.labels(bench.site.training)
    check_classes(bench.site, "the calibration's sums", labels)
    score = radiomics_scores(bench, bench.site.training, request.model)
    design = score_design(score)
    check_logistic(bench.site, "the calibration's sums", design, labels, request.beta)
    return logistic_sums(design, labels, request.beta)


def gappy_features(bench: Workbench, cases: Cases, scale: Scale) -> np.ndarray:
    """Cases' features on the pooled scale ``(n, p)``, NaN where one is missing."""
    names, table = bench.site.features(cases, scale.extraction)
    return to_scale(scale, names, table, bench.site.name)


def scaled_features(bench: Workbench, cases: Cases, scale: Scale) -> np.ndarray:
    """Cases' features on the pooled scale ``(n, p)``, clipped, a missing one at its mean."""
    names, table = bench.site.features(cases, scale.extraction)
    return standardise(scale, names, table, bench.site.name)


def check_apart(
    bench: Workbench, what: str, cases: Cases, scale: Scale, groups: np.ndarray
) -> None:
    """Refuse a scale at whose ends all cases but a few stand, or all but one of a group.

    Args:
        groups: Of the cases, ``(n,)``: what the sums are told of one by one.

    Raises:
        LeverageError: See `check_inside`.
    """
    names, table = bench.site.features(cases, scale.extraction)
    rows, ends = table[:, places(names, scale.names)], ends_of(scale, bench.site.name)
    check_inside(bench.site, what, rows, *ends)
    for group in np.unique(groups):
        check_inside(bench.site, what, rows[groups == group], *ends, at_most=LEAST_OF_A_CLASS)


def folds(
    labels: np.ndarray, n_folds: int, bench: Workbench, held_out: int | None = None
) -> np.ndarray:
    """A fold for each case that is fitted on ``(n,)``, balanced by label.

    What is left without each outer fold is dealt by itself: dealt alike, two of these would have
    folds that differ by very few patients.
    """
    purpose = "select_features" if held_out is None else f"select_features without {held_out}"
    return deal(labels, n_folds, generator_for(bench.study.seed, bench.site.name, purpose))
