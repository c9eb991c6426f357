"""The site's half of `describe_cohort`."""

from collections import Counter

from client.acquisition import acquired
from client.release import check_class_columns, check_classes, without_tails
from client.site import Cases, Site
from client.workbench import Workbench
from shared.config import Study
from shared.errors import CodecError
from shared.moments import class_moments
from shared.quantiles import counts_below
from shared.stages.describe_cohort import (
    CountReply,
    CountRequest,
    Description,
    Request,
    SplitCount,
)


def answer(request: Request, bench: Workbench) -> Description:  # noqa: ARG001
    """This site's cohort in numbers."""
    site = bench.site
    return describe(bench, (site.training, site.tuning, site.internal_test))


def answer_count(request: CountRequest, bench: Workbench) -> CountReply:
    """How many patients of each label have a variable at or below each threshold.

    Raises:
        CodecError: If a variable is none that the study describes.
        SmallCellError: As for the description, or if a label has too few values of a variable.
    """
    site = bench.site
    if not set(request.names) <= set(described(bench.study)):
        raise CodecError("the request asks about variables that the study does not describe")
    check_splits(site, (site.training, site.tuning, site.internal_test))
    labels, rows = site.labels(site.everyone), site.clinical(site.everyone, request.names)
    check_class_columns(site, "the count", request.names, rows, labels)
    negative, positive = (
        without_tails(site, counts_below(request.names, rows[labels == label], request.thresholds))
        for label in (0, 1)
    )
    return CountReply(negative, positive)


def check_splits(site: Site, handles: tuple[Cases, ...]) -> None:
    """Refuse to describe a cohort if a split has too few cases of a label.

    Raises:
        SmallCellError: Naming the split.
    """
    for cases in handles:
        check_classes(site, f"the count of the split {cases.split}", site.labels(cases))


def described(study: Study) -> tuple[str, ...]:
    """The variables of the study's Table 1, each once."""
    return tuple(dict.fromkeys((*study.clinical.predictors, *study.cohort.describe)))


def describe(bench: Workbench, handles: tuple[Cases, ...]) -> Description:
    """Counts and moments of the handles' cases together."""
    site, study = bench.site, bench.study
    everyone = site.everyone
    variables = described(study)
    check_splits(site, handles)
    labels, rows = site.labels(everyone), site.clinical(everyone, variables)
    check_class_columns(site, "the moments", variables, rows, labels)
    lacking = Counter(phase for case in everyone for phase in site.lacking(case))
    return Description(
        n_cases=len(everyone.cases),
        splits={
            cases.split: SplitCount(len(cases.cases), int(site.labels(cases).sum()))
            for cases in handles
        },
        missing_phases={phase: lacking[phase] for phase in study.phases},
        exclusions=dict(Counter(exclusion.kind for exclusion in site.exclusions)),
        variables=class_moments(variables, rows, labels),
        features_from=site.features_from,
        acquisition=acquired(site),
    )
