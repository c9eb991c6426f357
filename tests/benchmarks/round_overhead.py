"""What federation costs: a round of ResNet50 against the same steps in a bare PyTorch loop.

Both train on the same cases of three made-up sites, in the same order, with the same optimiser,
precision, augmentation, gradient check and scoring of tune cases. After every federated round the
bare loop does one, so that both see the same machine: A B A B. The first round of each is dropped.
Run it on an idle machine. A virtual machine that has just started hands out its memory slowly,
and a federated round takes more of it than a bare one: fill the memory once before.

The federated round is everything from one aggregation to the next: it, saving, messages, scoring,
training. Bare is one network that goes on from site to site.
"""

import argparse
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

import trifed
from client.augment import augment, draw_views, frame_of
from client.cohort.cases import Cases
from client.device import Compute, compute_for, prepare_process
from client.rounds import Rounds
from client.settings import Device
from client.site import open_site
from client.training import batches
from server import aggregate, study_folder
from server.broadcast import first_broadcast, next_broadcast
from server.inbox import Inbox
from server.progress import LoggedProgress
from server.stages import train_branches
from shared.branches import Branch3D, Branch25D
from shared.config import Aggregation, Network, Study, networks
from shared.job import Job, read_job
from shared.networks import Weights, build_network, network_layout
from shared.scores import score_sums
from shared.stages.train_branches import Reply
from shared.strict_yaml import parse_settings
from shared.updates import Coder
from simulation.flower import run_on_flower
from simulation.simulate import prepare_run, run_in_process

STUDY = """
version: 1
name: overhead
title: How much a federated round costs
seed: 1
sites: {{training: [site_a, site_b, site_c]}}
endpoint: {{name: HER2, column: her2_ihc, negative: ["0", "1+"], positive: ["2+", "3+"]}}
phases: [corticomedullary, nephrographic, excretory]
cohort: {{splits: {{train: 0.75, tune: 0.1875, internal_test: 0.0625}}, min_roi_voxels: 8}}
radiomics: {{spacing_mm: [5.0, 4.0, 4.0], classes: [firstorder]}}
clinical: {{predictors: [sessile]}}
branches:
  - {{name: branch, network: {network}, {input}, training: {{rounds: {rounds}}}}}
aggregation: {{updates: {updates}}}
fusion: {{budget: report}}
phantom:
  preset: easy
  size: tiny
  sites:
    site_a: {{n_cases: {cases}, scanner: a}}
    site_b: {{n_cases: {cases}, scanner: b}}
    site_c: {{n_cases: {cases}, scanner: c}}
"""
INPUTS = {
    "2.5d": "kind: 2.5d, size: [96, 96], spacing_mm: [0.75, 0.75]",
    "3d": "kind: 3d, size: [48, 48, 48], spacing_mm: [1.5, 1.5, 1.5]",
}


@dataclass
class BareLoop:
    """The same training without federation."""

    network: Network
    study: Study
    inputs: list[tuple[torch.Tensor, torch.Tensor]]
    tune: list[tuple[torch.Tensor, torch.Tensor]]
    compute: Compute
    module: torch.nn.Module = field(init=False)
    optimiser: torch.optim.Optimizer = field(init=False)

    def __post_init__(self) -> None:
        settings = self.network.branch.training
        module = build_network(self.network, seed=1)
        self.module = module.to(  # type: ignore[call-overload]
            device=self.compute.device, memory_format=self.compute.memory_format
        )
        self.optimiser = torch.optim.AdamW(
            self.module.parameters(),
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            fused=True,
        )

    def round(self, number: int) -> None:
        """At every site, score its tune cases, then train on its training cases once."""
        for site, (inputs, labels) in enumerate(self.inputs):
            self.score(*self.tune[site])
            self.train(inputs, labels, np.random.default_rng([number, site]))

    def score(self, inputs: torch.Tensor, labels: torch.Tensor) -> float:
        """The loss of a site's tune cases."""
        self.module.eval()
        logits = []
        with torch.inference_mode():
            for start in range(0, len(inputs), 64):
                batch = inputs[start : start + 64]
                batch = batch.contiguous(memory_format=self.compute.memory_format)
                with self.compute.precision():
                    logits.append(self.module(batch).squeeze(1).float())
            loss = torch.nn.functional.binary_cross_entropy_with_logits(torch.cat(logits), labels)
        return float(loss)

    def train(self, inputs: torch.Tensor, labels: torch.Tensor, rng: np.random.Generator) -> None:
        """One pass over a site's cases."""
        settings = self.network.branch.training
        self.module.train()
        patients, frame = np.arange(len(labels), dtype=np.uint64), frame_of(self.network)
        views = draw_views(patients, settings.augment, frame, seed=1, device=inputs.device)
        for rows in batches(len(labels), settings.batch_size, rng):
            index = torch.from_numpy(rows).to(inputs.device)
            batch = augment(inputs[index], views.of(index), settings.augment)
            batch = batch.contiguous(memory_format=self.compute.memory_format)
            self.optimiser.zero_grad(set_to_none=True)
            with self.compute.precision():
                logits = self.module(batch).squeeze(1)
            loss = torch.nn.functional.binary_cross_entropy_with_logits(
                logits.float(), labels[index]
            )
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(
                self.module.parameters(), settings.clip_gradient_norm, foreach=True
            )
            if not math.isfinite(float(norm)):
                raise RuntimeError("a gradient is not finite")
            self.optimiser.step()
            float(loss.detach())


