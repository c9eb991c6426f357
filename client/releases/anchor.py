"""An anchor: a row of the ledger that somebody else knows of, as text."""

from collections.abc import Sequence

from client.releases.heads import HeadBook
from client.releases.row import Row
from shared.errors import LedgerError
from shared.fingerprints import grouped
from shared.invitation import key_fingerprint
from shared.ledger_head import Countersigned, Head


def anchor_of(book: HeadBook) -> str:
    """The last countersigned head of a hospital's own ledger, as one line.

    Raises:
        LedgerError: If no server has countersigned one.
    """
    own = book.own()
    if not own:
        raise LedgerError(
            f"{book.path}: no server has countersigned a row of this ledger yet. Without a "
            "signature: trifed site ledger head SITE.yaml"
        )
    return str(own[-1])


def read_anchor(text: str, site: str) -> Head:
    """The row that an anchor is of: NUMBER:HASH, or a countersigned line, which is checked.

    Raises:
        LedgerError: If it is none, or of another site.
    """
    if text.split()[:1] != ["trifed-anchor"]:
        return Head.parse(text)
    line = Countersigned.parse(text)
    if line.site != site:
        raise LedgerError(f"the anchor is of {line.site}, and this is the ledger of {site}")
    return line.head


def countersigned_lines(rows: Sequence[Row], own: Sequence[Countersigned]) -> list[str]:
    """How far the server has countersigned the ledger, for a terminal."""
    if not own:
        return ["No server has countersigned a row of it yet."]
    last = own[-1]
    after = len(rows) - last.head.number
    return [
        f"Countersigned up to row {last.head.number} at {last.at} by the server's key "
        f"{grouped(key_fingerprint(last.key))} (run {last.run[:8]}); {after} rows came after it."
    ]
