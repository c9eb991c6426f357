"""The server's half of `embed`."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import eigh

from server.coordinator import Coordinator, need
from server.fusion_scale import known_scale
from server.stages.train_branches import best_weights
from server.study import EmbeddingRecord, Study
from shared.architectures import ARCHITECTURES
from shared.branches import Network
from shared.codec import content_hash
from shared.config import networks, without_folds
from shared.errors import CohortError, FederationError
from shared.fusion_columns import fusion_names
from shared.fusion_settings import Embedding
from shared.models import Projection, RadiomicsModel
from shared.networks import EMBEDDING_WIDTH, Weights
from shared.noised_rows import opened_rows
from shared.privacy import Spent
from shared.stages.embed import (
    EMBED_NOISED,
    EMBED_OUTPUTS,
    EMBED_ROWS,
    EmbeddingSums,
    NoisedRowsRequest,
    OutputsRequest,
    Parts,
    RowsReply,
    RowsRequest,
)

if TYPE_CHECKING:
    from server.study import ClinicalRecord, SelectionRecord


StackedRows = tuple[tuple[str, ...], np.ndarray, np.ndarray, tuple[str, ...]]


def run(study: Study, coordinator: Coordinator) -> Study:
    """Reduce each network's embedding, then collect the rows that leave, if any."""
    selection: SelectionRecord = need(study.select_features, "select_features")
    clinical: ClinicalRecord = need(study.clinical_model, "clinical_model")
    wanted = networks(coordinator.settings)
    whole = parts_of(study, coordinator, selection.model, zip(wanted, wanted, strict=True))
    without = tuple(
        parts_of(study, coordinator, model, stand_ins(coordinator, k))
        for k, model in enumerate(selection.without_fold)
    )
    parts = without or (whole,)
    request, spent = RowsRequest(parts, clinical.model), dict[str, Spent]()
    if coordinator.settings.fusion.exchange == "embeddings+dp":
        told, spent = collect_noised(study, coordinator, request)
    else:
        told = collect_rows(coordinator, request)
    columns = fusion_names(coordinator.settings)
    rows, labels, sites = np.empty((0, len(columns))), np.empty(0, np.int64), tuple[str, ...]()
    if told:
        columns, rows, labels, sites = stack_rows(told)
    days = sorted(reply.delete_by for reply in told.values() if reply.delete_by)
    record = EmbeddingRecord(
        whole.projections, whole.network_hashes, columns, rows, labels, sites, parts,
        spent, delete_by="".join(days[:1]),
    )  # fmt: skip
    return coordinator.save(study, embed=record)


def collect_noised(
    study: Study, coordinator: Coordinator, request: RowsRequest
) -> tuple[dict[str, RowsReply], dict[str, Spent]]:
    """The rows with noise that the sites disclose, in the columns' units, and what they spent."""
    settings = coordinator.settings
    mean, sd = known_scale(study, settings)
    asked = NoisedRowsRequest(request, mean, sd)
    replies = coordinator.federation.ask(EMBED_NOISED, asked, coordinator.training)
    told = {}
    for site, reply in replies.items():
        rows, labels = opened_rows(reply.numbers, settings.fusion.dp.clip_norm)
        told[site] = RowsReply(reply.columns, rows * sd + mean, labels, reply.delete_by)
    return told, {site: reply.spent for site, reply in replies.items()}


def collect_rows(coordinator: Coordinator, request: RowsRequest) -> dict[str, RowsReply]:
    """The rows that the sites disclose; none where the study fits the layer on sums."""
    if not coordinator.settings.fusion.tells_rows:
        return {}
    return coordinator.federation.ask(EMBED_ROWS, request, coordinator.training)


def stand_ins(coordinator: Coordinator, fold: int) -> list[tuple[Network, Network]]:
    """Each network with the one trained without an outer fold; none where fusion sees none."""
    found = []
    for network in networks(coordinator.settings):
        trained = without_folds(coordinator.settings, network)
        found += [(network, trained[fold])] if trained else []
    return found


