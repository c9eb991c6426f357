"""The site's half of `evaluate`."""

from client.embeddings import keep_outputs
from client.scoring import model_sums
from client.workbench import Workbench
from shared.scores import ScoreSums
from shared.stages.evaluate import OutputsReply, OutputsRequest, ScoresReply, ScoresRequest


def answer_outputs(request: OutputsRequest, bench: Workbench) -> OutputsReply:
    """Compute and keep a network's outputs for every split of this site."""
    site = bench.site
    handles = (site.training, site.tuning, site.internal_test)
    keep_outputs(bench, bench.network(request.network), request.weights, handles)
    return OutputsReply(sum(len(cases.cases) for cases in handles))


def answer_scores(request: ScoresRequest, bench: Workbench) -> ScoresReply:
    """Sums of each model's scores, for each split."""
    site = bench.site
    models: dict[str, dict[str, ScoreSums]] = {}
    for cases in (site.training, site.tuning, site.internal_test):
        for model, sums in model_sums(bench, cases, request.bundle).items():
            models.setdefault(model, {})[cases.split] = sums
    return ScoresReply(models)
