"""The spline's terms against patsy's natural cubic splines, which span the same curves."""

import numpy as np
import pytest
from patsy import dmatrix

from shared.errors import ConfigError
from shared.splines import PLACES, spline_terms


@pytest.mark.parametrize("k", PLACES)
def test_the_terms_span_the_natural_cubic_splines(k):
    x = np.sort(np.random.default_rng(k).normal(size=100))
    knots = np.quantile(x, PLACES[k])
    found = np.column_stack([np.ones(100), spline_terms(x, knots)])
    expected = np.asarray(
        dmatrix(
            "cr(x, knots=inner, lower_bound=low, upper_bound=high) - 1",
            {"x": x, "inner": knots[1:-1], "low": knots[0], "high": knots[-1]},
        )
    )
    fitted, *_ = np.linalg.lstsq(found, expected, rcond=None)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found @ fitted, expected, atol=1e-10)


def test_the_curve_is_straight_beyond_the_outer_knots():
    terms = spline_terms(np.array([-9.0, -8, -7, 7, 8, 9]), np.array([-1.0, 0, 1, 2]))
    np.testing.assert_allclose(terms[:3, 1:], 0)
    np.testing.assert_allclose(np.diff(terms[3:], n=2, axis=0), 0, atol=1e-9)


@pytest.mark.parametrize("knots", [[0, 1], [0, 1, 1], [2, 1, 0]])
def test_knots_that_do_not_increase_are_refused(knots):
    with pytest.raises(ConfigError, match="ask for fewer knots"):
        spline_terms([0.5], np.array(knots, dtype=float))
