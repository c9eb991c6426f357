"""What a site answered, kept on its own disk: nothing that is asked again is worked on again.

A small answer is on disk before it leaves, and is told again to the bit. A large one, weights above
all, is written while it is on its way, since the disk may take longer than the line within the
hospital; its hash is in the release ledger before. If the machine dies in between, the question is
worked on again: without noise that gives the same, and noise is paid for anew (`client.budget`).
Errors are not kept: asked again, the question is tried again.

    answers/RUN/study.hash   the hash of the study that the run is of
    answers/RUN/TICKET       small answers, for the whole run
    answers/RUN/TICKET.question  what was asked, where that is small too
    answers/RUN/NAME/TICKET  large ones, the newest few of each question

Each file is the letter and its SHA-256 (`digest_of`); a damaged one counts as absent.
"""

import fcntl
import io
import logging
import os
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from shared.errors import CodecError, HandshakeError, StateError
from shared.files import (
    flush_folder,
    remove_leftovers,
    replace_atomically,
    write_atomically,
    write_past_cache,
)
from shared.letter import Letter, contents, digest_of, read_letter, write_head

LARGE_BYTES = 1_000_000
LARGE_KEPT = 3
SMALL_BYTES_KEPT = 2_000_000_000
LOOK_EVERY_BYTES = SMALL_BYTES_KEPT // 10
RUNS_KEPT = 5
RUN_KEPT_S = 90 * 86_400.0
PIN = "study.hash"
QUESTION = ".question"
ASKED_BYTES = 300_000
"""Questions up to this size are kept beside their answers, for an audit of what was told."""