def bare_loop(job: Job) -> BareLoop:
    """The bare loop on the job's cases."""
    study = job.study()
    (network,) = networks(study)
    compute = compute_for(network, Device())
    inputs, tune = [], []
    for name in sorted(job.site_files):
        site = open_site(job.site_files[name], study, threads=job.threads)

        def tensors(cases: Cases, site: Any = site) -> tuple[torch.Tensor, torch.Tensor]:
            values, _ = site.tensors(cases, network)
            labels = torch.from_numpy(site.labels(cases).astype(np.float32))
            return torch.from_numpy(values).to(compute.device), labels.to(compute.device)

        inputs.append(tensors(site.training))
        tune.append(tensors(site.tuning))
    return BareLoop(network, study, inputs, tune, compute)


@dataclass
class Alternation:
    """Times the federated rounds from aggregation to aggregation, and does a bare one before each.

    At that instant nothing of the federated round goes on: the one before is saved.
    """

    bare: BareLoop | None = None
    federated_s: list[float] = field(default_factory=list)
    bare_s: list[float] = field(default_factory=list)
    federated_cpu_s: list[float] = field(default_factory=list)
    bare_cpu_s: list[float] = field(default_factory=list)
    since: tuple[float, float] = field(
        default_factory=lambda: (time.perf_counter(), time.process_time())
    )

    def hook(self) -> None:
        """Let every aggregation begin with a note and a bare round."""
        aggregate_round = train_branches.Aggregator.aggregate

        def call(aggregator: Any, number: int, *args: Any) -> Any:
            self.note(self.federated_s, self.federated_cpu_s)
            if self.bare is not None:
                self.bare.round(number)
                self.note(self.bare_s, self.bare_cpu_s)
            return aggregate_round(aggregator, number, *args)

        train_branches.Aggregator.aggregate = call  # type: ignore[method-assign]

    def note(self, wall_s: list[float], cpu_s: list[float]) -> None:
        """Write down what has passed since the last note."""
        wall, cpu = self.since
        self.since = (time.perf_counter(), time.process_time())
        wall_s.append(self.since[0] - wall)
        cpu_s.append(self.since[1] - cpu)


PARTS: tuple[tuple[Any, str], ...] = (
    (train_branches.Aggregator, "configure"),
    (train_branches.Aggregator, "aggregate"),
    (Inbox, "put"),
    (train_branches, "next_broadcast"),
    (study_folder.StudyFolder, "put_weights"),
    (study_folder.StudyFolder, "save"),
    (study_folder.StudyFolder, "keep_only"),
    (Rounds, "receive"),
    (Rounds, "change"),
)


def time_parts(spent: dict[str, list[float]]) -> None:
    """Note how long each call of a part of the round takes; parts may lie within each other."""
    from client.stages import train_branches as at_site

    sited = ("set_weights", "get_weights", "score_tune", "train")
    for owner, name in (*PARTS, *((at_site, name) for name in sited)):
        setattr(owner, name, timed(getattr(owner, name), spent.setdefault(name, [])))


def timed(function: Callable[..., Any], spent: list[float]) -> Callable[..., Any]:
    """The function, noting its time."""

    def call(*args: Any, **kwargs: Any) -> Any:
        began = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            spent.append(time.perf_counter() - began)

    return call


