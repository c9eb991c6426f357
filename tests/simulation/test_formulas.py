"""The formulas that verification takes for the truth, where they are easily got wrong."""

import numpy as np
import pytest

from shared.combat import apply_combat, fit_combat
from shared.moments import moments
from simulation.verification.formulas import combat_rows

SITES = np.repeat(["site_a", "site_b", "site_c"], [17, 19, 23])


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1.0, 123.4])
def test_a_feature_that_is_constant_at_a_site_has_no_spread_there_whatever_the_rounding(value):
    rng = np.random.default_rng(4)
    table = rng.normal(size=(59, 5)) * [1.0, 2.0, 0.5, 1.0, 3.0]
    table[SITES == "site_b", 2] = value
    names = tuple("abcde")
    parts = {site: moments(names, table[site == SITES]) for site in np.unique(SITES)}
    combat = fit_combat(parts)
    found = combat_rows(table, SITES)
    for site in parts:
        rows = site == SITES
        np.testing.assert_allclose(found[rows], apply_combat(combat, site, table[rows]), rtol=1e-9)
