"""What a run released at this hospital, as far as it is still kept: rows, questions and answers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from client.answers import PIN, QUESTION, read_kept
from client.releases.ledger import ledger_of
from client.releases.lock import run_in
from client.releases.row import Row
from client.secagg.answers import EVERY_ANSWER
from client.settings import load_site_settings
from shared.errors import AuditError, CodecError
from shared.letter import Letter, digest_of, read


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """An answer that left, and the question; None where that was too large to keep."""

    question: str
    request: Any
    reply: Any


@dataclass(frozen=True, slots=True, eq=False)
class Released:
    """What one run released.

    Attributes:
        study: The study's hash.
        rows: Of the ledger, of answers alone.
        kept: Answers of which a copy is still here, in the order of their rows.
    """

    run: str
    study: str
    rows: tuple[Row, ...]
    kept: tuple[Kept, ...]

    def of(self, *questions: str) -> list[Kept]:
        """The kept answers to some questions."""
        return [each for each in self.kept if each.question in questions]


def read_released(site_file: Path, beginning: str) -> Released:
    """What the run that begins with these letters released.

    Raises:
        LedgerError: If the ledger is not whole, or knows no such run.
        AuditError: If nothing was released, or no answer is kept any more.
    """
    ledger = ledger_of(site_file, "")
    run, study = run_in(ledger.rows(), beginning)
    rows = [row for row in ledger.rows() if row.run == run and row.content is not None]
    if not rows:
        raise AuditError(
            f"run {run} released nothing here: every question was refused, so there is nothing to "
            f"attack. See why: trifed site ledger show {site_file} --run {run[:8]}"
        )
    folder = site_file.parent / load_site_settings(site_file).cache / "answers" / run
    letters = _letters(folder)
    kept = [_read(row, *letters[row.content.sha256]) for row in rows
            if row.content is not None and row.content.sha256 in letters]  # fmt: skip
    if not kept:
        raise AuditError(
            f"run {run} released {len(rows)} answers, and none of them is kept in {folder} any "
            "more: they were deleted, or other runs came after it. Its rows stand in the ledger; "
            "audit a run before its answers are deleted."
        )
    return Released(run, study, tuple(rows), tuple(each for each in kept if each is not None))


def _letters(folder: Path) -> dict[str, tuple[Letter, Letter | None]]:
    """Each kept answer by the hash that its row has, and its question."""
    found: dict[str, tuple[Letter, Letter | None]] = {}
    if not folder.is_dir():
        return found
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.name == PIN or path.suffix == QUESTION:
            continue
        letter = read_kept(path)
        if letter is not None:
            found[digest_of(letter)] = (letter, read_kept(path.with_name(path.name + QUESTION)))
    return found


def _read(row: Row, answer: Letter, asked: Letter | None) -> Kept | None:
    """An answer by its question's contract; None where that is of another release."""
    found = EVERY_ANSWER.get(row.question)
    if found is None:
        return None
    question = found[0]
    try:
        request = None if asked is None else read(question.request, asked)
        return Kept(row.question, request, read(question.reply, answer))
    except CodecError:
        return None
