import io
import logging
import os
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from client import memory_file
from client.answers import Answers
from client.counter import Counter, Limits
from client.courier import deliver
from client.desk import MOST_WAITING, REFUSALS_KEPT, Desk
from client.line import Line
from client.releases.ledger import NAME, ReleaseLedger
from shared.errors import CohortError, ConfigError, ServiceError, StateError
from shared.letter import FIRST_LINE, Letter, read, ticket_of, write_letter, written
from shared.sealed import Sealed, open_all, sealed_in_place
from shared.stages.roll_call import SiteName
from shared.talk import Ticket, question, refused, roll_call, still_at_work, wait_for

RUN, TICKET = "0a" * 16, "ab" * 32
PATIENT = "DOE^JOHN"
ROOT = Path(__file__).parents[2]
LOG = logging.getLogger("trifed.site.test")
SOON = Limits(patience_s=5, letter_s=5)
AT_ONCE = Limits(patience_s=0.05, letter_s=0.3, connections=4)


class Service:
    """Answers with what was asked, counts, and waits at a gate that is open unless closed."""

    def __init__(self):
        self.asked = []
        self.gate = threading.Event()
        self.gate.set()

    def open(self, _name, letter):
        return read(SiteName, letter)

    def answer(self, name, request):
        self.asked.append((name, request.name))
        if not self.gate.wait(20):
            raise TimeoutError
        if name == "fails":
            raise FileNotFoundError(f"/data/{PATIENT}/mask.nii.gz")
        if name == "too_few":
            raise CohortError(f"{PATIENT}: no label")
        if name == "large":
            zeros = np.zeros(2_000_000, np.uint8)
            return Letter({}, {"x": Sealed("uint8", zeros.shape, zeros.tobytes())})
        return written(request)


@pytest.fixture
def folder():
    """A folder whose sockets have short paths."""
    with tempfile.TemporaryDirectory(prefix="tri") as found:
        yield Path(found)


@contextmanager
def counter(folder, service, limits=SOON):
    """A counter whose desk is worked at in a thread; its socket's path."""
    with Answers(folder / "answers", "5" * 64, LOG) as answers:
        desk = Desk(answers, ReleaseLedger(folder, folder), LOG)
        worker = threading.Thread(target=desk.work, args=(service,))
        with Counter(folder / "s", desk, "site_a", log=LOG, limits=limits):
            worker.start()
            try:
                yield folder / "s"
            finally:
                service.gate.set()
                desk.close()
                worker.join(10)


@pytest.fixture
def service():
    return Service()


def ask(name="hello", word="one"):
    return question(name, RUN, SiteName(word))


def wait(letter):
    return wait_for(Ticket(RUN, ticket_of(letter)))


def as_bytes(letter):
    stream = io.BytesIO()
    write_letter(stream, letter)
    return stream.getvalue()


def connected(path):
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(10)
    connection.connect(str(path))
    return connection


def until(true, seconds=10):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.01)


def test_a_question_is_answered(folder, service):
    with counter(folder, service) as path:
        assert read(SiteName, deliver(path, ask())) == SiteName("one")


def test_an_answer_that_is_told_again_makes_no_second_row_and_a_refusal_makes_one(folder, service):
    with counter(folder, service) as path:
        for name in ("hello", "hello", "large", "too_few", "hello"):
            deliver(path, ask(name))
    rows = ReleaseLedger(folder, folder).rows()
    assert [(row.question, row.code) for row in rows] == [
        ("hello", ""), ("large", ""), ("too_few", "E_COHORT"),
    ]  # fmt: skip
    assert PATIENT not in (folder / NAME).read_text()


def test_a_ledger_that_is_not_whole_lets_nothing_leave(folder, service):
    with counter(folder, service) as path:
        deliver(path, ask())
        (folder / NAME).write_bytes(b"")
        assert refused(deliver(path, ask("large"))) == "E_LEDGER"
        assert read(SiteName, deliver(path, ask())) == SiteName("one")


@pytest.mark.parametrize("possible", [True, False], ids=["memory files", "none"])
@pytest.mark.parametrize("n", [10, 300_000])
def test_an_answer_is_what_it_was_when_it_was_given(folder, monkeypatch, n, possible):
    """A site goes on with the memory that its last answer was in."""
    monkeypatch.setattr(memory_file, "POSSIBLE", possible and memory_file.POSSIBLE)

    class SameMemory(Service):
        vector = np.zeros(n, np.float32)

        def answer(self, *_):
            self.vector += 1
            return Letter({}, {"x": sealed_in_place(self.vector)})

    with counter(folder, SameMemory()) as path:
        for _ in range(2):
            for place, word in enumerate(("one", "two"), start=1):
                x = open_all(deliver(path, ask(word=word)).arrays, copy=True)["x"]
                assert np.array_equal(x, np.full(n, place, np.float32))


