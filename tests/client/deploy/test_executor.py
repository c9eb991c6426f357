"""A courier's process: what goes wrong before or beside the courier travels without a word."""

from types import SimpleNamespace

import flwr
import pytest
from flwr.app import Context, Message, RecordDict
from flwr.common.constant import ErrorCode
from flwr.supernode.runtime import run_clientapp

from client.deploy.executor import carry
from server.aggregate import _identify_process
from shared.talk import roll_call
from shared.wire import record_of

PLANTED = "/data/DOE^JOHN/apps"
MOVED = f"flwr {flwr.__version__} moved this: client/deploy/executor.py must follow it"


@pytest.fixture
def process(monkeypatch):
    """Flower's process of one message, without a SuperNode; remembers what it would push."""
    _identify_process()
    told = SimpleNamespace(replies=[], fab=SimpleNamespace(content=b"", hash_str="0" * 8))
    message = Message(content=record_of(roll_call()), message_type="query.ask", dst_node_id=1)
    task = message, Context(1, 1, {}, RecordDict({}), {}), SimpleNamespace(), told.fab
    nothing = {"event", "register_signal_handlers", "flwr_exit", "push_task_output"}
    for name in nothing:
        monkeypatch.setattr(run_clientapp, name, lambda *_, **__: None)
    silent = SimpleNamespace(start=lambda: None, stop=lambda: None, is_running=False)
    monkeypatch.setattr(run_clientapp, "HeartbeatSender", lambda _: silent)
    monkeypatch.setattr(run_clientapp, "pull_task_input", lambda _: task)
    monkeypatch.setattr(
        run_clientapp, "push_message", lambda _, reply, __: told.replies.append(reply)
    )
    monkeypatch.setattr(run_clientapp, "Error", run_clientapp.Error)
    return told


SPEC = SimpleNamespace(
    root_certificates_path=None,
    runtime_api_address="127.0.0.1:1",
    token="token",
    insecure=True,
    parent_pid=None,
)


@pytest.mark.parametrize("as_flower_has_it", [True, False], ids=["as Flower has it", "here"])
def test_what_an_exception_outside_of_the_courier_says_stays_in_the_hospital(
    process, monkeypatch, as_flower_has_it
):
    """The bundle is unpacked before the courier runs, and a disk may be full or not writable."""

    def fails(*_, **__):
        raise PermissionError(13, "Permission denied", PLANTED)

    monkeypatch.setattr(run_clientapp, "install_from_fab", fails)
    if as_flower_has_it:
        run_clientapp.run_clientapp("127.0.0.1:1", "token", insecure=True)
    else:
        carry(SPEC)
    (reply,) = process.replies
    assert reply.error.code == ErrorCode.CLIENT_APP_RAISED_EXCEPTION
    assert ("DOE" in reply.error.reason) is as_flower_has_it, MOVED
