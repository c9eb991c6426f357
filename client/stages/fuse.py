"""The site's half of `fuse`, asked where no row may leave: sums, or sums with noise."""

import numpy as np

from client.folds import deal
from client.fusion_noise import check_noised, noised_sums
from client.leverage import check_blanks, check_logistic
from client.release import check_classes, check_columns, check_folds, told_scores
from client.seeds import generator_for
from client.stages.embed import cases_of, fusion_rows
from client.told_once import told_once
from client.workbench import Workbench
from shared.checks import Ints
from shared.errors import CodecError, PolicyError
from shared.fusion_sums import (
    Layers,
    fold_moments,
    held_out_losses,
    held_out_scores,
    layer_rows,
    layer_sums,
)
from shared.grid_noise import noise_for
from shared.models import fusion_design
from shared.noised_sums import divided
from shared.scores import ScoreSums, score_sums
from shared.stages.embed import RowsRequest
from shared.stages.fuse import (
    LayersRequest,
    LossesReply,
    MomentsReply,
    NoisedReply,
    NoisedRequest,
    StepsReply,
)

WHAT = "the fusion layer's sums"
Rows = tuple[tuple[str, ...], np.ndarray, np.ndarray, np.ndarray]


def answer_moments(request: RowsRequest, bench: Workbench) -> MomentsReply:
    """The columns' moments in each fold."""
    columns, rows, _, fold = folded_rows(request, bench)
    n_folds = bench.study.fusion.folds
    for k in range(n_folds):
        what = f"the fusion layer's moments, in fold {k + 1},"
        check_columns(bench.site, what, columns, rows[fold == k])
    return MomentsReply(fold_moments(columns, rows, fold, n_folds))


def answer_steps(request: LayersRequest, bench: Workbench) -> StepsReply:
    """Score, information and log-likelihood of each layer over what it does not leave out."""
    rows, labels, fold = carried_rows(request, bench)
    return StepsReply(layer_sums(rows, labels, fold, request.layers))


def answer_losses(request: LayersRequest, bench: Workbench) -> LossesReply:
    """The summed loss of each layer on the fold that it leaves out."""
    rows, labels, fold = carried_rows(request, bench)
    return LossesReply(*held_out_losses(rows, labels, fold, request.layers))


def answer_scores(request: LayersRequest, bench: Workbench) -> ScoreSums:
    """Counts of the cases' scores, each by the layer that leaves its fold out."""
    rows, labels, fold = carried_rows(request, bench)
    settings = bench.study.evaluation
    scores = held_out_scores(rows, fold, request.layers)
    return score_sums(
        told_scores(bench.site, scores, settings.score_bins),
        labels,
        bins=settings.score_bins,
        calibration_bins=settings.calibration_bins,
        threshold=float("nan"),
    )


def answer_noised(request: NoisedRequest, bench: Workbench) -> NoisedReply:
    """Score and information with noise, paid for before they leave.

    Neither coefficients nor scale are refused: whatever they are, no patient adds more to the sums
    than the noise is reckoned for.

    Raises:
        SmallCellError: If a class has too few cases.
        BudgetError: If it does not fit what the study or the hospital allows.
    """
    check_noised(request, bench)
    _, rows, labels = fusion_rows(request.rows, bench)
    check_classes(bench.site, WHAT, labels)
    layer, dp = request.layer, bench.study.fusion.dp
    if layer.mean.shape[1] != rows.shape[1]:
        raise CodecError("the request's layer does not have the study's columns")
    design = fusion_design(layer.mean[0], layer.sd[0], rows)
    noise, beta = noise_for(dp.epsilon, dp.delta, dp.steps), layer.coefficients[0]

    def draw() -> Ints:
        return noised_sums(design, labels, beta, clip_norm=dp.clip_norm, noise=noise)

    numbers, spent = told_once(bench, request, step=request.step, noise=noise, draw=draw)
    return NoisedReply(divided(numbers, design.shape[1]), spent)


def carried_rows(
    request: LayersRequest, bench: Workbench
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, labels and fold of the cases, if enough of them carry the sums of each layer.

    Losses and scores of a fold are told of layers alone whose sums over the other folds are.

    Raises:
        LeverageError: If they do not.
    """
    layers = request.layers
    check_layers(layers, bench)
    _, rows, labels, fold = folded_rows(request.rows, bench)
    for mean in layers.mean:
        check_blanks(bench.site, WHAT, rows, mean)
    for design, seen, beta in layer_rows(rows, labels, fold, layers):
        check_logistic(bench.site, WHAT, design, seen, beta)
    return rows, labels, fold


def folded_rows(request: RowsRequest, bench: Workbench) -> Rows:
    """Columns, rows, labels and fold of the cases that are fitted on, if there are enough.

    Raises:
        PolicyError: If the study does not fit the layer on sums.
        SmallCellError: If a fold, or a class, has too few cases.
    """
    site, fusion = bench.site, bench.study.fusion
    if fusion.exchange != "statistics":
        raise PolicyError("the study's fusion.exchange does not ask for sums of rows")
    labels = np.concatenate([site.labels(cases) for cases in cases_of(bench)])
    rng = generator_for(bench.study.seed, site.name, "fusion_folds")
    fold = deal(labels, fusion.folds, rng)
    check_folds(site, WHAT, labels, fold, setting="fusion.folds")
    columns, rows, labels = fusion_rows(request, bench)
    return columns, rows, labels, fold


def check_layers(layers: Layers, bench: Workbench) -> None:
    """Refuse more layers than the study has, or folds that it does not have.

    Raises:
        CodecError: If there are.
    """
    fusion = bench.study.fusion
    most = (fusion.folds + 1) * len(fusion.penalties)
    if len(layers) > most or (layers.fold >= fusion.folds).any():
        raise CodecError("the request asks about layers that the study does not have")
