"""Logistic LASSO from sums: every penalty and every fold of the path at once, in a few questions.

See `shared.logistic_lasso_sums` for the problem and for what a site says of it. All penalties are
solved side by side, each by proximal Newton steps of its own, so that the whole cross-validation
takes about as many questions as one fit.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from shared.checks import Floats, Ints
from shared.errors import CohortError
from shared.lasso import LassoFit, Rule, choose_penalty, penalties, solve_quadratic
from shared.logistic_lasso_sums import Bools, LogisticLassoSums, Problems

N_ALPHAS = 30
SMALLEST = 1e-2
DECREMENT = 1e-11
STALLED = 1e-8
SUFFICIENT = 1e-4
ROUNDING = 1e-13
SHORTEST = 2.0**-40
MAX_QUESTIONS = 200

Ask = Callable[[Problems], LogisticLassoSums]


@dataclass(frozen=True, slots=True, eq=False)
class Solutions:
    """The minima of m problems: coefficients (m, p), cases, and what is held out, all (m,)."""

    beta: Floats
    n: Ints
    held_n: Ints
    held_loss: Floats


def solve_problems(ask: Ask, training: Bools, alphas: Floats, null: LogisticLassoSums) -> Solutions:
    """Minimise each problem's penalised log-loss by proximal Newton steps.

    A step goes to the minimum of the second-order model with the penalty, which is a LASSO on
    sums of products and is solved exactly; it is halved where the penalised loss does not fall
    enough. A problem is done when the Newton decrement, which is the step's length measured by the
    Hessian, is at most 1e-11; the last step is taken, after which the error is of the order of its
    square. A problem without cases keeps beta = 0.

    Args:
        ask: Gives the pooled sums of some problems; in a federation, one question to each site.
        training: Shape (m, blocks).
        alphas: Shape (m,), above zero.
        null: The pooled sums of the m problems at beta = 0.

    Raises:
        CohortError: If a problem does not come to rest.

    References:
        Lee, Sun & Saunders (2014). Proximal Newton-type methods for minimizing composite
        functions. SIAM Journal on Optimization 24(3), 1420-1443.
    """
    m, p = null.gradient.shape
    descents: list[_Descent] = []
    for i in range(m):
        near = np.zeros(p)
        if i and np.array_equal(training[i], training[i - 1]):
            near = descents[-1].target
        descents.append(_Descent.begin(float(alphas[i]), null, i, near))
    for _ in range(MAX_QUESTIONS):
        active = np.array([i for i in range(m) if not descents[i].done], dtype=np.int64)
        if not active.size:
            return Solutions(
                np.array([d.beta for d in descents]).reshape(m, p),
                null.n,
                null.held_n,
                np.array([d.held_loss for d in descents]),
            )
        wanted = np.array([descents[i].candidate for i in active])
        answer = ask(Problems(training[active], wanted))
        for place, i in enumerate(active):
            descents[i] = descents[i].tell(answer, place)
    raise CohortError(
        f"the logistic LASSO did not come to rest within {MAX_QUESTIONS} questions; "
        "lower selection.max_correlation or selection.keep_at_most, or take lasso: linear"
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Descent:
    """One problem on its way: where it is, the Newton step from there, and how far to go along."""

    alpha: float
    beta: Floats
    objective: float
    held_loss: float
    step: Floats
    decrease: float
    length: float
    done: bool

    @classmethod
    def begin(cls, alpha: float, null: LogisticLassoSums, place: int, near: Floats) -> "_Descent":
        """At beta = 0; the first step's end is sought from one near by, which only saves time."""
        beta = np.zeros(null.gradient.shape[1])
        start = cls(alpha, beta, np.inf, 0.0, beta, 0.0, 1.0, done=False)
        return start._at(beta, null, place, near)

    @property
    def target(self) -> Floats:
        """Where the whole step leads."""
        return self.beta + self.step

    @property
    def candidate(self) -> Floats:
        return self.beta + self.length * self.step

    def tell(self, answer: LogisticLassoSums, place: int) -> "_Descent":
        """Move to the candidate if the penalised loss is low enough there, else come nearer."""
        allowed = self.objective + SUFFICIENT * self.length * self.decrease
        slack = ROUNDING * max(1.0, abs(self.objective))
        if _objective(answer, place, self.alpha, self.candidate) <= allowed + slack:
            return self._at(self.candidate, answer, place, self.candidate)
        return _Descent(
            self.alpha, self.beta, self.objective, self.held_loss, self.step, self.decrease,
            self.length / 2, done=self.length / 2 < SHORTEST and -self.decrease <= STALLED**2,
        )  # fmt: skip

    def _at(self, beta: Floats, sums: LogisticLassoSums, place: int, near: Floats) -> "_Descent":
        held, n = float(sums.held_loss[place]), int(sums.n[place])
        if n == 0:
            still = np.zeros_like(beta)
            return _Descent(self.alpha, beta, 0.0, held, still, 0.0, 1.0, done=True)
        gradient, hessian = sums.gradient[place] / n, sums.full_hessian(place) / n
        target = solve_quadratic(hessian, hessian @ beta - gradient, self.alpha, near)
        step = target - beta
        objective = _objective(sums, place, self.alpha, beta)
        if step @ hessian @ step <= DECREMENT**2:
            still = np.zeros_like(beta)
            return _Descent(self.alpha, target, objective, held, still, 0.0, 1.0, done=True)
        penalty = self.alpha * (np.abs(target).sum() - np.abs(beta).sum())
        decrease = float(gradient @ step + penalty)
        return _Descent(self.alpha, beta, objective, held, step, decrease, 1.0, done=False)


