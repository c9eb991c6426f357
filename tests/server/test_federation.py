import json
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
from flwr.app import ConfigRecord, Error, Message, RecordDict

from server.aggregate import _identify_process
from server.federation import FlowerFederation, failure_of, roll_call, settle
from shared.errors import FederationError, WithheldError
from shared.stages import Question
from shared.stages.roll_call import SiteName
from shared.wire import error_record, from_record, to_record


@dataclass(frozen=True, slots=True)
class Number:
    value: int


DOUBLE = Question("double", "query", Number, Number)
NODES = {"site_a": 30, "site_b": 10, "site_c": 20}


class Grid:
    """Flower's grid with made-up nodes: a function from node and message to its reply."""

    def __init__(self, answer, nodes=(10, 20, 30)):
        self.answer, self.nodes, self.sent = answer, list(nodes), []

    def get_node_ids(self):
        return self.nodes

    def push_messages(self, messages):
        self.sent = list(messages)
        return [str(number) for number, _ in enumerate(self.sent)]

    def pull_messages(self, ids):
        replies = ((i, self.answer(self.sent[int(i)])) for i in ids)
        return [arrived(reply, i) for i, reply in replies if reply is not None]


def arrived(reply, message_id):
    """A reply as the grid hands it over; the id of what it answers is Flower's to set."""
    metadata = SimpleNamespace(reply_to_message_id=message_id)
    return SimpleNamespace(
        metadata=metadata,
        content=reply if isinstance(reply, RecordDict) else None,
        has_error=lambda: isinstance(reply, Error),
    )


def doubled(message):
    return to_record(Number(2 * from_record(Number, message.content).value))


def except_at(site, reply):
    """Everyone doubles, but one site replies this."""
    return lambda message: (
        reply if message.metadata.dst_node_id == NODES[site] else doubled(message)
    )


@pytest.fixture(autouse=True)
def run_identity():
    _identify_process()


def ask(answer, *, sites=("site_c", "site_a", "site_b"), quorum=None, timeout_s=0.2):
    federation = FlowerFederation(Grid(answer), NODES, timeout_s=timeout_s)
    return federation.ask(DOUBLE, Number(21), sites, quorum=quorum)


def test_every_site_is_asked_and_replies_come_in_the_order_of_names():
    replies = ask(doubled)
    assert list(replies.items()) == [(s, Number(42)) for s in ("site_a", "site_b", "site_c")]


def test_each_node_gets_one_message_with_the_questions_verb_and_name():
    grid = Grid(doubled)
    FlowerFederation(grid, NODES, timeout_s=1).ask(DOUBLE, Number(1), ["site_b", "site_a"])
    sent = [(m.metadata.dst_node_id, m.metadata.message_type) for m in grid.sent]
    assert sent == [(30, "query.double"), (10, "query.double")]


FAILURES = {
    "E_COHORT": error_record("E_COHORT"),
    "E_INTERNAL": RecordDict({"error": ConfigRecord({"code": "DOE^JOHN"})}),
    "E_UNREACHABLE": Error(1, "FileNotFoundError: /data/DOE^JOHN"),
    "E_TIMEOUT": None,
    "E_CODEC": RecordDict({"note": ConfigRecord({"DOE": "JOHN"})}),
}


@pytest.mark.parametrize("code", FAILURES)
def test_a_site_that_fails_is_named_with_its_closed_code_alone(code):
    with pytest.raises(FederationError) as refusal:
        ask(except_at("site_b", FAILURES[code]))
    assert str(refusal.value) == (
        f"double failed at site_b: {code} (2 of the 3 needed sites answered)"
    )


@pytest.mark.parametrize("code", FAILURES)
def test_with_a_quorum_the_others_go_on(code):
    replies = ask(except_at("site_b", FAILURES[code]), quorum=2)
    assert list(replies) == ["site_a", "site_c"]


def test_a_reply_of_another_contract_fails_only_its_own_site():
    wrong = to_record(SiteName("DOE^JOHN"))
    assert list(ask(except_at("site_a", wrong), quorum=2)) == ["site_b", "site_c"]


def test_a_site_that_no_node_is_fails_as_absent():
    with pytest.raises(FederationError, match="double failed at site_x: E_ABSENT"):
        ask(doubled, sites=("site_a", "site_x"))


def test_two_failures_of_three_are_below_a_quorum_of_two_and_both_are_named():
    with pytest.raises(FederationError) as refusal:
        settle("double", {"site_c": 1}, {"site_b": "E_COHORT", "site_a": "E_TIMEOUT"}, 2)
    assert str(refusal.value) == (
        "double failed at site_a: E_TIMEOUT, site_b: E_COHORT (1 of the 2 needed sites answered)"
    )


def test_without_a_quorum_all_sites_are_needed():
    with pytest.raises(FederationError, match="2 of the 3 needed"):
        settle("double", {"site_c": 1, "site_a": 2}, {"site_b": "E_COHORT"}, None)


def test_replies_are_settled_in_the_order_of_names_whatever_the_order_of_arrival():
    assert list(settle("double", {"b": 1, "c": 2, "a": 3}, {}, None)) == ["a", "b", "c"]


def test_flowers_own_error_text_is_never_read():
    reply = Message(Error(1, "/data/DOE^JOHN"), reply_to=message())
    assert failure_of(reply) == "E_UNREACHABLE"


def message():
    return Message(content=to_record(Number(1)), message_type="query.double", dst_node_id=1)


def named(names):
    return lambda message: to_record(SiteName(names[message.metadata.dst_node_id]))


def test_the_roll_call_learns_which_node_is_which_site():
    names = {30: "site_a", 10: "site_b", 20: "site_c"}
    assert roll_call(Grid(named(names)), 3, timeout_s=1) == NODES


def test_two_nodes_of_one_name_are_refused():
    names = {30: "site_a", 10: "site_b", 20: "site_a"}
    with pytest.raises(FederationError, match="two nodes say that they are site_a"):
        roll_call(Grid(named(names)), 3, timeout_s=1)


def test_too_few_nodes_are_refused_after_a_while():
    with pytest.raises(FederationError, match="2 of 3 sites are connected"):
        roll_call(Grid(doubled, nodes=(1, 2)), 3, timeout_s=0.1)


@pytest.mark.parametrize(
    "reply", [Error(1, "x"), error_record("E_CONFIG"), RecordDict({})], ids=repr
)
def test_a_node_that_cannot_say_its_name_is_no_site(reply):
    names = {30: "site_a", 20: "site_c"}

    def answer(message):
        return reply if message.metadata.dst_node_id == 10 else named(names)(message)

    assert roll_call(Grid(answer), 3, timeout_s=0.2) == {"site_a": 30, "site_c": 20}


def test_the_refusal_of_a_malformed_reply_quotes_nothing(caplog):
    record = to_record(Number(1))
    record["body"] = ConfigRecord({"json": json.dumps({"value": "DOE^JOHN"})})
    with pytest.raises(FederationError, match="site_a: E_CODEC"):
        ask(except_at("site_a", record))
    assert "DOE" not in caplog.text


def test_sums_are_withheld_if_leverage_is_all_that_stops_a_site():
    with pytest.raises(WithheldError, match=r"site_b: E_LEVERAGE"):
        ask(except_at("site_b", error_record("E_LEVERAGE")))
    with pytest.raises(FederationError) as both:
        settle("double", {}, {"site_a": "E_LEVERAGE", "site_b": "E_COHORT"}, None)
    assert type(both.value) is FederationError
