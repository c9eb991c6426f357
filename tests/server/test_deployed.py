"""How the server asks over weeks, on a made-up grid and clock."""

import logging
from dataclasses import dataclass
from itertools import pairwise
from types import SimpleNamespace

import pytest
from flwr.app import ConfigRecord, Error, RecordDict

from server.aggregate import _identify_process
from server.asking import QUICKEST_S, SLOWEST_S
from server.deployed import DeployedFederation
from server.desk import Limits
from server.status import StatusFile, StudyStatus
from shared.errors import FederationError, WithheldError
from shared.letter import read, written
from shared.stages import Question
from shared.stages.roll_call import SiteName
from shared.talk import Working, at_work, refusal
from shared.wire import record_of
from tests.made_up_grid import Grid, Service, Time

HOUR, LIMIT = 3600.0, 7200.0
RUN = "0f" * 16


@dataclass(frozen=True, slots=True)
class Number:
    value: int


DOUBLE = Question("double", "query", Number, Number)
SITES = {"site_a": 30, "site_b": 10, "site_c": 20}


def doubled(_name, request):
    return written(Number(2 * read(Number, request).value))


@pytest.fixture(autouse=True)
def run_identity():
    _identify_process()


@pytest.fixture(autouse=True)
def few_looks(monkeypatch):
    """Weeks are many seconds; most tests need no look at each of them."""
    monkeypatch.setattr("server.asking.QUICKEST_S", 2.0)
    monkeypatch.setattr("server.asking.SLOWEST_S", 20.0)
    monkeypatch.setattr("server.deployed.LOOK_S", 20.0)


@pytest.fixture
def world(tmp_path):
    """Three hospitals that are online, and the federation that asks them."""
    return World(tmp_path)


class World:
    def __init__(self, folder):
        self.time = Time()
        self.grid = Grid(self.time)
        self.folder = folder
        self.services = {site: Service(self.time, site, doubled) for site in SITES}
        for site, node in SITES.items():
            self.grid.connect(site, node, self.services[site])
        self.reported = []
        self.limit(Limits(stall_s=LIMIT))

    def limit(self, limits):
        roles = dict.fromkeys(self.services, "training")
        self.status = StatusFile(
            self.folder, StudyStatus("tiny", "ab" * 32), RUN, roles, self.time.clock
        )
        self.federation = DeployedFederation(
            self.grid,
            self.status,
            run=RUN,
            folder=self.folder,
            limits=limits,
            report=lambda *news: self.reported.append(news),
            clock=self.time.clock,
        )

    def behave(self, site, behave):
        self.grid.behaviours[SITES[site]] = behave

    def ask(self, value=21, **options):
        found = self.federation.ask(DOUBLE, Number(value), sorted(SITES), **options)
        return {site: reply.value for site, reply in found.items()}


ALL = {"site_a": 42, "site_b": 42, "site_c": 42}
BUT_B = {"site_a": 42, "site_c": 42}


def except_at_roll_call(service, reply):
    """A site that says its name and then replies this."""
    return lambda letter: service(letter) if "roll_call" in letter.records else reply


def test_every_site_says_its_name_and_is_asked_and_replies_come_in_the_order_of_names(world):
    found = world.ask()
    assert list(found.items()) == sorted(ALL.items())
    assert [world.grid.kinds(site) for site in SITES] == [["roll_call", "ask"]] * 3
    assert {sent.type for sent in world.grid.sent} == {"query.ask"}


def test_a_site_says_its_name_once_for_each_connection(world):
    world.ask()
    world.ask(4)
    assert world.grid.kinds("site_a") == ["roll_call", "ask", "ask"]
    world.grid.disconnect(30)
    world.time.sleep(10)
    world.grid.connect("site_a", 30, world.services["site_a"])
    world.ask(5)
    assert world.grid.kinds("site_a")[3:] == ["roll_call", "ask"]


def test_letters_live_as_long_as_the_round_may_take(world):
    world.limit(Limits(stall_s=LIMIT, round_s=2 * LIMIT))
    world.ask()
    assert {sent.ttl for sent in world.grid.sent} == {2 * LIMIT}