def _objective(sums: LogisticLassoSums, place: int, alpha: float, beta: Floats) -> float:
    return float(sums.loss[place]) / max(int(sums.n[place]), 1) + alpha * float(np.abs(beta).sum())


def logistic_lasso_cv(
    ask: Ask, names: Sequence[str], n_folds: int, *, rule: Rule, max_features: int
) -> LassoFit:
    """Choose the penalty by the log-loss on held-out folds and keep the features it leaves.

    Thirty penalties, from the least that keeps no feature to a hundredth of it, on all folds and
    with each fold left out. The error of a fold is the mean log-loss of its cases, each site's at
    the intercept of that site's training rows; folds count the same, as in `lasso_cv`, whose
    `rule` and `max_features` these are. The fit's intercept is 0: a new case's site has none.

    Args:
        ask: Gives the pooled sums of some problems over blocks, which are the folds.
        names: The features (p,).
        n_folds: How many blocks there are.

    Raises:
        CohortError: If fewer than two folds have cases, no site has both classes, or no feature
            varies with the label.
    """
    p = len(names)
    training = np.vstack([np.ones(n_folds, dtype=bool), ~np.eye(n_folds, dtype=bool)])
    null = ask(Problems(training, np.zeros((n_folds + 1, p))))
    largest = float(np.abs(null.gradient[0]).max(initial=0.0)) / max(int(null.n[0]), 1)
    alphas = penalties(largest, p, int(null.n[0]), n=N_ALPHAS, ratio=SMALLEST)
    problem = np.repeat(np.arange(n_folds + 1), N_ALPHAS)
    found = solve_problems(ask, training[problem], np.tile(alphas, n_folds + 1), null.take(problem))
    path = found.beta[:N_ALPHAS]
    held_n = found.held_n.reshape(-1, N_ALPHAS)[1:]
    held_loss = found.held_loss.reshape(-1, N_ALPHAS)[1:]
    there = (held_n[:, 0] > 0) & (null.n[1:] > 0)
    place, error, se = choose_penalty(
        held_loss[there] / held_n[there],
        np.count_nonzero(path, axis=1),
        rule=rule,
        max_features=max_features,
    )
    kept = np.flatnonzero(path[place])
    return LassoFit(
        tuple(names[int(j)] for j in kept),
        path[place][kept],
        0.0,
        float(alphas[place]),
        alphas,
        error,
        se,
        tuple(names),
        path,
        "log_loss",
    )
