"""What of a study needs a hospital's own numbers, where the server is to know their sum alone."""

from typing import TYPE_CHECKING, Final

from shared.secagg.keys import LEAST_SITES

if TYPE_CHECKING:
    from shared.config import Study

MEANS: Final = frozenset({"FedAvg", "FedProx", "FedAvgM", "FedAdam", "FedAdagrad", "FedYogi"})
"""Strategies that need no more of a round than the weighted mean of its updates."""


def hindrances(study: "Study") -> list[str]:
    """Each setting with which secure sums cannot be had, and what to set instead; none is good."""
    found, n = list[str](), len(study.sites.training)
    if n < LEAST_SITES:
        found.append(
            f"sites.training names {n} of the {LEAST_SITES} hospitals that a secure sum needs at "
            "least: of fewer each would learn the others' numbers"
        )
    if study.standardise.harmonise != "none":
        found.append(
            f"standardise.harmonise is {study.standardise.harmonise}, which needs the moments of "
            "each hospital; set it to none"
        )
    if study.branches and study.aggregation.strategy not in MEANS:
        found.append(
            f"aggregation.strategy is {study.aggregation.strategy}, which needs the weights of "
            f"each hospital; take one of {', '.join(sorted(MEANS))}"
        )
    if study.branches and study.aggregation.updates != "fp32":
        found.append(
            f"aggregation.updates is {study.aggregation.updates}, and what a hospital adds is not "
            "rounded so; set it to fp32"
        )
    quorum = study.aggregation.quorum
    if study.branches and quorum is not None and quorum < n:
        found.append(
            f"aggregation.quorum is {quorum} of {n} hospitals, and a secure sum is of all or of "
            "none; leave it out"
        )
    return found
