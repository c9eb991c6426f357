"""Letters from the server's post to a site service, through Flower's real parts, in one process.

SuperLink with gate, TLS and database; the SuperNode's loop with its key; courier, counter and desk.
"""

import logging
import socket
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import uvicorn
from flwr.app import Array
from flwr.app.message import arraychunk
from flwr.supercore.heartbeat import HeartbeatSender, make_task_heartbeat_fn_http
from flwr.supercore.object_store import ObjectStoreFactory, object_store_factory
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink import extensions, main
from flwr.superlink.grid.http_grid import HttpGrid
from flwr.supernode import fleet_http_connection, start_client_internal
from flwr.supernode.nodestate import NodeStateFactory

from client.answers import Answers
from client.counter import Counter
from client.deploy import supernode
from client.desk import Desk
from client.releases.ledger import ReleaseLedger
from server.deploy import grid as grid_module
from server.deploy.control import Control
from server.deploy.gate import control_word
from server.deploy.objects import FOLDER, place_objects
from server.deploy.superlink import place_gate
from server.deployed import FlowerPost
from server.joining.certificates import make_certificates
from shared.address import Address
from shared.letter import Letter
from shared.sealed import Sealed
from shared.talk import question

pytestmark = pytest.mark.slow
SECRET = b"0123456789abcdef0123456789abcdef"
RUN, STUDY_HASH = "ab" * 16, "cd" * 32
LARGE = 30_000_000
TWICE = bytes(i * 2 % 256 for i in range(256))


@pytest.fixture
def flower(monkeypatch, tmp_path):
    """Flower with our parts in it, put back as it was afterwards."""
    monkeypatch.setenv("FLWR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FLWR_DATABASE", str(tmp_path / "state.db"))
    for owner, names in (
        (extensions, ["get_middleware"]),
        (object_store_factory, ["SqlObjectStore"]),
        (fleet_http_connection, ["FleetHttpClient"]),
        (start_client_internal, ["time", "pull_objects", "_push_messages"]),
        (grid_module.http_grid, ["pull_objects"]),
        (arraychunk, ["add_header_to_object_body", "get_object_body"]),
        (Array, ["inflate"]),
    ):
        for name in names:
            monkeypatch.setattr(owner, name, getattr(owner, name))
    place_gate(control_word(SECRET))
    place_objects()
    supernode.be_patient()
    return main


@pytest.fixture
def superlink(flower, tmp_path):
    """A SuperLink that listens: its port, its state, and the folder of its certificates."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    made = make_certificates("study", Address("127.0.0.1", port))
    for name in ("authority", "certificate", "key"):
        (tmp_path / name).write_bytes(getattr(made, name))
    app = flower.create_app()
    app.state.enable_supernode_auth = True
    files = {"ssl_certfile": tmp_path / "certificate", "ssl_keyfile": tmp_path / "key"}
    here = {"host": "127.0.0.1", "port": port, "log_level": "warning", "lifespan": "off"}
    server = uvicorn.Server(uvicorn.Config(app, **here, **files))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    state = app.state.linkstate_factory.state()
    yield SimpleNamespace(port=port, state=state, ca=tmp_path / "authority")
    server.should_exit = True
    thread.join(10)


@pytest.fixture
def grid(superlink, monkeypatch, tmp_path):
    """The grid of a study's process whose run has begun."""
    control = Control(f"127.0.0.1:{superlink.port}", ca_file=superlink.ca, secret=SECRET)
    superlink.control = control
    run = control.submit()
    (task,) = superlink.state.get_tasks(run_ids=[run])
    token = superlink.state.claim_task(task.task_id)
    assert superlink.state.activate_task(task.task_id)
    for name, number in (("run_id", run), ("node_id", 1), ("task_id", task.task_id)):
        monkeypatch.setattr(TaskIdentity, f"_{name}", number)
    grid = HttpGrid(
        f"localhost:{superlink.port}", False, superlink.ca.read_bytes(), token=str(token)
    )
    grid.set_run(superlink.state.get_run_info(run_ids=[run])[0])
    address = f"localhost:{superlink.port}"
    place = SimpleNamespace(
        local_ca=superlink.ca, local_address=address, database=tmp_path / "state.db"
    )
    grid_module.hasten(grid, place)
    heart = HeartbeatSender(make_task_heartbeat_fn_http(grid._runtime_client))
    heart.start()
    yield grid
    if heart.is_running:
        heart.stop()
    grid.close()
    control.close()


