"""Two hundred small rounds between real processes, a fault every ten, and nothing grows.

Two hospitals train the last layer of one small network (soak.yaml) over the processes of a
deployment on this machine. Every ten rounds something is killed, stopped for a while or said twice,
drawn by a seed. What is killed at a hospital is killed at site_b, so that site_a's processes live
through all of it. After every round each long-lived process is looked at, and so is the disk.

Printed at the end is what each process has after its first twenty rounds and at the end of its
longest life. Exit code 1 if anything grew by more than five per cent, or the study ended badly. It
goes on where it stopped if it is called again with the same folder. With `--secure` there is a
third hospital, and what is added leaves each under masks, keyed anew where a fault lost the keys.
"""

import argparse
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from client.courier import deliver
from shared.config import Study, load_study
from shared.errors import TrifedError
from shared.strict_yaml import dump_settings
from shared.talk import Ticket, wait_for
from simulation.phantom import write_cohort
from tests.conftest import changed
from tests.deployment.processes_watched import Watch, children, table
from tests.deployment.real_processes import Federation, free_port, processes, trifed

STUDY = Path(__file__).with_name("soak.yaml")
LOOK_S = 0.1
STOPPED_S = 20.0
REPLAYS = 20
FAULTS = ("service", "supernode", "study", "superlink", "stopped", "replayed")


def prepare(folder: Path, rounds: int, *, secure: bool) -> Federation:
    """Hospitals with made-up patients that have joined a server; what is there already is kept."""
    server, hospitals = folder / "server", folder / "hospitals"
    if (folder / "ready").exists():
        port = int((folder / "ready").read_text())
        return Federation(server, port, sorted(hospitals.glob("*/site.yaml")))
    study = study_of(rounds, secure=secure)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "study.yaml").write_text(dump_settings(study))
    write_cohort(study, hospitals)
    site_files = sorted(hospitals.glob("*/site.yaml"))
    for site_file in site_files:
        site_file.write_text(site_file.read_text().replace("  threads: 0\n", "  threads: 1\n"))
    port = free_port()
    address = f"127.0.0.1:{port}"
    trifed("server", "init", folder / "study.yaml", "--out", server, "--address", address)
    trifed("server", "invite", server)
    for site_file in site_files:
        invitation = server / "invitations" / f"{site_file.parent.name}.trifed-invitation"
        trifed("site", "join", invitation, "--site", site_file)
    trifed(
        "server",
        "accept",
        server,
        *(s.parent / f"{s.parent.name}.trifed-answer" for s in site_files),
    )
    (folder / "ready").write_text(str(port))
    return Federation(server, port, site_files)


def study_of(rounds: int, *, secure: bool) -> Study:
    """The study of soak.yaml with so many rounds; with secure sums it has a third hospital."""
    study = load_study(STUDY)
    branch = study.branches[0].model_dump(mode="json")
    branch["training"]["rounds"] = rounds
    if not secure:
        return changed(study, branches=[branch])
    names = ["site_a", "site_b", "site_c"]
    made = {name: {"n_cases": 16, "scanner": name[-1]} for name in names}
    return changed(
        study,
        branches=[branch],
        secagg="required",
        sites={"training": names},
        phantom={"sites": made},
    )


