"""The release ledger: a row is on disk before what it tells of leaves; no row, nothing leaves.

`release-ledger.jsonl` stands beside the site file. Rows are only ever added: an answer and a file
to hand on, each question that is refused, and who lifted the lock that too many refusals close
(`client.releases.lock`). An answer that is told again is the same to the bit (`client.answers`) and
makes no second row; neither do questions after the first that a closed gate stops (`client.gate`),
and the closed codes, the site's name, how far work is, and the ledger's head, which the server is
told unasked.

Beside it, in the cache folder, stands the head: number and hash of the last row. A ledger that is
shorter, or ends in another row, lost rows; so does one that lacks an anchor, a head that somebody
else kept, as the server does (`client.releases.heads`).
"""

import fcntl
import itertools
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from client.releases.grounds import AskGrounds, Grounds, asks_grounds
from client.releases.row import Content, Row, Verdict, hash_of, read_row
from client.releases.whole import REMEDY, Whole, read_all
from client.settings import load_site_settings
from shared.errors import LedgerError
from shared.files import flush_folder, write_atomically
from shared.ledger_head import FIRST, Head

NAME = "release-ledger.jsonl"
HEAD = "release-ledger.head"
MODE = 0o600
WINDOW = 65_536


class ReleaseLedger:
    """One hospital's ledger.

    Args:
        folder: Where it stands: the site file's.
        cache: The site's cache folder, where the head stands.
        study: The study's hash.
        to: Who is told: the server, in words.
        grounds: Says what is in force, whenever a row is written.
    """

    def __init__(
        self,
        folder: Path,
        cache: Path,
        *,
        study: str = "",
        to: str = "",
        grounds: AskGrounds = Grounds,
    ) -> None:
        self.path = folder / NAME
        self._head_path = cache / HEAD
        self._study, self._to, self._grounds = study, to, grounds
        self._whole = Whole()

    def release(
        self, content: Content, *, run: str, question: str, least_cell: int | None, to: str = ""
    ) -> Row:
        """Write that something leaves; it may leave when this returns.

        Raises:
            LedgerError: If the ledger cannot be written or is not whole: nothing may leave.
        """
        return self._add("released", run, question, least_cell, "", content, to)

    def refuse(self, code: str, *, run: str, question: str) -> Row:
        """Write that a question was refused.

        Raises:
            LedgerError: As in `release`.
        """
        return self._add("refused", run, question, None, code, None, "")

    def unlock(self, *, run: str, by: str) -> Row:
        """Write that a person lets a run go on that was refused too often.

        Raises:
            LedgerError: As in `release`.
        """
        return self._add("unlocked", run, "unlock", None, "", None, by)

    def rows(self) -> list[Row]:
        """All rows, each of which follows from the one before.

        Raises:
            LedgerError: Naming the first row that does not, or what is lost at the end; or if the
                ledger cannot be read.
        """
        if not self.path.exists():
            self._compare(())
            return []
        try:
            with self._open("rb") as file:
                content = file.read()
        except OSError as error:
            raise LedgerError(
                f"{self.path}: cannot be read ({error.strerror}); nothing leaves without it. Let "
                "the service's user read and write there."
            ) from None
        self._whole = found = read_all(content, self.path, self._whole)
        self._compare(found.rows)
        return list(found.rows)

    def head(self) -> Head:
        """The last row's number and hash, of a ledger that is whole.

        Raises:
            LedgerError: As in `rows`.
        """
        return head_of(self.rows())

    def kept_head(self) -> Head:
        """The head as it is kept beside the ledger; no row is looked at.

        Raises:
            LedgerError: If it cannot be read.
        """
        return self._kept() or Head()

    def check(self, anchor: Head) -> None:
        """See whether a row that somebody else knows of stands there.

        Raises:
            LedgerError: If it does not; or as in `rows`.
        """
        found = self.rows()
        if anchor.number == 0 and anchor.hash == FIRST:
            return
        if anchor.number > len(found):
            raise LedgerError(
                f"{self.path}: the anchor is row {anchor.number}, and the ledger ends with row "
                f"{len(found)}: rows were lost or removed. Put the newest backup in its place."
            )
        if anchor.number < 1 or hash_of(found[anchor.number - 1].line()) != anchor.hash:
            raise LedgerError(
                f"{self.path}: row {anchor.number} is not the one that the anchor was made of: "
                "rows up to it were written anew. Compare it with a backup."
            )

    def _add(
        self,
        verdict: Verdict,
        run: str,
        question: str,
        least_cell: int | None,
        code: str,
        content: Content | None,
        to: str,
    ) -> Row:
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        grounds = self._grounds()
        try:
            with self._open("ab+") as file:
                head = self._mended(file)
                row = Row(
                    head.number + 1, head.hash, at, verdict, to or self._to, self._study, run,
                    question, least_cell, code, content, grounds.policy, grounds.approval,
                )  # fmt: skip
                line = row.line()
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
                if row.number == 1:
                    flush_folder(self.path.parent)
                write_atomically(self._head_path, str(Head(row.number, hash_of(line))).encode())
        except OSError as error:
            raise LedgerError(
                f"{self.path}: cannot be written ({error.strerror}); nothing leaves without a row "
                "here. Make room on the disk, or let the service's user write there."
            ) from None
        return row

    def _mended(self, file: BinaryIO) -> Head:
        """The head; half a line that a crash left, of what never left, is cut off."""
        last, rest = _last_line(file)
        if rest:
            file.truncate(file.seek(0, os.SEEK_END) - len(rest))
        head = Head(read_row(last).number, hash_of(last)) if last else Head()
        if head != self._kept():
            file.seek(0)
            self._compare(read_all(file.read(), self.path, Whole()).rows)
        return head

    def _kept(self) -> Head | None:
        """The head in the cache folder; None where there is none."""
        try:
            return Head.parse(self._head_path.read_text(encoding="ascii"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            raise LedgerError(f"{self._head_path}: cannot be read. {REMEDY}") from None

    def _compare(self, rows: Sequence[Row]) -> None:
        """Refuse a ledger without the row that was its last; rows after it are of a crash."""
        kept = self._kept()
        if kept is None or kept == Head():
            return
        if kept.number > len(rows) or hash_of(rows[kept.number - 1].line()) != kept.hash:
            raise LedgerError(
                f"{self.path}: has {len(rows)} rows, and row {kept.number} was written before as "
                f"another one: rows were lost, removed or changed. {REMEDY}"
            )

    @contextmanager
    def _open(self, mode: str) -> Iterator[BinaryIO]:
        """The file, which no other process of the hospital has open meanwhile."""

        def opener(path: str, flags: int) -> int:
            return os.open(path, flags, MODE)

        with open(self.path, mode, opener=opener) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file  # type: ignore[misc]


def ledger_of(site_file: Path, study: str, *, to: str = "") -> ReleaseLedger:
    """The ledger of the site of a site file; its rows say what is in force when they are written.

    Args:
        study: The study's hash.
        to: Who is told.

    Raises:
        ConfigError: If the site file is wrong.
    """
    folder, cache = site_file.parent, site_file.parent / load_site_settings(site_file).cache
    return ReleaseLedger(folder, cache, study=study, to=to, grounds=asks_grounds(site_file, study))


def _last_line(file: BinaryIO) -> tuple[bytes, bytes]:
    """The last whole line of a file, and what stands behind it."""
    size, window = file.seek(0, os.SEEK_END), WINDOW
    while True:
        start = max(0, size - window)
        file.seek(start)
        whole, newline, rest = file.read(size - start).rpartition(b"\n")
        begin = whole.rfind(b"\n")
        if start == 0 or begin >= 0:
            return whole[begin + 1 :] + newline, rest
        window *= 4


def head_of(rows: Sequence[Row]) -> Head:
    """The last row's number and hash."""
    return Head(len(rows), hash_of(rows[-1].line())) if rows else Head()


def clock_turns(rows: list[Row]) -> list[int]:
    """Numbers of rows that claim to be older than the one before: the clock was set back."""
    return [new.number for old, new in itertools.pairwise(rows) if new.when() < old.when()]
