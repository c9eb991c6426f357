"""What is said between the server and a hospital's site service, letter by letter.

The server asks (`question`), and asks again without the question while the answer takes its time
(`wait_for`). The site answers, says how far it is (`at_work`), or refuses with a closed code. A
question that was asked before, to the byte, has the same ticket, and is answered once.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.errors import CODES, CodecError
from shared.letter import Letter, Record, written

HEX = re.compile(r"[0-9a-f]{32,64}")
WORDS = re.compile(r"[A-Za-z0-9_.,:/() -]{0,80}")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a question letter asks: which question, and of which run of the study."""

    name: str
    run: str


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a wait letter waits for: the answer to the question that had this ticket."""

    run: str
    ticket: str


@dataclass(frozen=True, slots=True)
class Working:
    """Not done yet: what the site is at, and how far."""

    ticket: str
    what: str
    done: int
    total: int


def question(name: str, run: str, request: object) -> Letter:
    """The letter that asks a site something."""
    letter = written(request)
    return Letter({**letter.records, "ask": {"name": name, "run": run}}, letter.arrays)


def asked(letter: Letter) -> tuple[Asked, Letter]:
    """What a question letter asks, and the letter with the request alone.

    Raises:
        CodecError: If it is not a question.
    """
    ask = _fields(letter, "ask", {"name": str, "run": str})
    rest = {name: record for name, record in letter.records.items() if name != "ask"}
    return Asked(ask["name"], _hex(ask["run"])), Letter(rest, letter.arrays)


def wait_for(ticket: Ticket) -> Letter:
    """The letter that asks again for an answer, without the question."""
    return Letter({"wait": {"run": ticket.run, "ticket": ticket.ticket}}, {})


def waited_for(letter: Letter) -> Ticket:
    """What a wait letter waits for.

    Raises:
        CodecError: If it is no wait letter, or holds more.
    """
    _alone(letter, "wait")
    wait = _fields(letter, "wait", {"run": str, "ticket": str})
    return Ticket(_hex(wait["run"]), _hex(wait["ticket"]))


def roll_call() -> Letter:
    """The letter that asks a site for its name."""
    return Letter({"roll_call": {}}, {})


def refusal(code: str) -> Letter:
    """The reply that only says which kind of error stopped the site."""
    return Letter({"error": {"code": code if code in CODES else "E_INTERNAL"}}, {})


def refused(letter: Letter) -> str | None:
    """The closed code of a refusal; None where the letter is none."""
    if "error" not in letter.records:
        return None
    code = letter.records["error"].get("code")
    return code if isinstance(code, str) and code in CODES else "E_INTERNAL"


def at_work(working: Working) -> Letter:
    """The reply that says that the answer is not there yet."""
    what = working.what if WORDS.fullmatch(working.what) else "at work"
    record: Record = {
        "ticket": working.ticket,
        "what": what,
        "done": working.done,
        "total": working.total,
    }
    return Letter({"working": record}, {})


def still_at_work(letter: Letter) -> Working | None:
    """What the site is at; None where the letter says nothing of that kind.

    Raises:
        CodecError: If it says so in another form.
    """
    if "working" not in letter.records:
        return None
    _alone(letter, "working")
    found = _fields(letter, "working", {"ticket": str, "what": str, "done": int, "total": int})
    if not WORDS.fullmatch(found["what"]) or not 0 <= found["done"] <= found["total"] < 2**31:
        raise CodecError("working: the progress is not one that a site reports")
    return Working(_hex(found["ticket"]), found["what"], found["done"], found["total"])


def _alone(letter: Letter, name: str) -> None:
    if set(letter.records) != {name} or letter.arrays:
        raise CodecError(f"{name}: nothing else may stand in such a letter")


def _fields(letter: Letter, name: str, kinds: Mapping[str, type]) -> dict[str, Any]:
    record = letter.records.get(name)
    if record is None or set(record) != set(kinds):
        raise CodecError(f"{name} must have exactly {', '.join(kinds)}")
    for key, kind in kinds.items():
        if type(record[key]) is not kind:
            raise CodecError(f"{name}.{key} must be a {kind.__name__}")
    return dict(record)


def _hex(text: str) -> str:
    if not HEX.fullmatch(text):
        raise CodecError("a run and a ticket are hexadecimal digits")
    return text
