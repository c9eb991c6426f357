"""Can the features tell the hospital? Analysis of variance and discriminant analysis from sums."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, stats

from shared.checks import (
    Floats,
    Ints,
    agreed_names,
    check_table,
    require,
    require_counts,
    require_numbers,
)
from shared.errors import CohortError, ConfigError, FederationError
from shared.gram import Gram
from shared.moments import Moments, pool_moments

TINY = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class SiteAnova:
    """How far each feature differs between sites; every array has shape (p,).

    f and p_value are those of one-way analysis of variance; eta_squared is the share of the
    feature's variance that lies between sites. Where it cannot be known (see tested), they are
    0, 1 and 0.
    """

    names: tuple[str, ...]
    f: Floats
    p_value: Floats
    eta_squared: Floats
    tested: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class SignificantShare:
    """The share of tested features that differ between sites, and the share chance would give."""

    n_tested: int
    share: float
    expected: float


def site_anova(parts: Sequence[Moments]) -> SiteAnova:
    """Compare each feature's means between sites, from the sites' moments.

    A site without a case of a feature is no group of that feature's test. A feature without
    spread, seen at one site only, or with one case at every site, cannot be tested. One that is
    constant within sites at different values gets an infinite F and p = 0.

    Raises:
        FederationError: If there are no parts, or two parts name different features.

    References:
        Fisher (1925). Statistical Methods for Research Workers, chapter VII.
    """
    pooled = pool_moments(parts)
    n = np.array([part.n for part in parts])
    within = np.sum([part.m2 for part in parts], axis=0)
    shift = np.array([part.mean for part in parts]) - pooled.mean
    between = (n * shift**2).sum(axis=0)
    n_groups = (n > 0).sum(axis=0)
    above, below = n_groups - 1, pooled.n - n_groups
    tested = (above > 0) & (below > 0) & (between + within > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        f = (between / above) / (within / below)
        eta_squared = between / (between + within)
        p_value = stats.f.sf(f, above, below)
    return SiteAnova(
        pooled.names,
        np.where(tested, f, 0.0),
        np.where(tested, p_value, 1.0),
        np.where(tested, eta_squared, 0.0),
        tested,
    )


def significant_share(anova: SiteAnova, alpha: float = 0.05) -> SignificantShare:
    """How many of the tested features have p < alpha; alike sites would give a share of alpha.

    Raises:
        CohortError: If no feature could be tested.
    """
    n_tested = int(anova.tested.sum())
    if n_tested == 0:
        raise CohortError(f"none of {len(anova.names)} features can be compared between sites")
    return SignificantShare(n_tested, float((anova.p_value[anova.tested] < alpha).mean()), alpha)


@dataclass(frozen=True, slots=True, eq=False)
class SiteLda:
    """Linear discriminant scores of the sites: features (n, p) @ weights.T + offsets.

    weights has shape (k, p) and offsets (k,), in the order of sites.
    """

    names: tuple[str, ...]
    sites: tuple[str, ...]
    weights: Floats
    offsets: Floats

    def __post_init__(self) -> None:
        k = len(self.sites)
        require(k >= 2 and len(set(self.sites)) == k, "site_lda needs two sites of different names")
        require_numbers("site_lda.weights", self.weights, (k, len(self.names)))
        require_numbers("site_lda.offsets", self.offsets, (k,))


def lda_from_sums(parts: Mapping[str, Moments], total: Gram, *, shrinkage: float = 0.1) -> SiteLda:
    """Fit linear discriminant analysis of the site: one covariance, a mean for each site.

    The within-site covariance is the pooled Gram less what the sites' means account for, so that
    only n and mean are told apart by site. It is shrunk towards its own diagonal: correlations
    are multiplied by 1 - shrinkage, variances stay. All sites are equally likely beforehand, as
    balanced accuracy asks. A feature without spread within sites is left out.

    Args:
        parts: Of each site, from the same complete, z-scored training rows as the Gram.
        total: The Gram pooled over these sites.
        shrinkage: From 0 (none) to 1 (features taken as independent). A fixed amount; with more
            features than cases it must be above 0.

    Raises:
        FederationError: If parts and total do not describe the same features and cases.
        CohortError: If there are fewer than two sites, a site has no cases, no feature varies
            within sites, or their covariance cannot be inverted.
        ConfigError: If the shrinkage is not from 0 to 1.

    References:
        Friedman (1989). Regularized discriminant analysis. Journal of the American Statistical
        Association 84(405), 165-175.
    """
    if not 0.0 <= shrinkage <= 1.0:
        raise ConfigError(f"shrinkage must be from 0 to 1, but is {shrinkage}")
    sites = tuple(sorted(parts))
    n, mean = _site_means([parts[site] for site in sites], sites, total)
    m2 = np.sum([parts[site].m2 for site in sites], axis=0)
    varies = np.flatnonzero(m2 > TINY * np.diag(total.xx))
    if not varies.size:
        raise CohortError(f"none of {len(total.names)} features varies within the sites")
    mean, sd = mean[:, varies], np.sqrt(m2[varies] / total.n)
    scatter = total.xx[np.ix_(varies, varies)] - (mean.T * n) @ mean
    r = (1.0 - shrinkage) * scatter / total.n / np.outer(sd, sd)
    np.fill_diagonal(r, 1.0)
    weights = np.zeros((len(sites), len(total.names)))
    weights[:, varies] = _solve(r, (mean / sd).T).T / sd
    offsets = -0.5 * (weights[:, varies] * mean).sum(axis=1)
    return SiteLda(total.names, sites, weights, offsets)


def assign(lda: SiteLda, table: Floats) -> Ints:
    """Count the cases of a table (n, p) that look like each site, (k,) in the order of lda.sites.

    One site's counts on cases that the fit has not seen are its row of the confusion table; the
    first of equal scores wins.

    Raises:
        CohortError: If the table has not one column for each feature, or holds a value that is
            not finite.
    """
    table = check_table(lda.names, table)
    if np.isnan(table).any():
        raise CohortError("features must be complete here; replace missing values by 0, the mean")
    nearest = (table @ lda.weights.T + lda.offsets).argmax(axis=1)
    return np.bincount(nearest, minlength=len(lda.sites)).astype(np.int64)


def balanced_accuracy(confusion: Ints) -> float:
    """The mean over sites of the share of their cases that are assigned to them.

    Features that say nothing of the hospital give about 1 / k. A site without cases is left out.

    Args:
        confusion: Shape (k, k): row i, what `assign` counted at site i.

    Raises:
        CodecError: If these are not counts of that shape.
        CohortError: If there are no cases.
    """
    require_counts("confusion", confusion, (len(confusion), len(confusion)))
    cases = confusion.sum(axis=1)
    there = cases > 0
    if not there.any():
        raise CohortError("no site has a case to assign")
    return float((np.diag(confusion)[there] / cases[there]).mean())


@dataclass(frozen=True, slots=True, eq=False)
class SiteConfusion:
    """Whether cases that the discriminant has not seen look like their own site's.

    counts (k, k): row i, of which site's those of site i look, in the order of sites; with the
    balanced accuracy. Both are None where it cannot be known, and why_not says why.
    """

    sites: tuple[str, ...]
    counts: Ints | None
    balanced_accuracy: float | None
    why_not: str | None

    @property
    def chance(self) -> float:
        """The balanced accuracy of guessing."""
        return 1 / len(self.sites)


def _site_means(parts: Sequence[Moments], sites: Sequence[str], total: Gram) -> tuple[Ints, Floats]:
    """Cases (k,) and means (k, p) of the sites, if they are those of the Gram."""
    agreed_names([*parts, total])
    if len(parts) < 2:
        raise CohortError(f"telling sites apart needs two; there is {', '.join(sites)} only")
    n = np.array([part.n for part in parts])
    for site, counts in zip(sites, n, strict=True):
        if not counts.all():
            raise CohortError(f"site '{site}' has no cases of some features")
    mean = np.array([part.mean for part in parts])
    gap = np.abs((n * mean).sum(axis=0) - total.sum_x)
    same_sums = bool((gap <= 1e-6 * np.sqrt(total.n * np.diag(total.xx)) + TINY).all())
    if (n != n[:, :1]).any() or n[:, 0].sum() != total.n or not same_sums:
        raise FederationError(
            f"moments and Gram must be of the same complete rows; the sites count "
            f"{int(n.sum(axis=0).max())} cases, the Gram {total.n}"
        )
    return n[:, 0], mean


def _solve(r: Floats, means: Floats) -> Floats:
    try:
        factor = linalg.cho_factor(r, lower=True, check_finite=False)
        if np.diag(factor[0]).min() ** 2 > TINY:
            return np.asarray(linalg.cho_solve(factor, means, check_finite=False))
    except linalg.LinAlgError:
        pass
    raise CohortError(
        f"the covariance of {len(r)} features within sites cannot be inverted; raise the shrinkage"
    )
