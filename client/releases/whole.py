"""A ledger's rows as they are read: each must follow from the one before."""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from client.releases.row import Row, hash_of, read_row
from shared.errors import LedgerError
from shared.ledger_head import Head

REMEDY = (
    "Nothing leaves until that is settled: put the newest backup of release-ledger.jsonl in its "
    "place; whoever decides that in your hospital may also move both files away, keep them, and "
    "let a new ledger begin."
)
EMPTY: Final = Head()
NO_BYTES: Final = hashlib.sha256().hexdigest()


@dataclass(frozen=True, slots=True)
class Whole:
    """Rows that were read and follow from each other, and the hash of the bytes that they are in.

    A service looks at its ledger at each question; while these bytes are the same, only the rows
    after them are read.
    """

    rows: tuple[Row, ...] = ()
    head: Head = EMPTY
    n_bytes: int = 0
    digest: str = NO_BYTES

    def begins(self, content: bytes) -> bool:
        """Whether the ledger still begins with these rows, to the bit."""
        beginning = memoryview(content)[: self.n_bytes]
        return hashlib.sha256(beginning).hexdigest() == self.digest


def read_all(content: bytes, path: Path, known: Whole) -> Whole:
    """Rows that follow from each other; half a line at the end is of what never left."""
    known = known if known.begins(content) else Whole()
    found, head, n_bytes = list(known.rows), known.head, known.n_bytes
    rest = io.BytesIO(content)
    rest.seek(n_bytes)
    for number, line in enumerate(rest, start=len(found) + 1):
        if not line.endswith(b"\n"):
            break
        try:
            row = read_row(line)
        except LedgerError as error:
            raise LedgerError(f"{path}, row {number}: {error}. {REMEDY}") from None
        if (row.number, row.before) != (number, head.hash):
            raise LedgerError(
                f"{path}, row {number}: does not follow from the row before it: one of the two "
                f"was changed, removed, added or swapped. {REMEDY}"
            )
        found.append(row)
        head, n_bytes = Head(number, hash_of(line)), n_bytes + len(line)
    digest = hashlib.sha256(memoryview(content)[:n_bytes]).hexdigest()
    return Whole(tuple(found), head, n_bytes, digest)
