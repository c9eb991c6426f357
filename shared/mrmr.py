"""Minimum redundancy, maximum relevance: features ranked from sums of products, without a case."""

from typing import Literal

import numpy as np

from shared.checks import Floats
from shared.errors import CohortError, ConfigError
from shared.gram import Gram, correlation

TINY = 1e-12
TIE = 1e-9
FLOOR = 1e-3


def f_statistics(total: Gram) -> Floats:
    """F (p,) of each feature's correlation with the label, n - 2 degrees of freedom.

    For a label of 0 and 1 this is the F of analysis of variance, the square of Student's t. A
    constant, of feature or label, gives 0; a feature that repeats the label a huge finite value.

    Raises:
        CohortError: If there are fewer than three cases.
    """
    if total.n < 3:
        raise CohortError(f"F needs at least three cases; there are {total.n}")
    with_label = Gram(
        (*total.names, "label"),
        total.n,
        np.append(total.sum_x, total.sum_y),
        total.sum_y,
        np.block([[total.xx, total.xy[:, None]], [total.xy[None, :], np.array([[total.yy]])]]),
        np.append(total.xy, total.yy),
        total.yy,
    )
    explained = correlation(with_label)[:-1, -1] ** 2
    return np.asarray((total.n - 2) * explained / np.maximum(1.0 - explained, TINY))


def mrmr(
    total: Gram, n_features: int, *, scheme: Literal["quotient", "difference"] = "quotient"
) -> tuple[int, ...]:
    """Choose features that tell the label and do not repeat each other, the best first.

    Relevance is F, redundancy the mean |r| with the features chosen before. The first has the
    largest F; each next one the largest relevance / redundancy ("quotient", FCQ) or relevance -
    redundancy ("difference", FCD; F grows with the number of cases and |r| does not, so in large
    cohorts that is the order of F). Scores within 1e-9 of the best are ties, which the first
    position wins: rounding, which depends on the division into sites, must not decide.

    Args:
        total: Of all candidates, pooled over sites.
        n_features: How many to choose. Fewer are returned if fewer than this vary with the label.
        scheme: How redundancy counts. In a quotient, redundancy below 0.001 counts as 0.001, so
            that features nearly independent of those chosen compete by relevance.

    Returns:
        Their positions among `total.names`.

    Raises:
        ConfigError: If `n_features` is below one.
        CohortError: If there are fewer than three cases, or no feature varies with the label.

    References:
        Ding & Peng (2005). Minimum redundancy feature selection from microarray gene expression
        data. Journal of Bioinformatics and Computational Biology 3(2), 185-205.
        Zhao, Anand & Wang (2019). Maximum relevance and minimum redundancy feature selection
        methods for a marketing machine learning platform. arXiv:1908.05376.
    """
    if n_features < 1:
        raise ConfigError(f"n_features must be at least 1, but is {n_features}")
    relevance = f_statistics(total)
    waiting = relevance > TINY
    if not waiting.any():
        raise CohortError(
            f"no feature of {len(total.names)} varies with the label over {total.n} cases; "
            "the training cohort needs both classes and features that are not constant"
        )
    r = np.abs(correlation(total))
    chosen: list[int] = []
    while waiting.any() and len(chosen) < n_features:
        score = relevance
        if chosen:
            redundancy = r[:, chosen].mean(axis=1)
            quotient = relevance / np.maximum(redundancy, FLOOR)
            score = quotient if scheme == "quotient" else relevance - redundancy
        best = score[waiting].max()
        place = int((waiting & (score >= best - TIE * abs(best))).argmax())
        chosen.append(place)
        waiting[place] = False
    return tuple(chosen)
