"""What a site computes twice when `trifed site extract` is killed half-way and started again.

Writes the made-up patients of configs/paper.yaml at its three sites. At each, `trifed site
extract` is started as a process of its own with all cores, killed with all its children
(SIGKILL) when half of the cache's entries are there, and started again. Every entry that was there
at the kill must be the same file afterwards: same inode, same time of change. The table must be
that of a site that was never disturbed, whose cache is another.

Entries of a patient who was being computed at the kill may be computed then, for the first time.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import trifed
from client.settings import load_site_settings
from shared.config import Study, load_study, networks
from shared.files import write_atomically
from shared.strict_yaml import dump_settings
from simulation.phantom import write_cohort

ROOT = Path(trifed.__file__).parent
STUDY = ROOT / "configs" / "paper.yaml"
LOOK_EVERY_S = 0.02
Stamps = dict[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One site: patients, entries at the kill, at the end, made anew, and whether tables agree."""

    site: str
    n_patients: int
    at_kill: int
    after: int
    twice: int
    same_table: bool
    seconds: tuple[float, float, float]


def smaller(study: Study, n_patients: int, size: str) -> Study:
    """The study with so many patients, shared by the sites as in the file."""
    content = study.model_dump(mode="json")
    sites = list(content["phantom"]["sites"].values())
    total = sum(site["n_cases"] for site in sites)
    counts = [round(site["n_cases"] * n_patients / total) for site in sites[1:]]
    for site, n in zip(sites, (n_patients - sum(counts), *counts), strict=True):
        positive = site["n_positive"]
        site["n_positive"] = positive and round(positive * n / site["n_cases"])
        site["n_cases"] = n
    content["phantom"]["size"] = size
    content["cohort"]["min_cases"] = 1
    return Study.model_validate_json(json.dumps(content))


def extract(site_file: Path, study: Path, table: Path, threads: int) -> "subprocess.Popen[bytes]":
    """`trifed site extract`, started in a process group of its own."""
    command = [sys.executable, "-m", "trifed", "site", "extract", str(site_file)]
    command += ["--study", str(study), "--out", str(table), "--threads", str(threads)]
    log = table.with_suffix(".log").open("ab")
    return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, start_new_session=True)


def finish(process: "subprocess.Popen[bytes]", table: Path) -> None:
    """Wait for an extraction, which must succeed."""
    if process.wait() != 0:
        raise SystemExit(f"the extraction failed; see {table.with_suffix('.log')}")


def stamps(cache: Path) -> Stamps:
    """Inode and time of change of every entry."""
    stats = {path.name: path.stat() for path in cache.glob("*/*.npy")}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in stats.items()}


def kill_at(process: "subprocess.Popen[bytes]", cache: Path, n_entries: int) -> None:
    """Kill a process and all its children when the cache has so many entries."""
    while len(stamps(cache)) < n_entries:
        if process.poll() is not None:
            raise SystemExit("the extraction ended before it could be killed; take more patients")
        time.sleep(LOOK_EVERY_S)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    try:
        while True:
            os.killpg(process.pid, 0)
            time.sleep(LOOK_EVERY_S)
    except ProcessLookupError:
        return


def disturb(site_file: Path, study_file: Path, threads: int) -> Outcome:
    """Extract at one site undisturbed, then killed half-way and resumed."""
    folder, study = site_file.parent, load_study(study_file)
    whole, table, cache = folder / "whole.csv", folder / "resumed.csv", folder / "cache"
    for old in (cache, folder / "cache_whole"):
        shutil.rmtree(old, ignore_errors=True)
    other = folder / "site_whole.yaml"
    settings = load_site_settings(site_file).model_copy(update={"cache": "cache_whole"})
    write_atomically(other, dump_settings(settings).encode())
    began = time.perf_counter()
    finish(extract(other, study_file, whole, threads), whole)
    times = [time.perf_counter()]
    n_patients = len(whole.read_text().splitlines()) - 1
    half = n_patients * (1 + len(networks(study))) // 2
    kill_at(extract(site_file, study_file, table, threads), cache, half)
    times.append(time.perf_counter())
    before = stamps(cache)
    finish(extract(site_file, study_file, table, threads), table)
    times.append(time.perf_counter())
    after = stamps(cache)
    return Outcome(
        site=folder.name,
        n_patients=n_patients,
        at_kill=len(before),
        after=len(after),
        twice=sum(after.get(name) != stamp for name, stamp in before.items()),
        same_table=table.read_bytes() == whole.read_bytes(),
        seconds=(times[0] - began, times[1] - times[0], times[2] - times[1]),
    )


def main() -> None:
    """Write the patients, disturb each site, and print what was computed twice."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="""examples:
  python tests/benchmarks/extraction_resume.py                  60 patients
  python tests/benchmarks/extraction_resume.py --patients 20 --size tiny""",
    )
    parser.add_argument("--patients", type=int, default=60, help="at all sites together")
    parser.add_argument("--size", choices=("tiny", "small", "medium"), default="small")
    parser.add_argument("--threads", type=int, default=0, help="cores to use (default: all)")
    parser.add_argument("--folder", type=Path, default=Path("runs/benchmarks/resume"))
    options = parser.parse_args()
    folder = options.folder.resolve() / f"{options.patients}-{options.size}"
    folder.mkdir(parents=True, exist_ok=True)
    study = smaller(load_study(STUDY), options.patients, options.size)
    study_file = folder / "study.yaml"
    write_atomically(study_file, dump_settings(study).encode())
    print(f"writing {options.patients} patients to {folder}", flush=True)
    sites = write_cohort(study, folder / "cohort", workers=options.threads or os.cpu_count() or 1)
    print("site     patients  at the kill  at the end  twice  table  seconds: whole, killed, rest")
    outcomes = []
    for site_file in sites.values():
        found = disturb(site_file, study_file, options.threads)
        outcomes.append(found)
        table = "same" if found.same_table else "OTHER"
        times = ", ".join(f"{seconds:.1f}" for seconds in found.seconds)
        print(
            f"{found.site:<8} {found.n_patients:>8}  {found.at_kill:>11}  {found.after:>10}  "
            f"{found.twice:>5}  {table:<5}  {times}",
            flush=True,
        )
    twice = sum(found.twice for found in outcomes)
    print(f"{sum(o.n_patients for o in outcomes)} patients; {twice} entries computed twice")
    if twice or not all(found.same_table for found in outcomes):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
