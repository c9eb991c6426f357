"""What private fits spend: bookings that are only ever added to, and their epsilon.

The unit is the patient: one patient is one sample, and two cohorts are neighbours if one has one
patient more. Patients of different sites are different people, so that a patient's epsilon is the
largest of the sites', not their sum.
"""

import functools
import math
import warnings
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

LARGEST_NUMERICAL = 30.0
FUSION = "fusion"
"""What bookings of the fusion layer have in the place of a network's name; no branch has it."""


@dataclass(frozen=True, slots=True)
class Spending:
    """One booking: the steps of one round of one network at one site.

    Of the fusion layer, under the name `FUSION`, one answer: its step, in which every patient takes
    part. Its noise is on a grid so fine (2^20 to the longest that a patient can add) that its
    privacy is the continuous Gaussian's up to parts in a thousand million.

    Attributes:
        id: Random, so that the same booking is known again in another copy.
        study: The study's hash.
        noise_multiplier: Standard deviation of the noise over the clipping norm.
        sample_rate: Probability with which each patient is part of a step.
        steps: Steps of the round, those with nobody in them too.
        delta: The delta that the study states its budget for.
        budget: The epsilon that the study allows this network at this site.
    """

    id: str
    study: str
    network: str
    round: int
    noise_multiplier: float
    sample_rate: float
    steps: int
    delta: float
    budget: float

    def __post_init__(self) -> None:
        if not (
            self.noise_multiplier > 0
            and 0 < self.sample_rate <= 1
            and self.steps > 0
            and 0 < self.delta < 1
            and self.budget > 0
            and math.isfinite(self.noise_multiplier + self.budget)
        ):
            raise ValueError("a booking must have noise, a rate up to 1, steps, delta and a budget")


Spent = tuple[Spending, ...]


def of_network(spent: Spent, study: str, network: str) -> Spent:
    """The bookings of one network of one study."""
    return tuple(e for e in spent if e.study == study and e.network == network)


def epsilon(spent: Iterable[Spending], delta: float) -> float:
    """The epsilon of all bookings together at this delta; an upper bound, 0 for none.

    Opacus' PRV accountant, which composes the privacy loss numerically and adds its own error
    (0.01) to be safe. Where Renyi accounting already says more than 30, that looser bound is
    returned: the numerical one takes much time and memory there, and no such epsilon protects.

    References:
        Gopi, Lee & Wutschitz (2021). Numerical composition of differential privacy.
        arXiv 2106.02848.
        Mironov, Talwar & Zhang (2019). Renyi differential privacy of the sampled Gaussian
        mechanism. arXiv 1908.10530.
    """
    steps: Counter[tuple[float, float]] = Counter()
    for entry in spent:
        steps[entry.noise_multiplier, entry.sample_rate] += entry.steps
    return _epsilon(tuple(sorted((*kind, n) for kind, n in steps.items())), delta)


@functools.lru_cache(maxsize=1024)
def _epsilon(history: tuple[tuple[float, float, int], ...], delta: float) -> float:
    """The same for (noise multiplier, sample rate, steps)."""
    from opacus.accountants import PRVAccountant, RDPAccountant

    if not history:
        return 0.0
    renyi, numerical = RDPAccountant(), PRVAccountant()
    renyi.history, numerical.history = list(history), list(history)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bound = float(renyi.get_epsilon(delta))
        if bound > LARGEST_NUMERICAL:
            return bound
        return min(bound, float(numerical.get_epsilon(delta)))
