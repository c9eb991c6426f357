import json
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from flwr.app import Context, Message, RecordDict

from client import courier
from client.line import Line
from server.aggregate import _identify_process
from shared.letter import FIRST_LINE, Letter, read, written
from shared.sealed import Sealed
from shared.stages.roll_call import SiteName
from shared.talk import question, refusal, refused, roll_call
from shared.wire import error_code, letter_of, record_of
from tests.client.test_counter import as_bytes, folder  # noqa: F401

ROOT = Path(__file__).parents[2]
NAME = "DOE^JOHN"


@pytest.fixture(autouse=True)
def run_identity():
    _identify_process()


@pytest.fixture
def serve(folder):  # noqa: F811
    """A socket at which the next letter is met by this function of a connection."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(folder / "s"))
    listening.listen()
    threads = []

    def served(meet):
        def take():
            connection, _ = listening.accept()
            with connection:
                meet(connection)

        threads.append(threading.Thread(target=take))
        threads[-1].start()
        return folder / "s"

    yield served
    for thread in threads:
        thread.join(10)
    listening.close()


def send(path, letter, **config):
    config = {"socket": str(path)} | config
    message = Message(content=record_of(letter), message_type="query.ask", dst_node_id=1)
    return courier.app(message, Context(1, 1, config, RecordDict({}), {}))


def replying(reply):
    """What meets a connection with a reply, once the letter is read."""
    heard = []

    def meet(connection):
        line = Line(connection)
        heard.append(line.receive(within_s=10))
        line.send(reply, within_s=10)

    return meet, heard


def everything_in(reply):
    return f"{reply.metadata} {reply.has_error()} {as_bytes(letter_of(reply.content))!r}"


def test_a_letter_is_carried_there_and_its_reply_back(serve):
    numbers = Sealed("uint8", (3_000_000,), bytes(3_000_000))
    meet, heard = replying(Letter({"body": {"json": "{}"}}, {"x": numbers}))
    letter = question("hello", "0a" * 16, SiteName("site_a"))
    reply = send(serve(meet), letter)
    assert as_bytes(heard[0]) == as_bytes(letter)
    assert as_bytes(letter_of(reply.content)) == as_bytes(
        Letter({"body": {"json": "{}"}}, {"x": numbers})
    )


def test_a_refusal_is_carried_like_an_answer(serve):
    meet, _ = replying(refusal("E_COHORT"))
    assert error_code(send(serve(meet), roll_call()).content) == "E_COHORT"


@pytest.mark.parametrize(
    "reply",
    [b"", FIRST_LINE[:5], as_bytes(written(SiteName(NAME)))[:-3]],
    ids=["nothing", "a beginning", "all but the end"],
)
def test_a_service_that_breaks_off_is_told_by_a_code(serve, reply):
    def meet(connection):
        Line(connection).receive(within_s=10)
        connection.sendall(reply)

    found = send(serve(meet), roll_call())
    assert not found.has_error()
    assert refused(letter_of(found.content)) == "E_SERVICE"
    assert NAME not in everything_in(found)


def test_a_refusal_before_the_letter_is_read_is_heard(serve):
    def meet(connection):
        Line(connection).send(refusal("E_CODEC"), within_s=10)

    long = Letter({}, {"x": Sealed("uint8", (5_000_000,), bytes(5_000_000))})
    assert error_code(send(serve(meet), long).content) == "E_CODEC"


def test_a_reply_that_is_no_letter_is_refused(serve):
    def meet(connection):
        Line(connection).receive(within_s=10)
        connection.sendall(f"FileNotFoundError: /data/{NAME}".encode())

    found = send(serve(meet), roll_call())
    assert error_code(found.content) == "E_CODEC"
    assert NAME not in everything_in(found)


def test_a_service_that_is_not_there_is_told_by_a_code(tmp_path):
    found = send(tmp_path / NAME / "s", roll_call())
    assert error_code(found.content) == "E_SERVICE"
    assert NAME not in everything_in(found)


@pytest.mark.parametrize("socket_", ["", 7])
def test_a_node_that_is_not_told_the_socket_says_so(socket_):
    assert error_code(send("", roll_call(), socket=socket_).content) == "E_CONFIG"


def test_whatever_else_goes_wrong_is_told_by_a_code(monkeypatch):
    def fails(_path):
        raise KeyError(NAME)

    monkeypatch.setattr(courier, "connect", fails)
    found = send("s", roll_call())
    assert not found.has_error()
    assert error_code(found.content) == "E_INTERNAL"
    assert NAME not in everything_in(found)


def test_a_reply_is_read_as_the_contract_says(serve):
    meet, _ = replying(written(SiteName("site_a")))
    assert read(SiteName, letter_of(send(serve(meet), roll_call()).content)).name == "site_a"


HEAVY = {"torch", "monai", "pandas", "scipy", "SimpleITK", "pydicom", "sklearn"}


def test_the_courier_loads_nothing_that_opens_patients_files():
    code = "import sys, json, client.courier; print(json.dumps(sorted(sys.modules)))"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    modules = set(json.loads(found.stdout.splitlines()[-1]))
    assert not {name.split(".")[0] for name in modules} & HEAVY
    ours = {name for name in modules if name.split(".")[0] in ("client", "server", "simulation")}
    assert ours == {"client", "client.courier", "client.line", "client.memory_file"}
