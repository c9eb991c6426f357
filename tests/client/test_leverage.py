"""Coefficients made up to single a patient out: what they would tell, and that the site refuses."""

from types import SimpleNamespace

import numpy as np
import pytest
from flwr.app import Context, Message, RecordDict
from hypothesis import given, settings
from hypothesis import strategies as st

from client import app as courier
from client.leverage import check_blanks, check_carried, check_logistic, effective_number
from client.stages import ANSWERS, clinical_model, fuse, select_features
from server.aggregate import _identify_process
from shared.errors import LeverageError
from shared.fusion_settings import Fusion
from shared.fusion_sums import NO_FOLD, Layers
from shared.logistic_lasso_sums import Problems
from shared.models import Extraction, Scale
from shared.radiomics_settings import Selection
from shared.regressions import Terms
from shared.stages.clinical_model import HatRequest, StepRequest
from shared.stages.fuse import LayersRequest
from shared.stages.select_features import CalibrateRequest, LogisticLassoRequest
from shared.wire import error_code, to_record
from tests.site_policies import made_policy

PREDICTORS = ("age", "stage", "marker")
ALL = Terms(PREDICTORS)
N, VICTIM = 90, 40
FAR = 1e3


@pytest.fixture
def patients():
    """Ninety patients: ages a year and a little apart, two other predictors, labels by chance."""
    rng = np.random.default_rng(8)
    table = np.column_stack([30 + 1.01 * np.arange(N), rng.integers(1, 5, N), rng.normal(size=N)])
    return table, rng.permutation(np.arange(N) % 2)


@pytest.fixture
def hospital(patients):
    """A site whose patients these are, and which asks for so many patients in a cell."""

    def opened(limit):
        site = SimpleNamespace(
            name="site_a",
            policy=made_policy(release={"min_cell": limit}),
            training="train",
            clinical=lambda _cases, _predictors: patients[0],
            labels=lambda _cases: patients[1],
            features=lambda _cases, _extraction: (PREDICTORS, patients[0]),
        )
        study = SimpleNamespace(
            seed=1,
            clinical=SimpleNamespace(predictors=PREDICTORS),
            sites=SimpleNamespace(training=("site_a", "site_b")),
            fusion=Fusion(exchange="statistics"),
            selection=Selection(),
        )
        return SimpleNamespace(site=site, study=study)

    return opened


def single_out(column, victim=VICTIM):
    """Intercept and slope that put one patient at logit 0 and all others far from it."""
    return -FAR * column[victim], FAR


def selector(table):
    intercept, slope = single_out(table[:, 0])
    return np.array([intercept, slope, 0.0, 0.0])


def step(table, beta, means=None):
    return StepRequest(table.mean(axis=0) if means is None else means, (ALL,), (beta,))


def test_the_information_is_one_patients_row_and_is_refused(hospital, patients):
    table, _ = patients
    request = step(table, selector(table))
    (told,) = clinical_model.answer_step(request, hospital(1)).sums
    row = told.information[0, 1:] / told.information[0, 0]
    np.testing.assert_allclose(row, table[VICTIM], rtol=1e-12)
    with pytest.raises(LeverageError, match=r"carried by 1\.00 patients' weight.* fewer than 5"):
        clinical_model.answer_step(request, hospital(5))


def test_the_score_is_the_row_of_the_only_mistake_and_is_refused(hospital, patients):
    table, labels = patients
    labels[:] = table[:, 0] > table[VICTIM, 0] - 0.5
    labels[VICTIM] = 0
    beta = np.array([-FAR * (table[VICTIM, 0] - 0.5), FAR, 0.0, 0.0])
    (told,) = clinical_model.answer_step(step(table, beta), hospital(1)).sums
    np.testing.assert_allclose(told.score[1:] / told.score[0], table[VICTIM], rtol=1e-12)
    with pytest.raises(LeverageError):
        clinical_model.answer_step(step(table, beta), hospital(5))


