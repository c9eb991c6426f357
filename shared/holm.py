"""Several tests at once: Holm's adjustment of their p values."""

import numpy as np
from numpy.typing import ArrayLike

from shared.checks import Floats


def holm(p: ArrayLike) -> Floats:
    """The p values (k,) adjusted so that no true hypothesis is rejected but with the level asked.

    NaN, a test that could not be made, stays NaN and does not count among the tests.

    References:
        Holm (1979). A simple sequentially rejective multiple test procedure. Scandinavian Journal
        of Statistics 6(2), 65-70.
    """
    adjusted = np.array(p, dtype=np.float64)
    made = np.flatnonzero(~np.isnan(adjusted))
    order = made[np.argsort(adjusted[made], kind="stable")]
    scaled = adjusted[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return adjusted
