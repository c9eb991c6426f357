"""What each death costs a study between real processes: every victim at every moment.

Victims: the study's process (server app), Flower's SuperLink and SuperNode, a hospital's service,
all of a hospital's processes at once (and then its one command to start), and its line for 30 s.
Moments: a statistic is asked; a round's answer is stored at the hospital and not yet with the
server; the server writes a round's state (where the victim is the server's) or the hospital its
answer (where it is the hospital's); embeddings are asked; the external hospital is asked.

The small study beside this file is run once in one process, which gives the numbers, once between
undisturbed processes, which gives the times, and once for each victim, which is hit at all five
moments in turn (or, mixed, with another victim at each moment). Server and hospitals stand on hosts
of their own (network namespaces) where the machine lets them be made; where not, all of them are on
this one, and no line is cut.

Of each cell: was the study under way again by itself or with one command, how many trainings of a
round at a site were done again, how many seconds its stage or round took longer than undisturbed,
and are results and weights those of the undisturbed run to the bit. What was found is kept in
cells.json; run again, the script does what is missing. Ends with status 1 unless every cell is
well.
"""

import argparse
import json
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from shared.files import write_atomically
from tests.deployment.cells import UNDISTURBED, Cell, same_as, table
from tests.deployment.hosts import network, why_no_hosts
from tests.deployment.moments import END, MOMENTS, VICTIMS, Killer, Timeline
from tests.deployment.real_processes import Federation, copied_hospitals, joined, trifed

STUDY = Path(__file__).with_name("small.yaml")
RUNS = (UNDISTURBED, *VICTIMS)
LOOK_S = 0.05


