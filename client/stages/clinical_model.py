"""The site's half of `clinical_model`."""

from client.workbench import Workbench
from shared.glm import LogisticSums, logistic_sums
from shared.models import clinical_design
from shared.moments import moments
from shared.stages.clinical_model import MeansReply, MeansRequest, StepRequest


def answer_means(request: MeansRequest, bench: Workbench) -> MeansReply:  # noqa: ARG001
    """Moments of the predictors over the training cases."""
    predictors = bench.study.clinical.predictors
    return MeansReply(moments(predictors, bench.site.clinical(bench.site.training, predictors)))


def answer_step(request: StepRequest, bench: Workbench) -> LogisticSums:
    """Gradient, information and log-likelihood at the asked coefficients."""
    training = bench.site.training
    rows = bench.site.clinical(training, bench.study.clinical.predictors)
    return logistic_sums(
        clinical_design(request.means, rows), bench.site.labels(training), request.beta
    )
