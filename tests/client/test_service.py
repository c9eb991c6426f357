import numpy as np
import pytest

from client.service import SiteService
from client.stages import ANSWERS
from shared.config import digest
from shared.errors import CodecError, CohortError, PolicyError, TrifedError
from shared.identity import code_hash, versions
from shared.regressions import Terms
from shared.stages import describe_cohort, hello, train_branches
from shared.stages.clinical_model import MeansRequest, StepRequest

TRAINING = [name for name, (question, _) in ANSWERS.items() if question.of == "training"]
EXTERNAL = [name for name, (question, _) in ANSWERS.items() if question.of == "external"]


@pytest.fixture
def open_service(tmp_path, make_site, study):
    """Open the service of a tiny hospital of eight patients."""

    def opened(name="site_a", role="training"):
        return SiteService.open(make_site(tmp_path / name, name=name, role=role), study, threads=1)

    return opened


@pytest.fixture
def replace_answer(monkeypatch):
    """Put another function in the place of a question's answer."""

    def replaced(name, function):
        monkeypatch.setitem(ANSWERS, name, (ANSWERS[name][0], function))

    return replaced


def raises(error):
    def answer(_request, _bench):
        raise error

    return answer


def test_a_hospital_greets_back(open_service, study):
    mine = hello.Request(code_hash(), digest(study), versions())
    reply = open_service().answer("hello", mine)
    assert (reply.site, reply.role, reply.synthetic) == ("site_a", "training", True)


def test_a_hospital_describes_its_cohort_in_numbers(open_service):
    reply = open_service().answer("describe_cohort", describe_cohort.Request())
    assert reply.n_cases == 8
    assert sum(count.n for count in reply.splits.values()) == 8
    assert sum(count.n_positive for count in reply.splits.values()) == 4
    age = reply.variables.negative.names.index("age")
    assert reply.variables.negative.mean[age] == np.mean([60, 62, 64, 66])


def test_the_clinical_sums_are_those_of_the_training_cases(open_service):
    service = open_service()
    site = service.bench.site
    reply = service.answer("predictor_means", MeansRequest())
    rows = site.clinical(site.training, ("sessile", "age"))
    np.testing.assert_allclose(reply.moments.mean, rows.mean(axis=0))
    terms = (Terms(("sessile", "age")),)
    request = StepRequest(reply.moments.mean, terms, (np.zeros(3),))
    (step,) = service.answer("clinical_step", request).sums
    labels = site.labels(site.training)
    assert step.score[0] == pytest.approx((labels - 0.5).sum())
    assert step.log_likelihood == pytest.approx(-len(labels) * np.log(2))


def test_an_external_site_refuses_every_question_that_fits_anything(open_service):
    service = open_service("site_d", "external")
    for name in TRAINING:
        with pytest.raises(PolicyError, match=f"{name} is for training sites") as refusal:
            service.answer(name, None)
        assert refusal.value.code == "E_POLICY"


def test_a_training_site_refuses_the_questions_for_external_ones(open_service):
    service = open_service()
    for name in EXTERNAL:
        with pytest.raises(PolicyError, match=f"{name} is for external sites"):
            service.answer(name, None)


def test_role_is_checked_before_anything_is_done(open_service, replace_answer):
    replace_answer("train_branch", raises(AssertionError("an external site has trained")))
    with pytest.raises(PolicyError):
        open_service("site_d", "external").answer("train_branch", None)


@pytest.mark.parametrize("name", ["get_images", "shell", "", "roll_call", "__class__", "HELLO"])
def test_an_unknown_question_is_refused(open_service, name):
    with pytest.raises(CodecError, match="not a question of this release"):
        open_service().answer(name, None)


@pytest.mark.parametrize("request_", [None, {}, MeansRequest(), train_branches.Request], ids=str)
def test_a_request_of_another_type_is_refused(open_service, request_):
    with pytest.raises(CodecError, match="not what the contract declares"):
        open_service().answer("train_branch", request_)


@pytest.mark.parametrize(
    "error", [FileNotFoundError("/data/DOE^JOHN"), KeyError("MRN1"), MemoryError()], ids=repr
)
def test_whatever_goes_wrong_becomes_an_error_of_ours(open_service, replace_answer, error, caplog):
    replace_answer("predictor_means", raises(error))
    with pytest.raises(TrifedError) as refusal:
        open_service().answer("predictor_means", MeansRequest())
    assert refusal.value.code == "E_INTERNAL"
    assert refusal.value.__cause__ is error
    assert "predictor_means failed" in caplog.text


@pytest.mark.parametrize("answer", [None, {"patient": "DOE^JOHN"}, ["DOE^JOHN"]], ids=str)
def test_an_answer_that_is_not_the_contracts_does_not_leave(open_service, replace_answer, answer):
    replace_answer("predictor_means", lambda _request, _bench: answer)
    with pytest.raises(TrifedError, match="not what the contract lets leave"):
        open_service().answer("predictor_means", MeansRequest())


def test_an_error_of_ours_keeps_its_class(open_service, replace_answer):
    replace_answer("predictor_means", raises(CohortError("too few")))
    with pytest.raises(CohortError, match="too few"):
        open_service().answer("predictor_means", MeansRequest())


def test_an_interruption_from_the_keyboard_is_no_error_of_the_stage(open_service, replace_answer):
    replace_answer("predictor_means", raises(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        open_service().answer("predictor_means", MeansRequest())
