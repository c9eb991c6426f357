"""Logistic LASSO: what one site says of many problems at once, with its own intercept fitted.

A problem is some of the cross-validation's blocks to train on, and a penalty alpha. It minimises
(1/n) sum of log-loss(b_site + z'beta) + alpha |beta|_1 over the training rows, beta and one
unpenalised intercept for each site. A site minimises over its own intercept before it answers: for
given beta that is a matter of its own rows, so intercepts stay there, and what it sends are value,
gradient and Hessian of a function of beta alone. The sum of these functions over sites has the same
minimum as the pooled cohort with an indicator for each site.

Rows of a problem at a site whose training rows have one class only would send its intercept to
infinity and say nothing of beta: the site leaves that problem, its held-out rows too.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from shared.checks import Floats, Ints, check_labels, require, require_counts, require_numbers
from shared.errors import CohortError, FederationError

Bools = NDArray[np.bool_]
MAX_NUMBERS = 4_000_000
INTERCEPT_STEPS = 200
TINY = 1e-300


@dataclass(frozen=True, slots=True, eq=False)
class Problems:
    """What is asked: coefficients (m, p) at which to look at m problems, and what they train on.

    training (m, blocks) says which blocks each problem trains on; the other blocks are held out.
    """

    training: Bools
    beta: Floats

    def __post_init__(self) -> None:
        m = len(self.training)
        require(self.training.dtype == np.bool_, "problems.training must be bool")
        require(self.training.ndim == 2 and self.beta.ndim == 2, "problems must be two tables")
        require_numbers("problems.beta", self.beta, (m, self.beta.shape[1]))

    def take(self, rows: Ints) -> "Problems":
        """Some of the problems."""
        return Problems(self.training[rows], self.beta[rows])


@dataclass(frozen=True, slots=True, eq=False)
class LogisticLassoSums:
    """One site's part of m problems, or the sum of the sites'; zero where a site leaves a problem.

    n and loss (m,) are of the training rows, the loss summed and at the site's best intercept;
    gradient (m, p) and hessian (m, p (p + 1) / 2), its upper triangle row by row, are that loss's
    derivatives by beta. held_n and held_loss (m,) are of the rows held out.
    """

    n: Ints
    loss: Floats
    gradient: Floats
    hessian: Floats
    held_n: Ints
    held_loss: Floats

    def __post_init__(self) -> None:
        require(self.gradient.ndim == 2, "logistic_lasso.gradient must have shape (problems, p)")
        m, p = self.gradient.shape
        require_numbers("logistic_lasso.gradient", self.gradient, (m, p))
        require_numbers("logistic_lasso.hessian", self.hessian, (m, p * (p + 1) // 2))
        for name in ("loss", "held_loss"):
            require_numbers(f"logistic_lasso.{name}", getattr(self, name), (m,), minimum=0.0)
        for name in ("n", "held_n"):
            require_counts(f"logistic_lasso.{name}", getattr(self, name), (m,))

    def take(self, rows: Ints) -> "LogisticLassoSums":
        """The sums of some of the problems."""
        return LogisticLassoSums(
            self.n[rows],
            self.loss[rows],
            self.gradient[rows],
            self.hessian[rows],
            self.held_n[rows],
            self.held_loss[rows],
        )

    def full_hessian(self, problem: int) -> Floats:
        """The Hessian (p, p) of one problem."""
        p = self.gradient.shape[1]
        full = np.zeros((p, p))
        full[np.triu_indices(p)] = self.hessian[problem]
        return full + np.triu(full, 1).T


def problems_in_a_message(p: int) -> int:
    """How many problems of p features are asked about at once, so that no reply is above 32 MB.

    With the 60 features of the default that is over 2000, so all of a path with its folds; with
    the 300 of the largest setting it is 88, and one Newton step takes several questions.
    """
    return max(1, MAX_NUMBERS // (p * (p + 1) // 2 + p + 4))


@dataclass(frozen=True, slots=True, eq=False)
class LassoRows:
    """Each row's part in each problem, all (n, m), at the site's own intercepts; stays at the site.

    inside and outside say what a problem trains on and holds out. loss is every row's; weights,
    p (1 - p), and residual, p - y, are zero outside.
    """

    inside: Bools
    outside: Bools
    loss: Floats
    weights: Floats
    residual: Floats


def logistic_lasso_sums(X: Floats, y: Ints, block: Ints, problems: Problems) -> LogisticLassoSums:
    """A site's part of each problem; see `lasso_rows` and `sum_lasso_rows`."""
    return sum_lasso_rows(X, lasso_rows(X, y, block, problems))


