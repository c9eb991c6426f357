"""How many parameters a model may have for the cases that it is fitted on: Riley's criteria."""

from dataclasses import dataclass

import numpy as np
from scipy import integrate, special, stats

from shared.errors import ConfigError

SHRINKAGE = 0.9
OPTIMISM = 0.05
MARGIN = 0.05
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class SampleSize:
    """Cases that a model of `n_parameters` candidate parameters needs, by criterion.

    `for_shrinkage` and `for_optimism` grow with the parameters; `for_prevalence` does not.
    """

    n_parameters: int
    for_shrinkage: int
    for_optimism: int
    for_prevalence: int

    @property
    def needed(self) -> int:
        """Cases for the criteria that fewer parameters would help to meet."""
        return max(self.for_shrinkage, self.for_optimism)


def sample_size(n_parameters: int, *, prevalence: float, r2: float) -> SampleSize:
    """The least number of cases for a binary outcome and so many candidate parameters.

    Three of the criteria of Riley et al.: coefficients shrink by a factor of 0.9 at most; the
    apparent and the true Nagelkerke R2 differ by at most 0.05; the prevalence is known to 0.05
    (half of a 95% interval).

    Parameters are all that were candidates, and a penalty does not excuse them: ridge regression
    expects the shrinkage that the first criterion limits, but how much is itself estimated from
    these cases, and badly so where they are few (Van Calster et al. 2020; Riley et al. 2021a).

    Args:
        n_parameters: Coefficients beside the intercept, at least 1.
        prevalence: Of label 1, within 0 and 1.
        r2: The Cox-Snell R2 that is anticipated; see `anticipated_r2`.

    Raises:
        ConfigError: If no model has such an R2 at this prevalence.

    References:
        Riley et al. (2020). Calculating the sample size required for developing a clinical
        prediction model. BMJ 368, m441.
        Riley et al. (2021a). Penalization and shrinkage methods produced unreliable clinical
        prediction models especially when sample size was small. J Clin Epidemiol 132, 88-96.
        Van Calster et al. (2020). Regression shrinkage methods for clinical prediction models do
        not guarantee improved performance. Stat Methods Med Res 29(11), 3166-3178.
    """
    largest = largest_r2(prevalence)
    if n_parameters < 1 or not 0 < r2 < largest:
        raise ConfigError(
            f"a sample size needs at least 1 parameter and a Cox-Snell R2 between 0 and "
            f"{largest:.3f}, not {n_parameters} and {r2:.3f}"
        )
    reach = float(stats.norm.ppf(0.5 + CONFIDENCE / 2)) / MARGIN
    return SampleSize(
        n_parameters,
        _cases(n_parameters, r2, SHRINKAGE),
        _cases(n_parameters, r2, r2 / (r2 + OPTIMISM * largest)),
        int(np.ceil(reach**2 * prevalence * (1 - prevalence))),
    )


def budget(n_cases: int, *, prevalence: float, r2: float) -> int:
    """The most candidate parameters that so many cases suffice for; 0 if not for one."""
    fitting = 0
    while sample_size(fitting + 1, prevalence=prevalence, r2=r2).needed <= n_cases:
        fitting += 1
    return fitting


def largest_r2(prevalence: float) -> float:
    """The Cox-Snell R2 of a model that is always right.

    Raises:
        ConfigError: If the prevalence is not within 0 and 1.
    """
    if not 0 < prevalence < 1:
        raise ConfigError(f"a prevalence must be above 0 and below 1, not {prevalence}")
    return 1 - float(np.exp(-2 * special.entr([prevalence, 1 - prevalence]).sum()))


def anticipated_r2(auc: float, prevalence: float) -> float:
    """The Cox-Snell R2 of a well calibrated model with this AUC (c statistic).

    Riley et al. draw linear predictors of the labels from normal distributions of one variance,
    whose means lie sqrt(2) * probit(auc) apart, fit a logistic regression to many draws and take
    its R2. With such predictors the logistic model is true, so the likelihood ratio that the draws
    approach is an integral; here it is computed instead.

    Args:
        auc: Above 0.5 and below 1.
        prevalence: Of label 1, above 0 and below 1.

    Raises:
        ConfigError: If one of them is not.

    References:
        Riley, Van Calster & Collins (2021). A note on estimating the Cox-Snell R2 from a reported C
        statistic (AUROC) to inform sample size calculations for developing a prediction model with
        a binary outcome. Statistics in Medicine 40(4), 859-864.
    """
    largest_r2(prevalence)
    if not 0.5 < auc < 1:
        raise ConfigError(f"an anticipated AUC must be above 0.5 and below 1, not {auc}")
    apart = float(np.sqrt(2) * stats.norm.ppf(auc))
    odds = float(special.logit(prevalence))

    def loss(x: float) -> float:
        """Expected negative log-likelihood of a case whose predictor is x, times its density."""
        density = np.array([stats.norm.pdf(x), stats.norm.pdf(x - apart)])
        logit = odds + apart * x - apart**2 / 2
        losses = -np.array([special.log_expit(-logit), special.log_expit(logit)])
        return float(density * [1 - prevalence, prevalence] @ losses)

    left, _ = integrate.quad(loss, -10.0, apart + 10.0, epsabs=1e-12, limit=200)
    null = float(special.entr([prevalence, 1 - prevalence]).sum())
    return 1 - float(np.exp(-2 * (null - left)))


def _cases(n_parameters: int, r2: float, shrinkage: float) -> int:
    """Cases for which that many parameters shrink by this factor."""
    return int(np.ceil(n_parameters / ((shrinkage - 1) * np.log1p(-r2 / shrinkage))))
