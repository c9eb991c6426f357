"""The site's half of `clinical_model`."""

import numpy as np

from client.leverage import check_blanks, check_hats, check_logistic
from client.release import check_classes, check_columns
from client.workbench import Workbench
from shared.checks import Floats, Ints
from shared.errors import CodecError
from shared.firth import HatSums, hat_sums
from shared.glm import logistic_sums
from shared.models import clinical_design
from shared.moments import moments
from shared.regressions import Terms, regression_design, reported_terms
from shared.stages.clinical_model import (
    HatRequest,
    MeansReply,
    MeansRequest,
    StepReply,
    StepRequest,
)

WHAT = "the clinical model's sums"


def answer_means(request: MeansRequest, bench: Workbench) -> MeansReply:  # noqa: ARG001
    """Moments of the predictors over the training cases."""
    predictors = bench.study.clinical.predictors
    rows = bench.site.clinical(bench.site.training, predictors)
    check_columns(bench.site, "the mean", predictors, rows)
    return MeansReply(moments(predictors, rows))


def answer_step(request: StepRequest, bench: Workbench) -> StepReply:
    """Gradient, information and log-likelihood of each regression at the asked coefficients."""
    if len(request.terms) != len(request.betas):
        raise CodecError("each regression needs its coefficients")
    designs, labels = regression_rows(request.terms, request.means, bench)
    for X, b in zip(designs, request.betas, strict=True):
        check_logistic(bench.site, WHAT, X, labels, b)
    sums = (logistic_sums(X, labels, b) for X, b in zip(designs, request.betas, strict=True))
    return StepReply(tuple(sums))


def answer_hats(request: HatRequest, bench: Workbench) -> HatSums:
    """What the training cases' hat values add to gradient and information."""
    (design,), labels = regression_rows((request.terms,), request.means, bench)
    check_logistic(bench.site, WHAT, design, labels, request.beta)
    check_hats(bench.site, WHAT, design, request.beta, request.covariance)
    return hat_sums(design, request.beta, request.covariance)


def regression_rows(
    terms: tuple[Terms, ...], means: np.ndarray, bench: Workbench
) -> tuple[list[Floats], Ints]:
    """The columns of each regression, and the labels, if there are enough of both.

    Raises:
        CodecError: If the study reports no such regression, or some twice.
        SmallCellError: If a label has too few cases.
        LeverageError: If the means are far from the predictors' own numbers.
    """
    site, study = bench.site, bench.study
    predictors, sites = study.clinical.predictors, tuple(sorted(study.sites.training))
    reported = reported_terms(predictors, sites)
    if not set(terms) <= set(reported) or len(terms) > len(reported):
        raise CodecError("the request asks about regressions that the study does not report")
    labels = site.labels(site.training)
    check_classes(site, WHAT, labels)
    table = site.clinical(site.training, predictors)
    check_blanks(site, WHAT, table, means)
    filled = clinical_design(means, table)[:, 1:]
    designs = [
        regression_design(one, predictors, filled, sites=sites, own=site.name) for one in terms
    ]
    return designs, labels
