"""A row of the release ledger: what left, or why it did not, as one line of JSON.

A third kind says who let a run go on that was refused too often (`client.releases.lock`).

Each row holds the SHA-256 of the line before it. Whoever changes, deletes, adds or swaps a row
would have to write all rows after it anew, which the hash of the last row, kept elsewhere, shows.
"""

import hashlib
import json
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Literal

from shared.errors import LedgerError
from shared.letter import Letter, digest_of

Verdict = Literal["released", "refused", "unlocked"]
LATER = ("change", "policy", "approval")
"""What the first release did not write: absent in a line where it is None."""


@dataclass(frozen=True, slots=True)
class Item:
    """One array that left: its place in the answer, and what it is; never a value of it."""

    name: str
    dtype: str
    shape: list[int]
    n_bytes: int


@dataclass(frozen=True, slots=True)
class Change:
    """By how much a round changed a network's weights: the norms of the change and of these."""

    network: str
    norm: float
    of: float


@dataclass(frozen=True, slots=True)
class Content:
    """What an answer holds.

    Attributes:
        words: Bytes of its text: numbers and names that are no arrays.
        sha256: Of every byte of the answer: head, then arrays.
        change: What training changed; None where nothing was trained.
    """

    items: list[Item]
    words: int
    n_bytes: int
    sha256: str
    change: Change | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One row.

    Attributes:
        number: From 1, without a gap.
        before: SHA-256 of the line before.
        at: When, in UTC; the clock may have been wrong, and the order is the number's.
        to: The server that asked, or the file that was written; who lifted the lock.
        study: The study's hash.
        run: Of the study; empty where no server asked.
        question: What was asked.
        least_cell: The fewest patients that a checked number of the answer is of; None: no number
            of it is checked by a count.
        code: Why nothing left; empty where something did.
        policy: SHA-256 of the policy in force (`client.releases.grounds`); None in a row of a
            release that did not write it.
        approval: SHA-256 of the approval's line, likewise.
    """

    number: int
    before: str
    at: str
    verdict: Verdict
    to: str
    study: str
    run: str
    question: str
    least_cell: int | None
    code: str
    content: Content | None
    policy: str | None = None
    approval: str | None = None

    def line(self) -> bytes:
        """The row as it stands in the file, with its end of line."""
        text = json.dumps(self, default=_shown, separators=(",", ":"), ensure_ascii=True)
        return text.encode() + b"\n"

    def when(self) -> datetime:
        """`at` as a time."""
        return datetime.fromisoformat(self.at)


def _shown(part: Any) -> dict[str, Any]:
    """A row, or a part of one, as JSON has it."""
    found = {field.name: getattr(part, field.name) for field in fields(part)}
    return {name: value for name, value in found.items() if value is not None or name not in LATER}


def hash_of(line: bytes) -> str:
    """What the next row says of a line."""
    return hashlib.sha256(line).hexdigest()


def content_of(letter: Letter, change: Change | None = None) -> Content:
    """What leaves with a letter; `change` is what training changed, where it holds weights."""
    items = [
        Item(name, sealed.dtype, list(sealed.shape), sealed.n_bytes)
        for name, sealed in sorted(letter.arrays.items())
    ]
    texts = [value for record in letter.records.values() for value in record.values()]
    words = sum(len(str(text).encode()) for text in texts)
    total = words + sum(item.n_bytes for item in items)
    return Content(items, words, total, digest_of(letter), change)


def file_content(content: bytes) -> Content:
    """What leaves with a file that a person hands on."""
    return Content([], len(content), len(content), hashlib.sha256(content).hexdigest())


def read_row(line: bytes) -> Row:
    """A row by its line.

    Raises:
        LedgerError: If it is no row.
    """
    try:
        found: dict[str, Any] = json.loads(line)
        content = found.pop("content")
        if content is not None:
            items = [Item(**item) for item in content.pop("items")]
            change = content.pop("change", None)
            content = Content(items, **content, change=None if change is None else Change(**change))
        row = Row(**found, content=content)
        row.when()
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise LedgerError("this is no row of a release ledger") from None
    if row.line() != line or type(row.number) is not int or row.verdict not in Verdict.__args__:  # type: ignore[attr-defined]
        raise LedgerError("this is no row as this product writes it")
    return row
