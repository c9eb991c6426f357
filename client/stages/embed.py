"""The site's half of `embed`."""

import numpy as np

from client.embeddings import keep_outputs, kept_outputs
from client.folds import held_out_cases
from client.policy.beyond import rows_beyond
from client.release import check_cases
from client.scoring import fusion_columns
from client.seeds import generator_for
from client.site import Cases
from client.workbench import Workbench
from shared.codec import content_hash
from shared.errors import PolicyError
from shared.stages.embed import (
    EmbeddingSums,
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
    """One row for each case that is fitted on, without ids, in an order that says nothing.

    Raises:
        PolicyError: If the study asks for no rows, or the policy lets no such rows leave.
    """
    demand_rows(bench)
    columns, rows, labels = fusion_rows(request, bench)
    order = generator_for(bench.study.seed, bench.site.name, "embed").permutation(len(labels))
    return RowsReply(columns, rows[order], labels[order])


def fusion_rows(
    request: RowsRequest, bench: Workbench
) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """Names of the columns, rows ``(n, k)`` and labels ``(n,)``, for use inside the hospital."""
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
        rows.append(found)
        labels.append(bench.site.labels(cases))
    return columns, np.concatenate(rows), np.concatenate(labels)


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
    if bench.study.fusion.exchange == "statistics":
        raise PolicyError(
            "rows of single cases were asked for, but the study's fusion.exchange is 'statistics', "
            "under which none leave."
        )
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
    if exchange == "scores":
        raise PolicyError(
            "sums of embeddings were asked for, but the study's fusion.exchange is 'scores', under "
            "which nothing of embeddings leaves."
        )
    if exchange == "embeddings":
        demand_rows(bench)