def prepare_job(options: argparse.Namespace, out: Path) -> Job:
    """The study and its hospitals, which later calls with the same settings find ready."""
    folder: Path = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    chosen = {name: getattr(options, name) for name in ("rounds", "cases", "network", "updates")}
    text = STUDY.format(**chosen, input=INPUTS[options.kind])
    parse_settings(text, Study, name="study.yaml")
    cohort = folder / f"cohort-{options.kind}-{options.cases}"
    study_file = out.with_suffix(".yaml")
    study_file.write_text(text)
    if not (cohort / "job.json").exists():
        prepare_run(
            study_file, cohort, site_files=[], seed=None, threads=options.threads,
            resume=True, progress=LoggedProgress(),
        )  # fmt: skip
    sites = list(read_job(cohort / "job.json").site_files.values())
    return prepare_run(
        study_file, out, site_files=sites, seed=None, threads=options.threads,
        resume=False, progress=LoggedProgress(),
    )  # fmt: skip


def measure(options: argparse.Namespace, engine: str, *, alone: bool) -> dict[str, Any]:
    """Run one engine; with `alone` nothing else, so that memory is its own."""
    job = prepare_job(options, options.folder / f"{engine}-{os.getpid()}")
    prepare_process(job.threads)
    spent: dict[str, list[float]] = {}
    if engine == "bare":
        bare, began = bare_loop(job), time.perf_counter()
        for number in range(options.rounds):
            bare.round(number)
        return {"bare_s": [(time.perf_counter() - began) / options.rounds] * options.rounds}
    times = Alternation(bare=None if alone else bare_loop(job))
    time_parts(spent)
    times.hook()
    (run_on_flower if engine == "flower" else run_in_process)(job, LoggedProgress())
    names = ("federated_s", "bare_s", "federated_cpu_s", "bare_cpu_s")
    return {name: getattr(times, name) for name in names} | {"parts": spent}


