"""What a round of federated training costs beside the training, between real processes.

Weights of the product's ResNet50 (94 MB) go to three sites, come back changed by a constant, and
are averaged; nothing is trained. Who takes part, each in turn (A B C A B C ...), on one machine:

- ours: the product's own deployment with TLS, keys, the gate, tickets, answers stored at the sites
  and rounds saved at the server. Only the training itself is replaced, and other stages are left
  out; see `deployed/ours.py`.
- plain: a Flower app that sends the state as it is, an array for each tensor, with Flower's FedAvg;
  stock SuperLink and SuperNodes, TLS and keys, `flwr run`.
- flat: the same with one vector of floats and one of counters.
- nvflare: the simulator of NVFlare, without TLS, if `--nvflare` names a Python that has it; and
  nvflare_poc, its deployment on one machine ("proof of concept").

A round is what lies between two aggregations. Told are its seconds, the processor seconds of each
role, and the time from the start of a contender's processes to its first aggregation; of one round
more the largest memory of each process (proportional set size); and of ours what a message costs at
a site beside its transfer, asked of one site while the others are idle: from the last byte that
came from the server to the first that goes to it, and the site service's part of that.

Run it on an idle machine with 16 GB to spare: first with `--prepare`, then without. A round of the
plain app takes more than half a minute on two cores.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from server.progress import LoggedProgress
from simulation.simulate import prepare_run
from tests.benchmarks.deployed import flower
from tests.benchmarks.deployed.processes import cpu_s, pss_mb
from tests.benchmarks.deployed.turns import VARIABLE, Master
from tests.benchmarks.round_overhead import STUDY
from tests.deployment.real_processes import ENVIRONMENT, copied_hospitals, joined

INPUT = "kind: 2.5d, size: [32, 32], spacing_mm: [3.0, 3.0]"
N_CASES = 16
LIMIT_S = 600.0
NVFLARE = {"nvflare": "simulator", "nvflare_poc": "poc"}
SOLO = 3
MORE = 2
"""Rounds besides those that are timed: the first, and the one in which memory is looked at."""


@dataclass
class Contender:
    """One who takes part: its turns, its processes, and what was measured of it."""

    name: str
    turns: Path
    running: list["subprocess.Popen[bytes]"] = field(default_factory=list)
    first_s: float = 0.0
    done: int = 1
    seconds: list[float] = field(default_factory=list)
    cpu: list[dict[str, float]] = field(default_factory=list)
    memory: dict[str, float] = field(default_factory=dict)

    @property
    def master(self) -> Master:
        """Who tells it that it is on."""
        return Master(self.turns)

    def round(self) -> None:
        """One round, timed."""
        before = cpu_s(self.turns)
        self.seconds.append(self.master.round(self.done, limit_s=LIMIT_S))
        self.done += 1
        after = cpu_s(self.turns)
        self.cpu.append({role: after[role] - before.get(role, 0.0) for role in after})

    def weigh(self) -> None:
        """One round more, in which memory is looked at five times a second."""
        ended = threading.Event()

        def look() -> None:
            while not ended.wait(0.2):
                for role, sizes in pss_mb(self.turns).items():
                    self.memory[role] = max(self.memory.get(role, 0.0), *sizes)
                whole = sum(map(sum, pss_mb(self.turns).values()))
                self.memory["all"] = max(self.memory.get("all", 0.0), whole)

        looking = threading.Thread(target=look)
        looking.start()
        self.master.round(self.done, limit_s=LIMIT_S)
        self.done += 1
        ended.set()
        looking.join()

    def end(self) -> None:
        """End its processes."""
        for process in self.running:
            process.terminate()
        for process in self.running:
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()


def prepare(options: argparse.Namespace) -> None:
    """Made-up hospitals that have joined a server, and the weights as files for the others."""
    from safetensors.torch import save_file

    from shared.config import load_study, networks
    from shared.networks import build_network

    folder: Path = options.folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    study = folder / "study.yaml"
    rounds = options.rounds + MORE - 1
    chosen = {"network": options.network, "rounds": rounds, "updates": "fp32", "cases": N_CASES}
    study.write_text(STUDY.format(**chosen, input=INPUT))
    prepare_run(
        study, folder / "made", site_files=[], seed=None, threads=1, resume=True,
        progress=LoggedProgress(),
    )  # fmt: skip
    site_files = copied_hospitals(folder / "made" / "cohort", folder / "hospitals")
    with joined(study, site_files, folder):
        pass
    (network,) = networks(load_study(study))
    state = {k: v.contiguous() for k, v in build_network(network, seed=1).state_dict().items()}
    save_file(state, folder / "weights.safetensors")
    np.savez(folder / "weights.npz", **{name: value.numpy() for name, value in state.items()})
    print(f"{len(state)} arrays, {sum(v.nbytes for v in state.values()) / 1e6:.1f} MB")


def begin(contender: Contender, options: argparse.Namespace) -> None:
    """Start a contender, and wait until its first round is about to be aggregated."""
    folder, site_files = options.folder, sorted(options.folder.glob("hospitals/*/site.yaml"))
    contender.turns.mkdir()
    rounds, began = options.rounds + MORE, time.perf_counter()
    if contender.name == "ours":
        what = [("server", folder / "server"), *(("site", file) for file in site_files)]
        contender.running = [
            started(("-P", "-m", "tests.benchmarks.deployed.ours", *words), contender)
            for words in what
        ]
    elif contender.name in NVFLARE:
        code = Path(flower.__file__).with_name("nvflare_job.py")
        way = NVFLARE[contender.name]
        words = (code, way, folder / "weights.npz", folder / contender.name, rounds)
        contender.running = [started(words, contender, python=options.nvflare)]
    else:
        flower.begin(
            folder / contender.name,
            contender.turns,
            {"plain": "dict", "flat": "flat"}[contender.name],
            keys=folder / "server" / "keys",
            nodes=[file.parent / "federation" / "node.key" for file in site_files],
            weights=folder / "weights.safetensors",
            rounds=rounds,
            running=contender.running,
        )
    contender.master.until(1, limit_s=LIMIT_S)
    contender.first_s = time.perf_counter() - began
    print(f"{contender.name}: first round after {contender.first_s:.1f} s", flush=True)


def started(
    words: tuple[object, ...], contender: Contender, *, python: str = sys.executable
) -> "subprocess.Popen[bytes]":
    """A Python that goes on, with a log of its own."""
    log = contender.turns / f"{len(list(contender.turns.glob('*.out')))}.out"
    with log.open("ab") as out:
        return subprocess.Popen(
            [python, *map(str, words)],
            env=ENVIRONMENT | {VARIABLE: str(contender.turns)},
            cwd=contender.turns, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip


def alone(ours: Contender) -> list[dict[str, float]]:
    """What a message of ours costs at one site, the others being idle."""
    found = []
    for _ in range(SOLO):
        begins = time.time()
        ours.master.round(ours.done, limit_s=LIMIT_S)
        ours.done += 1
        lines = (ours.turns / "events").read_text().splitlines()
        events = [event for event in map(json.loads, lines) if event["at"] >= begins]
        at = {event["said"]: event["at"] for event in events if event["what"] == "supernode"}
        took: dict[str, float] = defaultdict(float)
        for event in events:
            took[event["what"]] += event.get("seconds", 0.0)
        found.append(
            {
                "beside the transfer": at["Sending:"] - at["Received"] - took["work"],
                "service": took["service"] - took["work"],
                "service: reads and hashes": took["service hears"],
                "service: opens": took["service opens"],
                "service: keeps": took["service keeps"],
            }
        )
    return found


def tell(contenders: list[Contender], solo: list[dict[str, float]]) -> None:
    """Print what was measured."""
    ours = next((statistics.median(c.seconds) for c in contenders if c.name == "ours"), None)
    for c in contenders:
        median = statistics.median(c.seconds)
        ratio = (
            "" if ours is None or c.name == "ours" else f"; ours takes {ours / median:.3f} of it"
        )
        each = " ".join(f"{seconds:.2f}" for seconds in c.seconds)
        print(f"{c.name}: {median:.2f} s a round ({each}){ratio}; first after {c.first_s:.1f} s")
        roles = sorted({role for cpu in c.cpu for role in cpu})
        spent = {role: statistics.median(cpu.get(role, 0.0) for cpu in c.cpu) for role in roles}
        told = ", ".join(f"{role} {seconds:.1f}" for role, seconds in spent.items())
        print(f"  processor seconds: {sum(spent.values()):.1f} ({told})")
        told = ", ".join(f"{role} {size:.0f}" for role, size in sorted(c.memory.items()))
        print(f"  memory in MB, the largest of each role and all: {told}")
    for name in solo[0] if solo else ():
        each = " ".join(f"{one[name]:.3f}" for one in solo)
        print(f"ours, one site alone, {name}: {each} s")


def main() -> None:
    """Measure what the options say."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path("runs/benchmarks/deployed"))
    parser.add_argument("--prepare", action="store_true", help="make what is needed, and end")
    parser.add_argument("--rounds", type=int, default=3, help="timed rounds of each")
    parser.add_argument("--network", default="resnet50")
    parser.add_argument("--nvflare", default="", help="the Python of an environment with NVFlare")
    parser.add_argument("--only", nargs="+", choices=("ours", "plain", "flat", *NVFLARE))
    options = parser.parse_args()
    options.folder = options.folder.resolve()
    if options.prepare:
        prepare(options)
        return
    names = options.only or ["ours", "plain", "flat", *(NVFLARE if options.nvflare else [])]
    contenders = [Contender(name, options.folder / f"turns-{name}") for name in names]
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        for contender in contenders:
            begin(contender, options)
        for _ in range(options.rounds):
            for contender in contenders:
                contender.round()
                print(f"{contender.name}: {contender.seconds[-1]:.2f} s", flush=True)
        for contender in contenders:
            contender.weigh()
        solo = [
            one for contender in contenders if contender.name == "ours" for one in alone(contender)
        ]
        tell(contenders, solo)
    finally:
        for contender in contenders:
            contender.end()


if __name__ == "__main__":
    main()
