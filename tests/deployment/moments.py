"""The moments at which something is killed, found from outside, and what is killed.

Nothing in the product knows of them. A question's beginning stands in status.json at once; a site's
answer is stored when its file appears in the answers' folder; whoever writes a state or an answer
is stopped (SIGSTOP) while the file beside the old one is there, so the kill hits that instant.
"""

import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.files import BESIDE
from tests.deployment.real_processes import Federation, line

VICTIMS = ("server app", "SuperLink", "SuperNode", "site service", "whole site", "network cut")
MOMENTS = ("statistics", "upload", "save", "embedding", "external")
AT_SERVER = ("server app", "SuperLink")
QUESTIONS = {
    "statistics": "screen_features",
    "embedding": "embed_outputs",
    "external": "external_outputs",
}
"""The question that is under way at the moments that are of no training round."""
TRAINING_SITE, EXTERNAL_SITE = "site_b", "site_d"
CUT_S = 30.0
LOOK_S, LOOK_CLOSELY_S, PIDS_S = 0.05, 0.002, 0.5
LATER_ROUND = r"-r0*([2-9]|[1-9][0-9]+)\.safetensors$"
UNDER_WAY_S = 0.7
"""So long after its beginning a question has come to the sites."""
Place = tuple[int, int]
END: Place = (1_000, 0)


@dataclass(slots=True)
class Timeline:
    """When a study came to each place, a stage or a round, for the first time.

    Attributes:
        came: In seconds of the monotonic clock.
        trained: How many trainings had begun at all sites by then.
    """

    federation: Federation
    came: dict[Place, float] = field(default_factory=dict)
    trained: dict[Place, int] = field(default_factory=dict)
    _looked: float = 0.0

    def look(self) -> Place:
        """Where the study is, noted if it is further than ever; the place furthest so far."""
        if time.monotonic() - self._looked >= LOOK_S:
            self._looked = time.monotonic()
            self._note(place_of(status_of(self.federation)))
        return max(self.came, default=(0, 0))

    def ended(self) -> None:
        """The study is done."""
        self._note(END)

    def seconds(self, place: Place) -> float:
        """How long the study was at a place."""
        later = [came for other, came in self.came.items() if other > place]
        return min(later) - self.came[place]

    def trainings(self, place: Place) -> int:
        """How many trainings began while the study was at a place."""
        later = [number for other, number in self.trained.items() if other > place]
        return min(later) - self.trained[place]

    def _note(self, place: Place) -> None:
        if place > max(self.came, default=(0, 0)):
            self.trained[place] = trainings_begun(self.federation)
            self.came[place] = time.monotonic()


def status_of(federation: Federation) -> dict[str, Any]:
    """What the server tells; nothing if it has not told anything yet."""
    with suppress(OSError, ValueError):
        found: dict[str, Any] = json.loads((federation.server / "run/status.json").read_text())
        return found
    return {}


def place_of(status: dict[str, Any]) -> Place:
    """The number of the stage, and of the training round where there is one."""
    stage, training = status.get("stage"), status.get("round")
    return (stage["number"] if stage else 0, training["round"] if training else 0)


def trainings_begun(federation: Federation) -> int:
    """How often a site set to work on a training round, as their services' logs say."""
    logs = [site.parent / "federation" / "service.log" for site in federation.site_files]
    return sum(log.read_text().count("train_branch: at work") for log in logs if log.exists())


@dataclass(frozen=True, slots=True)
class Hit:
    """How exactly a moment was met: the place, and what was seen there."""

    place: Place
    seen: str


