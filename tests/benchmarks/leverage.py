"""How few patients carry the sums of honest fits: what `client.leverage` must not stop.

Every question of many fits on made-up cohorts is looked at as the site would: the least effective
number of weights and of residuals, over questions and sites. A line for each kind of fit has the
median, the tenth and the least over fits, and the share of fits that a limit would stop.

    PYTHONPATH=. python tests/benchmarks/leverage.py --fits 25
"""

import argparse
from collections.abc import Callable, Sequence

import numpy as np
from scipy import special

from client.leverage import effective_number
from server.fit_fusion_sums import fit_fusion_sums
from server.regressions import fit_regressions
from server.stages.select_features import CALIBRATION_RIDGE
from shared.checks import Floats, Ints
from shared.firth import HatSums, hat_sums, pool_hat_sums
from shared.fusion_settings import Fusion
from shared.fusion_sums import (
    Layers,
    fold_moments,
    held_out_losses,
    held_out_scores,
    layer_rows,
    layer_sums,
)
from shared.glm import LogisticSums, fit_logistic, logistic_sums, pool_logistic_sums, with_intercept
from shared.logistic_lasso import logistic_lasso_cv
from shared.logistic_lasso_sums import (
    LogisticLassoSums,
    Problems,
    lasso_rows,
    pool_logistic_lasso_sums,
    sum_lasso_rows,
)
from shared.moments import Moments
from shared.regressions import Terms, regression_design, reported_terms
from shared.scores import ScoreSums, pool_score_sums, score_sums
from simulation.phantom_patients import PREDICTORS

Part = tuple[Floats, Ints]
Chance = np.random.Generator
LIMITS = (3, 5, 10)
FOLDS = 5


class Gauge:
    """The least effective number of one fit."""

    def __init__(self) -> None:
        self.least = np.inf

    def look(self, *weights: Floats) -> None:
        """Weights of n patients in m sums, ``(n, m)`` or ``(n,)``."""
        for some in weights:
            found = effective_number(some.reshape(len(some), -1)).min()
            self.least = min(self.least, float(found))

    def logistic(self, X: Floats, y: Ints, beta: Floats) -> LogisticSums:
        """The sums, looked at before they are told."""
        p = special.expit(X @ beta)
        self.look(p * (1 - p), y - p)
        return logistic_sums(X, y, beta)


def labels(chance: Chance, n: int) -> Ints:
    """Half of them positive."""
    return chance.permutation(np.arange(n) % 2)


def spread(chance: Chance, n: int, k: int, distance: float) -> Part:
    """k normal columns whose best sum has its classes `distance` standard deviations apart."""
    y = labels(chance, n)
    return chance.normal(size=(n, k)) + np.outer(y, np.full(k, distance / np.sqrt(k))), y


class Regressions:
    """The clinical regressions of the phantom's predictors."""

    def __init__(self, gauge: Gauge, chance: Chance, sizes: Sequence[int]) -> None:
        self.gauge, self.names = gauge, tuple(PREDICTORS)
        self.sites = tuple("abc"[: len(sizes)])
        self.parts = [self.patients(chance, n) for n in sizes]

    @staticmethod
    def patients(chance: Chance, n: int) -> Part:
        y = labels(chance, n)
        odds = [np.where(y, one.positive, one.negative) for one in PREDICTORS.values()]
        return np.column_stack([chance.random(n) < one for one in odds]).astype(float), y

    def rows(self, terms: Terms) -> list[Part]:
        found = zip(self.sites, self.parts, strict=True)
        own = {"sites": self.sites}
        return [(regression_design(terms, self.names, x, own=s, **own), y) for s, (x, y) in found]

    def steps(self, terms: Sequence[Terms], betas: Sequence[Floats]) -> Sequence[LogisticSums]:
        return [
            pool_logistic_sums([self.gauge.logistic(X, y, beta) for X, y in self.rows(one)])
            for one, beta in zip(terms, betas, strict=True)
        ]

    def hats(self, terms: Terms, beta: Floats, covariance: Floats) -> HatSums:
        return pool_hat_sums([hat_sums(X, beta, covariance) for X, _ in self.rows(terms)])

    def fit(self) -> None:
        wanted = reported_terms(self.names, self.sites)
        fit_regressions(self, wanted, self.sites, tolerance=1e-10, max_iterations=25)


