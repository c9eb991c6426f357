"""The site's half of `clinical_model`."""

from client.release import check_classes, check_columns
from client.workbench import Workbench
from shared.glm import LogisticSums, logistic_sums
from shared.models import clinical_design
from shared.moments import moments
from shared.stages.clinical_model import MeansReply, MeansRequest, StepRequest


def answer_means(request: MeansRequest, bench: Workbench) -> MeansReply:  # noqa: ARG001
    """Moments of the predictors over the training cases."""
    predictors = bench.study.clinical.predictors
    rows = bench.site.clinical(bench.site.training, predictors)
    check_columns(bench.site, "the mean", predictors, rows)
    return MeansReply(moments(predictors, rows))


def answer_step(request: StepRequest, bench: Workbench) -> LogisticSums:
    """Gradient, information and log-likelihood at the asked coefficients."""
    training = bench.site.training
    labels = bench.site.labels(training)
    check_classes(bench.site, "the clinical model's sums", labels)
    rows = bench.site.clinical(training, bench.study.clinical.predictors)
    return logistic_sums(clinical_design(request.means, rows), labels, request.beta)