def test_residuals_are_held_to_it_where_weights_alone_would_pass():
    x, labels = np.repeat([-1.0, 1.0], 10), np.repeat([0, 1], 10)
    X, beta = np.column_stack([np.ones(20), x]), np.array([0.0, 20.0])
    labels[0] = 1
    site = SimpleNamespace(policy=made_policy(release={"min_cell": 5}))
    check_carried(site, "the information", np.full(20, 2e-9))
    with pytest.raises(LeverageError, match=r"carried by 1\.00"):
        check_logistic(site, "the sums", X, labels, beta)


@pytest.mark.parametrize("inside", [1, 3])
def test_hat_values_of_a_made_up_covariance_are_refused(hospital, patients, inside):
    table, _ = patients
    X = np.column_stack([np.ones(N), table])
    # A covariance that is not one: above zero only within an ellipsoid about few patients.
    centre, width = table[VICTIM, 0], 1.01 * inside / 2
    covariance = np.zeros((4, 4))
    covariance[:2, :2] = [[width**2 - centre**2, centre], [centre, -1.0]]
    found = HatRequest(table.mean(axis=0), ALL, np.zeros(4), 1e9 * covariance)
    told = clinical_model.answer_hats(found, hospital(1))
    chosen = np.abs(X[:, 1] - centre) < width
    assert told.hat == pytest.approx(inside, abs=1e-9)
    np.testing.assert_allclose(told.information, X[chosen].T @ X[chosen] / 4, rtol=1e-9)
    with pytest.raises(LeverageError):
        clinical_model.answer_hats(found, hospital(5))


def test_a_number_for_blanks_that_singles_out_whoever_has_one_is_refused(hospital, patients):
    table, _ = patients
    row = table[VICTIM].copy()
    table[VICTIM, 2] = np.nan
    means, zero = np.array([75.0, 2.5, 1e9]), np.zeros(4)
    (told,) = clinical_model.answer_step(step(table, zero, means), hospital(1)).sums
    np.testing.assert_allclose(told.information[3, 1:3] / told.information[3, 0], row[:2], 1e-6)
    with pytest.raises(LeverageError, match="blank cells"):
        clinical_model.answer_step(step(table, zero, means), hospital(5))
    honest = step(table, zero, np.nanmean(table, axis=0))
    assert clinical_model.answer_step(honest, hospital(5))


def test_a_blank_may_lie_beyond_a_sites_own_numbers_but_not_far():
    site = SimpleNamespace(policy=made_policy(release={"min_cell": 5}))
    table = np.array([[40.0, 0.0], [60.0, 0.0], [np.nan, np.nan]])
    for value in (20.0, 80.0):
        check_blanks(site, "the sums", table, np.array([value, 0.3]))
    for value in (19.9, 80.1, np.nan):
        with pytest.raises(LeverageError):
            check_blanks(site, "the sums", table, np.array([value, 0.3]))


@pytest.mark.parametrize("what", ["steps", "losses", "scores"])
@pytest.mark.parametrize("left_out", [NO_FOLD, 2])
def test_the_fusion_layers_sums_are_refused(hospital, patients, monkeypatch, what, left_out):
    table, labels = patients
    fold = np.arange(N) % 5
    monkeypatch.setattr(fuse, "folded_rows", lambda *_: (PREDICTORS, table, labels, fold))
    at = np.array([selector(table), np.zeros(4)])
    zeros = np.zeros((2, 3))
    layers = Layers(np.array([left_out, NO_FOLD]), zeros, zeros + 1, at)
    study = SimpleNamespace(score_bins=100, calibration_bins=5)
    answer = getattr(fuse, f"answer_{what}")
    for limit in (1, 5):
        bench = hospital(limit)
        bench.study.evaluation = study
        if limit == 1:
            assert answer(LayersRequest(None, layers), bench)
            continue
        with pytest.raises(LeverageError):
            answer(LayersRequest(None, layers), bench)
        calm = Layers(layers.fold, layers.mean, layers.sd, np.zeros((2, 4)))
        assert answer(LayersRequest(None, calm), bench)