class Killer:
    """Waits for moments of one study and does one thing to it at each.

    Args:
        federation: Its processes.
        timeline: Is kept up to date while waiting.
        victim: One of `VICTIMS`.
        limit_s: How long to wait for a moment.
    """

    def __init__(
        self, federation: Federation, timeline: Timeline, victim: str, limit_s: float
    ) -> None:
        self._federation, self._timeline = federation, timeline
        self._victim, self._limit_s = victim, limit_s
        self._cut: threading.Thread | None = None

    def hit(self, moment: str) -> Hit:
        """Wait for a moment, and strike.

        Raises:
            TimeoutError: If the moment does not come.
        """
        site = EXTERNAL_SITE if moment == "external" else TRAINING_SITE
        if moment == "upload":
            return self._after_answer(site)
        if moment == "save":
            return self._while_writing(site)
        return self._during(QUESTIONS[moment], site)

    def settle(self) -> None:
        """Wait until a cut is over."""
        if self._cut is not None:
            self._cut.join()

    def _wait(self, here: Callable[[], object], what: str, *, closely: bool = False) -> None:
        deadline = time.monotonic() + self._limit_s
        while not here():
            self._timeline.look()
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what} did not come within {self._limit_s:.0f} s")
            time.sleep(LOOK_CLOSELY_S if closely else LOOK_S)

    def _during(self, question: str, site: str) -> Hit:
        """While a question is under way, which the site has not answered."""

        def asked() -> bool:
            status = status_of(self._federation)
            return status.get("phase") == "asking" and status["question"]["name"] == question

        self._wait(asked, question)
        time.sleep(UNDER_WAY_S)
        place = self._timeline.look()
        state = status_of(self._federation)["sites"][site]["state"]
        self._strike(site)
        return Hit(place, f"{question} under way, the site {state}")

    def _after_answer(self, site: str) -> Hit:
        """As soon as the answer to a training round is stored at the site."""
        before = self._stored(site)
        self._wait(lambda: self._stored(site) - before, "a round's answer", closely=True)
        (answer,) = self._stored(site) - before
        place = self._timeline.look()
        self._strike(site)
        lag_s = time.time() - answer.stat().st_ctime
        return Hit(place, f"done {lag_s * 1000:.0f} ms after the answer was stored")

    def _while_writing(self, site: str) -> Hit:
        """While the server writes a round's state, or the site its answer to one.

        Of the server it is not the first round's: whose place would be that of the upload.
        """
        server = self._victim in AT_SERVER
        weights = self._federation.server / "run/study/weights"
        writes = LATER_ROUND if server else ""
        writer, since = list[int](), -PIDS_S

        def here() -> str:
            nonlocal writer, since
            if time.monotonic() - since >= PIDS_S:
                writer = self.server_app() if server else self.service(site)
                since = time.monotonic()
            return half_written()

        def half_written() -> str:
            return beside(weights if server else self._answers(site), writes)

        while True:
            self._wait(here, "the writing of a round", closely=True)
            send(writer, signal.SIGSTOP)
            name = half_written()
            if name:
                break
            send(writer, signal.SIGCONT)
        place = self._timeline.look()
        try:
            self._strike(site)
        finally:
            send(writer, signal.SIGCONT)
        return Hit(place, f"{name.removeprefix(BESIDE)[:40]} half written")

    def _strike(self, site: str) -> None:
        if self._victim == "network cut":
            self._cut = threading.Thread(target=self._cut_off, args=(site,))
            self._cut.start()
            return
        victims = {
            "server app": self.server_app,
            "SuperLink": lambda: self._at_server("server.deploy.superlink"),
            "SuperNode": lambda: self._at_site(site, "client.deploy.supernode"),
            "site service": lambda: self.service(site),
            "whole site": lambda: self._at_site(site),
        }[self._victim]
        if self._victim == "whole site":
            self._federation.kill(site)
        found = victims()
        if not found:
            raise TimeoutError(f"there is no {self._victim} to kill")
        while found:
            send(found, signal.SIGKILL)
            found = victims() if self._victim == "whole site" else []
        if self._victim == "whole site":
            self._federation.start_site(self._site_file(site))

    def _cut_off(self, site: str) -> None:
        hosts = self._federation.hosts
        assert hosts is not None
        hosts.down(site)
        time.sleep(CUT_S)
        hosts.up(site)

    def _site_file(self, site: str) -> Path:
        return next(file for file in self._federation.site_files if file.parent.name == site)

    def _answers(self, site: str) -> Path:
        """Where the site stores large answers to training rounds; one run's folder is there."""
        answers = self._site_file(site).parent / "cache" / "answers"
        return next(iter(answers.glob("*/train_branch")), answers / "none yet")

    def _stored(self, site: str) -> set[Path]:
        folder = self._answers(site)
        return {path for path in folder.glob("*") if not path.name.startswith(BESIDE)}

    def server_app(self) -> list[int]:
        """The study's process."""
        return self._at_server("flwr-serverapp")

    def service(self, site: str) -> list[int]:
        """A hospital's service, without the processes that prepare its images."""
        return self._at_site(site, "site serve")[:1]

    def _at_server(self, word: str) -> list[int]:
        return found("TRIFED_SERVER_FOLDER", self._federation.server, word)

    def _at_site(self, site: str, word: str = "") -> list[int]:
        return found("FLWR_HOME", self._site_file(site).parent, word)


def found(variable: str, folder: Path, word: str) -> list[int]:
    """Processes whose environment names something in a folder, oldest first."""
    wanted = f"{variable}={folder}".encode()
    numbers = []
    for path in Path("/proc").iterdir():
        with suppress(OSError):
            if not path.name.isdigit() or wanted not in (path / "environ").read_bytes():
                continue
            if word in line(int(path.name)):
                numbers.append((started(path), int(path.name)))
    return [pid for _, pid in sorted(numbers)]


def started(process: Path) -> int:
    """When a process began, in ticks since the machine did."""
    return int((process / "stat").read_text().rpartition(")")[2].split()[19])


def beside(folder: Path, pattern: str = "") -> str:
    """The name of a file that is being written; empty if there is none."""
    with suppress(OSError):
        names = (path.name for path in folder.iterdir())
        return next((n for n in names if n.startswith(BESIDE) and re.search(pattern, n)), "")
    return ""


def send(processes: list[int], number: int) -> None:
    """Send a signal to processes that may be gone."""
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, number)