class FusionSites:
    """A fusion layer on sums."""

    def __init__(self, gauge: Gauge, parts: Sequence[Part], settings: Fusion) -> None:
        self.gauge, self.settings = gauge, settings
        self.names = tuple(f"c{j}" for j in range(parts[0][0].shape[1]))
        self.parts = [(x, y, np.arange(len(y)) % settings.folds) for x, y in parts]

    def moments(self) -> Sequence[Sequence[Moments]]:
        return [fold_moments(self.names, x, f, self.settings.folds) for x, _, f in self.parts]

    def steps(self, layers: Layers) -> Sequence[LogisticSums]:
        for part in self.parts:
            for X, y, beta in layer_rows(*part, layers):
                self.gauge.logistic(X, y, beta)
        told = [layer_sums(*part, layers) for part in self.parts]
        return [pool_logistic_sums(sums) for sums in zip(*told, strict=True)]

    def losses(self, layers: Layers) -> tuple[Ints, Floats]:
        told = [held_out_losses(*part, layers) for part in self.parts]
        return np.sum([n for n, _ in told], axis=0), np.sum([loss for _, loss in told], axis=0)

    def scores(self, layers: Layers) -> ScoreSums:
        bins = {"bins": 100, "calibration_bins": 5, "threshold": float("nan")}
        found = [(held_out_scores(x, f, layers), y) for x, y, f in self.parts]
        return pool_score_sums([score_sums(s, y, **bins) for s, y in found])  # type: ignore[arg-type]


def fusion(gauge: Gauge, parts: Sequence[Part]) -> None:
    """A fusion layer with the default penalties."""
    sites = FusionSites(gauge, parts, Fusion(folds=FOLDS))
    fit_fusion_sums(sites.names, sites, sites.settings)


def calibration(gauge: Gauge, parts: Sequence[Part]) -> None:
    """The calibration of a radiomics score."""
    rows = [(with_intercept(0.2 * x), y) for x, y in parts]
    fit_logistic(
        lambda beta: pool_logistic_sums([gauge.logistic(X, y, beta) for X, y in rows]),
        ("intercept", "score"),
        penalty=np.array([0.0, CALIBRATION_RIDGE]),
    )


def lasso(gauge: Gauge, parts: Sequence[Part]) -> None:
    """A logistic LASSO with its cross-validation."""

    def ask(problems: Problems) -> LogisticLassoSums:
        told = []
        for x, y in parts:
            rows = lasso_rows(x, y, np.arange(len(y)) % FOLDS, problems)
            gauge.look(rows.weights, rows.residual)
            told.append(sum_lasso_rows(x, rows))
        return pool_logistic_lasso_sums(told)

    names = tuple(f"f{j}" for j in range(parts[0][0].shape[1]))
    logistic_lasso_cv(ask, names, FOLDS, rule="min", max_features=20)


def on(fit: Callable[[Gauge, Sequence[Part]], None], k: int, distance: float, *sizes: int):
    """A fit on normal columns."""
    return lambda gauge, chance: fit(gauge, [spread(chance, n, k, distance) for n in sizes])


def regressions(*sizes: int):
    """The clinical regressions at such sites."""
    return lambda gauge, chance: Regressions(gauge, chance, sizes).fit()


FITS = {
    "regressions, sites of 102, 68": regressions(102, 68),
    "regressions, 45, 60, 101": regressions(45, 60, 101),
    "regressions, 34, 29, 25": regressions(34, 29, 25),
    "calibration, AUC .92, 102, 68": on(calibration, 1, 2.0, 102, 68),
    "calibration, AUC .96, 102, 68": on(calibration, 1, 2.5, 102, 68),
    "calibration, AUC .98, 102, 68": on(calibration, 1, 3.0, 102, 68),
    "fusion, 7 columns, AUC .87, 45, 60, 101": on(fusion, 7, 1.6, 45, 60, 101),
    "fusion, 8 columns, AUC .96, 45, 60, 101": on(fusion, 8, 2.5, 45, 60, 101),
    "fusion, 9 columns, AUC .87, 27, 41": on(fusion, 9, 1.6, 27, 41),
    "fusion, 9 columns, AUC .92, 27, 41": on(fusion, 9, 2.0, 27, 41),
    "LASSO, 60 features, AUC .92, 102, 68": on(lasso, 60, 2.0, 102, 68),
}


def main() -> None:
    """Print a line for each kind of fit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fits", type=int, default=25, help="of each kind")
    n_fits = parser.parse_args().fits
    for name, fit in FITS.items():
        least = []
        for seed in range(n_fits):
            gauge = Gauge()
            fit(gauge, np.random.default_rng(seed))
            least.append(gauge.least)
        told = " ".join(f"{q:6.2f}" for q in np.quantile(least, [0.5, 0.1, 0.0]))
        below = " ".join(f"{np.mean(np.array(least) < limit):.2f}" for limit in LIMITS)
        print(f"{name:42s}{told}   stopped at {LIMITS}: {below}", flush=True)


if __name__ == "__main__":
    main()
