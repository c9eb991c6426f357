"""What a bundle tells of the patients that its models were trained on: what the run pooled."""

from collections import Counter
from dataclasses import replace

from server.coordinator import need
from server.study import CohortRecord, ScaleRecord, Study
from shared.models import TrainedOn
from shared.moments import pool_class_moments, pool_moments


def trained_on(study: Study) -> TrainedOn:
    """Counts and moments over the training sites, from the stages that asked for them.

    Nothing new is asked and nothing of a single site is told: the counts and the moments of
    clinical variables are those of Table 1, the features' are the scale that every site was sent.

    Raises:
        StateError: If one of the stages has not run.
    """
    cohort: CohortRecord = need(study.describe_cohort, "describe_cohort")
    scaled: ScaleRecord = need(study.standardise, "standardise")
    n_cases, n_positive = Counter[str](), Counter[str]()
    for site in cohort.sites.values():
        for split, count in site.splits.items():
            n_cases[split] += count.n
            n_positive[split] += count.n_positive
    by_label = pool_class_moments([site.variables for site in cohort.sites.values()])
    return TrainedOn(
        n_cases=dict(n_cases),
        n_positive={split: n_positive[split] for split in n_cases},
        variables=pool_moments([by_label.negative, by_label.positive]),
        features=replace(scaled.scale, sites={}),
    )
