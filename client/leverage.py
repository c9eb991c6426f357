"""Leverage: a weighted sum of patients' rows is refused where too few patients carry it.

A regression's score is the sum of rows weighted by residuals y - p, its information that of their
products weighted by p (1 - p), and both weights follow from coefficients that the server names. Far
from any fit these can be zero but for one patient: coefficients that put one patient at logit 0 and
all others far away make the information that patient's row, and coefficients that are right of all
patients but one make the score that row. Counts of patients (`client.release`) do not see it.

The rule. With weights c a sum is of (sum of c)² / (sum of c²) patients, Kish's effective number:
of n equal weights that is n, of one weight beside nothing 1. It must not be below
`release.min_cell`, for weights and residuals alike, so that a weighted sum is held to what a plain
one is, and no patient has more than 1 / sqrt(min_cell) of it. Honest fits stay above: at
coefficients 0 all weights are equal, and at the maximum all patients weigh of whom the model is
unsure. That no share exceed 1 / min_cell would be stricter, but was measured to stop honest fits of
good models, whose few mistakes have large residuals. What is stopped are labels that are all but
separated, where likelihood has no useful maximum; Firth's or a larger ridge penalty keeps p away
from 0 and 1.

Where nobody is in doubt the information is zero and the score is a plain sum of the rows that stand
on the wrong side: two of these, on both sides of a patient, differ by that patient's row. So the
information must be at least that of one patient at even odds; the least that honest fits were
measured to have is that of 2.8.

It bounds each answer, not what two answers near each other tell by their difference, and not the
row of a patient whom a column isolates by itself, such as the only one with a yes. A limit on hat
values would see that, but a predictor with a long tail reaches .96 of the 1 at which a row stands
alone.

References:
    Kish (1965). Survey Sampling. Wiley, New York.
"""

import numpy as np
from scipy import special

from client.site import Site
from shared.checks import Floats, Ints
from shared.errors import CohortError, LeverageError
from shared.firth import hat_values
from shared.models import CLIP_SD, Scale

AT_EVEN_ODDS = 0.25
"""p(1 - p) of a patient at probability 1/2, the most that there is."""


def effective_number(weights: Floats) -> Floats:
    """How many equal weights are as uneven as these, ``(m,)``; infinite where all are zero.

    Args:
        weights: Of n patients in m sums, ``(n, m)``; their signs do not matter.
    """
    largest = np.abs(weights).max(axis=0, initial=0.0)
    # Weights may be so small that their squares are zero.
    share = np.abs(weights) / np.where(largest > 0, largest, 1.0)
    squares = (share**2).sum(axis=0)
    return np.where(largest == 0, np.inf, share.sum(axis=0) ** 2 / np.maximum(squares, 1e-300))


def check_carried(site: Site, what: str, *weights: Floats) -> None:
    """Refuse sums that too few patients carry; of weights that are all zero there is nothing.

    Args:
        what: What was asked, as the subject of a sentence.
        weights: Each of n patients in m sums, ``(n, m)``, or ``(n,)`` in one.

    Raises:
        LeverageError: Naming what was asked, the effective number, the limit and the remedy.
    """
    limit = site.policy.release.min_cell
    for some in weights:
        sums = some[:, None] if some.ndim == 1 else some
        least = effective_number(sums).min(initial=np.inf)
        # Rounding must not refuse just as many equal weights; what is not a number is refused.
        if not least >= limit * (1 - 1e-9):
            raise LeverageError(
                f"{what} would be carried by {least:.2f} patients' weight at the coefficients that "
                f"were asked; nothing is told that fewer than {limit} carry. An honest fit comes "
                "there only where its columns all but separate this site's labels: let the study "
                "take out the column that does, or penalise more. If the coefficients are not a "
                "fit's, talk to whoever runs the study."
            )


def check_logistic(site: Site, what: str, X: Floats, labels: Ints, beta: Floats) -> None:
    """Refuse the sums of a logistic regression if too few patients carry score or information.

    Args:
        what: What was asked, as the subject of a sentence.
        X: Predictors ``(n, k)``, with the column of ones.
        labels: ``(n,)``, 0 or 1.
        beta: Coefficients ``(k,)``.

    Raises:
        CohortError: If there are not as many coefficients as predictors.
        LeverageError: See `check_carried`.
    """
    if X.shape[1:] != beta.shape:
        raise CohortError(f"predictors of shape {X.shape} do not fit {len(beta)} coefficients")
    eta = X @ beta
    weights = special.expit(eta) * special.expit(-eta)
    residual = special.expit(np.where(labels == 1, -eta, eta))
    check_carried(site, what, weights, residual)
    check_open(site, what, weights, residual)