@contextmanager
def federation_of(
    study: Path, reference: Path, folder: Path, *, apart: bool
) -> Iterator[Federation]:
    """The hospitals of the reference run, with empty caches, and a server; joined and begun.

    Args:
        study: The study file.
        reference: A run of the study in one process.
        folder: Made anew.
        apart: On hosts of their own.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    site_files = copied_hospitals(reference / "cohort", folder / "hospitals")
    names = [site_file.parent.name for site_file in site_files]
    with ExitStack() as gone:
        hosts = gone.enter_context(network(names)) if apart else None
        made = gone.enter_context(joined(study, site_files, folder, hosts))
        made.start_server()
        for site_file in site_files:
            made.start_site(site_file)
        yield made


def to_the_end(federation: Federation, timeline: Timeline, limit_s: float) -> str:
    """Wait until the study is done; why it is not, if so."""
    place, since = timeline.look(), time.monotonic()
    while federation.running["server"].poll() is None:
        if timeline.look() > place:
            place, since = timeline.look(), time.monotonic()
        if time.monotonic() > since + limit_s:
            return f"stands still at {place}"
        time.sleep(LOOK_S)
    timeline.ended()
    code = federation.running["server"].poll()
    return "" if code == 0 else f"the server ended with {code}"


def run_undisturbed(reference: Path, folder: Path, limit_s: float) -> dict[str, Any]:
    """How long each place takes when nothing happens, and how many trainings begin there."""
    with federation_of(STUDY, reference, folder, apart=not why_no_hosts()) as federation:
        timeline = Timeline(federation)
        trouble = to_the_end(federation, timeline, limit_s)
        if trouble or not same_as(federation.server / "run", reference):
            raise SystemExit(f"undisturbed: {trouble or 'other numbers'}\n{federation.logs()}")
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    whole_s = timeline.came[END] - min(timeline.came.values())
    print(f"  {whole_s:.0f} s, {spent.ru_utime + spent.ru_stime:.0f} s of processor", flush=True)
    places = sorted(timeline.came)[:-1]
    return {
        f"{stage}.{number}": [
            round(timeline.seconds((stage, number)), 2),
            timeline.trainings((stage, number)),
        ]
        for stage, number in places
    }


def run_disturbed(
    reference: Path, folder: Path, hits: Sequence[tuple[str, str]], options: Any
) -> list[Cell]:
    """One study in which something is hit at each of some moments, in their order.

    Args:
        reference: The same study in one process.
        folder: Made anew.
        hits: Each victim and its moment.
        options: The command line's.
    """
    cells: list[Cell] = []
    killers: list[Killer] = []
    with federation_of(STUDY, reference, folder, apart=not why_no_hosts()) as federation:
        timeline = Timeline(federation)
        trouble = ""
        for victim, moment in hits:
            killers.append(Killer(federation, timeline, victim, options.limit_s))
            try:
                hit = killers[-1].hit(moment)
            except TimeoutError as error:
                trouble = str(error)
                cells.append(Cell(victim, moment, trouble=trouble))
                break
            print(f"  {victim}, {moment}: {hit.seen}", flush=True)
            cells.append(Cell(victim, moment, hit.place, hit.seen))
        trouble = trouble or to_the_end(federation, timeline, options.limit_s)
        for killer in killers:
            killer.settle()
        if trouble:
            (folder / "trouble.txt").write_text(f"{trouble}\n{federation.logs()}")
            print(f"  {trouble}; see {folder / 'trouble.txt'}", flush=True)
        same = not trouble and same_as(federation.server / "run", reference)
    return [finished(cell, timeline, same=same, trouble=trouble) for cell in cells]


def finished(cell: Cell, timeline: Timeline, *, same: bool, trouble: str) -> Cell:
    """A cell with what the run showed of it."""
    if cell.trouble or max(timeline.came, default=(0, 0)) <= cell.place:
        return Cell(**{**asdict(cell), "trouble": cell.trouble or trouble})
    times = {
        "seconds": round(timeline.seconds(cell.place), 2),
        "trainings": timeline.trainings(cell.place),
        "same_numbers": same,
        "trouble": trouble,
    }
    return Cell(**{**asdict(cell), **times})


def made_reference(folder: Path) -> Path:
    """The study in one process, on made-up hospitals; run once."""
    reference = folder / "reference"
    if not (reference / "report.html").exists():
        shutil.rmtree(reference, ignore_errors=True)
        print("the study in one process", flush=True)
        try:
            trifed("simulate", STUDY, "--out", reference, "--threads", "1", "--plain")
        except subprocess.CalledProcessError as error:
            raise SystemExit(error.stderr) from None
    return reference


def main() -> int:
    """Do what is missing, and print the matrix."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="""examples:
  python -m tests.deployment.kill_matrix                            everything that is missing
  python -m tests.deployment.kill_matrix --runs "site service"      one victim
  python -m tests.deployment.kill_matrix --mixed                    the same in other runs
  python -m tests.deployment.kill_matrix --table                    what was found so far""",
    )
    parser.add_argument("--folder", type=Path, default=Path("runs/kill_matrix"))
    parser.add_argument(
        "--runs", nargs="+", choices=RUNS, default=RUNS, metavar="RUN", help="; ".join(RUNS)
    )
    parser.add_argument(
        "--mixed", action="store_true", help="another victim at each moment of a run"
    )
    parser.add_argument("--limit-s", type=float, default=600.0, help="most seconds at one place")
    parser.add_argument("--table", action="store_true", help="only print what was found")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped; run it again to go on"))
    folder: Path = options.folder.resolve()
    kept = folder / "cells.json"
    found: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {"cells": {}}
    if not options.table:
        fill(found, folder, kept, options)
    print("\n".join(table(found)))
    victims = [run for run in options.runs if run != UNDISTURBED]
    wanted = [f"{victim}, {moment}" for victim in victims for moment in MOMENTS]
    return 0 if all(_well(found["cells"].get(name)) for name in wanted) else 1


def fill(found: dict[str, Any], folder: Path, kept: Path, options: Any) -> None:
    """Run what is missing, and keep what it showed."""
    reference, cells = made_reference(folder), found["cells"]
    victims = set(options.runs)
    if why_no_hosts() and "network cut" in victims:
        print(f"no line is cut: {why_no_hosts()}")
        victims.remove("network cut")
    if UNDISTURBED in victims and UNDISTURBED not in found:
        print("the study between processes, undisturbed", flush=True)
        found[UNDISTURBED] = run_undisturbed(reference, folder / "run", options.limit_s)
        write_atomically(kept, json.dumps(found, indent=1).encode())
    for plan in planned(mixed=options.mixed):
        hits = [hit for hit in plan if hit[0] in victims and not _well(cells.get(", ".join(hit)))]
        if hits:
            print(f"to be hit: {'; '.join(map(', '.join, hits))}", flush=True)
            for cell in run_disturbed(reference, folder / "run", hits, options):
                cells[f"{cell.victim}, {cell.moment}"] = asdict(cell)
            write_atomically(kept, json.dumps(found, indent=1).encode())


def planned(*, mixed: bool) -> Iterator[list[tuple[str, str]]]:
    """The runs: a victim at all moments, or at each moment another; every cell once."""
    for shift, victim in enumerate(VICTIMS):
        if mixed:
            turned = VICTIMS[shift:] + VICTIMS[:shift]
            yield list(zip(turned, MOMENTS, strict=False))
        else:
            yield [(victim, moment) for moment in MOMENTS]


def _well(entry: dict[str, Any] | None) -> bool:
    return entry is not None and Cell(**entry).well


if __name__ == "__main__":
    sys.exit(main())