@pytest.mark.parametrize("name", ["hello", "large"])
def test_what_is_asked_twice_is_computed_once_and_answered_to_the_bit(folder, service, name):
    with counter(folder, service) as path:
        first = as_bytes(deliver(path, ask(name)))
        assert as_bytes(deliver(path, ask(name))) == first
        assert as_bytes(deliver(path, wait(ask(name)))) == first
    assert service.asked == [(name, "one")]
    with counter(folder, service) as path:
        assert as_bytes(deliver(path, ask(name))) == first
    assert service.asked == [(name, "one")]


def test_another_question_of_the_same_name_is_computed(folder, service):
    with counter(folder, service) as path:
        for word in ("one", "two"):
            assert read(SiteName, deliver(path, ask(word=word))) == SiteName(word)
    assert service.asked == [("hello", "one"), ("hello", "two")]


def test_who_waits_is_told_what_the_site_is_at_and_then_the_answer(folder, service):
    service.gate.clear()
    with counter(folder, service, AT_ONCE) as path:
        working = still_at_work(deliver(path, ask()))
        assert (working.ticket, working.what) == (ticket_of(ask()), "hello")
        assert still_at_work(deliver(path, wait(ask()))).what == "hello"
        service.gate.set()
        until(lambda: still_at_work(deliver(path, wait(ask()))) is None)
        assert read(SiteName, deliver(path, wait(ask()))) == SiteName("one")


def test_the_work_tells_how_far_it_is(folder):
    with Answers(folder / "answers", "5" * 64, LOG) as answers:
        desk = Desk(answers, ReleaseLedger(folder, folder), LOG)
        with Counter(folder / "s", desk, "site_a", log=LOG, limits=AT_ONCE):

            def told():
                found = still_at_work(deliver(folder / "s", ask()))
                return found.what, found.done, found.total

            assert told() == ("opening", 0, 0)
            desk.report("images", 3, 60)
            assert told() == ("images", 3, 60)
            desk.report(PATIENT, 4, 60)
            assert told() == ("at work", 4, 60)
            desk.report("images", 60, 60)
            assert told() == ("opening", 0, 0)


def test_questions_are_worked_on_one_at_a_time(folder, service):
    service.gate.clear()
    with counter(folder, service, AT_ONCE) as path:
        assert still_at_work(deliver(path, ask(word="one"))).what == "hello"
        assert still_at_work(deliver(path, ask(word="two"))).what == "waiting"
        assert service.asked == [("hello", "one")]
        service.gate.set()
        until(lambda: still_at_work(deliver(path, wait(ask(word="two")))) is None)
    assert service.asked == [("hello", "one"), ("hello", "two")]


def test_a_question_that_is_worked_on_is_not_begun_a_second_time(folder, service):
    service.gate.clear()
    with counter(folder, service) as path:
        replies = []
        couriers = [
            threading.Thread(target=lambda: replies.append(as_bytes(deliver(path, ask()))))
            for _ in range(4)
        ]
        for courier in couriers:
            courier.start()
        until(lambda: service.asked)
        time.sleep(0.2)
        service.gate.set()
        for courier in couriers:
            courier.join(10)
    assert replies == [as_bytes(written(SiteName("one")))] * 4
    assert service.asked == [("hello", "one")]


def test_too_many_waiting_questions_are_refused_for_now(folder, service):
    service.gate.clear()
    with counter(folder, service, AT_ONCE) as path:
        for word in range(MOST_WAITING):
            assert still_at_work(deliver(path, ask(word=str(word)))) is not None
        assert refused(deliver(path, ask(word="more"))) == "E_SERVICE"
        assert still_at_work(deliver(path, ask(word="0"))) is not None


def test_an_unknown_ticket_must_be_asked_again(folder, service):
    with counter(folder, service) as path:
        assert refused(deliver(path, wait_for(Ticket(RUN, TICKET)))) == "E_TICKET"
        deliver(path, ask())
        assert refused(deliver(path, wait_for(Ticket(RUN, TICKET)))) == "E_TICKET"


