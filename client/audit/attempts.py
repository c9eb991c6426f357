"""What the attacks of an audit share: chance that is the same each time, and what fails."""

from collections.abc import Callable
from typing import get_args

import numpy as np

from client.audit.attacks import reconstruct
from client.audit.findings import Attack, Finding, not_measured, reconstructed
from client.audit.victims import Victims
from shared.checks import Floats, Ints
from shared.errors import TrifedError

NO_REQUEST = "the question was too large to be kept with its answer"
SEED = 20_240_607


def attempt(release: str, attack: Attack, make: Callable[[], Finding]) -> Finding:
    """An attack's finding, or why it could not be made."""
    try:
        return make()
    except TrifedError as error:
        return not_measured(release, attack, str(error))


def failed(release: str, why: str) -> list[Finding]:
    """No attack could be made."""
    return [not_measured(release, attack, why) for attack in get_args(Attack)]


def values_told(
    release: str,
    rows: Floats,
    victims: Victims,
    *,
    order: Ints | slice = slice(None),
    chance: float = 0.0,
) -> Finding:
    """How much of the values that the models use the rows give away."""
    found = reconstruct(rows, victims.wanted[order], chance_of(2))
    best = int(np.nanargmax(found))
    words = (
        f"{victims.names[best]} is told best; of {len(found)} values the middle one has R squared "
        f"{float(np.nanmedian(found)):.2f}"
    )
    return reconstructed(release, float(found[best]), words, n=len(rows), chance=chance)


def chance_of(number: int) -> np.random.Generator:
    """Chance that is the same in each audit."""
    return np.random.default_rng([SEED, number])
