"""The external site's half of `external_evaluate`."""

from client.embeddings import keep_outputs
from client.scoring import model_sums
from client.stages.describe_cohort import describe
from client.workbench import Workbench
from shared.stages.evaluate import OutputsReply, OutputsRequest, ScoresRequest
from shared.stages.external_evaluate import ExternalReply


def answer_outputs(request: OutputsRequest, bench: Workbench) -> OutputsReply:
    """Compute and keep a network's outputs for the external cohort."""
    cases = bench.site.external_test
    keep_outputs(bench, bench.network(request.network), request.weights, (cases,))
    return OutputsReply(len(cases.cases))


def answer_scores(request: ScoresRequest, bench: Workbench) -> ExternalReply:
    """The external cohort in numbers, and sums of each model's scores on it."""
    cases = bench.site.external_test
    return ExternalReply(describe(bench, (cases,)), model_sums(bench, cases, request.bundle))