def pss_of_tree(root: int) -> int:
    """Proportional set size in bytes of a process and all that descend from it."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
    tree, total = {root}, 0
    while more := {child for child, parent in parents.items() if parent in tree} - tree:
        tree |= more
    for process in tree:
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024
    return total


def measure_memory(options: argparse.Namespace, engine: str) -> int:
    """Peak memory of one engine in a process of its own, by samples of its whole tree."""
    arguments = ["--engine", engine, "--alone", "--rounds", str(options.rounds)]
    arguments += ["--cases", str(options.cases), "--network", options.network]
    arguments += ["--updates", options.updates, "--kind", options.kind]
    arguments += ["--threads", str(options.threads), "--folder", str(options.folder)]
    environment = os.environ | {"PYTHONPATH": str(Path(trifed.__file__).parent)}
    child = subprocess.Popen(
        [sys.executable, __file__, *arguments], stdout=subprocess.DEVNULL, env=environment
    )
    peak, done = 0, threading.Event()
    while not done.is_set() and child.poll() is None:
        peak = max(peak, pss_of_tree(child.pid))
        done.wait(0.2)
    if child.returncode:
        raise SystemExit(f"{engine} failed")
    return peak


def rounds_of_the_server(options: argparse.Namespace) -> int:
    """Peak memory in bytes of two rounds of the server's, with updates made up as they come."""
    branch = {"2.5d": Branch25D, "3d": Branch3D}[options.kind]
    network = Network(
        name="branch",
        branch=branch(name="branch", kind=options.kind, network=options.network),
        phases=("corticomedullary", "nephrographic", "excretory"),
    )
    settings, layout = Aggregation(updates=options.updates), network_layout(network)
    coder = Coder(settings.updates, layout)
    aggregator = aggregate.Aggregator(settings, options.sites)
    broadcast = first_broadcast(Weights(layout, np.zeros(layout.size, np.float32)), coder)
    rng, nothing = np.random.default_rng(0), np.empty(0)
    tune = score_sums(nothing, nothing, bins=20, calibration_bins=2, threshold=math.nan)
    for number in (1, 2):
        aggregator.configure(number, broadcast.weights)
        with Inbox(options.folder / "inbox", settings, coder, broadcast.weights) as inbox:
            for site in range(options.sites):
                vector = rng.standard_normal(layout.size, dtype=np.float32)
                update: dict[str, Any] = {"weights": Weights(layout, vector), "change": None}
                if not coder.sends_whole:
                    change, _ = coder.pack(vector, broadcast.weights.vector)
                    update = {"weights": None, "change": change}
                inbox.put(
                    f"site_{site:02d}",
                    Reply(**update, n_cases=50, loss=0.5, tune=tune, tune_loss_sum=0.0),
                )
            found = aggregator.aggregate(number, broadcast.weights, inbox.updates)
        broadcast = next_broadcast(broadcast, found, coder)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure_server(options: argparse.Namespace) -> None:
    """Peak memory of the server's part with 3 and with 32 sites, each in a process of its own."""
    peaks = []
    for sites in (3, 32):
        arguments = ["--engine", "server", "--sites", str(sites), "--folder", str(options.folder)]
        arguments += ["--updates", options.updates, "--kind", options.kind]
        arguments += ["--network", options.network]
        environment = os.environ | {"PYTHONPATH": str(Path(trifed.__file__).parent)}
        found = subprocess.run(
            [sys.executable, __file__, *arguments],
            env=environment, check=True, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        peaks.append(int(found.stdout))
        print(f"server, {sites:2d} sites: peak {peaks[-1] / 1e9:.3f} GB", flush=True)
    print(f"ratio {peaks[1] / peaks[0]:.3f}")


def print_rounds(found: dict[str, Any], engine: str) -> None:
    """The median of each kind and their ratio; and where the federated round's time went."""
    print(f"{engine}: {len(found['bare_s']) - 1} rounds, the first dropped")
    kinds = {"wall": "_s"} | ({"processor": "_cpu_s"} if engine == "local" else {})
    for what, ending in kinds.items():
        federated, bare = found[f"federated{ending}"][1:], found[f"bare{ending}"][1:]
        ratios = [a / b for a, b in zip(federated, bare, strict=True)]
        print(
            f"  {what} time, medians: federated {statistics.median(federated):.3f} s, "
            f"bare {statistics.median(bare):.3f} s; "
            f"ratio of medians {statistics.median(federated) / statistics.median(bare):.3f}, "
            f"median of ratios {statistics.median(ratios):.3f}"
        )
        print("    each:", " ".join(f"{ratio:.3f}" for ratio in ratios))
    for name, times in found["parts"].items():
        if times:
            print(
                f"    {name:<14} {len(times):3d} calls, median {statistics.median(times):7.4f} s, "
                f"sum for a round {sum(times) / len(found['federated_s']):7.4f} s"
            )


def main() -> None:
    """Measure what the options say."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="""examples:
  python tests/benchmarks/round_overhead.py                      in-process against bare
  python tests/benchmarks/round_overhead.py --engine flower      Flower's simulation against bare
  python tests/benchmarks/round_overhead.py --updates int8       with rounded updates
  python tests/benchmarks/round_overhead.py --kind 3d            a network of 185 MB instead of 94
  python tests/benchmarks/round_overhead.py --memory             peak memory of all three
  python tests/benchmarks/round_overhead.py --server-memory      with 3 and with 32 sites""",
    )
    parser.add_argument("--engine", choices=("local", "flower", "bare", "server"), default="local")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--cases", type=int, default=107, help="patients of each of three sites")
    parser.add_argument("--network", default="resnet50")
    parser.add_argument("--kind", choices=sorted(INPUTS), default="2.5d")
    parser.add_argument("--updates", choices=("fp32", "bf16", "int8"), default="fp32")
    parser.add_argument("--sites", type=int, default=3, help="of --engine server")
    parser.add_argument("--threads", type=int, default=0, help="cores to use (default: all)")
    parser.add_argument("--folder", type=Path, default=Path("runs/benchmarks"))
    parser.add_argument("--memory", action="store_true", help="peak memory instead of time")
    parser.add_argument("--server-memory", action="store_true", help="peak memory by sites")
    parser.add_argument("--alone", action="store_true", help="the engine without the bare loop")
    options = parser.parse_args()
    options.folder = options.folder.resolve()
    trifed.set_up_logging(verbose=False)
    if options.memory:
        for engine in ("bare", "local", "flower"):
            print(f"{engine:<7} peak {measure_memory(options, engine) / 1e9:.2f} GB", flush=True)
        return
    if options.server_memory:
        measure_server(options)
        return
    if options.engine == "server":
        print(rounds_of_the_server(options))
        return
    found = measure(options, options.engine, alone=options.alone)
    if options.alone or options.engine == "bare":
        print(json.dumps(found))
    else:
        print_rounds(found, options.engine)


if __name__ == "__main__":
    main()
