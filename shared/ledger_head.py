"""The head of a hospital's release ledger, and the server's signature under it.

The head is the number and the hash of the ledger's last row, and says nothing of what left. A site
tells it beside each answer. The server signs it with site, run and time, keeps it, and hands the
countersignature on with its next question, to all whom it asks. So rows that are removed later,
with whatever the hospital keeps beside them, are missed by others.

A countersigned head is one line of text, the same wherever it stands: in the server's file, in the
sites' files, in a letter, on paper.

    trifed-anchor 1 SITE RUN NUMBER:HASH TIME KEY SIGNATURE
"""

import functools
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from shared.errors import CodecError, LedgerError
from shared.invitation import server_key_of
from shared.letter import Letter

FIRST = hashlib.sha256(b"trifed release ledger 1").hexdigest()
"""What stands in the first row in the place of a hash of the row before it."""
HASH_LETTERS = 64
TOLD, COUNTERSIGNED = "head", "heads"
"""Records of a letter: the head that a site tells, and what the server signed."""
HEAD = re.compile(rf"(0|[1-9][0-9]{{0,15}}):([0-9a-f]{{{HASH_LETTERS}}})")
LINE = re.compile(
    r"trifed-anchor 1 (?P<site>[a-z][a-z0-9_]{0,31}) (?P<run>[0-9a-f]{32}) "
    r"(?P<head>[0-9]{1,16}:[0-9a-f]{64}) (?P<at>[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z) "
    r"(?P<key>[0-9a-f]{64}) (?P<signature>[0-9a-f]{128})"
)


@dataclass(frozen=True, slots=True)
class Head:
    """The last row's number, and the hash of its line; of an empty ledger 0 and `FIRST`."""

    number: int = 0
    hash: str = FIRST

    def __str__(self) -> str:
        return f"{self.number}:{self.hash}"

    @classmethod
    def parse(cls, text: str) -> "Head":
        """A head as it is printed.

        Raises:
            LedgerError: If the text is none.
        """
        found = HEAD.fullmatch(text.strip())
        if found is None:
            raise LedgerError(
                f"'{text[:80]}' is no head of a ledger, which is NUMBER:HASH as "
                "'trifed site ledger head' prints it"
            )
        return cls(int(found[1]), found[2])


@dataclass(frozen=True, slots=True)
class Countersigned:
    """A head that the server signed.

    Attributes:
        at: When, by the server's clock, UTC.
        key: The server's Ed25519 key in hexadecimal.
    """

    site: str
    run: str
    head: Head
    at: str
    key: str
    signature: str

    def __str__(self) -> str:
        return f"{_unsigned(self.site, self.run, self.head, self.at, self.key)} {self.signature}"

    @classmethod
    def parse(cls, text: str) -> "Countersigned":
        """A countersigned head by its line, in which blanks may have become others on its way.

        Raises:
            LedgerError: If the text is none, or the signature is not of its key.
        """
        return _countersigned(" ".join(text.split()))


@functools.lru_cache(maxsize=4096)
def _countersigned(text: str) -> Countersigned:
    """A line that is the same is not checked again: each of a run's sites is handed all heads."""
    found = LINE.fullmatch(text)
    if found is None:
        raise LedgerError(
            f"'{text[:80]}' is no countersigned head, which is a line as "
            "'trifed site ledger anchor' prints it"
        )
    head = Head.parse(found["head"])
    line = Countersigned(
        found["site"], found["run"], head, found["at"], found["key"], found["signature"]
    )
    message = _unsigned(line.site, line.run, head, line.at, line.key).encode()
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(line.key))
        key.verify(bytes.fromhex(line.signature), message)
    except (InvalidSignature, ValueError):
        raise LedgerError(
            f"the countersignature of row {head.number} of {line.site} does not fit its key: "
            "the line was changed, or is not from the server"
        ) from None
    return line


def countersign(
    key: Ed25519PrivateKey, head: Head, *, site: str, run: str, at: str
) -> Countersigned:
    """Sign a head.

    Args:
        at: Now, as `server.clock.Clock.stamp` tells it.
    """
    public = server_key_of(key)
    signature = key.sign(_unsigned(site, run, head, at, public).encode()).hex()
    return Countersigned(site, run, head, at, public, signature)


def telling(letter: Letter, head: Head) -> Letter:
    """A reply with the head beside it."""
    return Letter({**letter.records, TOLD: {TOLD: str(head)}}, letter.arrays)


def told(letter: Letter) -> tuple[Letter, Head | None]:
    """A reply without the head, and the head; None where none is told.

    Raises:
        CodecError: If it is of another form.
    """
    record = letter.records.get(TOLD)
    if record is None:
        return letter, None
    text = record.get(TOLD)
    if len(record) != 1 or not isinstance(text, str) or not HEAD.fullmatch(text):
        raise CodecError("a ledger's head must be its number and hash")
    return _without(letter, TOLD), Head.parse(text)


def handing_on(letter: Letter, lines: Mapping[str, Countersigned]) -> Letter:
    """A question with countersigned heads beside it, by site; as it is if there is none."""
    if not lines:
        return letter
    texts = {site: str(line) for site, line in sorted(lines.items())}
    return Letter({**letter.records, COUNTERSIGNED: texts}, letter.arrays)


def handed_on(letter: Letter) -> tuple[Letter, tuple[Countersigned, ...]]:
    """A question without countersigned heads, and these.

    Raises:
        CodecError: If they are of another form, or a signature is not of the key beside it.
    """
    record = letter.records.get(COUNTERSIGNED)
    if record is None:
        return letter, ()
    try:
        lines = tuple(Countersigned.parse(str(text)) for text in record.values())
    except LedgerError:
        raise CodecError("a countersigned head is of another form, or not signed") from None
    if [line.site for line in lines] != list(record):
        raise CodecError("a countersigned head is of another site than it is handed on as")
    return _without(letter, COUNTERSIGNED), lines


def _unsigned(site: str, run: str, head: Head, at: str, key: str) -> str:
    return f"trifed-anchor 1 {site} {run} {head} {at} {key}"


def _without(letter: Letter, name: str) -> Letter:
    rest = {other: record for other, record in letter.records.items() if other != name}
    return Letter(rest, letter.arrays)
