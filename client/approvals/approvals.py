"""approvals.jsonl beside the site file: which studies were approved, by whom, and which withdrawn.

A study is known by its hash, so that whatever is changed in it must be approved anew. Lines are
only ever added, each with the hash of the one before; a file in which that does not fit approves
nothing. It is not sealed: whoever may write to it can approve. A site of made-up patients
(`synthetic: true`) needs no approval.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

from client.settings import SiteSettings, load_site_settings
from shared.config import Study, digest
from shared.errors import ApprovalError
from shared.files import flush_folder

NAME = "approvals.jsonl"
MODE = 0o600
FIRST = hashlib.sha256(b"trifed approvals 1").hexdigest()
What = Literal["approved", "withdrawn"]


@dataclass(frozen=True, slots=True)
class Line:
    """One line: what was done with which study, by which user of the machine, and when (UTC)."""

    before: str
    at: str
    by: str
    what: What
    study: str
    title: str

    def text(self) -> bytes:
        """As it stands in the file."""
        return json.dumps(asdict(self), separators=(",", ":")).encode() + b"\n"


class Approvals:
    """The approvals of the site file in a folder; every call reads the file anew."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME

    def lines(self) -> list[Line]:
        """All lines.

        Raises:
            ApprovalError: If one was changed, removed or added by another hand, or the file cannot
                be read, or others may write to it.
        """
        try:
            content = self.path.read_bytes()
            others = self.path.stat().st_mode & 0o022
        except FileNotFoundError:
            return []
        except OSError as error:
            raise ApprovalError(f"{self.path}: cannot be read ({error.strerror}).") from None
        if others:
            raise ApprovalError(
                f"{self.path}: others than its owner may write to it, so that nobody knows who "
                f"approved what. Look through it, then: chmod 600 {self.path}"
            )
        return _parsed(self.path, content)

    def are_for(self, study_hash: str) -> bool:
        """Whether a study is approved, and was not withdrawn since."""
        found = [line.what for line in self.lines() if line.study == study_hash]
        return bool(found) and found[-1] == "approved"

    def approval_of(self, study_hash: str) -> str:
        """SHA-256 of the line by which a study is approved; empty if it is not.

        Raises:
            ApprovalError: As in `lines`.
        """
        found = [line for line in self.lines() if line.study == study_hash]
        return _hash(found[-1]) if found and found[-1].what == "approved" else ""

    def add(self, what: What, study_hash: str, *, title: str, by: str) -> Line:
        """Write a line, flushed to disk.

        Raises:
            ApprovalError: As in `lines`, or if the file cannot be written.
        """

        def opener(path: str, flags: int) -> int:
            return os.open(path, flags, MODE)

        try:
            with open(self.path, "ab", opener=opener) as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                known = self.lines()
                before = _hash(known[-1]) if known else FIRST
                at = datetime.now(UTC).isoformat(timespec="seconds")
                line = Line(before, at, by, what, study_hash, title)
                file.write(line.text())
                file.flush()
                os.fsync(file.fileno())
            flush_folder(self.path.parent)
        except OSError as error:
            raise ApprovalError(f"{self.path}: cannot be written ({error.strerror}).") from None
        return line

    def one(self, beginning: str) -> Line:
        """The last line about the one study whose hash begins with these letters.

        Raises:
            ApprovalError: If there is none, or several; or as in `lines`.
        """
        known = {line.study: line for line in self.lines()}
        found = [study for study in known if study.startswith(beginning.lower())]
        if len(found) != 1:
            listed = ", ".join(study[:12] for study in found or known) or "none"
            raise ApprovalError(
                f"'{beginning[:64]}' is {'no study' if not found else 'several studies'} of "
                f"{self.path}; name one of: {listed}"
            )
        return known[found[0]]


def refuse_unapproved(site_file: Path, study: Study) -> None:
    """Go on only with a study that a person of the hospital approved, or with made-up patients.

    Raises:
        ApprovalError: Naming the command by which it is approved.
    """
    check_approved(site_file, load_site_settings(site_file), digest(study))


def check_approved(site_file: Path, settings: SiteSettings, study_hash: str) -> None:
    """The same by the study's hash."""
    folder = site_file.resolve().parent
    if settings.synthetic or Approvals(folder).are_for(study_hash):
        return
    raise ApprovalError(
        f"nobody at {settings.name} has approved the study {study_hash[:16]}, or it was withdrawn, "
        "and nothing of it is answered. Whoever may decide that in your hospital looks at what "
        f"would leave, and approves it: trifed site approve {site_file} STUDY (STUDY is the study "
        "file, the invitation or the bundle; after joining, federation/study.yaml)"
    )


def approval_lines(lines: Sequence[Line]) -> list[str]:
    """The lines in words."""
    return [
        f"{line.at[:19]}Z  {line.what:<9}  {line.study[:16]}  by {line.by}: {line.title}"
        for line in lines
    ] or ["No study was approved here."]


def _hash(line: Line) -> str:
    return hashlib.sha256(line.text()).hexdigest()


def _parsed(path: Path, content: bytes) -> list[Line]:
    """The lines of the file, each of which follows from the one before."""
    found, before = list[Line](), FIRST
    for number, text in enumerate(content.splitlines(keepends=True), start=1):
        try:
            line = Line(**json.loads(text))
        except (ValueError, TypeError, RecursionError):
            line = None
        sound = line is not None and line.text() == text and line.what in get_args(What)
        if line is None or not sound or line.before != before:
            raise ApprovalError(
                f"{path}, line {number}: is not as it was written, or does not follow from the "
                "line before it. Nothing is approved by it: put a backup in its place, or move it "
                "away and approve anew."
            )
        found.append(line)
        before = _hash(line)
    return found
