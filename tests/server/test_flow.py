"""The figures of the design: patients and steps, with the numbers of the run."""

import re

import pytest

from server.report.flow import SITES_IN_A_PANEL, design_pictures, flow_pictures
from server.report.picture import to_files


def sites(n=2):
    """Results of some training sites and an external one; the first left patients out."""
    found = {
        f"site_{k}": {
            "role": "training",
            "n_cases": 60 + k,
            "n_excluded": 0,
            "exclusion_reasons": {},
            "missing_phases": {"excretory": 0},
            "splits": {
                "train": {"n": 30, "n_positive": 11},
                "tune": {"n": 30 + k, "n_positive": 9},
            },
        }
        for k in range(n)
    }
    found["site_0"] |= {"n_excluded": 7, "exclusion_reasons": {"no label": 5, "two tumours": 2}}
    found["site_0"] |= {"missing_phases": {"excretory": "<5", "nephrographic": 0}}
    found["far"] = {
        "role": "external",
        "n_cases": 40,
        "n_excluded": None,
        "splits": {"external_test": {"n": 40, "n_positive": 21}},
    }
    return {"cohort": {"sites": found}}


def words(picture):
    svg = to_files(picture, synthetic=True, dpi=60)["svg"].decode()
    return re.findall(r">([^<>]+)</(?:text|tspan)>", svg)


def test_every_patient_assessed_is_left_out_or_in_a_split():
    (picture,) = flow_pictures(sites())
    found = words(picture)
    for text in (
        "67 patients assessed",
        "7 excluded",
        "no label: 5",
        "two tumours: 2",
        "60 in the study",
        "without excretory: &lt;5",
        "Train 30 (11)",
        "61 patients assessed",
        "0 excluded",
        "External test 40 (21)",
        "synthetic data",
    ):
        assert text in found, text
    assert not any("without nephrographic" in text for text in found)


def test_a_number_that_a_site_did_not_tell_is_a_dash():
    (picture,) = flow_pictures(sites())
    found = words(picture)
    assert "– patients assessed" in found
    assert "– excluded" in found


@pytest.mark.parametrize(("n", "panels"), [(1, 1), (SITES_IN_A_PANEL, 2), (9, 3)])
def test_many_sites_stand_in_several_panels(n, panels):
    (picture,) = flow_pictures(sites(n))
    assert len(picture.panels) == panels
    assert sum(text.endswith("patients assessed") for text in words(picture)) == n + 1


def test_a_run_without_sites_has_no_flow():
    assert flow_pictures({}) == []


def design(exchange):
    return {
        "phases": ["corticomedullary", "nephrographic", "excretory"],
        "radiomics": {"n_features": 1130, "kept": [{"feature": "a"}, {"feature": "b"}]},
        "branches": {"branch_2_5d": {"last_round": 30, "best_round": 12}, "branch_3d": None},
        "clinical": {"coefficients": [{"predictor": "intercept"}, {"predictor": "sessile"}]},
        "fusion": {
            "inputs": [{"name": "intercept"}, {"name": "radiomics"}, {"name": "sessile"}],
            "exchange": exchange,
            "fitted_on": "tune",
            "n_cases": 70,
        },
        "external_sites": {"far": {}},
    }


def test_the_steps_are_those_of_the_run():
    (picture,) = design_pictures(design("embeddings"))
    found = words(picture)
    for text in (
        "1 130 radiomics features",
        "LASSO keeps 2 features:",
        "30 rounds",
        "round 12 kept",
        "1 clinical predictor",
        "embeddings and scores",
        "fusion layer of 2 columns",
        "on 70 patients",
        "the frozen models at far",
    ):
        assert text in found, text
    assert not any("3D" in text for text in found)


def test_what_leaves_for_the_fusion_layer_is_what_the_study_says():
    (picture,) = design_pictures(design("statistics"))
    assert "embeddings and scores" not in words(picture)
    assert not any("without ids" in text for text in words(picture))


def test_a_study_without_external_sites_ends_at_its_own_test():
    results = design("scores")
    results.pop("external_sites")
    (picture,) = design_pictures(results)
    assert not any("frozen models at" in text for text in words(picture))
