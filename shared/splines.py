"""Restricted cubic splines: smooth curves for a regression, straight beyond the outermost knots."""

import numpy as np
from numpy.typing import ArrayLike

from shared.checks import Floats
from shared.errors import ConfigError

PLACES = {
    3: (0.10, 0.50, 0.90),
    4: (0.05, 0.35, 0.65, 0.95),
    5: (0.05, 0.275, 0.50, 0.725, 0.95),
}
"""Harrell's quantiles for so many knots: fixed before the data are seen."""


def spline_terms(x: ArrayLike, knots: Floats) -> Floats:
    """The values x (n,) and their k - 2 cubic terms, (n, k - 1), for k knots.

    The terms are divided by the squared distance of the outer knots, so that they are in the units
    of x.

    Raises:
        ConfigError: If there are fewer than three knots, or they do not increase.

    References:
        Harrell (2015). Regression Modeling Strategies, 2nd ed., section 2.4.5 (the terms) and
        table 2.3 (the quantiles). Springer.
    """
    x, knots = np.asarray(x, dtype=np.float64), np.asarray(knots, dtype=np.float64)
    if len(knots) < 3 or not (np.diff(knots) > 0).all():
        raise ConfigError(
            f"a spline needs three or more increasing knots, not {knots.tolist()}; there are too "
            "few different values, ask for fewer knots"
        )
    cubes = np.maximum(x[:, None] - knots, 0.0) ** 3
    last, first_but = knots[-1] - knots[-2], knots[:-2]
    bent = cubes[:, :-2] - cubes[:, -2:-1] * (knots[-1] - first_but) / last
    bent = bent + cubes[:, -1:] * (knots[-2] - first_but) / last
    return np.column_stack([x, bent / (knots[-1] - knots[0]) ** 2])