def check_open(site: Site, what: str, weights: Floats, residual: Floats) -> None:
    """Refuse sums at coefficients that leave nobody in doubt, where a score counts rows whole.

    The score is the plain sum of the rows on the wrong side, then. Of two such sums on both sides
    of a patient the difference is that patient's row, though many patients carry each.

    Args:
        what: What was asked, as the subject of a sentence.
        weights: p(1 - p) of n patients in m sums, ``(n, m)``, or ``(n,)`` in one.
        residual: Of the same; where all are zero nothing is told.

    Raises:
        LeverageError: If the information is less than that of one patient at even odds.
    """
    if site.policy.release.min_cell == 1 or len(weights) == 0:
        return
    told = (residual != 0).any(axis=0)
    least = float(np.min(np.where(told, weights.sum(axis=0), np.inf), initial=np.inf))
    if not least >= AT_EVEN_ODDS:
        raise LeverageError(
            f"{what} would be told at coefficients that leave no patient in doubt: their "
            f"information is {4 * least:.2g} of one patient's at even odds, and must be 1. An "
            "honest fit comes there only where its columns separate this site's labels: penalise "
            "more. If the coefficients are not a fit's, talk to whoever runs the study."
        )


def check_hats(site: Site, what: str, X: Floats, beta: Floats, covariance: Floats) -> None:
    """Refuse the sums of hat values if too few patients carry these, or their information.

    The correction of the score is told where these are: its weights, a hat value times 1/2 - p, are
    few where a yes/no column is rare and all others stand near 1/2, which is what Firth's penalty
    is for.

    Args:
        what: What was asked, as the subject of a sentence.
        X: Predictors ``(n, k)``, with the column of ones.
        beta: Coefficients ``(k,)``.
        covariance: ``(k, k)``, of the server's making.

    Raises:
        LeverageError: See `check_carried`.
    """
    hat, weights, _ = hat_values(X, beta, covariance)
    check_carried(site, what, hat, hat * weights)


def check_inside(
    site: Site, what: str, rows: Floats, low: Floats, high: Floats, *, at_most: int | None = None
) -> None:
    """Refuse bounds that all but a few patients lie beyond, where one looks like the other.

    Sums of products with such a column are the rows of the few who lie inside: a single row, if
    one does. Bounds that follow from pooled numbers leave nearly all inside.

    Args:
        what: What was asked, as the subject of a sentence.
        rows: ``(n, p)``, NaN where a value is missing.
        low: What values are raised to ``(p,)``; infinite for no bound.
        high: What values are lowered to ``(p,)``.
        at_most: No more patients than this need be inside, though the hospital's limit is higher.

    Raises:
        LeverageError: If fewer than `release.min_cell` are inside in a column that is not empty.
    """
    limit = site.policy.release.min_cell
    if limit == 1:
        return
    needed = limit if at_most is None else min(limit, at_most)
    with np.errstate(invalid="ignore"):
        inside = ((rows > low) & (rows < high)).sum(axis=0)
    few = np.isfinite(rows).any(axis=0) & (inside < needed)
    if few.any():
        raise LeverageError(
            f"{what} would put all patients but {int(inside[few].min())} at one end or the other "
            f"of a column's scale; nothing is told where fewer than {needed} stand apart from its "
            "ends. Pooled means and deviations never do that; talk to whoever runs the study."
        )


def ends_of(scale: Scale, site: str) -> tuple[Floats, Floats]:
    """Where a scale's features end, as extracted, both ``(p,)``: beyond, all values are alike."""
    own = scale.sites.get(site)
    mean, sd = (scale.mean, scale.sd) if own is None else (own.mean, own.sd)
    reach = CLIP_SD * np.abs(sd)
    return np.maximum(scale.low, mean - reach), np.minimum(scale.high, mean + reach)


def check_blanks(site: Site, what: str, table: Floats, filled: Floats) -> None:
    """Refuse numbers for blank cells that lie far from the column's own: few rows would stand out.

    A column's numbers span a range; a blank may take what is within that range, or beyond it by no
    more than its length. A column of one number alone says nothing about what is far.

    Args:
        what: What was asked, as the subject of a sentence.
        table: ``(n, k)``, NaN where a cell is blank.
        filled: What a blank takes in each column, ``(k,)``.

    Raises:
        LeverageError: If one lies further away.
    """
    if site.policy.release.min_cell == 1:
        return
    for column, value in zip(table.T, filled.tolist(), strict=True):
        there = column[np.isfinite(column)]
        if len(there) in (0, len(column)) or np.ptp(there) == 0:
            continue
        length = np.ptp(there)
        if not there.min() - length <= value <= there.max() + length:
            raise LeverageError(
                f"{what} would take {value:g} for blank cells of a column that runs from "
                f"{there.min():g} to {there.max():g}, so that the patients who lack it carry all "
                "else. Pooled means are never so far away; talk to whoever runs the study."
            )
