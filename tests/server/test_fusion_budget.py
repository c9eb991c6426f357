import numpy as np
import pytest

from server.fusion_budget import check_budget, fusion_budget
from server.fusion_results import coefficient_rows
from shared.errors import CohortError
from shared.models import FusionModel, fusion_probability
from shared.moments import class_moments
from shared.stages.describe_cohort import Description, SplitCount

NOTHING = class_moments((), np.empty((0, 0)), np.empty(0, dtype=int))
COLUMNS = ("branch_2_5d_1", "branch_2_5d_2", "branch_3d_1", "branch_3d_2", "radiomics_score",
           "sessile", "age")  # fmt: skip


def cohort(tune, train=(0, 0)):
    """Two sites that share these patients, and positive ones, in halves."""
    splits = {"tune": SplitCount(tune[0] // 2, tune[1] // 2),
              "train": SplitCount(train[0] // 2, train[1] // 2)}  # fmt: skip
    return {site: Description(0, splits, {}, {}, NOTHING) for site in ("site_a", "site_b")}


@pytest.fixture
def enforced(study, change):
    return change(study, fusion={"budget": "enforce"})


def test_every_column_of_the_fusion_layer_counts(enforced):
    found = fusion_budget(enforced, cohort((100, 50)))
    assert found.columns == COLUMNS
    assert (found.own.n_parameters, found.n_cases, found.prevalence) == (7, 100, 0.5)


def test_too_many_columns_are_refused_with_the_table_and_the_remedies(enforced):
    with pytest.raises(CohortError) as refused:
        check_budget(enforced, cohort((100, 50)))
    text = str(refused.value)
    for part in ("100 'tune' patients", "suffice for 3 candidate", "has 7 (branch_2_5d_1",
                 "1: 30; 2: 59", "embedding.dimension", "reduce: logit", "out_of_fold",
                 "fusion.budget: report"):  # fmt: skip
        assert part in text


def test_enough_patients_or_a_study_that_only_reports_are_let_through(enforced, study):
    check_budget(enforced, cohort((220, 110)))
    check_budget(study, cohort((20, 10)))


def test_out_of_fold_the_training_patients_count(enforced, change):
    parts = {"embedding": {"reduce": "logit", "dimension": 1}, "fusion": {"fit_on": "out_of_fold"}}
    found = fusion_budget(change(enforced, **parts), cohort((20, 10), (300, 150)))
    assert (found.n_cases, len(found.columns), found.suffices) == (300, 5, True)


def test_a_higher_anticipated_auc_asks_for_fewer_patients(enforced, change):
    hopeful = change(enforced, fusion={"anticipated_auc": 0.9})
    sites = cohort((100, 50))
    assert fusion_budget(hopeful, sites).own.needed < fusion_budget(enforced, sites).own.needed


def test_coefficients_per_unit_and_odds_ratios_say_the_same_model():
    model = FusionModel(("x", "y"), np.array([2.0, -1.0]), np.array([4.0, 0.5]),
                        np.array([0.3, 0.8, -0.4]))  # fmt: skip
    first, *rows = coefficient_rows(model)
    assert (first["name"], first["coefficient"], first["odds_ratio"]) == ("intercept", 0.3, None)
    odds = fusion_probability(model, np.array([[2.0, -1.0], [6.0, -1.0], [2.0, 0.0]]))
    odds = odds / (1 - odds)
    assert odds[1] / odds[0] == pytest.approx(rows[0]["odds_ratio"], rel=1e-12)
    assert np.log(odds[2] / odds[0]) == pytest.approx(rows[1]["per_unit"], rel=1e-12)