def test_a_site_that_works_is_waited_for_without_the_question_again(world):
    world.services["site_b"].works_s = 300.0
    assert world.ask() == ALL
    kinds = world.grid.kinds("site_b")
    assert kinds[:2] == ["roll_call", "ask"]
    assert set(kinds[2:]) == {"wait"}
    assert len({news for news in world.reported if news[0] == "site_b"}) > 5


def test_a_node_that_is_registered_as_one_site_and_says_it_is_another_fails(world, caplog):
    world.services["site_b"].name = "site_c"
    with pytest.raises(FederationError, match="site_b: E_HANDSHAKE"):
        world.ask()
    assert "site_b: the node registered by this name says that it is site_c" in caplog.text
    assert "ask" not in world.grid.kinds("site_b")


def test_a_false_name_is_not_quoted_if_it_is_no_site_s(world, caplog):
    world.services["site_b"].name = "DOE^JOHN"
    assert world.ask(quorum=2) == BUT_B
    assert "DOE" not in caplog.text
    assert "no site of this study" in caplog.text


def test_a_node_of_no_site_is_asked_nothing_and_named_once(world, caplog):
    world.grid.connect("site_x", 77, world.services["site_a"])
    world.ask()
    world.ask(3)
    assert world.grid.kinds("site_x") == []
    assert caplog.text.count("site_x") == 1


def test_a_name_that_two_nodes_have_is_waited_for_until_one_has_it(world, caplog):
    world.grid.connect("site_b", 11, world.services["site_b"])
    world.time.at(HOUR, lambda: world.grid.disconnect(10))
    assert world.ask() == ALL
    assert {sent.node for sent in world.grid.sent if sent.site == "site_b"} == {11}
    assert caplog.text.count("2 nodes are registered and online by this name") == 1


def test_a_site_that_is_absent_is_asked_once_it_comes(world):
    world.grid.disconnect(10)
    world.time.at(1.5 * HOUR, lambda: world.grid.connect("site_b", 10, world.services["site_b"]))
    assert world.ask() == ALL
    assert world.time.now == pytest.approx(1.5 * HOUR, abs=40)


def test_a_site_that_dies_at_work_and_comes_back_as_another_node_is_asked_again(world):
    service = world.services["site_b"]
    service.works_s = 0.5 * HOUR

    def comes_back():
        service.restart()
        world.grid.connect("site_b", 99, service)

    world.time.at(600, lambda: world.grid.disconnect(10))
    world.time.at(1.5 * HOUR, comes_back)
    assert world.ask() == ALL
    letters = [(sent.node, sent.kind) for sent in world.grid.sent if sent.site == "site_b"]
    back = [kind for node, kind in letters if node == 99]
    assert back[:4] == ["roll_call", "wait", "ask", "wait"]
    assert world.services["site_a"].n_worked == 1


def test_a_site_whose_courier_s_link_was_cut_gives_its_stored_answer_without_work(world):
    service = world.services["site_b"]
    service.works_s = 600.0
    world.time.at(300, lambda: world.grid.disconnect(10))
    world.time.at(HOUR, lambda: world.grid.connect("site_b", 10, service))
    assert world.ask() == ALL
    assert service.n_worked == 1
    assert world.grid.kinds("site_b").count("ask") == 1


def test_a_node_that_connects_anew_between_two_looks_is_asked_again(world):
    """Flower forgets nothing then: the letter is with a process that is gone."""
    service = world.services["site_b"]
    world.behave("site_b", lambda _: None)
    world.time.at(50, lambda: world.grid.connect("site_b", 10, service))
    assert world.ask() == ALL
    assert world.time.now < 75


@pytest.mark.parametrize("code", [2, 3, 5, 8])
def test_after_flower_s_errors_a_site_is_asked_again_ever_more_rarely(world, code):
    world.behave("site_b", lambda _: Error(code, "FileNotFoundError: /data/DOE^JOHN"))
    world.time.at(HOUR, lambda: world.behave("site_b", world.services["site_b"]))
    assert world.ask() == ALL
    tries = [sent.at for sent in world.grid.sent if sent.site == "site_b" and sent.at < HOUR]
    gaps = [after - before for before, after in pairwise(tries)]
    assert gaps[0] < 5
    assert all(before <= after + 5 for before, after in pairwise(gaps))
    assert 60 <= max(gaps) < 80


