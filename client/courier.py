"""The Flower ClientApp of a hospital: a courier between Flower and the site service.

It runs in the SuperNode's process, which needs neither patients' files nor what computes on them:
it hands a letter to the service's socket, and carries back the one that it gets. What goes wrong on
the way is told by a closed code, since Flower would send the text of an exception to the server.
"""

import logging
import socket
from contextlib import suppress
from pathlib import Path

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from client.line import BrokenLineError, Line
from client.memory_file import laid_down
from shared.errors import ConfigError, ServiceError, TrifedError
from shared.letter import Letter
from shared.talk import refusal
from shared.wire import letter_of, record_of

CONNECT_S = 10.0
LETTER_S = 60.0
REPLY_S = 120.0
"""The service says within twenty seconds that it is at work; an answer of a GB takes a few more."""
log = logging.getLogger("trifed.courier")
app = ClientApp()


@app.query("ask")
def ask(message: Message, context: Context) -> Message:
    """Carry a letter to the site service, and its reply back."""
    try:
        reply = deliver(socket_of(context), letter_of(message.content))
    except TrifedError as error:
        log.error("%s", error)
        reply = refusal(error.code)
    except Exception:
        log.exception("a letter could not be carried")
        reply = refusal("E_INTERNAL")
    return Message(record_of(reply), reply_to=message)


def socket_of(context: Context) -> Path:
    """Where the site service listens.

    Raises:
        ConfigError: If the node's configuration does not say so.
    """
    named = context.node_config.get("socket")
    if not isinstance(named, str) or not named:
        raise ConfigError(
            "the SuperNode must be told the site service's socket: --node-config 'socket=\"PATH\"'."
        )
    return Path(named)


def deliver(path: Path, letter: Letter) -> Letter:
    """Hand a letter to the service and wait for its reply.

    Raises:
        ServiceError: If the service is not there, or breaks off.
        CodecError: If what it replies is no letter.
    """
    letter = laid_down(letter)  # before the service waits for it
    with Line(connect(path)) as line:
        with suppress(BrokenLineError):  # a letter may be refused before it is read to its end
            line.send(letter, within_s=LETTER_S)
        return line.receive(within_s=REPLY_S)


def connect(path: Path) -> socket.socket:
    """A connection to the service.

    Raises:
        ServiceError: If the service is not there.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(CONNECT_S)
        connection.connect(str(path))
    except OSError as error:
        connection.close()
        raise ServiceError(
            f"{path}: the site service does not answer ({error.strerror or error}). "
            "Start it: trifed site serve SITE.yaml"
        ) from None
    return connection
