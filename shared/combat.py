"""ComBat from sums: each site's shift and spread are found, and removed, without any case."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from shared.checks import Floats, agreed_names, check_table, require, require_numbers
from shared.errors import CohortError, ConfigError
from shared.moments import Moments

PRECISION = 1e-12
MAX_STEPS = 10_000


@dataclass(frozen=True, slots=True, eq=False)
class Combat:
    """What takes the features of each training site to the scale of the pooled cohort.

    grand_mean and pooled_var have shape (p,). gamma_star and delta_star hold each site's shift
    and variance, (p,), in units of the pooled standard deviation and variance. A feature whose
    pooled_var is zero has no spread within any site and passes unchanged.
    """

    names: tuple[str, ...]
    grand_mean: Floats
    pooled_var: Floats
    gamma_star: dict[str, Floats]
    delta_star: dict[str, Floats]

    def __post_init__(self) -> None:
        shape = (len(self.names),)
        require_numbers("combat.grand_mean", self.grand_mean, shape)
        require_numbers("combat.pooled_var", self.pooled_var, shape, minimum=0.0)
        require(self.gamma_star.keys() == self.delta_star.keys(), "combat: the sites must agree")
        for gamma, delta in zip(self.gamma_star.values(), self.delta_star.values(), strict=True):
            require_numbers("combat.gamma_star", gamma, shape)
            require_numbers("combat.delta_star", delta, shape, minimum=0.0)
            require(bool((delta > 0).all()), "combat.delta_star must be above zero")

    def affine(self, site: str) -> tuple[Floats, Floats]:
        """A site's shift and root (p,): x goes to (x - shift) / root + grand_mean.

        Raises:
            CohortError: If ComBat was not fitted with this site.
        """
        if site not in self.gamma_star:
            raise CohortError(
                f"ComBat was fitted at {', '.join(self.gamma_star)}, not at '{site}'; a new site "
                "needs a fit that its own cases take part in"
            )
        sd = np.sqrt(self.pooled_var)
        shift = self.grand_mean + sd * self.gamma_star[site]
        root = np.where(sd > 0, np.sqrt(self.delta_star[site]), 1.0)
        return np.where(sd > 0, shift, self.grand_mean), root


def fit_combat(parts: Mapping[str, Moments], *, eb: bool = True, min_cases: int = 15) -> Combat:
    """Estimate how much each site's features are shifted and spread, from the sites' moments.

    The result is that of ComBat on one table of all rows with the site as batch and no
    covariates: the label never takes part. A site's rows enter the iteration only by their
    squared distance from the current shift g, which is m2 + n (mean - g)^2, so that n, mean and
    m2 of the training rows are all it takes. The iteration runs until it stands still (1e-12),
    where neuroCombat stops at a relative change of 1e-4; they agree to about that.

    Grand mean and pooled variance weigh sites by their cases, the variance with divisor N, and a
    feature that is constant at one site counts there as one of pooled variance, all three as in
    neuroCombat. A site's cases are the most that any feature has; a feature with fewer than two
    gets there what the site's other features suggest (without `eb`, it stays), and one without
    spread within any site is left out of everything.

    Args:
        parts: Of each training site, from its training rows only.
        eb: Shrink a feature's shift and variance towards the site's other features by parametric
            empirical Bayes; otherwise take each feature's own.
        min_cases: What every site must have; with fewer the variances are guesses.

    Raises:
        FederationError: If there are no parts, or two parts name different features.
        CohortError: If there is one site only, a site has too few cases, or fewer than two of
            its features vary, which leaves nothing to learn the priors from.
        ConfigError: If `min_cases` is below two.

    References:
        Johnson, Li & Rabinovic (2007). Adjusting batch effects in microarray expression data
        using empirical Bayes methods. Biostatistics 8(1), 118-127.
        Fortin et al. (2018). Harmonization of cortical thickness measurements across scanners
        and sites. NeuroImage 167, 104-120.
        Chen et al. (2022). Privacy-preserving harmonization via distributed ComBat. NeuroImage
        248, 118822.
    """
    sites = sorted(parts)
    names = agreed_names([parts[site] for site in sites])
    _check_sizes(parts, min_cases)
    n = np.array([parts[site].n for site in sites], dtype=np.float64)
    mean = np.array([parts[site].mean for site in sites])
    m2 = np.array([parts[site].m2 for site in sites])
    total = np.maximum(n.sum(axis=0), 1.0)
    grand_mean, pooled_var = (n / total * mean).sum(axis=0), m2.sum(axis=0) / total
    varies = pooled_var > 0
    gamma_star, delta_star = {}, {}
    for row, site in enumerate(sites):
        gamma, delta = np.zeros(len(names)), np.ones(len(names))
        if varies.any():
            scale = pooled_var[varies]
            z = (mean[row] - grand_mean)[varies] / np.sqrt(scale)
            own = _Standardised(site, n[row][varies], z, m2[row][varies] / scale)
            gamma[varies], delta[varies] = _posterior(own) if eb else (own.gamma, own.delta)
        gamma_star[site], delta_star[site] = gamma, delta
    return Combat(names, grand_mean, pooled_var, gamma_star, delta_star)


def apply_combat(combat: Combat, site: str, table: Floats) -> Floats:
    """Take a site's table (n, p) to the pooled scale; what is missing stays missing (NaN).

    Raises:
        CohortError: If ComBat was not fitted with this site, or the table has not one column for
            each feature, or holds an infinite value.
    """
    shift, root = combat.affine(site)
    table = check_table(combat.names, table)
    return np.where(combat.pooled_var > 0, (table - shift) / root + combat.grand_mean, table)


def combat_moments(combat: Combat, site: str, part: Moments) -> Moments:
    """The moments that a site's rows have after `apply_combat`, from those before.

    Raises:
        CohortError: If ComBat was not fitted with this site.
        FederationError: If the moments are of other features.
    """
    agreed_names([combat, part])
    shift, root = combat.affine(site)
    moved = (part.mean - shift) / root + combat.grand_mean
    there = (combat.pooled_var > 0) & (part.n > 0)
    mean = np.where(there, moved, part.mean)
    return Moments(part.names, part.n, mean, np.where(there, part.m2 / root**2, part.m2))


@dataclass(frozen=True, slots=True, eq=False)
class _Standardised:
    """One site's n, mean and squared deviation of the features that vary, on the pooled scale."""

    site: str
    n: Floats
    mean: Floats
    m2: Floats

    @property
    def gamma(self) -> Floats:
        """The shift that the site's own cases give."""
        return np.where(self.n > 1, self.mean, 0.0)

    @property
    def delta(self) -> Floats:
        """The variance that they give, divisor n - 1; one where they show none."""
        return np.where(self.m2 > 0, self.m2 / np.maximum(self.n - 1, 1.0), 1.0)