def test_a_letter_that_flower_does_not_take_is_sent_again(world):
    world.grid.refuses = True
    world.time.at(30, lambda: setattr(world.grid, "refuses", False))
    assert world.ask() == ALL


def test_a_site_whose_service_is_down_is_asked_again(world):
    world.behave("site_b", lambda _: refusal("E_SERVICE"))
    world.time.at(HOUR, lambda: world.behave("site_b", world.services["site_b"]))
    assert world.ask() == ALL


def test_a_reply_that_is_lost_without_a_word_is_asked_for_again(world):
    service, n_letters = world.services["site_b"], []

    def loses_the_second(letter):
        n_letters.append(letter)
        return None if len(n_letters) == 2 else service(letter)

    world.behave("site_b", loses_the_second)
    assert world.ask() == ALL
    assert 900 <= world.time.now < 930


CODES = ("E_COHORT", "E_POLICY", "E_HANDSHAKE", "E_INTERNAL", "E_TRAINING")


@pytest.mark.parametrize("code", CODES)
def test_a_closed_code_of_the_site_s_is_a_failure(world, code):
    world.behave("site_b", except_at_roll_call(world.services["site_b"], refusal(code)))
    assert world.ask(quorum=2) == BUT_B
    assert world.grid.kinds("site_b") == ["roll_call", "ask"]


UNFIT = {
    "another contract": written(SiteName("DOE^JOHN")),
    "no letter": RecordDict({"note": ConfigRecord({"DOE": 1.5})}),
    "something else": RecordDict({"note": ConfigRecord({"DOE": "JOHN"})}),
    "planted progress": RecordDict(
        {"working": ConfigRecord({"ticket": "ab" * 32, "what": "DOE^JOHN", "done": 0, "total": 1})}
    ),
    "other work": at_work(Working("ab" * 32, "patients", 0, 1)),
    "a planted code": RecordDict({"error": ConfigRecord({"code": "DOE^JOHN"})}),
}


@pytest.mark.parametrize("what", UNFIT)
def test_a_reply_of_no_form_that_there_is_fails_its_site_and_is_quoted_nowhere(world, what, caplog):
    world.behave("site_b", except_at_roll_call(world.services["site_b"], UNFIT[what]))
    code = "E_INTERNAL" if what == "a planted code" else "E_CODEC"
    with caplog.at_level(logging.DEBUG), pytest.raises(FederationError, match=f"site_b: {code}"):
        world.ask()
    assert "DOE" not in caplog.text + world.status.file.read_text()


def test_flower_s_own_words_reach_neither_the_log_nor_the_status(world, caplog):
    world.limit(Limits(stall_s=HOUR))
    world.behave("site_b", lambda _: Error(2, "FileNotFoundError: /data/DOE^JOHN"))
    with caplog.at_level(logging.DEBUG), pytest.raises(FederationError, match="E_STALLED"):
        world.ask()
    assert "DOE" not in caplog.text + world.status.file.read_text()


def test_a_site_that_hangs_is_stalled_after_the_stall_limit(world):
    world.services["site_b"].works_s = 30 * LIMIT
    service = world.services["site_b"]
    stuck = {}

    def hangs(letter):
        reply = service(letter)
        return stuck.setdefault("at", reply) if "working" in reply.records else reply

    world.behave("site_b", hangs)
    with pytest.raises(FederationError, match="site_b: E_STALLED"):
        world.ask()
    assert world.time.now == pytest.approx(LIMIT, rel=0.03)


def test_a_courier_that_never_replies_is_stalled(world):
    world.behave("site_b", lambda _: None)
    assert world.ask(quorum=2) == BUT_B
    assert world.time.now == pytest.approx(LIMIT, rel=0.03)


