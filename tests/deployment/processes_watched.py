"""What each long-lived process of a deployment takes, looked at again and again, and a table of it.

PSS is a process's memory with what it shares divided among those who share it.
"""

import json
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.deployment.real_processes import Federation, processes

WARM = 20
"""Rounds of a process's life until which it may grow."""
MOST = 0.05


@dataclass(frozen=True)
class Taken:
    """Of one process: memory in MB, open files, how many of them are sockets, threads.

    Attributes:
        own_mb: Memory that no file stands behind. What processes share, as they do libraries,
            counts for more at each of them when one of them ends, and is no growth.
        rss_mb: All of its memory, shared or not.
    """

    own_mb: float
    rss_mb: float
    files: int
    sockets: int
    threads: int


def taken(pid: int) -> Taken | None:
    """What a process takes now; None if it is gone."""
    proc = Path(f"/proc/{pid}")
    try:
        found = dict(
            entry.split(":", 1) for entry in (proc / "smaps_rollup").read_text().splitlines()[1:]
        )
        targets = []
        for descriptor in (proc / "fd").iterdir():
            try:
                targets.append(str(descriptor.readlink()))
            except OSError:
                continue
        threads = len(list((proc / "task").iterdir()))
    except OSError:
        return None
    own, rss = (int(found[name].split()[0]) / 1024 for name in ("Anonymous", "Rss"))
    sockets = sum(target.startswith("socket:") for target in targets)
    return Taken(own, rss, len(targets), sockets, threads)


def children(pid: int) -> list[int]:
    """The processes that a process started."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(n) for task in tasks for n in (task / "children").read_text().split()]
    except OSError:
        return []


def size(folder: Path, pattern: str) -> tuple[int, int]:
    """How many files there are, and their bytes; what goes meanwhile does not count."""
    sizes = []
    for path in folder.glob(pattern):
        try:
            if path.is_file():
                sizes.append(path.stat().st_size)
        except OSError:
            continue
    return len(sizes), sum(sizes)


class Watch:
    """Looks at a federation's processes and disk, and writes down what it sees."""

    def __init__(self, federation: Federation, log: Path) -> None:
        self._federation, self._log = federation, log

    def look(self, round_number: int) -> None:
        """Everything, once."""
        rows = []
        for role, pid in self._processes().items():
            found = taken(pid)
            if found is not None:
                rows.append({"role": role, "pid": pid, **vars(found)})
        server = self._federation.server
        places = {"state.db": (server / "flower", "state.db*"), "run/": (server / "run", "**/*")}
        for site_file in self._federation.site_files:
            name = site_file.parent.name
            places[f"{name} answers"] = (site_file.parent / "cache" / "answers", "**/*")
            places[f"{name} cache"] = (site_file.parent / "cache", "**/*")
        for place, (folder, pattern) in places.items():
            n, n_bytes = size(folder, pattern)
            rows.append({"place": place, "n": n, "mb": n_bytes / 1e6})
        self._write(round_number, rows)

    def note(self, round_number: int, fault: str) -> None:
        """What went wrong."""
        self._write(round_number, [{"fault": fault}])

    def _write(self, round_number: int, rows: list[dict[str, Any]]) -> None:
        with self._log.open("a") as file:
            for row in rows:
                file.write(json.dumps({"round": round_number, "at": time.time(), **row}) + "\n")

    def _processes(self) -> dict[str, int]:
        """The long-lived processes by what they are."""
        federation, found = self._federation, {}
        words = {
            "server SuperLink": ("server.deploy.superlink", str(federation.server)),
            "server executor": ("server.deploy.executor", f":{federation.port} "),
            "server study": ("flwr-serverapp", f":{federation.port} "),
        }
        for site_file in federation.site_files:
            name, folder = site_file.parent.name, str(site_file.parent)
            words[f"{name} service"] = ("site serve", str(site_file))
            words[f"{name} SuperNode"] = ("client.deploy.supernode", folder)
        for role, those in words.items():
            there = processes(*those)
            if there:
                found[role] = min(there)
        for name, process in federation.running.items():
            found[f"{name} supervisor"] = process.pid
        return found


def table(log: Path) -> bool:
    """Print what was seen; whether nothing grew."""
    rows = [json.loads(entry) for entry in log.read_text().splitlines()]
    last = max(row["round"] for row in rows)
    times = {row["round"]: row["at"] for row in rows if "role" in row}
    gaps = [times[n + 1] - times[n] for n in times if n + 1 in times]
    print(f"{last} rounds, {statistics.median(gaps):.1f} s each (median of {len(gaps)})")
    faults = [row["fault"] for row in rows if "fault" in row]
    told = ", ".join(f"{name} {faults.count(name)}" for name in sorted(set(faults)))
    print(f"{len(faults)} faults: {told}\n")
    print(f"{'process':20} lives rounds  own MB: warm   end growth  files sockets threads")
    flat = True
    for role in sorted(_named(rows, "role")):
        flat &= _row_of_process(role, rows)
    print(f"\n{'place':20}  files: first  last  MB: first   most   last")
    for place in sorted(_named(rows, "place")):
        seen = [row for row in rows if row.get("place") == place]
        n, mb = [row["n"] for row in seen], [row["mb"] for row in seen]
        print(f"{place:20} {n[0]:13} {n[-1]:5} {mb[0]:10.1f} {max(mb):6.1f} {mb[-1]:6.1f}")
    return flat


def _named(rows: list[dict[str, Any]], key: str) -> set[str]:
    return {row[key] for row in rows if key in row}


def _row_of_process(role: str, rows: list[dict[str, Any]]) -> bool:
    """One line: the longest life of a process, from its twentieth round to its end."""
    lives: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        if row.get("role") == role:
            lives.setdefault(row["pid"], []).append(row)
    longest = max(lives.values(), key=len)
    warm, end = longest[WARM : 2 * WARM], longest[-WARM:]
    begins = f"{role:20} {len(lives):5} {len(longest):6}"
    if len(longest) < 3 * WARM:
        one = statistics.median(row["own_mb"] for row in end)
        print(f"{begins} {'':13} {one:6.0f}      –  {_counts(end)}   too short a life")
        return True
    first, last = (statistics.median(row["own_mb"] for row in part) for part in (warm, end))
    more_files = max(row["files"] for row in end) > max(row["files"] for row in warm) + 2
    grew = last / first - 1
    verdict = "" if grew <= MOST and not more_files else "   GREW"
    counts = f"{_counts(warm)} to {_counts(end)}"
    print(f"{begins} {first:13.0f} {last:6.0f} {grew:+6.1%}  {counts}{verdict}")
    return not verdict


def _counts(part: list[dict[str, Any]]) -> str:
    """Open files, sockets and threads at most."""
    return "/".join(str(max(row[name] for row in part)) for name in ("files", "sockets", "threads"))
