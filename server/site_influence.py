"""What one site does to the fusion layer: the layer without it, from what the server has anyway.

A site whose labels are turned round, or whose features are extracted otherwise, spoils the layer of
all and shows nowhere in pooled numbers. Where the server has rows the layer is fitted again without
each site's. Where it has the sites' sums alone, it has them at coefficients at which the fit of all
cases ended, and one Newton step from there without a site's sums is near the layer without it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from shared.checks import Floats, Ints
from shared.glm import LogisticSums, fit_logistic, logistic_sums, pool_logistic_sums
from shared.models import FusionModel, fusion_design
from shared.scores import ScoreSums


@dataclass(frozen=True, slots=True, eq=False)
class SiteInfluence:
    """A site, and the layer without it.

    Attributes:
        coefficients: Of the layer without it (1 + k,), on the scale of the layer with it.
        own: The site's cases, each scored by a layer of the other folds.
        others: All other sites' cases, likewise.
    """

    site: str
    coefficients: Floats
    own: ScoreSums
    others: ScoreSums


def coefficients_by_rows(
    model: FusionModel, penalty: float, rows: Floats, labels: Ints, sites: Sequence[str]
) -> dict[str, Floats]:
    """The layer's coefficients fitted without each site's rows, on the layer's own scale.

    Args:
        rows: (n, k), NaN where a case has no value.
        labels: (n,), 0 or 1.
        sites: The site of each row.

    Returns:
        By site; one without whose rows there is but one label is left out.
    """
    design, of = fusion_design(model.mean, model.sd, rows), np.array(sites)
    found = {}
    for site in sorted(set(sites)):
        X, y = design[of != site], labels[of != site]
        if len(np.unique(y)) == 2:
            found[site] = _fitted(X, y, penalty)
    return found


def coefficients_by_step(
    beta: Floats, penalty: float, parts: Mapping[str, LogisticSums]
) -> dict[str, Floats]:
    """The layer's coefficients after one Newton step without each site's sums.

    Args:
        beta: Where the sums were asked, near the maximum of all cases (1 + k,).
        parts: Each site's sums there.

    Returns:
        By site; none where there is but one.
    """
    found = {}
    ridge = _ridge(len(beta), penalty)
    for site in sorted(parts) if len(parts) > 1 else ():
        rest = pool_logistic_sums([sums for other, sums in sorted(parts.items()) if other != site])
        gradient = rest.score - ridge * beta
        step, *_ = np.linalg.lstsq(rest.information + np.diag(ridge), gradient)
        found[site] = beta + step
    return found


def _ridge(n: int, penalty: float) -> Floats:
    ridge = np.full(n, penalty)
    ridge[0] = 0.0
    return ridge


def _fitted(X: Floats, y: Ints, penalty: float) -> Floats:
    names = tuple(str(place) for place in range(X.shape[1]))
    ridge = _ridge(X.shape[1], penalty)
    fit = fit_logistic(
        lambda beta: logistic_sums(X, y, beta), names, tolerance=1e-10, max_iterations=50,
        penalty=ridge,
    )  # fmt: skip
    return fit.coefficients
