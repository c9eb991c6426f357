"""The site's half of `embed`."""

import numpy as np

from client.embeddings import keep_outputs, kept_outputs
from client.release import check_cases
from client.scoring import fusion_columns
from client.seeds import generator_for
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
    """Compute and keep a network's outputs; the sums over training cases if they are asked."""
    site = bench.site
    network = bench.network(request.network)
    keep_outputs(bench, network, request.weights, (site.training, site.tuning, site.internal_test))
    if not request.sums:
        return OutputsReply(None)
    demand_disclosure(bench, "embeddings")
    embeddings, _ = kept_outputs(bench, content_hash(request.weights), site.training)
    rows = embeddings[np.isfinite(embeddings).all(axis=1)]
    check_cases(site, "the sums of embeddings", len(rows))
    return OutputsReply(EmbeddingSums(len(rows), rows.sum(axis=0), rows.T @ rows))


def answer_rows(request: RowsRequest, bench: Workbench) -> RowsReply:
    """One row for each tune case, without ids, in an order that says nothing."""
    for what in ("labels", *bench.study.fusion.inputs):
        demand_disclosure(bench, what)
    cases = bench.site.tuning
    columns, rows = fusion_columns(
        bench,
        cases,
        projections=request.projections,
        network_hashes=request.network_hashes,
        radiomics=request.radiomics,
        clinical=request.clinical,
    )
    labels = bench.site.labels(cases).astype(np.int64)
    order = generator_for(bench.study.seed, bench.site.name, "embed").permutation(len(labels))
    return RowsReply(columns, rows[order], labels[order])


def demand_disclosure(bench: Workbench, what: str) -> None:
    """Go on only if the site file names what is about to leave.

    A site that brings its features as a table has no embeddings to disclose.

    Raises:
        PolicyError: If it does not.
    """
    if what == "embeddings" and bench.site.features_from != "images":
        return
    if what not in bench.site.settings.disclose:
        raise PolicyError(
            f"the study asks for '{what}' of each tune case, and the site file does not disclose "
            f"it; add '{what}' to 'disclose' in the site file, or drop it from 'fusion.inputs'."
        )