def test_the_roll_call_is_answered_while_the_site_works(folder, service):
    service.gate.clear()
    with counter(folder, service, AT_ONCE) as path:
        deliver(path, ask())
        assert read(SiteName, deliver(path, roll_call())) == SiteName("site_a")


@pytest.mark.parametrize(("name", "code"), [("fails", "E_INTERNAL"), ("too_few", "E_COHORT")])
def test_no_text_of_an_error_leaves_but_the_hospital_can_read_it(
    folder, service, caplog, name, code
):
    with counter(folder, service) as path:
        replies = [deliver(path, letter) for letter in (ask(name), wait(ask(name)))]
    assert [refused(reply) for reply in replies] == [code, code]
    assert all(PATIENT.encode() not in as_bytes(reply) for reply in replies)
    assert PATIENT in caplog.text


def test_an_error_is_not_kept_the_question_is_tried_again(folder, service):
    with counter(folder, service) as path:
        deliver(path, ask("fails"))
        deliver(path, ask("fails"))
    assert service.asked == [("fails", "one")] * 2


def test_who_only_waits_learns_of_an_error_too(folder, service):
    service.gate.clear()
    with counter(folder, service, AT_ONCE) as path:
        assert still_at_work(deliver(path, ask("too_few"))) is not None
        service.gate.set()
        until(lambda: refused(deliver(path, wait(ask("too_few")))) == "E_COHORT")
    assert service.asked == [("too_few", "one")]


def test_of_errors_only_the_newest_are_remembered(folder, service):
    with counter(folder, service) as path:
        for number in range(REFUSALS_KEPT + 1):
            deliver(path, ask("too_few", str(number)))
        codes = [refused(deliver(path, wait(ask("too_few", word)))) for word in ("0", "1")]
    assert codes == ["E_TICKET", "E_COHORT"]


def test_work_that_is_stopped_answers_nothing_and_keeps_nothing(folder, service):
    def stopped(_name, _request):
        raise KeyboardInterrupt

    service.answer = stopped
    with Answers(folder / "answers", "5" * 64, LOG) as answers:
        desk = Desk(answers, ReleaseLedger(folder, folder), LOG)
        job = desk.take(ask())
        with pytest.raises(KeyboardInterrupt):
            desk.work(service)
        assert still_at_work(desk.outcome(job, 0.01)) is not None
        assert answers.get(RUN, ticket_of(ask())) is None


def test_an_answer_that_cannot_be_kept_does_not_leave(folder, service, monkeypatch):
    def full(*_, **__):
        raise StateError("no space left")

    monkeypatch.setattr(Answers, "put", full)
    with counter(folder, service) as path:
        assert refused(deliver(path, ask())) == "E_STATE"


def test_a_run_of_another_study_is_refused(folder, service):
    with Answers(folder / "answers", "6" * 64, LOG) as answers:
        answers.admit(RUN)
    with counter(folder, service) as path:
        assert refused(deliver(path, ask())) == "E_HANDSHAKE"
        assert refused(deliver(path, wait(ask()))) == "E_HANDSHAKE"
    assert service.asked == []


UNFIT = {
    "nothing": Letter({}, {}),
    "an answer": written(SiteName("site_a")),
    "a roll call with more": Letter({"roll_call": {}, "body": {}}, {}),
    "a run that is a path": question("hello", "../../etc", SiteName("a")),
    "a question of another form": question("hello\nworld", RUN, SiteName("a")),
    "a question that is a path": question("../hello", RUN, SiteName("a")),
    "a request of another form": Letter(
        {"ask": {"name": "hello", "run": RUN}, "body": {"json": "{}"}}, {}
    ),
}


@pytest.mark.parametrize("what", UNFIT)
def test_a_letter_that_is_none_of_the_talks_is_refused(folder, service, what):
    with counter(folder, service) as path:
        assert refused(deliver(path, UNFIT[what])) == "E_CODEC"
    assert service.asked == []


