"""Stability selection: how often LASSO keeps a feature when it sees only half of the cases."""

from collections.abc import Sequence

import numpy as np

from shared.checks import Floats, Ints, agreed_names
from shared.errors import CohortError, ConfigError
from shared.gram import Gram, pool_grams
from shared.lasso import lasso_path
from shared.logistic_lasso import Ask, solve_problems
from shared.logistic_lasso_sums import Problems


def half_samples(n_blocks: int, *, n_subsamples: int, seed: int) -> Ints:
    """Draw halves of the blocks, (n_subsamples, n_blocks // 2), each row in ascending order.

    Raises:
        CohortError: If there are fewer than two blocks.
        ConfigError: If there is no subsample to draw.
    """
    if n_blocks < 2:
        raise CohortError(f"half of the cases needs two blocks with cases, found {n_blocks}")
    if n_subsamples < 1:
        raise ConfigError(f"n_subsamples must be at least 1, but is {n_subsamples}")
    rng = np.random.default_rng(seed)
    drawn = [rng.permutation(n_blocks)[: n_blocks // 2] for _ in range(n_subsamples)]
    return np.sort(np.array(drawn, dtype=np.int64), axis=1)


def selection_frequency(
    blocks: Sequence[Gram], penalty: float, *, n_subsamples: int, seed: int
) -> Floats:
    """The share (p,) of half samples in which LASSO at this penalty keeps each feature.

    A subsample of cases cannot be drawn where no case is seen; a subsample of blocks can, since
    its Gram is the sum of theirs. With blocks formed by chance (from the patient's id, as folds
    are) half of the blocks is a random half of the cases. Ten blocks have 252 halves, twenty
    184,756; equal halves are solved once.

    Args:
        blocks: One entry for each block, in a fixed order: pooled over sites, so that the
            result does not depend on how patients are divided, or one site's after the other's.
            Blocks without cases are left out.
        penalty: LASSO's alpha, on the scale of `shared.lasso.alpha_grid`.
        n_subsamples: Meinshausen and Bühlmann take 100.
        seed: Decides the halves, together with the number of blocks.

    Raises:
        FederationError: If there are no blocks, or two blocks name different features.
        CohortError: If fewer than two blocks have cases.
        ConfigError: If the penalty is not above zero, or there is no subsample to draw.

    References:
        Meinshausen & Bühlmann (2010). Stability selection. Journal of the Royal Statistical
        Society B 72(4), 417-473.
    """
    _check_penalty(penalty)
    agreed_names(blocks)
    filled = [block for block in blocks if block.n > 0]
    halves, times = _different_halves(len(filled), n_subsamples=n_subsamples, seed=seed)
    kept = [
        lasso_path(pool_grams([filled[i] for i in half]), np.array([penalty]))[0] != 0
        for half in halves
    ]
    return np.asarray(times @ np.array(kept, dtype=np.float64) / n_subsamples)


def logistic_selection_frequency(
    ask: Ask, blocks: Sequence[Gram], penalty: float, *, n_subsamples: int, seed: int
) -> Floats:
    """The same with the logistic LASSO: halves are problems, asked about all at once.

    The halves are those that `selection_frequency` takes with this number of blocks and seed. A
    half in which no site has both classes keeps no feature.

    Args:
        ask: Gives the pooled sums of some problems over these blocks.
        blocks: As there; what counts is which of them have cases.
        penalty: LASSO's alpha, on the scale of `shared.logistic_lasso`.
        n_subsamples: As there.
        seed: As there.

    Raises:
        FederationError: If there are no blocks, or two blocks name different features.
        CohortError: If fewer than two blocks have cases, or a half does not come to rest.
        ConfigError: If the penalty is not above zero, or there is no subsample to draw.
    """
    _check_penalty(penalty)
    p = len(agreed_names(blocks))
    filled = np.array([i for i, block in enumerate(blocks) if block.n > 0], dtype=np.int64)
    halves, times = _different_halves(len(filled), n_subsamples=n_subsamples, seed=seed)
    training = np.zeros((len(halves), len(blocks)), dtype=bool)
    for row, half in enumerate(halves):
        training[row, filled[half]] = True
    null = ask(Problems(training, np.zeros((len(halves), p))))
    found = solve_problems(ask, training, np.full(len(halves), penalty), null)
    return np.asarray(times @ (found.beta != 0).astype(np.float64) / n_subsamples)


def _different_halves(n_blocks: int, *, n_subsamples: int, seed: int) -> tuple[Ints, Ints]:
    """The halves drawn, each once, and how often each was drawn."""
    drawn = half_samples(n_blocks, n_subsamples=n_subsamples, seed=seed)
    halves, times = np.unique(drawn, axis=0, return_counts=True)
    return halves, times.astype(np.int64)


def _check_penalty(penalty: float) -> None:
    if not (np.isfinite(penalty) and penalty > 0):
        raise ConfigError(f"penalty must be a number above zero, but is {penalty}")