class Answers:
    """A site's answers; a context that lets no other service of the site in.

    Args:
        folder: Where they are; made readable by this user alone.
        study_hash: Of the study that the site takes part in.

    Raises:
        StateError: If another service of the site has them open.
    """

    def __init__(self, folder: Path, study_hash: str, log: logging.Logger) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        self._folder, self._study_hash, self._log = folder, study_hash, log
        self._alone = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(self._alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._alone)
            raise StateError(
                f"{folder}: another service of this site is at work. Stop that one first."
            ) from None
        remove_leftovers(folder)
        self._unlooked = LOOK_EVERY_BYTES
        self._admitted = ""
        self._lock = threading.Lock()
        self._late: _Late | None = None
        self._forget_runs()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.settle()
        os.close(self._alone)

    def knows(self, run: str) -> bool:
        """Whether a run has asked before.

        Raises:
            HandshakeError: If the run is of another study.
        """
        if run == self._admitted:
            return True
        pinned = _pin(self._folder / run)
        if pinned is None:
            return False
        if pinned != self._study_hash:
            raise HandshakeError(
                f"run {run} is of the study {pinned[:16]}; this service has the study "
                f"{self._study_hash[:16]}. Serve the run's study, or begin a new run."
            )
        self._admitted = run
        return True

    def admit(self, run: str) -> None:
        """Let a run ask, and remember of which study it is.

        Raises:
            HandshakeError: If it is of another study.
        """
        with self._lock:
            if self.knows(run):
                return
            before = sum(_pin(path) == self._study_hash for path in _runs(self._folder))
            write_atomically(self._folder / run / PIN, self._study_hash.encode())
            flush_folder(self._folder)
            self._log.info("run %s of this study begins; %d came before it here", run, before)
            self._forget_runs()

    def get(self, run: str, ticket: str) -> Letter | None:
        """The answer to the question with this ticket; None where it is absent or damaged."""
        folder, late = self._folder / run, self._late
        if late is not None and (late.path.parent.parent, late.path.name) == (folder, ticket):
            return late.letter
        for path in (folder / ticket, *folder.glob(f"*/{ticket}")):
            try:
                with path.open("rb") as file:
                    return _checked(file)
            except FileNotFoundError:
                continue
            except (OSError, CodecError) as error:
                self._log.warning("%s is damaged and counts as absent: %s", path, error)
        return None

    def put(
        self,
        run: str,
        ticket: str,
        name: str,
        letter: Letter,
        digest: str,
        *,
        asked: Letter | None = None,
    ) -> None:
        """Keep an answer: written beside, flushed to disk, then renamed.

        A large one is only begun; it can be asked for at once, and `settle` waits for its end.

        Args:
            name: Of the question; one that is known here.
            digest: The letter's hash, as `digest_of` has it.
            asked: The question, where it is to be kept too.

        Raises:
            StateError: If a small one cannot be written.
        """
        parts = [*_parts(letter), memoryview(bytes.fromhex(digest))]
        size = sum(map(len, parts))
        if size >= LARGE_BYTES:
            self.settle()
            self._late = late = _Late(self._folder / run / name / ticket, letter)
            late.thread = threading.Thread(target=self._write_late, args=(late, parts))
            late.thread.start()
            return
        path = self._folder / run / ticket
        try:
            if asked is not None:
                asks = [*_parts(asked), memoryview(bytes.fromhex(digest_of(asked)))]
                write_atomically(path.with_name(path.name + QUESTION), b"".join(asks))
            write_atomically(path, b"".join(parts))
            flush_folder(path.parent)
        except OSError as error:
            raise StateError(
                f"{path}: cannot be written ({error.strerror}); an answer that is not kept does "
                "not leave. Make room on the disk, or let the service's user write there."
            ) from None
        self._make_room(path.parent, size)

    def settle(self) -> None:
        """Wait until the large answer that is being written is on disk, or cannot be."""
        late = self._late
        if late is not None and late.thread is not None:
            late.thread.join()

    def _write_late(self, late: "_Late", parts: list[memoryview]) -> None:
        try:
            replace_atomically(late.path, lambda beside: write_past_cache(beside, parts))
            flush_folder(late.path.parent)
            _forget(_oldest_first(late.path.parent)[:-LARGE_KEPT])
        except OSError as error:
            self._log.error(
                "%s: cannot be written (%s); if the answer is asked for again, it is worked out "
                "again. Make room on the disk, or let the service's user write there.",
                late.path,
                error.strerror,
            )
        finally:
            self._late = None

    def _make_room(self, folder: Path, size: int) -> None:
        """Forget the oldest small answers where all of them are too much; rarely looked at."""
        self._unlooked += size
        if self._unlooked < LOOK_EVERY_BYTES:
            return
        self._unlooked = 0
        files = _oldest_first(folder)
        too_much = sum(path.stat().st_size for path in files) - SMALL_BYTES_KEPT
        for path in files[:-1]:
            if too_much <= 0:
                return
            too_much -= path.stat().st_size
            _forget([path])

    def _forget_runs(self) -> None:
        """Forget what is long past, and the oldest runs where there are too many."""
        newest_first = sorted(_runs(self._folder), key=_latest, reverse=True)
        for place, folder in enumerate(newest_first):
            old = time.time() - _latest(folder) > RUN_KEPT_S
            if folder.name != self._admitted and (old or place >= RUNS_KEPT):
                self._log.info("the answers of run %s are forgotten", folder.name)
                shutil.rmtree(folder, ignore_errors=True)


@dataclass(eq=False)
class _Late:
    """A large answer that is being written."""

    path: Path
    letter: Letter
    thread: threading.Thread | None = None


def _parts(letter: Letter) -> list[memoryview]:
    """What `write_letter` writes; the arrays' bytes are not copied."""
    head = io.BytesIO()
    write_head(head, letter)
    return [head.getbuffer(), *(memoryview(part) for part in contents(letter))]


def _checked(file: BinaryIO) -> Letter:
    letter = read_letter(file)
    if file.read() != bytes.fromhex(digest_of(letter)):
        raise CodecError("its checksum is not right")
    return letter


def read_kept(path: Path) -> Letter | None:
    """A letter that is kept; None where it is absent or damaged."""
    try:
        with path.open("rb") as file:
            return _checked(file)
    except (OSError, CodecError):
        return None


def _runs(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if path.is_dir())


def _pin(run: Path) -> str | None:
    """The hash of the study that a run is of; None where nothing is known of the run."""
    try:
        return (run / PIN).read_text("ascii")
    except FileNotFoundError:
        return None


def _latest(folder: Path) -> float:
    """When something was last written to a run's folder, in seconds of the system's clock."""
    folders = [folder, *(path for path in folder.iterdir() if path.is_dir())]
    return max(path.stat().st_mtime for path in folders)


def _oldest_first(folder: Path) -> list[Path]:
    files = [path for path in folder.iterdir() if path.is_file() and path.name != PIN]
    return sorted(files, key=lambda path: path.stat().st_mtime_ns)


def _forget(paths: list[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
