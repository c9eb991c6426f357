"""The quartiles of variables, as they are kept and reported."""

from dataclasses import dataclass

from shared.checks import Floats, require


@dataclass(frozen=True, slots=True, eq=False)
class Quartiles:
    """First quartile, median and third (p, 3) of each variable: of label 0, of label 1, of both.

    Each is the smallest value that enough patients do not exceed, found to a `precision` (p, 3),
    one for each of the groups in that order; it is at most this much too large. NaN without any.
    """

    names: tuple[str, ...]
    negative: Floats
    positive: Floats
    together: Floats
    precision: Floats

    def __post_init__(self) -> None:
        shape = (len(self.names), 3)
        found = (self.negative, self.positive, self.together, self.precision)
        require(all(part.shape == shape for part in found), "quartiles: three for each variable")
