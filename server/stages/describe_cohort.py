"""The server's half of `describe_cohort`."""

from functools import partial

from server.coordinator import Coordinator
from server.fusion_budget import check_budget
from server.quartiles import find_quartiles
from server.study import CohortRecord, Study
from shared.errors import CohortError
from shared.moments import pool_class_moments
from shared.stages.describe_cohort import (
    COUNT_VARIABLES,
    DESCRIBE_COHORT,
    CountReply,
    CountRequest,
    Description,
    Request,
)

NEEDED = ("train", "tune", "internal_test")


def run(study: Study, coordinator: Coordinator) -> Study:
    """Learn who takes part, and stop where a split, or the fusion layer's, is too small."""
    sites = coordinator.federation.ask(DESCRIBE_COHORT, Request(), coordinator.training)
    check_splits(sites)
    check_budget(coordinator.settings, sites)
    quartiles = find_quartiles(
        partial(ask_counts, coordinator), pool_class_moments([d.variables for d in sites.values()])
    )
    return coordinator.save(study, describe_cohort=CohortRecord(sites, quartiles))


def ask_counts(coordinator: Coordinator, request: CountRequest) -> list[CountReply]:
    """Each training site's counts by label."""
    replies = coordinator.federation.ask(COUNT_VARIABLES, request, coordinator.training)
    return list(replies.values())


def check_splits(sites: dict[str, Description]) -> None:
    """Every split, pooled, must hold patients of both labels.

    Raises:
        CohortError: Naming the split and its counts.
    """
    for split in NEEDED:
        n = sum(d.splits[split].n for d in sites.values())
        n_positive = sum(d.splits[split].n_positive for d in sites.values())
        if not 0 < n_positive < n:
            raise CohortError(
                f"split '{split}' has {n_positive} positive of {n} patients over all sites; it "
                "needs both labels. Enlarge its share in 'cohort.splits', or add patients."
            )