def _posterior(own: _Standardised) -> tuple[Floats, Floats]:
    """Shift and variance after shrinkage, iterated until neither changes.

    The priors' a = 2 + m^2 / s2 and b = m + m^3 / s2, with m and s2 the mean and variance of
    delta over features, stand here multiplied by s2, so that equal deltas (s2 = 0) do no harm.
    """
    known = own.n > 1
    if known.sum() < 2:
        raise CohortError(
            f"site '{own.site}': empirical Bayes learns from at least two features that vary, "
            f"found {int(known.sum())}; use plain location and scale (eb=False)"
        )
    gamma_bar, tau2 = own.gamma[known].mean(), own.gamma[known].var(ddof=1)
    m, s2 = own.delta[known].mean(), own.delta[known].var(ddof=1)
    gamma, delta = own.gamma, own.delta
    for _ in range(MAX_STEPS):
        old = gamma, delta
        gamma = (own.n * tau2 * own.mean + delta * gamma_bar) / (own.n * tau2 + delta)
        squares = own.m2 + own.n * (own.mean - gamma) ** 2
        delta = (s2 * squares / 2 + m * s2 + m**3) / (s2 * (own.n / 2 + 1) + m**2)
        step = np.abs(gamma - old[0]) / np.maximum(np.abs(gamma), 1.0)
        if max(step.max(), np.abs(delta / old[1] - 1).max()) <= PRECISION:
            return gamma, delta
    raise CohortError(
        f"site '{own.site}': ComBat did not settle within {MAX_STEPS} steps; drop features of "
        "extreme values, or use plain location and scale (eb=False)"
    )


def _check_sizes(parts: Mapping[str, Moments], min_cases: int) -> None:
    if min_cases < 2:
        raise ConfigError(f"min_cases must be at least 2, but is {min_cases}")
    if len(parts) < 2:
        raise CohortError(f"ComBat compares sites and needs two; there is {', '.join(parts)} only")
    for site, part in sorted(parts.items()):
        n_cases = int(part.n.max(initial=0))
        if n_cases < min_cases:
            raise CohortError(
                f"site '{site}' has {n_cases} training cases; ComBat needs at least {min_cases} "
                "at every site. Leave harmonisation off"
            )
