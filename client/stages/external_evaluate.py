"""The external site's half of `external_evaluate`."""

import numpy as np

from client.embeddings import keep_outputs
from client.scoring import binned, checked_scores
from client.stages.describe_cohort import describe
from client.workbench import Workbench
from shared.checks import Ints
from shared.models import Bundle
from shared.stages.evaluate import OutputsReply, OutputsRequest, ScoresRequest
from shared.stages.external_evaluate import ExternalReply, ScoreTable
from shared.summary import summarise


def answer_outputs(request: OutputsRequest, bench: Workbench) -> OutputsReply:
    """Compute and keep a network's outputs for the external cohort."""
    cases = bench.site.external_test
    keep_outputs(bench, bench.network(request.network), request.weights, (cases,))
    return OutputsReply(len(cases.cases))


def answer_scores(request: ScoresRequest, bench: Workbench) -> ExternalReply:
    """The external cohort in numbers, and of each model what the site file lets leave."""
    return evaluate_bundle(bench, request.bundle)


def evaluate_bundle(bench: Workbench, bundle: Bundle) -> ExternalReply:
    """Score the external cohort, whose outputs are kept already, and tell what may be told.

    Raises:
        SmallCellError: If the patients of a label are too few to be told of.
    """
    cases, level = bench.site.external_test, bench.site.settings.release.external
    description = describe(bench, (cases,))
    labels, found = checked_scores(bench, cases, bundle)
    summaries = {
        model: summarise(scores, labels, threshold=bundle.thresholds.get(model, float("nan")))
        for model, scores in found.items()
    }
    sums = {} if level == "summary" else binned(bench, bundle, labels, found)
    table = score_table(found, labels) if level == "scores" else None
    return ExternalReply(level, description, summaries, sums, table)


def score_table(found: dict[str, np.ndarray], labels: Ints) -> ScoreTable:
    """Every patient's scores and label, sorted by the numbers so that the order says nothing."""
    rows = np.column_stack([*found.values(), labels.astype(np.float64)])
    rows = rows[np.lexsort(rows.T[::-1])]
    return ScoreTable(tuple(found), rows[:, :-1].copy(), rows[:, -1].astype(np.int64))
