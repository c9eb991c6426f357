from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from shared.config import Study, load_study
from shared.errors import ConfigError
from shared.phantom_settings import Phantom, PhantomSite
from simulation.phantom_patients import NUISANCES, PREDICTORS, Patient, draw_patients

DEMO = Path(__file__).parents[2] / "configs" / "demo.yaml"


def study_of(preset, n_cases, *, n_positive=None, sites=("site_a",)) -> Study:
    site = PhantomSite(n_cases=n_cases, scanner="a", n_positive=n_positive)
    phantom = Phantom(preset=preset, sites=dict.fromkeys(sites, site))
    return load_study(DEMO).model_copy(update={"phantom": phantom, "seed": 11})


@pytest.fixture(scope="module")
def paper() -> list[Patient]:
    return draw_patients(study_of("paper", 8000), "site_a")


def odds_ratio(patients, name):
    table = Counter((p.label, p.predictors[name]) for p in patients)
    return table[1, 1] * table[0, 0] / (table[1, 0] * table[0, 1])


def auc(patients, value):
    groups = [[value(p) for p in patients if p.label == label] for label in (1, 0)]
    return mannwhitneyu(*groups).statistic / (len(groups[0]) * len(groups[1]))


def test_the_same_seed_gives_the_same_patients():
    assert draw_patients(study_of("easy", 9), "site_a") == draw_patients(
        study_of("easy", 9), "site_a"
    )


@pytest.mark.parametrize(("n_positive", "expected"), [(35, 35), (0, 0), (None, 37)])
def test_the_number_of_positive_patients_is_exact(n_positive, expected):
    patients = draw_patients(study_of("paper", 72, n_positive=n_positive), "site_a")
    assert sum(p.label for p in patients) == expected


def test_more_positive_patients_than_patients_are_refused():
    with pytest.raises(ConfigError, match=r"site_a.n_positive is 8"):
        draw_patients(study_of("paper", 7, n_positive=8), "site_a")


def test_the_label_follows_from_the_ihc_level(paper):
    assert {(p.her2_ihc, p.label) for p in paper} == {("0", 0), ("1+", 0), ("2+", 1), ("3+", 1)}


@pytest.mark.parametrize("names", [("site_a", "site_b"), ("north_a", "south_a"), ("x", "y_x")])
def test_patient_ids_are_unique_across_sites(names):
    study = study_of("paper", 5, sites=names)
    ids = {p.patient_id for name in names for p in draw_patients(study, name)}
    assert len(ids) == 10


def test_the_ideal_clinical_model_has_the_auc_of_its_table(paper):
    def score(patient):
        return sum(
            value * np.log(odds(PREDICTORS[name])) for name, value in patient.predictors.items()
        )

    def odds(p):
        return p.positive * (1 - p.negative) / (p.negative * (1 - p.positive))

    assert auc(paper, score) == pytest.approx(0.739, abs=0.02)


def test_predictors_have_the_odds_ratios_of_their_table(paper):
    found = [odds_ratio(paper, name) for name in PREDICTORS]
    np.testing.assert_allclose(found, [3.3, 2.9, 2.8, 3.2], rtol=0.15)


def test_latents_are_apart_by_nearly_the_presets_distance(paper):
    for name, distance in [("texture", 1.1), ("enhancement", 1.0), ("context", 1.2)]:
        means = [np.mean([getattr(p.latents, name) for p in paper if p.label == k]) for k in (0, 1)]
        assert means[1] - means[0] == pytest.approx(0.965 * distance, abs=0.08)


def test_the_null_preset_has_no_association():
    patients = draw_patients(study_of("null", 8000), "site_a")
    for name in PREDICTORS:
        assert odds_ratio(patients, name) == pytest.approx(1, abs=0.15)
    for name in ("texture", "enhancement", "surface", "context"):
        assert auc(patients, lambda p, name=name: getattr(p.latents, name)) == pytest.approx(
            0.5, abs=0.02
        )


def test_nuisances_are_missing_at_random_and_say_nothing(paper):
    for name in NUISANCES:
        known = [p for p in paper if p.nuisances[name] is not None]
        assert 0.02 < 1 - len(known) / len(paper) < 0.09
        assert auc(known, lambda p, name=name: p.nuisances[name]) == pytest.approx(0.5, abs=0.025)
