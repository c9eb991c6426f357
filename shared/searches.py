"""The searches for quantiles that a study makes: how fine each is, and so how often it asks.

Both sides know them: the server searches no longer, and a site answers no more.
"""

import math
from dataclasses import dataclass

QUARTILES = (0.25, 0.5, 0.75)


@dataclass(frozen=True, slots=True)
class Search:
    """A search by halving.

    Attributes:
        tolerance: Width of the last bracket as a share of what is searched.
        quantiles: How many are sought at once.
        groups: Of how many groups of patients.
    """

    tolerance: float
    quantiles: int
    groups: int = 1

    @property
    def rounds(self) -> int:
        """Questions, fixed beforehand: log2(1 / tolerance), rounded up."""
        return max(1, math.ceil(math.log2(1 / self.tolerance)))

    @property
    def most_thresholds(self) -> int:
        """In one question: the first asks for both ends and the middle, all others for middles."""
        return self.groups * max(3, self.quantiles)


OF_VARIABLES = Search(2.0**-12, len(QUARTILES), groups=3)
"""Quartiles of clinical variables: of label 0, of label 1 and of both."""
OF_RANGES = Search(2.0**-40, 1)
"""The median range of each filtered image."""
OF_CLIPPING = Search(2.0**-46, 2)
"""The two quantiles that features are clipped at."""


def of_bins(n_bins: int) -> Search:
    """The edges of bins with about equally many patients."""
    return Search(2.0**-14, n_bins - 1)
