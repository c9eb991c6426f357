"""A deployment in one process: the study's rounds, couriers, and hospitals on sockets of their own.

What a server and hospitals do is the product's: it asks, guards, averages and saves; couriers carry
letters to site services and back. Made up are the grid between the two, the network (three numbers)
and its training; time that the server counts passes with what is named in `takes_time`.
"""

import logging
import socket
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flwr.app import Context, Message, RecordDict

from client import courier
from client.answers import Answers
from client.counter import Counter, Limits
from client.desk import Desk
from client.line import Line
from client.releases.heads import HeadBook, HeadTelling
from client.releases.ledger import ReleaseLedger
from client.stages import ANSWERS
from server.clock import Clock
from server.coordinator import Coordinator
from server.deployed import DeployedFederation
from server.desk import Limits as Waiting
from server.heads.notary import Notary
from server.progress import LoggedProgress
from server.stages import train_branches
from server.status import StatusFile, StudyStatus
from server.study_folder import StudyFolder
from shared.errors import CohortError
from shared.invitation import server_key_of
from shared.letter import Letter, read, written
from shared.networks import Weights, layout_of
from shared.stages.train_branches import Reply
from shared.talk import still_at_work
from shared.wire import letter_of
from tests.server.test_train_branches import LAYOUT, tune_scores

SITES = ("site_a", "site_b", "site_c")
RUN, STUDY_HASH, NETWORK = "0f" * 16, "5" * 64, "flat"
ROUNDS, STALL_S = 2, 7200.0
PATIENT = "DOE^JOHN"
OTHER_LAYOUT = layout_of(torch.nn.Linear(3, 1))
LOG = logging.getLogger("trifed.site.test")


class Training:
    """What a site's service does with a question; `spoil` stands between it and its answer."""

    def __init__(self, site):
        self.site, self.spoil, self.n_trained = site, lambda reply: reply, 0

    def open(self, name, letter):
        """The request, by the real contract."""
        return read(ANSWERS[name][0].request, letter)

    def answer(self, name, request):
        """An honest step that depends on site, round and weights; or what `spoil` makes of it."""
        if name == "hello":
            return written(self.hello(request))
        assert name == "train_branch"
        self.n_trained += 1
        place = SITES.index(self.site)
        step = 0.1 * (1 + place) / request.round
        weights = Weights(LAYOUT, (request.weights.vector * 0.9 + step).astype(np.float32))
        reply = Reply(
            weights if request.train else None, 10 + place, 0.5, tune_scores(0.4, 0.6), 1.4
        )
        told = self.spoil(reply) if request.train else reply
        return told if isinstance(told, Letter) else written(told)


class Hospital:
    """A site's counter, desk and answers, worked at in a thread."""

    def __init__(self, folder, site):
        self.folder, self.site = folder / site, site
        self.training, self.name, self._stack = Training(site), site, ExitStack()
        self.socket = self.folder / "s"
        self.server_key = ""

    def open(self):
        """Begin to answer."""
        self.folder.mkdir(exist_ok=True)
        answers = self._stack.enter_context(Answers(self.folder / "answers", STUDY_HASH, LOG))
        ledger, heads = ReleaseLedger(self.folder, self.folder), None
        if self.server_key:
            book = HeadBook(self.folder, self.site)
            heads = HeadTelling(ledger, book, LOG, run=RUN, key=self.server_key)
        self.desk = Desk(answers, ledger, LOG, heads=heads)
        worker = threading.Thread(target=self.desk.work, args=(self.training,), daemon=True)
        limits = Limits(patience_s=0.05, letter_s=5)
        self._stack.enter_context(
            Counter(self.socket, self.desk, self.name, log=LOG, limits=limits)
        )
        self._stack.callback(worker.join, 10)
        self._stack.callback(self.desk.close)
        worker.start()

    def close(self):
        """End; answers are kept."""
        self._stack.close()

    def opens_as(self, name):
        """Answer from now on, under a name."""
        self.close()
        self.name = name
        self.open()

    def speaks(self, words):
        """Say the same to everybody, whatever it is."""
        self.close()
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(self.socket))
        listening.listen()

        def serve():
            with suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    with connection:
                        Line(connection).receive(within_s=5)
                        connection.sendall(words)

        threading.Thread(target=serve, daemon=True).start()
        self._stack.callback(listening.close)
        self._stack.callback(lambda: listening.shutdown(socket.SHUT_RDWR))

    def forget(self):
        """What a hospital does that was repaired after a refused answer: remove what it kept."""
        for path in (self.folder / "answers" / RUN).rglob("*"):
            if path.is_file() and path.name != "study.hash":
                path.unlink()