def lasso_rows(X: Floats, y: Ints, block: Ints, problems: Problems) -> LassoRows:
    """What each row has in each problem.

    Args:
        X: z-scored features (n, p), complete.
        y: Labels (n,), 0 or 1.
        block: The block (n,) of each row.
        problems: What is asked.

    Raises:
        CohortError: If rows, labels, blocks and coefficients do not fit together.
    """
    check_labels(y, len(X))
    fit = X.shape[1] == problems.beta.shape[1] and block.shape == y.shape
    if not (fit and block.max(initial=0) < problems.training.shape[1]):
        raise CohortError(
            f"features of shape {X.shape}, blocks of shape {block.shape} and problems of "
            f"{problems.beta.shape[1]} features over {problems.training.shape[1]} blocks do not "
            "fit together"
        )
    if not np.isfinite(X).all():
        raise CohortError("features must be complete here; replace missing values by 0, the mean")
    trains = problems.training[:, block].T
    positive = y[:, None] == 1
    n_positive = (trains & positive).sum(axis=0)
    both = (n_positive > 0) & (n_positive < trains.sum(axis=0))
    inside, outside = trains & both, ~trains & both
    margin = X @ problems.beta.T
    eta = margin + _best_intercepts(margin, y, inside)
    probability = special.expit(eta)
    return LassoRows(
        inside,
        outside,
        np.logaddexp(0.0, np.where(positive, -eta, eta)),
        np.where(inside, probability * special.expit(-eta), 0.0),
        np.where(inside, probability - y[:, None], 0.0),
    )


def sum_lasso_rows(X: Floats, rows: LassoRows) -> LogisticLassoSums:
    """The sums over the rows of a site, whose features are X (n, p)."""
    inside, outside, loss, weights, residual = (
        rows.inside, rows.outside, rows.loss, rows.weights, rows.residual,
    )  # fmt: skip
    # The intercept follows beta, which centring on the weighted means takes into account; in the
    # gradient it also makes the last digits of the intercept matter to second order only.
    centre = weights.T @ X / np.maximum(weights.sum(axis=0), TINY)[:, None]
    return LogisticLassoSums(
        inside.sum(axis=0),
        np.where(inside, loss, 0.0).sum(axis=0),
        residual.T @ X - residual.sum(axis=0)[:, None] * centre,
        _hessians(X, weights, centre),
        outside.sum(axis=0),
        np.where(outside, loss, 0.0).sum(axis=0),
    )


def _hessians(X: Floats, weights: Floats, centre: Floats) -> Floats:
    m, p = centre.shape
    upper = np.triu_indices(p)
    found = np.zeros((m, len(upper[0])))
    for i in range(m):
        rows = weights[:, i] > 0
        centred = X[rows] - centre[i]
        found[i] = ((centred.T * weights[rows, i]) @ centred)[upper]
    return found


def _best_intercepts(margin: Floats, y: Ints, inside: Bools) -> Floats:
    """The roots b (m,) of sum(expit(margin + b) - y) over the rows inside (n, m); 0 where none is.

    Newton's method inside a bracket that shrinks: at its ends all terms have one sign.
    """
    n = np.maximum(inside.sum(axis=0), 1)
    n_positive = np.where(inside, y[:, None], 0).sum(axis=0)
    there = n_positive > 0
    start = np.where(there, special.logit(np.where(there, n_positive / n, 0.5)), 0.0)
    low = np.where(there, start - np.where(inside, margin, -np.inf).max(axis=0, initial=-np.inf), 0)
    high = np.where(there, start - np.where(inside, margin, np.inf).min(axis=0, initial=np.inf), 0)
    b = (low + high) / 2
    for _ in range(INTERCEPT_STEPS):
        probability = special.expit(margin + b)
        excess = np.where(inside, probability, 0.0).sum(axis=0) - n_positive
        low, high = np.where(excess > 0, low, b), np.where(excess > 0, b, high)
        slope = np.where(inside, probability * special.expit(-(margin + b)), 0.0).sum(axis=0)
        newton = b - excess / np.maximum(slope, TINY)
        following = np.where((low < newton) & (newton < high), newton, (low + high) / 2)
        following = np.where(there, following, 0.0)
        moved = np.abs(following - b) > 4 * np.finfo(float).eps * np.maximum(1.0, np.abs(b))
        b = following
        if not moved.any():
            break
    return b


def pool_logistic_lasso_sums(parts: Sequence[LogisticLassoSums]) -> LogisticLassoSums:
    """Add the sites' parts, in a fixed order.

    Raises:
        FederationError: If there are no parts, or they answer different questions.
    """
    if not parts or len({part.gradient.shape for part in parts}) > 1:
        raise FederationError(
            f"{len(parts)} sites' parts cannot be added; every site must answer the same problems"
        )
    return LogisticLassoSums(
        np.sum([part.n for part in parts], axis=0),
        np.sum([part.loss for part in parts], axis=0),
        np.sum([part.gradient for part in parts], axis=0),
        np.sum([part.hessian for part in parts], axis=0),
        np.sum([part.held_n for part in parts], axis=0),
        np.sum([part.held_loss for part in parts], axis=0),
    )


def join_problems(parts: Sequence[LogisticLassoSums]) -> LogisticLassoSums:
    """The sums of problems that were asked about in several messages, one after the other.

    Raises:
        FederationError: If there are no parts.
    """
    if not parts:
        raise FederationError("no problem was asked about")
    return LogisticLassoSums(
        np.concatenate([part.n for part in parts]),
        np.concatenate([part.loss for part in parts]),
        np.concatenate([part.gradient for part in parts]),
        np.concatenate([part.hessian for part in parts]),
        np.concatenate([part.held_n for part in parts]),
        np.concatenate([part.held_loss for part in parts]),
    )