def parts_of(
    study: Study,
    coordinator: Coordinator,
    radiomics: RadiomicsModel,
    trained: Iterable[tuple[Network, Network]],
) -> Parts:
    """What scores some cases; the sites compute and keep the networks' outputs of them.

    Args:
        trained: For each of the study's networks the one that stands for it.
    """
    hashes: dict[str, str] = {}
    projections: list[Projection] = []
    for network, stand_in in trained:
        weights = best_weights(study, coordinator, stand_in)
        hashes[network.name] = content_hash(weights)
        if coordinator.settings.fusion.takes_scores:
            request = OutputsRequest(stand_in.name, weights, sums=False)
            coordinator.federation.ask(EMBED_OUTPUTS, request, coordinator.training)
            continue
        projection = project_network(coordinator, stand_in, weights)
        projections.append(replace(projection, network=network.name))
    return Parts(tuple(projections), hashes, radiomics)


def project_network(coordinator: Coordinator, network: Network, weights: Weights) -> Projection:
    """Ask the sites for a network's outputs and learn how to reduce them."""
    settings = coordinator.settings.embedding
    request = OutputsRequest(network.name, weights, settings.reduce == "pca")
    replies = coordinator.federation.ask(EMBED_OUTPUTS, request, coordinator.training)
    if settings.reduce == "pca":
        sums = [need(reply.sums, "the embeddings' sums") for reply in replies.values()]
        mean, components = principal_components(sums, settings.dimension)
        offset = np.zeros(settings.dimension)
    else:
        mean, components, offset = fixed_projection(settings, network, weights)
    return Projection(network.name, network.branch.name, mean, components, offset)


def principal_components(
    parts: Sequence[EmbeddingSums], dimension: int
) -> tuple[np.ndarray, np.ndarray]:
    """Mean ``(width,)`` and leading components ``(width, dimension)`` of the pooled embeddings.

    Exactly those of one table of all cases. Each component's largest entry is positive, so that
    the sign does not depend on the linear algebra library.

    Raises:
        CohortError: If there are too few cases.
    """
    n = sum(part.n for part in parts)
    if n <= dimension:
        raise CohortError(f"embedding.dimension is {dimension}, but only {n} cases were embedded.")
    mean = np.sum([part.sum_x for part in parts], axis=0) / n
    scatter = np.sum([part.sum_xx for part in parts], axis=0) - n * np.outer(mean, mean)
    width = len(mean)
    _, vectors = eigh(scatter, subset_by_index=[width - dimension, width - 1])
    components = vectors[:, ::-1]
    largest = components[np.abs(components).argmax(axis=0), np.arange(dimension)]
    return mean, np.ascontiguousarray(components * np.sign(largest))


def fixed_projection(
    settings: Embedding, network: Network, weights: Weights
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A reduction that needs no cases: means of blocks, or the network's own last layer.

    Mean, components and offset of a `Projection`.
    """
    width = EMBEDDING_WIDTH[network.branch.network]
    if settings.reduce == "logit":
        name, tensors = ARCHITECTURES[network.branch.network].head, weights.tensors()
        head, bias = (tensors[f"{name}.{part}"].astype(np.float64) for part in ("weight", "bias"))
        return np.zeros(width), head.T.copy(), bias
    blocks = np.array_split(np.arange(width), settings.dimension)
    components = np.zeros((width, settings.dimension))
    for column, block in enumerate(blocks):
        components[block, column] = 1 / len(block)
    return np.zeros(width), components, np.zeros(settings.dimension)


def stack_rows(replies: dict[str, RowsReply]) -> StackedRows:
    """The sites' rows under each other: columns, rows, labels, and the site of each row.

    Raises:
        FederationError: If two sites name different columns.
    """
    columns = {reply.columns for reply in replies.values()}
    if len(columns) != 1:
        raise FederationError("the sites' fusion rows have different columns.")
    rows = np.vstack([reply.rows for reply in replies.values()])
    labels = np.concatenate([reply.labels for reply in replies.values()])
    sites = tuple(site for site, reply in replies.items() for _ in reply.labels)
    return columns.pop(), rows, labels, sites
