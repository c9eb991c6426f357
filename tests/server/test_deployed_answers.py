"""Two federations, one answer: letters through a made-up grid to real hospitals, and objects."""

import numpy as np
import pytest

from client.service import SiteService
from client.stages import ANSWERS
from server.aggregate import _identify_process
from server.deployed import DeployedFederation
from server.desk import Limits
from server.status import StatusFile, StudyStatus
from shared.codec import content_hash
from shared.config import digest, load_study
from shared.errors import FederationError, TrifedError
from shared.identity import code_hash, versions
from shared.letter import read, written
from shared.stages.describe_cohort import DESCRIBE_COHORT
from shared.stages.describe_cohort import Request as DescribeRequest
from shared.stages.hello import HELLO
from shared.stages.hello import Request as HelloRequest
from shared.stages.roll_call import SiteName
from shared.talk import refusal
from simulation.local import LocalFederation
from simulation.phantom import write_cohort
from tests.finished_runs import TINY
from tests.made_up_grid import Grid, Service, Time

SITES = ("site_a", "site_b", "site_c")
RUN = "0f" * 16


@pytest.fixture(scope="module")
def study():
    return load_study(TINY)


@pytest.fixture(scope="module")
def hospitals(study, tmp_path_factory):
    return write_cohort(study, tmp_path_factory.mktemp("cohort"))


@pytest.fixture
def local(study, hospitals):
    return LocalFederation(hospitals, study, threads=1)


@pytest.fixture
def deployed(study, hospitals, tmp_path):
    _identify_process()
    time = Time()
    grid = Grid(time)
    for node, site in enumerate(SITES, start=1):
        service = SiteService.open(hospitals[site], study, threads=1)
        grid.connect(site, node, Service(time, site, answers_of(service), works_s=45.0))
    roles = dict.fromkeys(SITES, "training")
    status = StatusFile(tmp_path, StudyStatus(study.name, digest(study)), RUN, roles, time.clock)
    return DeployedFederation(
        grid, status, run=RUN, folder=tmp_path, limits=Limits(3600.0), clock=time.clock
    )


def answers_of(service):
    """What the site's service does with a question's letter."""

    def answer(name, request):
        try:
            return written(service.answer(name, read(ANSWERS[name][0].request, request)))
        except TrifedError as error:
            return refusal(error.code)

    return answer


def hello(study):
    return HelloRequest(code_hash(), digest(study), versions())


def test_the_answers_are_those_of_the_federation_in_one_process(local, deployed, study):
    for question, request in ((HELLO, hello(study)), (DESCRIBE_COHORT, DescribeRequest())):
        expected = local.ask(question, request, SITES)
        found = deployed.ask(question, request, SITES)
        assert list(found) == list(expected)
        for site in SITES:
            assert content_hash(found[site]) == content_hash(expected[site])


def test_a_refusal_has_the_code_that_it_has_in_one_process(local, deployed):
    wrong = HelloRequest("00" * 32, "00" * 32, {})
    for federation in (local, deployed):
        with pytest.raises(FederationError, match="E_HANDSHAKE"):
            federation.ask(HELLO, wrong, SITES)


def test_arrays_come_as_they_were_sent_whatever_they_hold(deployed):
    """What is not finite, or of another shape, is for the guard behind `keep` to judge."""
    from dataclasses import dataclass

    from shared.stages import Question

    @dataclass(frozen=True, slots=True, eq=False)
    class Vector:
        values: np.ndarray

    grid = deployed._desk.post._grid
    sent = np.array([[np.nan, np.inf]], dtype=np.float32)
    for node in (1, 2, 3):
        service = grid.behaviours[node]
        service.works_s, service.answer = 0.0, lambda _name, _request: written(Vector(sent))
    seen = {}
    question = Question("vector", "query", SiteName, Vector)

    def keep(site, reply):
        seen[site] = reply.values
        return Vector(np.empty(0, np.float32))

    found = deployed.ask(question, SiteName("x"), SITES, keep=keep)
    assert all(reply.values.size == 0 for reply in found.values())
    for site in SITES:
        np.testing.assert_array_equal(seen[site], sent)