class Doubling:
    """What a question is put to: the letter comes back with every byte twice as large."""

    asked = 0

    def open(self, _name, letter):
        return letter

    def answer(self, _name, letter):
        self.asked += 1
        doubled = {
            name: Sealed(a.dtype, a.shape, bytes(a.data).translate(TWICE))
            for name, a in letter.arrays.items()
        }
        return Letter(letter.records, doubled)


@pytest.fixture
def site(superlink, grid, tmp_path):
    """A site: its service, and its SuperNode's loop with the courier in it."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = ec.generate_private_key(ec.SECP384R1())
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    superlink.control.register({"site_a": pem})
    log, path, doubling = logging.getLogger("trifed.site"), tmp_path / "s.sock", Doubling()
    ended = threading.Event()

    def carry() -> None:
        state = NodeStateFactory(objectstore_factory=ObjectStoreFactory()).state()
        with fleet_http_connection.http_request_response(
            f"127.0.0.1:{superlink.port}", False, superlink.ca.read_bytes(), (key, key.public_key())
        ) as (number, receive, send, get_run, get_fab, pull, push, confirm):
            state.set_node_id(number)
            while not ended.is_set():
                come = start_client_internal._pull_and_store_message(
                    state=state, object_store=state.object_store,
                    node_config={"socket": str(path)}, receive=receive, get_run=get_run,
                    get_fab=get_fab, pull_object=pull, confirm_message_received=confirm,
                    trusted_entities=None,
                )  # fmt: skip
                if come is None:
                    start_client_internal.time.sleep(3)
                    continue
                start_client_internal._push_messages(
                    state=state, object_store=state.object_store, send=send, push_object=push
                )

    with Answers(tmp_path / "answers", STUDY_HASH, log) as answers:
        desk = Desk(answers, ReleaseLedger(tmp_path, tmp_path), log)
        worker = threading.Thread(target=desk.work, args=(doubling,), daemon=True)
        worker.start()
        with Counter(path, desk, "site_a", log=log):
            carrying = threading.Thread(target=carry, daemon=True)
            carrying.start()
            while not (nodes := list(grid.get_nodes())):
                time.sleep(0.05)
            yield SimpleNamespace(node=nodes[0].node_id, service=doubling)
            ended.set()
            carrying.join(10)
        desk.close()
        worker.join(10)


def asked(post, site, letter):
    """The reply to a letter."""
    (number,) = post.send([(site, letter)])
    deadline = time.monotonic() + 60
    while not (found := post.fetch([number])):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    (delivery,) = found
    assert delivery.message == number
    assert delivery.letter is not None
    return delivery.letter


@pytest.mark.timeout(300)
@pytest.mark.parametrize("n", [10, LARGE], ids=["small", "large"])
def test_a_letter_comes_back_answered_and_leaves_nothing_on_its_way(
    superlink, grid, site, tmp_path: Path, n
):
    post = FlowerPost(grid, 3600.0)
    whole = Letter({"body": {"json": "{}"}}, {"a": Sealed("uint8", (n,), bytes([3]) * n)})
    letter = question("double", RUN, {})
    letter = Letter(letter.records, whole.arrays)
    answers = [asked(post, site, letter) for _ in range(2)]
    assert [bytes(a.arrays["a"].data) for a in answers] == [bytes([6]) * n] * 2
    assert site.service.asked == 1
    assert list((tmp_path / FOLDER).iterdir()) == []
    assert len(superlink.state.object_store) == 0
