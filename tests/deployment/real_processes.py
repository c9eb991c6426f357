"""A federation of real processes on one machine, driven by the commands that people type."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.deployment.hosts import SERVER_ADDRESS, Network

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = os.environ | {
    "PYTHONPATH": str(ROOT),
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}
STOP_LIMIT_S = 120.0


def trifed(*arguments: object) -> subprocess.CompletedProcess[str]:
    """One command, to its end."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "trifed", *map(str, arguments)],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
    )


def trifed_in_turn(*commands: tuple[object, ...]) -> None:
    """Several commands, each to its end, in one process: its start takes longer than they do."""
    code = "import json, sys, trifed\nfor words in json.loads(sys.argv[1]):\n"
    code += "    if trifed.main(words): sys.exit(1)"
    words = json.dumps([[str(word) for word in command] for command in commands])
    subprocess.run(
        [sys.executable, "-P", "-c", code, words], env=ENVIRONMENT, capture_output=True, check=True
    )


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(found: Callable[[], object], *, limit_s: float, what: str) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + limit_s
    while not found():
        assert time.monotonic() < deadline, f"{what}: not within {limit_s:.0f} s"
        time.sleep(0.2)


@dataclass
class Federation:
    """A server's folder and hospitals that joined it; their processes while they run.

    Attributes:
        hosts: Each machine's own host, where there are such; else all is on this machine's own.
    """

    server: Path
    port: int
    site_files: list[Path]
    hosts: Network | None = None
    running: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    def start(self, name: str, *arguments: object) -> "subprocess.Popen[bytes]":
        """A command that goes on, with a log of its own."""
        log = self.server.parent / f"{name}.out"
        inside = self.hosts.inside(name) if self.hosts else ()
        with log.open("ab") as out:
            self.running[name] = subprocess.Popen(
                [*inside, sys.executable, "-P", "-m", "trifed", *map(str, arguments)],
                env=ENVIRONMENT,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self.running[name]

    def start_server(self) -> "subprocess.Popen[bytes]":
        """The server's processes."""
        return self.start("server", "server", "start", self.server, "--foreground")

    def start_site(self, site_file: Path) -> "subprocess.Popen[bytes]":
        """A hospital's processes."""
        return self.start(site_file.parent.name, "site", "start", site_file, "--foreground")

    def kill(self, name: str) -> None:
        """Kill a supervisor; its programs must end by themselves."""
        self.running[name].kill()
        self.running[name].wait()

    def kill_program(self, *words: str) -> int:
        """Kill one program by words of its command line, and tell which process that was."""
        found = min(processes(*words))  # what it forked came later
        os.kill(found, signal.SIGKILL)
        return found

    def logs(self) -> str:
        """The ends of all logs, for whoever must find out."""
        names = [*self.server.parent.glob("*.out"), *self.server.rglob("logs/*.log")]
        names += [log for site in self.site_files for log in site.parent.rglob("*.log")]
        return "\n".join(
            f"== {name}\n" + "\n".join(name.read_text(errors="replace").splitlines()[-15:])
            for name in names
        )

    def stop(self) -> None:
        """End everything, as a person would."""
        for process in self.running.values():
            if process.poll() is None:
                process.terminate()
        for process in self.running.values():
            process.wait(timeout=STOP_LIMIT_S)


def line(pid: int) -> str:
    """A process's command line; empty if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def processes(*words: str) -> list[int]:
    """The processes that have all these words in their command line."""
    numbers = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [pid for pid in numbers if pid != os.getpid() and all(w in line(pid) for w in words)]


def copied_hospitals(cohort: Path, to: Path) -> list[Path]:
    """Hospitals of a finished run without what the run computed, or remembered, there."""
    made = shutil.ignore_patterns("cache", "looks.json")
    shutil.copytree(cohort, to, ignore=made, dirs_exist_ok=True)
    site_files = sorted(to.glob("*/site.yaml"))
    for site_file in site_files:  # the number of threads decides the last digits
        text = site_file.read_text(encoding="utf-8")
        assert "  threads: 0\n" in text
        site_file.write_text(text.replace("  threads: 0\n", "  threads: 1\n"), encoding="utf-8")
    return site_files


@contextmanager
def joined(
    study_file: Path, site_files: list[Path], folder: Path, hosts: Network | None = None
) -> Iterator[Federation]:
    """A server and hospitals that have joined it by the commands; all is ended afterwards."""
    server, port = folder / "server", free_port()
    host, listens = (SERVER_ADDRESS, "0.0.0.0") if hosts else ("127.0.0.1", "127.0.0.1")
    address = ("--address", f"{host}:{port}", "--listen", f"{listens}:{port}")
    invitations = [server / f"invitations/{s.parent.name}.trifed-invitation" for s in site_files]
    trifed_in_turn(
        ("server", "init", study_file, "--out", server, *address),
        ("server", "invite", server),
        *(
            ("site", "join", invitation, "--site", site_file)
            for invitation, site_file in zip(invitations, site_files, strict=True)
        ),
    )
    answers = [answer for s in site_files for answer in s.parent.rglob("*.trifed-answer")]
    assert len(answers) == len(site_files)
    trifed("server", "accept", server, *answers)
    federation = Federation(server, port, site_files, hosts)
    try:
        yield federation
    finally:
        federation.stop()