def test_a_slow_site_that_comes_on_for_ten_hours_is_not_stalled(world, monkeypatch):
    monkeypatch.setattr("server.asking.QUICKEST_S", 60.0)
    monkeypatch.setattr("server.asking.SLOWEST_S", 60.0)
    world.limit(Limits(stall_s=600))
    world.services["site_b"].works_s = 10 * HOUR
    assert world.ask() == ALL


def test_a_site_that_forgets_its_work_over_and_over_is_stalled(world):
    """It says each time that it begins: that is no step further."""
    service = world.services["site_b"]
    service.works_s = HOUR

    def forgets(letter):
        reply = service(letter)
        service.restart()
        return reply

    world.limit(Limits(stall_s=HOUR))
    world.behave("site_b", forgets)
    with pytest.raises(FederationError, match="site_b: E_STALLED"):
        world.ask()


def test_a_site_that_stays_away_is_stalled_and_the_next_round_does_not_wait_as_long(world):
    world.grid.disconnect(10)
    assert world.ask(quorum=2) == BUT_B
    assert world.time.now == pytest.approx(LIMIT, rel=0.03)
    world.ask(4, quorum=2)
    assert world.time.now == pytest.approx(LIMIT, rel=0.03)
    world.grid.connect("site_b", 10, world.services["site_b"])
    assert list(world.ask(5, quorum=2)) == sorted(SITES)


def test_a_round_ends_after_its_limit_though_the_site_comes_on(world):
    world.limit(Limits(stall_s=600, round_s=HOUR))
    world.services["site_b"].works_s = 10 * HOUR
    with pytest.raises(FederationError, match="site_b: E_TIMEOUT"):
        world.ask()
    assert world.time.now == pytest.approx(HOUR, rel=0.03)


def test_the_quorum_is_not_met_by_those_who_failed(world):
    world.behave("site_a", except_at_roll_call(world.services["site_a"], refusal("E_COHORT")))
    world.behave("site_b", except_at_roll_call(world.services["site_b"], refusal("E_POLICY")))
    with pytest.raises(FederationError, match="site_a: E_COHORT, site_b: E_POLICY"):
        world.ask(quorum=2)


def test_with_a_quorum_the_failed_site_is_told(world, caplog):
    world.behave("site_b", except_at_roll_call(world.services["site_b"], refusal("E_COHORT")))
    assert world.ask(quorum=2) == BUT_B
    assert "double goes on without site_b: E_COHORT" in caplog.text
    assert world.status.status.errors["E_COHORT"].site == "site_b"


def test_once_the_quorum_cannot_be_met_nobody_is_waited_for(world):
    world.services["site_a"].works_s = 10 * HOUR
    world.behave("site_b", except_at_roll_call(world.services["site_b"], refusal("E_COHORT")))
    with pytest.raises(FederationError) as refused:
        world.ask()
    assert world.time.now < 10
    assert str(refused.value) == (
        "double failed at site_b: E_COHORT (1 of the 3 needed sites answered)"
    )


def test_what_one_site_withholds_is_settled_by_the_word_of_all(world):
    world.services["site_a"].works_s = HOUR
    world.behave("site_b", except_at_roll_call(world.services["site_b"], refusal("E_LEVERAGE")))
    with pytest.raises(WithheldError, match="2 of the 3"):
        world.ask()
    assert world.time.now >= HOUR


def test_a_site_that_is_not_of_the_study_is_absent(world):
    with pytest.raises(FederationError, match="site_x: E_ABSENT"):
        world.federation.ask(DOUBLE, Number(1), ["site_a", "site_x"])


def test_a_reply_that_comes_twice_counts_once(world, caplog):
    service, handed = world.services["site_b"], []

    def doubles(letter):
        reply = service(letter)
        if "ask" in letter.records:
            number = f"m{len(world.grid.sent) - 1}"
            world.time.at(world.time.now + 0.2, lambda: world.grid.extra.append((number, reply)))
        return reply

    world.services["site_a"].works_s = 5.0
    world.behave("site_b", doubles)
    with caplog.at_level(logging.INFO):
        found = world.ask(keep=lambda site, reply: (handed.append(site), reply)[1])
    assert found == ALL
    assert sorted(handed) == sorted(SITES)
    assert "a reply that nobody waits for is dropped" in caplog.text