@pytest.mark.parametrize(
    "announced",
    [
        FIRST_LINE + (10**18).to_bytes(8, "big"),
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=["a huge letter", "another protocol"],
)
def test_what_cannot_be_a_letter_is_refused_before_it_is_read(folder, service, announced):
    with counter(folder, service) as path, Line(connected(path)) as line:
        line._until = time.monotonic() + 10
        line.write(announced)
        assert refused(line.receive(within_s=10)) == "E_CODEC"


def test_a_silent_connection_is_ended(folder, service):
    with counter(folder, service, AT_ONCE) as path, connected(path) as silent:
        assert silent.recv(1) == b""


def test_a_connection_that_sends_slowly_is_ended(folder, service):
    with counter(folder, service, AT_ONCE) as path, connected(path) as slow:
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            drip(slow, as_bytes(ask()))
        assert service.asked == []


def drip(connection, content):
    for byte in content:
        connection.send(bytes([byte]))
        time.sleep(0.02)


def test_who_takes_no_answer_holds_nobody_up(folder, service):
    with counter(folder, service, AT_ONCE) as path, connected(path) as deaf:
        deaf.sendall(as_bytes(ask("large")))
        until(lambda: service.asked)
        time.sleep(1)
        assert len(deliver(path, ask("large")).arrays["x"].data) == 2_000_000


def test_more_connections_than_there_is_room_for_are_sent_away(folder, service):
    limits = Limits(patience_s=0.05, letter_s=10, connections=2)
    with counter(folder, service, limits) as path:
        silent = [connected(path) for _ in range(2)]
        time.sleep(0.2)
        with pytest.raises(ServiceError):
            deliver(path, ask())
        for connection in silent:
            connection.close()
        until(lambda: not _fails(path))


def _fails(path):
    try:
        deliver(path, roll_call())
    except ServiceError:
        return True
    return False


def test_the_socket_is_for_the_services_user_and_group_alone(folder, service):
    with counter(folder, service) as path:
        mode = path.stat().st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o660
    assert not path.exists()


def test_two_services_on_one_socket_are_one_too_many(folder, service):
    with counter(folder, service) as path:
        with pytest.raises(StateError, match="another service listens here"):
            Counter(path, None, "site_b", log=LOG)
        assert read(SiteName, deliver(path, ask())) == SiteName("one")


def test_a_socket_that_a_killed_service_left_is_replaced(folder, service):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(folder / "s"))
    with counter(folder, service) as path:
        assert read(SiteName, deliver(path, ask())) == SiteName("one")


def test_a_file_that_is_no_socket_is_not_overwritten(folder):
    (folder / "s").write_text("a table")
    with pytest.raises(ConfigError, match="no socket, and is not overwritten"):
        Counter(folder / "s", None, "site_a", log=LOG)
    assert (folder / "s").read_text() == "a table"


def test_a_path_that_is_too_long_for_a_socket_is_refused_in_words(folder):
    with pytest.raises(ConfigError, match="at most 100 letters"):
        Counter(folder / ("x" * 100), None, "site_a", log=LOG)


def test_memory_stays_flat_over_hundreds_of_letters(folder, service):
    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    if not Path("/proc/self/statm").exists():
        pytest.skip("this machine does not tell a process's memory")
    with counter(folder, service) as path:
        sizes = []
        for number in range(300):
            deliver(path, ask("large", str(number)))
            if number in (50, 299):
                sizes.append(resident())
    assert len(service.asked) == 300
    assert sizes[1] - sizes[0] < 20_000_000  # the answers had 500 MB together


@pytest.fixture
def process(folder):
    """Start a counter in a process of its own; all are ended afterwards."""
    started = []

    def start():
        command = [sys.executable, "-m", "tests.counter_process", str(folder)]
        started.append(subprocess.Popen(command, cwd=ROOT))
        until(lambda: (folder / "s").exists() and not _fails(folder / "s"), 60)
        return started[-1]

    yield start
    for each in started:
        each.kill()
        each.wait()


def test_an_answer_outlives_the_service_that_is_killed_before_anybody_read_it(folder, process):
    first = process()
    with connected(folder / "s") as connection:
        connection.sendall(as_bytes(ask()))
        until(lambda: list((folder / "answers" / RUN).glob("[0-9a-f]" * 64)))
        first.kill()
        first.wait()
    process()
    reply = read(SiteName, deliver(folder / "s", ask()))
    (computed,) = (folder / "computed").read_text().splitlines()
    assert computed == f"one {reply.name}"


def test_a_service_that_is_killed_at_work_answers_when_asked_again(folder, process):
    process().kill()
    with pytest.raises(ServiceError):
        deliver(folder / "s", ask())
    process()
    assert refused(deliver(folder / "s", wait(ask()))) == "E_TICKET"
    assert len(read(SiteName, deliver(folder / "s", ask())).name) == 32