def test_the_calibrations_sums_are_refused(hospital, patients, monkeypatch):
    table, _ = patients
    monkeypatch.setattr(select_features, "radiomics_scores", lambda *_: table[:, 0])
    request = CalibrateRequest(None, np.array(single_out(table[:, 0])))
    told = select_features.answer_calibrate(request, hospital(1))
    assert told.information[0, 1] / told.information[0, 0] == pytest.approx(table[VICTIM, 0])
    with pytest.raises(LeverageError):
        select_features.answer_calibrate(request, hospital(5))
    assert select_features.answer_calibrate(CalibrateRequest(None, np.zeros(2)), hospital(5))


def test_the_lassos_sums_are_refused_if_one_of_its_problems_singles_out(hospital, patients):
    _, labels = patients
    labels[:] = np.arange(N) >= VICTIM
    ends, middle = np.full(3, np.inf), np.array([75.0, 0.0, 0.0])
    scale = Scale(Extraction({}), PREDICTORS, -ends, ends, middle, np.ones(3) * 30, {})
    training = np.ones((2, Selection().folds), dtype=bool)
    bad = Problems(training, np.array([[0.0, 0.0, 0.0], [FAR, 0.0, 0.0]]))
    assert select_features.answer_logistic_lasso(LogisticLassoRequest(scale, bad), hospital(1))
    with pytest.raises(LeverageError):
        select_features.answer_logistic_lasso(LogisticLassoRequest(scale, bad), hospital(5))
    calm = Problems(training, np.zeros((2, 3)))
    assert select_features.answer_logistic_lasso(LogisticLassoRequest(scale, calm), hospital(5))


def test_a_refusal_tells_a_code_and_nothing_else(hospital, patients, monkeypatch):
    _identify_process()
    request = step(patients[0], selector(patients[0]))
    answer = ANSWERS["clinical_step"][1]
    service = SimpleNamespace(answer=lambda _, asked: answer(asked, hospital(5)))
    monkeypatch.setattr(courier, "open_service", lambda _: service)
    message = Message(to_record(request), message_type="query.clinical_step", dst_node_id=1)
    reply = courier.app(message, Context(1, 1, {}, RecordDict({}), {}))
    assert error_code(reply.content) == "E_LEVERAGE"
    assert set(reply.content) == {"error"}
    assert dict(reply.content["error"]) == {"code": "E_LEVERAGE"}


def test_what_is_not_a_number_is_refused():
    site = SimpleNamespace(policy=made_policy(release={"min_cell": 5}))
    with pytest.raises(LeverageError):
        check_carried(site, "the sums", np.array([np.nan] + [1.0] * 20))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(1e-6, 1.0), min_size=2, max_size=60), st.floats(1e-300, 1e300))
def test_the_effective_number_is_kishs(weights, unit):
    c = np.array(weights)
    expected = len(c) / (1 + (c.std() / c.mean()) ** 2)
    found = effective_number(c[:, None] * unit)[0]
    assert found == pytest.approx(expected, rel=1e-9)
    assert (c / c.sum()).max() <= 1 / np.sqrt(found) * (1 + 1e-9)


def test_equal_weights_count_as_they_are_many_and_zeros_tell_nothing():
    columns = np.column_stack([np.full(7, -3e-200), np.eye(7)[0], np.zeros(7)])
    np.testing.assert_allclose(effective_number(columns), [7, 1, np.inf])


@pytest.mark.parametrize("limit", [3, 5, 10])
def test_as_many_equal_weights_as_a_cell_has_patients_pass(limit):
    site = SimpleNamespace(policy=made_policy(release={"min_cell": limit}))
    check_carried(site, "the sums", np.full(limit, 0.1))
    with pytest.raises(LeverageError):
        check_carried(site, "the sums", np.full(limit - 1, 0.1))


@pytest.mark.parametrize("shape", [(0,), (0, 3), (5, 0)])
def test_a_site_without_patients_or_sums_tells_nothing_and_is_not_refused(shape):
    site = SimpleNamespace(policy=made_policy(release={"min_cell": 5}))
    check_carried(site, "the sums", np.zeros(shape))
