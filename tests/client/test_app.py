import logging

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict

from client import app as courier
from client.stages import ANSWERS
from server.aggregate import _identify_process
from shared.errors import CohortError, ImageError, PolicyError, TrifedError
from shared.job import ENVIRONMENT, Job
from shared.moments import moments
from shared.stages.clinical_model import MeansReply, MeansRequest
from shared.stages.roll_call import RollCall, SiteName
from shared.strict_yaml import dump_settings
from shared.wire import error_code, from_record, to_record

NAME = "DOE^JOHN"
SECRETS = {
    "E_INTERNAL": FileNotFoundError(f"/data/{NAME}"),
    "E_IMAGE": ImageError(f"{NAME}: no mask"),
    "E_COHORT": CohortError(f"{NAME}: no label"),
    "E_POLICY": PolicyError(NAME),
}


class Service:
    """A site service whose answer is given, or raised."""

    def __init__(self, answer):
        self.given = answer

    def answer(self, _name, _request):
        if isinstance(self.given, Exception):
            raise self.given
        return self.given


@pytest.fixture(autouse=True)
def run_identity():
    _identify_process()
    courier.service.cache_clear()


@pytest.fixture
def serve(monkeypatch):
    """Let the courier find this service."""

    def served(answer):
        monkeypatch.setattr(courier, "open_service", lambda _: Service(answer))

    return served


def context(**node_config):
    return Context(1, 1, node_config, RecordDict({}), {})


def send(kind, content, **node_config):
    message = Message(content=content, message_type=kind, dst_node_id=1)
    return courier.app(message, context(**node_config))


def ask_means(content=None, **node_config):
    content = to_record(MeansRequest()) if content is None else content
    return send("query.predictor_means", content, **node_config)


def everything_in(reply):
    """All that a reply carries, as one text."""
    parts = [str(reply.metadata), str(reply.has_error())]
    for name, record in reply.content.items():
        arrays = record.values() if isinstance(record, ArrayRecord) else ()
        parts += [name, str(dict(record)), *(str(array.data) for array in arrays)]
    return " ".join(parts)


@pytest.mark.parametrize("code", SECRETS)
def test_no_text_of_an_error_stands_in_the_reply(serve, code, caplog):
    serve(SECRETS[code])
    with caplog.at_level(logging.ERROR, "trifed.site"):
        reply = ask_means()
    assert not reply.has_error()
    assert error_code(reply.content) == code
    assert NAME not in everything_in(reply)
    assert NAME in caplog.text


def test_an_error_of_a_class_without_a_code_travels_as_internal(serve):
    class UnheardError(TrifedError):
        code = f"E_{NAME}"

    serve(UnheardError("x"))
    reply = ask_means()
    assert error_code(reply.content) == "E_INTERNAL"
    assert NAME not in everything_in(reply)


def test_an_answer_is_carried_whole(serve):
    table = np.array([[1.0], [np.nan], [4.0]])
    serve(MeansReply(moments(("age",), table)))
    found = from_record(MeansReply, ask_means().content)
    assert (found.moments.names, found.moments.n[0], found.moments.mean[0]) == (("age",), 2, 2.5)


@pytest.mark.parametrize("what", [[NAME], object(), np.array([NAME], dtype=object)])
def test_an_answer_that_may_not_travel_stays(serve, what):
    serve(what)
    reply = ask_means()
    assert error_code(reply.content) == "E_CODEC"
    assert NAME not in everything_in(reply)


@pytest.mark.parametrize(
    "content",
    [
        RecordDict({}),
        RecordDict({"body": ConfigRecord({"json": "{"}), "arrays": ArrayRecord({})}),
        RecordDict({"body": ConfigRecord({"json": '{"x": 1}'}), "arrays": ArrayRecord({})}),
        RecordDict(
            {
                "body": ConfigRecord({"json": "{}"}),
                "arrays": ArrayRecord({"x": Array("float64", (10**12,), "numpy.ndarray", b"")}),
            }
        ),
    ],
    ids=["empty", "half a text", "unknown field", "10^12 numbers"],
)
def test_a_request_that_is_not_the_contracts_is_refused(serve, content):
    serve(AssertionError("must not be asked"))
    assert error_code(ask_means(content).content) == "E_CODEC"


@pytest.mark.parametrize("name", ANSWERS)
def test_every_question_reaches_the_courier_under_its_verb(serve, name):
    serve(CohortError("x"))
    reply = send(f"{ANSWERS[name][0].verb}.{name}", RecordDict({}))
    assert error_code(reply.content) in ("E_CODEC", "E_COHORT")


def test_a_node_says_which_site_it_is(tmp_path, make_site, study):
    reply = send("query.roll_call", to_record(RollCall()), **node(tmp_path, make_site, study))
    assert from_record(SiteName, reply.content).name == "site_a"


def node(tmp_path, make_site, study, **changes):
    """A node's configuration, as a hospital would write it."""
    study_file = tmp_path / "study.yaml"
    study_file.write_text(dump_settings(study))
    site_file = make_site(tmp_path / NAME)
    return {"site-file": str(site_file), "study-file": str(study_file), "threads": 1} | changes


def test_a_node_without_its_site_file_says_so_and_no_more(tmp_path, make_site, study):
    config = node(tmp_path, make_site, study, **{"site-file": f"/data/{NAME}/site.yaml"})
    for reply in (send("query.roll_call", to_record(RollCall()), **config), ask_means(**config)):
        assert error_code(reply.content) == "E_CONFIG"
        assert NAME not in everything_in(reply)


def test_a_node_that_is_no_site_of_any_job_says_so(monkeypatch):
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    for reply in (send("query.roll_call", to_record(RollCall())), ask_means()):
        assert error_code(reply.content) == "E_CONFIG"


def test_a_lost_job_file_does_not_tell_its_path(monkeypatch, tmp_path):
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path / NAME / "job.json"))
    for reply in (send("query.roll_call", to_record(RollCall())), ask_means()):
        assert not reply.has_error()
        assert error_code(reply.content) == "E_INTERNAL"
        assert NAME not in everything_in(reply)


@pytest.mark.parametrize(("partition", "name"), [(0, "site_a"), (1, "site_b")])
def test_in_a_simulation_nodes_are_the_sites_in_the_order_of_names(
    monkeypatch, tmp_path, make_site, study, partition, name
):
    files = {n: make_site(tmp_path / n, name=n) for n in ("site_b", "site_a")}
    (tmp_path / "study.yaml").write_text(dump_settings(study))
    Job(tmp_path / "study.yaml", files, tmp_path, 1).write(tmp_path / "job.json")
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path / "job.json"))
    reply = send("query.roll_call", to_record(RollCall()), **{"partition-id": partition})
    assert from_record(SiteName, reply.content).name == name


def test_a_service_is_opened_once(tmp_path, make_site, study):
    config = context(**node(tmp_path, make_site, study))
    assert courier.open_service(config) is courier.open_service(config)
