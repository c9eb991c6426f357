"""The site's half of `embed`."""

from datetime import date, timedelta

import numpy as np

from client.coarse import by_value, coarse
from client.embeddings import keep_outputs, kept_outputs
from client.folds import held_out_cases
from client.policy.beyond import rows_beyond
from client.release import check_cases, check_classes
from client.row_noise import noised_rows
from client.scoring import fusion_columns
from client.site import Cases
from client.told_once import told_once
from client.workbench import Workbench
from shared.codec import content_hash
from shared.errors import CodecError, PolicyError
from shared.grid_noise import noise_for
from shared.stages.embed import (
    EmbeddingSums,
    NoisedRowsReply,
    NoisedRowsRequest,
    OutputsReply,
    OutputsRequest,
    RowsReply,
    RowsRequest,
)


def answer_outputs(request: OutputsRequest, bench: Workbench) -> OutputsReply:
    """Compute and keep a network's outputs; the sums over training cases if they are asked.

    Of a network that was trained without a fold, the outputs for that fold.
    """
    site = bench.site
    network = bench.network(request.network)
    if network.fold is not None:
        keep_outputs(bench, network, request.weights, (held_out_cases(bench, network.fold),))
        return OutputsReply(None)
    keep_outputs(bench, network, request.weights, (site.training, site.tuning, site.internal_test))
    if not request.sums:
        return OutputsReply(None)
    demand_sums(bench)
    embeddings, _ = kept_outputs(bench, content_hash(request.weights), site.training)
    rows = embeddings[np.isfinite(embeddings).all(axis=1)]
    check_cases(site, "the sums of embeddings", len(rows))
    return OutputsReply(EmbeddingSums(len(rows), rows.sum(axis=0), rows.T @ rows))


def answer_rows(request: RowsRequest, bench: Workbench) -> RowsReply:
    """One row for each case that is fitted on, without ids, coarse, in the order of what they hold.

    An order that was drawn from the study's seed could be undone by whoever knows the seed.

    Raises:
        PolicyError: If the study asks for no rows, or the policy lets no such rows leave.
    """
    demand_rows(bench)
    columns, rows, labels = fusion_rows(request, bench, to_leave=True)
    order = by_value(rows, labels)
    return RowsReply(columns, rows[order], labels[order], last_day(bench))


def answer_noised(request: NoisedRowsRequest, bench: Workbench) -> NoisedRowsReply:
    """One row with noise for each case that is fitted on, paid for before they leave.

    Raises:
        PolicyError: If the study asks for no such rows, or the policy lets none leave.
        BudgetError: If they do not fit what the study or the hospital allows.
    """
    demand_noised_rows(bench)
    columns, rows, labels = fusion_rows(request.rows, bench)
    check_classes(bench.site, "the rows with noise", labels)
    if rows.shape[1:] != request.mean.shape:
        raise CodecError("the request's scale is not of the study's columns")
    standard, dp = (rows - request.mean) / request.sd, bench.study.fusion.dp
    noise = noise_for(dp.epsilon, dp.delta, steps=1)

    def draw() -> np.ndarray:
        return noised_rows(standard, labels, clip_norm=dp.clip_norm, noise=noise)

    numbers, spent = told_once(bench, request, step=1, noise=noise, draw=draw)
    return NoisedRowsReply(columns, numbers, spent, last_day(bench))


def fusion_rows(
    request: RowsRequest, bench: Workbench, *, to_leave: bool = False
) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """Names of the columns, rows ``(n, k)`` and labels ``(n,)``.

    Args:
        to_leave: Whether they are made coarse; else they are for use inside the hospital.
    """
    columns: tuple[str, ...] = ()
    rows, labels = [], []
    for parts, cases in zip(request.parts, cases_of(bench), strict=True):
        columns, found = fusion_columns(
            bench,
            cases,
            projections=parts.projections,
            network_hashes=parts.network_hashes,
            radiomics=parts.radiomics,
            clinical=request.clinical,
        )
        if to_leave:
            found = coarse(bench.study, columns, found, parts.radiomics)
        rows.append(found)
        labels.append(bench.site.labels(cases))
    return columns, np.concatenate(rows), np.concatenate(labels)


def last_day(bench: Workbench) -> str:
    """Until when whoever is sent rows may have them."""
    days = bench.site.policy.release.keep_rows_days
    return (date.today() + timedelta(days=days)).isoformat()


def cases_of(bench: Workbench) -> list[Cases]:
    """The cases that each of the request's parts scores."""
    fusion = bench.study.fusion
    if fusion.n_outer_folds:
        return [held_out_cases(bench, k) for k in range(fusion.n_outer_folds)]
    return [bench.site.handle(fusion.rows_of)]


def demand_rows(bench: Workbench) -> None:
    """Go on only if the study asks for rows, and the policy lets all that is in them leave.

    Raises:
        PolicyError: If it does not, naming what is missing.
    """
    exchange = bench.study.fusion.exchange
    if not bench.study.fusion.tells_rows or bench.study.fusion.is_private:
        raise PolicyError(
            "rows of single cases were asked for, but the study's fusion.exchange is "
            f"'{exchange}', under which none leave."
        )
    _demand_policy(bench)


def demand_noised_rows(bench: Workbench) -> None:
    """The same of rows with noise.

    Raises:
        PolicyError: If it does not, naming what is missing.
    """
    if bench.study.fusion.exchange != "embeddings+dp":
        raise PolicyError("the study's fusion.exchange does not ask for rows with noise")
    _demand_policy(bench)


def _demand_policy(bench: Workbench) -> None:
    has_images = bench.site.features_from == "images"
    found = rows_beyond(bench.site.policy, bench.study, has_images=has_images)
    if found:
        raise PolicyError(
            f"{'; '.join(found)}. Change the policy, drop it from 'fusion.inputs', or set "
            "'fusion.exchange: statistics' in the study, which needs nothing of single cases."
        )


def demand_sums(bench: Workbench) -> None:
    """Go on only if sums of embeddings may leave.

    Raises:
        PolicyError: If the study takes scores in place of embeddings, or rows of embeddings that
            the policy does not let leave.
    """
    exchange = bench.study.fusion.exchange
    if bench.study.fusion.takes_scores or exchange == "embeddings+dp":
        raise PolicyError(
            f"sums of embeddings were asked for, but the study's fusion.exchange is '{exchange}', "
            "under which nothing of embeddings leaves."
        )
    if exchange == "embeddings":
        demand_rows(bench)
