"""Explain: where each network looks, told of many patients at once.

Asked only if the study has a section `explain`, of one network at a time, with the weights of its
best round and with those before training; and only of the training sites' internal test cases:
these had no part in training, and an external site is asked nothing beyond its evaluation. No label
is looked at.

Leaves the hospital, for each of these weights: how many cases have heat and how many have none; the
sum of their maps of heat in the tumour's own frame; of the shares of heat inside the tumour, in a
ring around it and elsewhere, and of the shares of the field that these are, count, mean and summed
squared deviation; how many cases have a share in each twentieth. Of fewer cases than
`explain.min_cases` or the site's `release.min_cell`, nothing.
Stays: every case's heat.
"""

from dataclasses import dataclass

from shared.heat import HeatSums
from shared.networks import Weights
from shared.stages import Question


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """Where does this network look, with these weights?"""

    network: str
    weights: Weights


@dataclass(frozen=True, slots=True, eq=False)
class Reply:
    """The sums; None where the site has too few cases."""

    heat: HeatSums | None


EXPLAIN = Question("explain", "evaluate", Request, Reply)
