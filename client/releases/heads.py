"""Countersigned heads at a hospital: `countersigned-heads.txt` beside the release ledger.

With its questions the server hands on the last head of each ledger that it signed. The site keeps
its own and the others', a line each. Its own must stand in its ledger: if not, rows were lost, and
nothing is answered. Another's that goes back says that rows were lost there, or that this server
forgot; that is told in the log.
"""

import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from client.releases.ledger import ReleaseLedger
from client.releases.row import Row, hash_of
from shared.errors import CodecError, LedgerError
from shared.files import flush_folder
from shared.ledger_head import Countersigned, handed_on, telling
from shared.letter import Letter

NAME = "countersigned-heads.txt"
MODE = 0o600


class HeadBook:
    """The countersigned heads of one hospital; its file is only ever added to.

    Args:
        folder: Where the release ledger stands.
        site: Whose ledger that is.
    """

    def __init__(self, folder: Path, site: str) -> None:
        self.path, self.site = folder / NAME, site

    def lines(self) -> list[Countersigned]:
        """All lines; half a line that a crash left at the end is none.

        Raises:
            LedgerError: Naming a line that is no countersigned head, or if the file cannot be read.
        """
        try:
            content = self.path.read_text(encoding="ascii", errors="replace")
        except FileNotFoundError:
            return []
        except OSError as error:
            raise LedgerError(f"{self.path}: cannot be read ({error.strerror}).") from None
        found = []
        for number, text in enumerate(content.splitlines(keepends=True), start=1):
            if not text.endswith("\n"):
                break
            try:
                found.append(Countersigned.parse(text))
            except LedgerError as error:
                raise LedgerError(
                    f"{self.path}, line {number}: {error}. Put a backup in its place, or ask the "
                    "coordinator for the lines: trifed server heads DIR --lines"
                ) from None
        return found

    def own(self) -> list[Countersigned]:
        """The lines of this hospital's ledger.

        Raises:
            LedgerError: As in `lines`.
        """
        return [line for line in self.lines() if line.site == self.site]

    def add(self, lines: Iterable[Countersigned]) -> None:
        """Add lines, flushed to disk.

        Raises:
            LedgerError: If the file cannot be written.
        """
        text = "".join(f"{line}\n" for line in lines)

        def opener(path: str, flags: int) -> int:
            return os.open(path, flags, MODE)

        try:
            with open(self.path, "a+b", opener=opener) as file:
                whole = self._whole_bytes()
                if file.seek(0, os.SEEK_END) > whole:
                    file.truncate(whole)
                file.write(text.encode("ascii"))
                file.flush()
                os.fsync(file.fileno())
            flush_folder(self.path.parent)
        except OSError as error:
            raise LedgerError(
                f"{self.path}: cannot be written ({error.strerror}); make room on the disk, or let "
                "the service's user write there."
            ) from None

    def _whole_bytes(self) -> int:
        """How many bytes there are up to the last end of a line."""
        return self.path.read_bytes().rfind(b"\n") + 1


class HeadTelling:
    """Tells the ledger's head beside each reply, and takes in what the server countersigned.

    Args:
        run: The run that the site joined.
        key: The server's key, in hexadecimal, as the invitation told it.
    """

    def __init__(
        self, ledger: ReleaseLedger, book: HeadBook, log: logging.Logger, *, run: str, key: str
    ) -> None:
        self._ledger, self._book, self._log = ledger, book, log
        self._run, self._key = run, key
        self._last = {line.site: line for line in book.lines() if self._is_ours(line)}

    def heard(self, letter: Letter) -> Letter:
        """The letter without countersigned heads, which are kept now.

        Raises:
            CodecError: If the letter's are not heads, or not signed by this server for this run.
            LedgerError: If this site's is of a row that its ledger does not have (any more).
        """
        letter, lines = handed_on(letter)
        if not all(self._is_ours(line) for line in lines):
            raise CodecError("a head must be countersigned by this server, for this run")
        for line in lines:
            if line.site == self._book.site:
                self._ledger.check(line.head)
        new = [line for line in lines if self._is_news(line)]
        if new:
            self._book.add(new)
            self._last |= {line.site: line for line in new}
        return letter

    def told(self, letter: Letter) -> Letter:
        """A reply with the head beside it; what only says how far work is has none.

        Raises:
            LedgerError: If the head cannot be read.
        """
        return letter if "working" in letter.records else telling(letter, self._ledger.kept_head())

    def _is_ours(self, line: Countersigned) -> bool:
        return (line.run, line.key) == (self._run, self._key)

    def _is_news(self, line: Countersigned) -> bool:
        """Whether a line is of a later row than the last one; one that goes back is told of."""
        before = self._last.get(line.site)
        if before is None or line.head.number > before.head.number:
            return True
        if line.head != before.head:
            self._log.error(
                "the server hands on row %d of the ledger of %s as the last one, and had "
                "countersigned row %d before: it forgot, or rows were lost there. Ask the "
                "coordinator: trifed server heads DIR",
                *(line.head.number, line.site, before.head.number),
            )
        return False


def heads_of(
    ledger: ReleaseLedger, site: str, log: logging.Logger, *, run: str | None, key: str
) -> HeadTelling | None:
    """What tells a site's heads to the server whose study it joined; None where it joined none.

    Raises:
        LedgerError: If a row that the server countersigned is not in the ledger (any more).
    """
    if run is None or not key:
        return None
    book = HeadBook(ledger.path.parent, site)
    check_countersigned(ledger.rows(), book.own(), ledger.path)
    return HeadTelling(ledger, book, log, run=run, key=key)


def check_countersigned(rows: Sequence[Row], lines: Sequence[Countersigned], path: Path) -> None:
    """See whether each row that a server countersigned still stands in the ledger.

    Args:
        lines: Of this ledger.
        path: The ledger's, for the error.

    Raises:
        LedgerError: Naming the first row that does not.
    """
    for line in lines:
        number = line.head.number
        if number == 0:
            continue
        if number > len(rows):
            raise LedgerError(
                f"{path}: row {number} was countersigned by the server at {line.at}, and the "
                f"ledger ends with row {len(rows)}: rows were lost or removed. Put the newest "
                "backup in its place."
            )
        if hash_of(rows[number - 1].line()) != line.head.hash:
            raise LedgerError(
                f"{path}: row {number} is not the one that the server countersigned at {line.at}: "
                "rows up to it were written anew. Compare it with a backup."
            )
