"""Who is on: contenders do one round each time that they are told to, and wait in between."""

import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

VARIABLE = "DEPLOYED_ROUND_TURNS"
LOOK_S = 0.01


@dataclass
class Turn:
    """One contender's side, in whatever process its rounds are aggregated; in files of a folder."""

    folder: Path = field(default_factory=lambda: Path(os.environ[VARIABLE]))
    done: int = 0

    def wait(self) -> None:
        """Say that a round is done, and wait until the next may begin."""
        self.done += 1
        write(self.folder / "done", str(self.done))
        while read(self.folder / "may") < self.done:
            time.sleep(LOOK_S)


@dataclass
class Master:
    """The side of who measures."""

    folder: Path

    def round(self, number: int, *, limit_s: float) -> float:
        """Let the round begin that follows `number` others; the seconds until it is done."""
        began = time.perf_counter()
        write(self.folder / "may", str(number))
        self.until(number + 1, limit_s=limit_s)
        return time.perf_counter() - began

    def until(self, number: int, *, limit_s: float) -> None:
        """Wait until so many rounds are done."""
        deadline = time.perf_counter() + limit_s
        while read(self.folder / "done") < number:
            if time.perf_counter() > deadline:
                raise SystemExit(f"{self.folder.name}: round {number} is not done in time")
            time.sleep(LOOK_S)


def write(path: Path, text: str) -> None:
    """A small file, whole at any instant."""
    beside = path.with_name(f"{path.name}.beside")
    beside.write_text(text)
    beside.replace(path)


def read(path: Path) -> int:
    """The number in a file; 0 while there is none."""
    try:
        return int(path.read_text())
    except FileNotFoundError:
        return 0


def note(what: str, **values: object) -> None:
    """Write an event of this process down, with the machine's clock."""
    line = json.dumps({"at": time.time(), "what": what, **values})
    with (Path(os.environ[VARIABLE]) / "events").open("a") as file:
        file.write(line + "\n")