class CourierGrid:
    """Flower's grid, where each message is carried by the real courier in a thread."""

    def __init__(self, hospitals):
        self.hospitals, self.copies = hospitals, dict.fromkeys(hospitals, 1)
        self.sent, self.messages, self.came, self.old = {}, {}, {}, []
        self.heard = lambda _site, _letter: None

    def get_nodes(self):
        """Every hospital's node is online."""
        return [
            SimpleNamespace(node_id=node, name=site, last_activated_at="2026")
            for node, site in enumerate(self.hospitals, start=1)
        ]

    def push_messages(self, messages):
        """Send a courier with each message, or several with one."""
        return [self._push(message) for message in messages]

    def _push(self, message):
        number, site = f"m{len(self.sent)}", list(self.hospitals)[message.metadata.dst_node_id - 1]
        self.sent[number], self.messages[number] = site, message
        for _ in range(self.copies[site]):
            threading.Thread(target=self._carry, args=(number, site, message), daemon=True).start()
        return number

    def carry(self, number):
        """Somebody sends a message once more."""
        self._carry(number, self.sent[number], self.messages[number])

    def _carry(self, number, site, message):
        config = {"socket": str(self.hospitals[site].socket)}
        copy = Message(message.content, message.metadata.dst_node_id, "query.ask")
        reply = courier.app(copy, Context(1, 1, config, RecordDict({}), {}))
        self.came.setdefault(number, []).append(reply)

    def pull_messages(self, numbers):
        """What has come, each copy of it."""
        found = []
        for number in [
            n for n in numbers if len(self.came.get(n, [])) == self.copies[self.sent[n]]
        ]:
            for reply in self.came.pop(number):
                self.heard(self.sent[number], letter_of(reply.content))
                found.append(arrived(number, reply))
        return found + self.old * bool(found)

    def _all_came(self, number):
        return len(self.came.get(number, [])) == self.copies[self.sent[number]]


def arrived(number, reply):
    """A reply as the grid hands it over."""
    told = SimpleNamespace(reply_to_message_id=number)
    return SimpleNamespace(metadata=told, content=reply.content, has_error=reply.has_error)


class ServerEndedError(Exception):
    """The server's process ends here."""


class EndsAfter(LoggedProgress):
    """Ends the server once it has said how a round went."""

    def __init__(self, n_rounds):
        super().__init__()
        self.n_rounds = n_rounds

    def round_ended(self, news):
        """Say it, and end if it is that round."""
        super().round_ended(news)
        if news.round == self.n_rounds:
            raise ServerEndedError


class World:
    """A coordinator's folder and three hospitals."""

    def __init__(self, folder, sockets, settings):
        self.folder, self.settings = folder, settings
        self.hospitals = {site: Hospital(sockets, site) for site in SITES}
        self.grid = CourierGrid(self.hospitals)
        self.passed_s, self.quorum = 0.0, None
        self.signing_key = None
        self.training = {site: hospital.training for site, hospital in self.hospitals.items()}

    def open(self):
        """Open the hospitals."""
        for hospital in self.hospitals.values():
            hospital.open()

    def close(self):
        """Close the hospitals."""
        for hospital in self.hospitals.values():
            hospital.close()

    def countersigns(self):
        """Let the server countersign the heads of ledgers, once hospitals are opened anew."""
        self.signing_key = Ed25519PrivateKey.generate()
        for hospital in self.hospitals.values():
            hospital.server_key = server_key_of(self.signing_key)

    def coordinator(self, progress=None):
        """A coordinator as a new ServerApp has it."""
        clock = Clock(lambda: time.monotonic() + self.passed_s, sleep=lambda _: time.sleep(0.01))
        roles = dict.fromkeys(SITES, "training")
        self.status = StatusFile(self.folder, StudyStatus("tiny", "ab" * 32), RUN, roles, clock)
        key, notary = self.signing_key, None
        if key is not None:
            notary = Notary(self.folder, key, run=RUN, clock=clock)
        self.federation = DeployedFederation(
            self.grid,
            self.status,
            run=RUN,
            folder=self.folder,
            limits=Waiting(STALL_S),
            clock=clock,
            notary=notary,
        )
        aggregation = self.settings.aggregation.model_copy(update={"quorum": self.quorum})
        settings = self.settings.model_copy(update={"aggregation": aggregation})
        folder = StudyFolder(self.folder / "study")
        progress = progress or LoggedProgress()
        return Coordinator(settings, self.federation, folder, self.folder, progress)

    def begin(self, n_rounds=1):
        """Rounds that are saved; nothing that comes after them was asked of any hospital."""
        with suppress(ServerEndedError):
            self.train(EndsAfter(n_rounds))

    def train(self, progress=None):
        """All rounds that are still to be done; the bits of the last one's weights."""
        coordinator = self.coordinator(progress)
        train_branches.run(coordinator.folder.load(), coordinator)
        return coordinator.folder.get_weights(NETWORK, ROUNDS, LAYOUT).vector.tobytes()

    def kept(self):
        """Every byte of the run's state."""
        files = (path for path in (self.folder / "study").rglob("*") if path.is_file())
        return {path.name: path.read_bytes() for path in files}

    def spoil(self, site, **changes):
        """Let a site's reply hold something else."""
        self.training[site].spoil = lambda reply: replace(reply, **changes)

    def takes_time(self, *sites, share, comes_on=False):
        """With each word of these sites but an answer, this share of the stall limit is over."""
        steps = []

        def heard(site, letter):
            waits = still_at_work(letter) is not None or "error" in letter.records
            if site not in sites or not waits:
                return
            self.passed_s += share * STALL_S
            steps.append(letter)
            if comes_on:
                self.hospitals[site].desk.report("patients", len(steps), 1000)

        self.grid.heard = heard
        return steps


def refuses(_reply):
    """A site that has nothing to say, and an error that names a patient."""
    raise CohortError(f"case {PATIENT} has no mask")


def said_by_the_server(caplog):
    """What stands in the server's log; hospitals have their own."""
    theirs = ("trifed.site", "trifed.courier")
    return "\n".join(r.getMessage() for r in caplog.records if not r.name.startswith(theirs))
