"""The site's half of `describe_cohort`."""

from collections import Counter

from client.release import check_class_columns, check_classes
from client.site import Cases
from client.workbench import Workbench
from shared.moments import class_moments
from shared.stages.describe_cohort import Description, Request, SplitCount


def answer(request: Request, bench: Workbench) -> Description:  # noqa: ARG001
    """This site's cohort in numbers."""
    site = bench.site
    return describe(bench, (site.training, site.tuning, site.internal_test))


def describe(bench: Workbench, handles: tuple[Cases, ...]) -> Description:
    """Counts and moments of the handles' cases together."""
    site, study = bench.site, bench.study
    everyone = site.everyone
    variables = tuple(dict.fromkeys((*study.clinical.predictors, *study.cohort.describe)))
    for cases in handles:
        check_classes(site, f"the count of the split {cases.split}", site.labels(cases))
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
    )
