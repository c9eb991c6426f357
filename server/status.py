"""What a server tells of a run while it goes on: status.json in the run's folder.

Nothing in it is a site's own text, except the few words of `shared.talk.WORDS` that say what a site
is at.
"""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from server.clock import Clock
from server.errand import State
from shared.codec import Packed, pack, unpack
from shared.errors import CodecError, StateError
from shared.files import read_at_most, write_atomically

FILE = "status.json"
AT_MOST_EVERY_S, AT_LEAST_EVERY_S = 1.0, 15.0
MAX_BYTES = 10_000_000
Phase = Literal["starting", "joining", "asking", "computing", "finished", "stopped", "failed"]
OVER = ("finished", "stopped", "failed")


@dataclass(frozen=True, slots=True)
class StudyStatus:
    """Which study: its name, and the hash of its settings."""

    name: str
    hash: str


@dataclass(frozen=True, slots=True)
class StageStatus:
    """The stage that goes on; stages are counted from 1."""

    name: str
    number: int
    n_stages: int
    since: str


@dataclass(frozen=True, slots=True)
class RoundStatus:
    """The training round that is asked for."""

    network: str
    round: int
    since: str


@dataclass(frozen=True, slots=True)
class QuestionStatus:
    """The question that is, or was last, asked; `needed` sites must answer it."""

    name: str
    needed: int
    asked: int
    since: str


@dataclass(frozen=True, slots=True)
class SiteStatus:
    """One site, as of the current question.

    Attributes:
        last_seen: When it was last online, or of one that is, when it came; None if it was never
            there since the server started.
        since: Since when it is in this state.
        code: Why it failed.
        bytes_sent: Content of letters of this question; Flower sends what sites share only once.
    """

    role: str
    online: bool = False
    last_seen: str | None = None
    state: State = "idle"
    since: str = ""
    what: str = ""
    done: int = 0
    total: int = 0
    code: str = ""
    bytes_sent: int = 0
    bytes_received: int = 0


@dataclass(frozen=True, slots=True)
class PastRound:
    """How many sites were in a round, of those asked."""

    network: str
    round: int
    answered: int
    asked: int


@dataclass(frozen=True, slots=True)
class ErrorCount:
    """How often a code came, and where and when last."""

    n: int
    site: str
    last: str


@dataclass(frozen=True, slots=True)
class Status:
    """Where a run stands; times are UTC.

    Attributes:
        code: What ended the run, where its phase is stopped or failed.
        since: Since when it is in its phase.
        waits_for: The sites that the server waits for.
    """

    version: Literal[1]
    written: str
    study: StudyStatus
    run: str
    phase: Phase
    since: str
    code: str = ""
    stage: StageStatus | None = None
    round: RoundStatus | None = None
    question: QuestionStatus | None = None
    waits_for: tuple[str, ...] = ()
    sites: dict[str, SiteStatus] = field(default_factory=dict)
    rounds: tuple[PastRound, ...] = ()
    errors: dict[str, ErrorCount] = field(default_factory=dict)


def status_file(folder: Path) -> Path:
    """The status in a server's folder, or in a run's.

    Raises:
        StateError: If there is none.
    """
    for file in (folder / "run" / FILE, folder / FILE):
        if file.is_file():
            return file
    raise StateError(
        f"{folder}: holds no {FILE}, so no server has run a study there. Give the folder of "
        "'trifed server init'; of a simulation, 'trifed study show' tells."
    )


def read_status(file: Path) -> Status:
    """What a server has written.

    Raises:
        StateError: If there is no such file, or it is damaged.
    """
    content = read_at_most(file, MAX_BYTES, "a status", StateError)
    try:
        return unpack(Status, Packed(content.decode(), {}))
    except (UnicodeDecodeError, CodecError):
        raise StateError(f"{file}: is damaged, or of another release of trifed.") from None


class StatusFile:
    """The status of a run and its file, which is written at changes, at most once a second.

    Args:
        folder: The run's folder. What a status there says of the same run's past rounds and errors
            is taken over.
        roles: Each site's role.
    """

    def __init__(
        self, folder: Path, study: StudyStatus, run: str, roles: dict[str, str], clock: Clock
    ) -> None:
        self.file = folder / FILE
        self._clock = clock
        self._written = float("-inf")
        self._changed = True
        now = clock.stamp()
        self.status = Status(
            1,
            now,
            study,
            run,
            "joining",
            now,
            sites={site: SiteStatus(role, since=now) for site, role in roles.items()},
        )
        self._take_over()

    def change(self, **fields: Any) -> None:
        """Change the status; the file follows with `tick` at the latest."""
        changed = replace(self.status, **fields)
        self._changed |= changed != self.status
        self.status = changed

    def turn(self, phase: Phase, code: str = "") -> None:
        """Note a phase, and since when it is; the file is written at once."""
        if phase != self.status.phase:
            self.change(phase=phase, since=self._clock.stamp(), code=code)
        self.write()

    def count_error(self, site: str, code: str) -> None:
        """Note that something went wrong at a site."""
        before = self.status.errors.get(code)
        entry = ErrorCount(before.n + 1 if before else 1, site, self._clock.stamp())
        self.change(errors={**self.status.errors, code: entry})

    def tick(self) -> None:
        """Write the file if it is time: soon after a change, and now and then in any case.

        By that a reader knows that the server runs.
        """
        age = self._clock.seconds() - self._written
        if age >= (AT_MOST_EVERY_S if self._changed else AT_LEAST_EVERY_S):
            self.write()

    def write(self) -> None:
        """Write the file now."""
        self.status = replace(self.status, written=self._clock.stamp())
        content = json.dumps(json.loads(pack(self.status).text), indent=1)
        write_atomically(self.file, content.encode(), durable=False)
        self._written, self._changed = self._clock.seconds(), False

    def _take_over(self) -> None:
        """Go on with what the run's last server has counted, if that can be read."""
        try:
            before = read_status(self.file)
        except StateError:
            return
        if before.run == self.status.run:
            self.change(rounds=before.rounds, errors=before.errors)
