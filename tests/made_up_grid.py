"""Flower's grid made up: nodes that come and go, letters that take time, and a clock to turn."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

from flwr.app import Error, RecordDict

from server.clock import Clock
from shared.letter import Letter, ticket_of, written
from shared.stages.roll_call import SiteName
from shared.talk import Working, asked, at_work, refusal, waited_for
from shared.wire import letter_of, record_of

PATIENCE_S, TAKES_S = 20.0, 0.1
START = datetime(2026, 1, 1, tzinfo=UTC)


class Time:
    """Time that passes only where the server sleeps; what is planned happens on the way."""

    def __init__(self):
        self.now, self.planned, self.n_sleeps = 0.0, [], 0
        self.clock = Clock(
            lambda: self.now, lambda: START + timedelta(seconds=self.now), self.sleep
        )

    def at(self, seconds: float, happens: Callable[[], object]) -> None:
        """Plan something."""
        self.planned = sorted([*self.planned, (seconds, len(self.planned), happens)])

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.n_sleeps += 1
        assert self.n_sleeps < 100_000, "the server waits for ever"
        end = self.now + seconds
        while self.planned and self.planned[0][0] <= end:
            moment, _, happens = self.planned.pop(0)
            self.now = max(self.now, moment)
            happens()
        self.now = end


class Grid:
    """Nodes by number. A node's behaviour makes a reply of a letter: a letter, the content of a
    message, Flower's error, or None for none at all.
    """

    def __init__(self, time: Time):
        self.time = time
        self.nodes, self.behaviours = {}, {}
        self.sent, self.under_way, self.extra = [], {}, []
        self.refuses = False

    def connect(self, name, node, behave):
        """A node comes online."""
        began = str(self.time.now)
        self.nodes[node] = SimpleNamespace(node_id=node, name=name, last_activated_at=began)
        self.behaviours[node] = behave

    def disconnect(self, node):
        """A node goes; whatever it was about to reply is lost."""
        del self.nodes[node]

    def get_nodes(self):
        """Who is online."""
        return list(self.nodes.values())

    def push_messages(self, messages):
        """Take messages; a node's reply is there a little later."""
        return [self._push(message) for message in messages]

    def _push(self, message):
        if self.refuses:
            return ""
        number, node = f"m{len(self.sent)}", message.metadata.dst_node_id
        letter = letter_of(message.content)
        there = self.nodes[node]
        self.sent.append(
            SimpleNamespace(
                site=there.name,
                node=node,
                kind=next(k for k in ("ask", "wait", "roll_call") if k in letter.records),
                letter=letter,
                at=self.time.now,
                type=message.metadata.message_type,
                ttl=message.metadata.ttl,
            )
        )
        reply = self.behaviours[node](letter)
        waits = isinstance(reply, Letter) and "working" in reply.records
        due = self.time.now + (PATIENCE_S if waits else TAKES_S)
        self.under_way[number] = (there, due, reply)
        return number

    def pull_messages(self, numbers):
        """What has come; a node that is gone gives Flower's error, and nothing comes twice."""
        found = [arrived(number, reply) for number, reply in self.extra]
        self.extra = []
        for number in numbers:
            there, due, reply = self.under_way.get(number, (None, 0.0, None))
            if there is not None and self.nodes.get(there.node_id) is None:
                reply = Error(5, "Node Unavailable: DOE^JOHN")
            elif there is None or reply is None or self.time.now < due:
                continue
            del self.under_way[number]
            found.append(arrived(number, reply))
        return found

    def kinds(self, site):
        """The letters that a site got, in order."""
        return [sent.kind for sent in self.sent if sent.site == site]


def arrived(number, reply):
    """A reply as the grid hands it over."""
    content = record_of(reply) if isinstance(reply, Letter) else reply
    return SimpleNamespace(
        metadata=SimpleNamespace(reply_to_message_id=number),
        content=content if isinstance(content, RecordDict) else None,
        has_error=lambda: isinstance(content, Error),
    )


class Service:
    """A hospital as its site service answers: work takes time, answers are kept, a restart loses
    what was under way.

    Args:
        name: Its own word of who it is.
        answer: From a question's name and the letter with its request to an answer's letter.
        works_s: How long an answer takes.
    """

    def __init__(self, time, name, answer, *, works_s=0.0):
        self.time, self.name, self.answer, self.works_s = time, name, answer, works_s
        self.jobs, self.kept, self.n_worked = {}, {}, 0

    def restart(self):
        """Lose the work, keep the answers."""
        self.jobs = {}

    def __call__(self, letter):
        """The reply to a letter."""
        if "roll_call" in letter.records:
            return written(SiteName(self.name))
        if "ask" in letter.records:
            ticket = ticket_of(letter)
            if ticket not in self.kept:
                self.jobs.setdefault(ticket, (self.time.now, letter))
        else:
            ticket = waited_for(letter).ticket
        return self._reply(ticket)

    def _reply(self, ticket):
        if ticket not in self.kept:
            if ticket not in self.jobs:
                return refusal("E_TICKET")
            began, letter = self.jobs[ticket]
            done = self.time.now - began
            if done < self.works_s:
                return at_work(Working(ticket, "patients", int(done), int(self.works_s)))
            ask, request = asked(letter)
            self.kept[ticket] = self.answer(ask.name, request)
            self.n_worked += 1
        return self.kept[ticket]
