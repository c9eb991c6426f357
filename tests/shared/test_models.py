from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit

from shared.codec import pack, unpack
from shared.models import (
    Bundle,
    ClinicalModel,
    Extraction,
    FusionModel,
    Projection,
    RadiomicsModel,
    Scale,
    SiteScale,
    clinical_design,
    fusion_design,
    fusion_probability,
    project,
    radiomics_score,
    score_design,
    standardise,
    to_scale,
)

NAN = np.nan
SCALE = Scale.of(Extraction({}), ("b", "a"), np.array([10.0, 1.0]), np.array([2.0, 0.5]))
RADIOMICS = RadiomicsModel(SCALE, np.array([1.0, -2.0]), 0.25, np.array([0.1, 3.0]))
FUSION = FusionModel(("x", "y"), np.array([1.0, 2]), np.array([2.0, 4]), np.array([0.5, 1, -1]))


@pytest.fixture
def bundle():
    return Bundle(
        study_hash="s",
        clinical=ClinicalModel(("age",), np.array([60.0]), np.array([0.0, 1.0])),
        radiomics=RADIOMICS,
        network_hashes={"flat": "h"},
        projections=(Projection("flat", "flat", np.zeros(2), np.eye(2), np.zeros(2)),),
        fusion=FUSION,
        thresholds={"fusion": 0.5},
    )


def test_features_are_found_by_name_and_put_on_the_pooled_scale():
    table = np.array([[1.5, 99.0, 12.0], [1.0, 99.0, 10.0]])
    found = standardise(SCALE, ("a", "unused", "b"), table, "site_a")
    np.testing.assert_allclose(found, [[1, 1], [0, 0]])


def test_a_missing_feature_is_at_its_mean():
    table = np.array([[NAN, 10]])
    np.testing.assert_array_equal(standardise(SCALE, ("a", "b"), table, "site_a"), [[0, 0]])
    np.testing.assert_array_equal(to_scale(SCALE, ("a", "b"), table, "site_a"), [[0, NAN]])


def test_a_feature_is_clipped_to_its_limits_before_it_is_scaled():
    limits = replace(SCALE, low=np.array([9.0, -np.inf]), high=np.array([11.0, 1.5]))
    found = standardise(limits, ("a", "b"), np.array([[2.0, 99.0], [-1.0, 0.0]]), "site_a")
    np.testing.assert_array_equal(found, [[0.5, 1], [-0.5, -4]])


def test_a_harmonised_site_has_a_scale_of_its_own_and_no_other_site_has():
    own = SiteScale(np.array([12.0, 2.0]), np.array([1.0, 0.25]))
    scale = replace(SCALE, sites={"site_b": own}).take(("a", "b"))
    row = np.array([[2.5, 13.0]])
    np.testing.assert_array_equal(standardise(scale, ("a", "b"), row, "site_b"), [[2, 1]])
    np.testing.assert_array_equal(standardise(scale, ("a", "b"), row, "site_d"), [[3, 1.5]])


def test_an_outlier_is_clipped_at_five_standard_deviations():
    found = standardise(SCALE, ("a", "b"), np.array([[1e9, -1e9]]), "site_a")
    np.testing.assert_array_equal(found, [[-5, 5]])


def test_part_of_a_scale_keeps_the_order_asked():
    taken = SCALE.take(("a", "b"))
    assert (taken.names, list(taken.mean), list(taken.sd)) == (("a", "b"), [1, 10], [0.5, 2])


def test_the_radiomics_score_is_linear_in_the_standardised_features():
    score = radiomics_score(RADIOMICS, ("a", "b"), np.array([[1.5, 12.0], [1.0, 10.0]]), "site_a")
    np.testing.assert_allclose(score, [0.25 + 1 - 2, 0.25])
    np.testing.assert_array_equal(score_design(score), [[1, -0.75], [1, 0.25]])


def test_a_blank_predictor_takes_the_pooled_mean():
    design = clinical_design(np.array([60.0, 0.3]), np.array([[NAN, 1], [70, NAN]]))
    np.testing.assert_array_equal(design, [[1, 60, 1], [1, 70, 0.3]])


def test_a_projection_centres_and_turns_and_leaves_missing_rows_missing():
    projection = Projection("n", "b", np.array([1.0, 1.0]), np.array([[1.0], [2.0]]), np.zeros(1))
    found = project(projection, np.array([[2.0, 3.0], [NAN, NAN]]))
    np.testing.assert_array_equal(found, [[5.0], [NAN]])


def test_a_missing_fusion_column_is_at_its_mean():
    design = fusion_design(FUSION.mean, FUSION.sd, np.array([[3.0, NAN], [NAN, -2.0]]))
    np.testing.assert_array_equal(design, [[1, 1, 0], [1, 0, -1]])


def test_the_fusion_probability_is_that_of_logistic_regression():
    found = fusion_probability(FUSION, np.array([[3.0, 6.0], [1.0, 2.0]]))
    np.testing.assert_allclose(found, expit([0.5 + 1 - 1, 0.5]))


@pytest.mark.parametrize(
    "changes",
    [
        {"study_hash": "t"},
        {"network_hashes": {"flat": "i"}},
        {"thresholds": {"fusion": np.nextafter(0.5, 1)}},
        {"thresholds": {"fusion": NAN}},
        {"radiomics": replace(RADIOMICS, intercept=0.26)},
        {"fusion": replace(FUSION, sd=np.array([2.0, np.nextafter(4, 5)]))},
    ],
    ids=["study", "weights", "threshold", "no threshold", "intercept", "one bit of an array"],
)
def test_any_change_of_any_part_changes_the_bundles_hash(bundle, changes):
    assert replace(bundle, **changes).hash() != bundle.hash()


def test_a_bundle_that_has_travelled_has_the_same_hash(bundle):
    assert unpack(Bundle, pack(bundle)).hash() == bundle.hash()