class Faults:
    """What goes wrong, drawn by a seed."""

    def __init__(self, federation: Federation, seed: int) -> None:
        self._federation = federation
        self._a, self._b, *_ = federation.site_files
        self._seed = seed

    def strike(self, round_number: int) -> str:
        """Let something go wrong in this round; which, is the seed's to say."""
        chance = random.Random(f"{self._seed} {round_number}")
        name = chance.choice(FAULTS)
        time.sleep(chance.uniform(0.0, 3.0))
        do: dict[str, Callable[[], object]] = {
            "service": lambda: self._kill("site serve", str(self._b)),
            "supernode": lambda: self._kill("client.deploy.supernode", str(self._b.parent)),
            "study": lambda: self._kill("flwr-serverapp", f":{self._federation.port} "),
            "superlink": lambda: self._kill(
                "server.deploy.superlink", str(self._federation.server)
            ),
            "stopped": self._stop_site_a,
            "replayed": self._replay,
        }
        do[name]()
        return name

    def _kill(self, *words: str) -> None:
        found = processes(*words)
        if found:  # it may be on its way up from the last fault
            os.kill(min(found), signal.SIGKILL)

    def _stop_site_a(self) -> None:
        """Nothing of a hospital moves for a while, as when its machine sleeps."""
        stopped = [pid for pid in processes(str(self._a.parent)) if pid != os.getpid()]
        stopped += [child for pid in stopped for child in children(pid)]
        for number in (signal.SIGSTOP, signal.SIGCONT):
            for pid in stopped:
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    continue
            if number == signal.SIGSTOP:
                time.sleep(STOPPED_S)

    def _replay(self) -> None:
        """Whoever reaches the socket asks for the newest answers again and again."""
        answers = sorted(
            self._a.parent.glob("cache/answers/*/*"), key=lambda path: path.stat().st_mtime
        )
        tickets = [path for path in answers if path.is_file() and path.name != "study.hash"]
        for path in tickets[-1:] * REPLAYS:
            try:
                deliver(
                    self._a.parent / "federation" / "service.sock",
                    wait_for(Ticket(path.parent.name, path.name)),
                )
            except TrifedError as error:
                print(f"replay: {error.code}", flush=True)


def round_of(server: Path) -> int:
    """The round that is asked for; 0 before the first."""
    try:
        told: dict[str, Any] = json.loads((server / "run" / "status.json").read_text())
    except (OSError, ValueError):
        return 0
    return int(told["round"]["round"]) if told.get("round") else 0


def soak(
    folder: Path, *, rounds: int, every: int, seed: int, minutes: float, secure: bool
) -> int | None:
    """Run until the study ends, or the time is over; the server's exit code, None if it goes on."""
    federation = prepare(folder, rounds, secure=secure)
    watch, faults = Watch(federation, folder / "soak.jsonl"), Faults(federation, seed)
    seen, deadline = 0, time.monotonic() + 60 * minutes
    server = federation.start_server()
    for site_file in federation.site_files:
        federation.start_site(site_file)
    try:
        struck = round_of(federation.server)
        while server.poll() is None and time.monotonic() < deadline:
            now = round_of(federation.server)
            if now > seen:
                seen = now
                watch.look(now)
            if now >= struck + every and now < rounds:
                struck = now
                name = faults.strike(now)
                watch.note(now, name)
                print(f"{time.strftime('%H:%M:%S')} round {now}: {name}", flush=True)
            time.sleep(LOOK_S)
        return server.poll()
    finally:
        federation.stop()


def main() -> int:
    """Soak, or show what a soak measured."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="where everything is; an earlier one goes on")
    parser.add_argument("--rounds", type=int, default=200, help="rounds of a new folder (200)")
    parser.add_argument("--every", type=int, default=10, help="rounds between faults (10)")
    parser.add_argument("--seed", type=int, default=1, help="which faults (1)")
    parser.add_argument("--minutes", type=float, default=60.0, help="stop then, to go on (60)")
    parser.add_argument("--secure", action="store_true", help="with secure sums of three hospitals")
    parser.add_argument("--table", action="store_true", help="only show what was measured")
    options = parser.parse_args()
    folder = options.folder.resolve()
    status: int | None = 0
    if not options.table:
        status = soak(
            folder,
            rounds=options.rounds,
            every=options.every,
            seed=options.seed,
            minutes=options.minutes,
            secure=options.secure,
        )
    flat = table(folder / "soak.jsonl")
    words = {None: "goes on when it is called again", 0: "ended well"}
    print(f"the study {words.get(status, 'failed: see server.out')}")
    return int(bool(status) or not flat)


if __name__ == "__main__":
    sys.exit(main())