def test_a_reply_to_a_letter_of_nobody_is_dropped(world, caplog):
    world.grid.extra.append(("m999", written(Number(7))))
    with caplog.at_level(logging.INFO):
        assert world.ask() == ALL
    assert "a reply that nobody waits for is dropped" in caplog.text


def test_an_answer_that_overtakes_an_older_letter_s_reply_counts(world):
    """The question's reply is late; a wait letter went beside it, and both come at last."""
    service = world.services["site_b"]
    service.works_s = 100.0

    def slow_at_first(letter):
        reply = service(letter)
        if "ask" in letter.records and world.time.now < 800:
            number = f"m{len(world.grid.sent) - 1}"
            world.time.at(2000, lambda: world.grid.extra.append((number, reply)))
            return None
        return reply

    world.behave("site_b", slow_at_first)
    assert world.ask() == ALL
    assert 900 <= world.time.now < 1030


def test_what_keep_returns_takes_the_reply_s_place(world):
    found = world.federation.ask(
        DOUBLE, Number(1), sorted(SITES), keep=lambda site, reply: (site, reply.value)
    )
    assert found == {site: (site, 2) for site in SITES}


def test_two_questions_are_two_tickets(world):
    assert world.ask(1) == dict.fromkeys(SITES, 2)
    assert world.ask(2) == dict.fromkeys(SITES, 4)
    assert world.ask(1) == dict.fromkeys(SITES, 2)
    assert [service.n_worked for service in world.services.values()] == [2, 2, 2]


def test_the_study_begins_when_enough_sites_are_there_however_long_that_takes(world, caplog):
    for node in (10, 20):
        world.grid.disconnect(node)
    world.time.at(3 * LIMIT, lambda: world.grid.connect("site_c", 20, world.services["site_c"]))
    world.time.at(4 * LIMIT, lambda: world.grid.connect("site_b", 10, world.services["site_b"]))
    with caplog.at_level(logging.INFO):
        world.federation.join_quorum()
    assert world.time.now == pytest.approx(4 * LIMIT, abs=40)
    assert caplog.text.count("waiting for site_b, site_c to come online") == 1
    assert "waiting for site_b to come online" in caplog.text
    assert world.ask() == ALL


def test_whoever_is_absent_at_the_beginning_has_the_stall_limit_from_then_on(world):
    for node in (10, 20):
        world.grid.disconnect(node)
    world.time.at(3 * LIMIT, lambda: world.grid.connect("site_c", 20, world.services["site_c"]))
    world.federation.join_quorum(2)
    began = world.time.now
    assert world.ask(quorum=2) == BUT_B
    assert world.time.now - began == pytest.approx(LIMIT, rel=0.03)


def test_the_server_looks_often_while_something_is_expected_and_rarely_otherwise(
    world, monkeypatch
):
    monkeypatch.setattr("server.asking.QUICKEST_S", QUICKEST_S)
    monkeypatch.setattr("server.asking.SLOWEST_S", SLOWEST_S)
    world.limit(Limits(stall_s=600))
    world.ask()
    assert world.time.n_sleeps >= 3
    assert world.time.now < 1.0
    before, began = world.time.n_sleeps, world.time.now
    world.grid.disconnect(10)
    world.ask(3, quorum=2)
    assert world.time.n_sleeps - before < 1.1 * (world.time.now - began)


def test_what_stands_in_a_node_s_name_is_only_told_if_it_is_plain(world, caplog):
    world.grid.nodes[5] = SimpleNamespace(node_id=5, name="DOE^JOHN", last_activated_at="")
    world.ask()
    assert "DOE" not in caplog.text


def test_content_is_the_letter_s_own(world):
    world.ask()
    asked = [sent.letter for sent in world.grid.sent if sent.kind == "ask"]
    assert asked[0].records["ask"] == {"name": "double", "run": RUN}
    assert record_of(asked[0])["body"]["json"] == '{"value":21}'
