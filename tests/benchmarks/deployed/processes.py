"""What a contender's processes take of the machine: processor seconds, and memory of each role."""

import os
from collections import defaultdict
from pathlib import Path

from tests.benchmarks.deployed.turns import VARIABLE

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
ROLES = (  # words of a command line, in the order in which they are looked for
    ("serverapp", "server app"),
    ("clientapp", "client app"),
    ("flower-superexec", "executor"),
    (".executor", "executor"),
    ("forkserver", "courier"),
    ("resource_tracker", "courier"),
    ("flower-superlink", "SuperLink"),
    ("deploy.superlink", "SuperLink"),
    ("supernode", "SuperNode"),
    ("ours serve", "site service"),
    ("worker_process", "client app"),
    ("simulator", "server app"),
)


def of_contender(turns: Path) -> dict[int, str]:
    """The processes that take their turns from a folder, and the role of each."""
    mark = f"{VARIABLE}={turns}".encode()
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if mark not in (path / "environ").read_bytes().split(b"\0"):
                continue
            line = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        role = next((role for word, role in ROLES if word in line), "supervisor")
        found[int(path.name)] = role
    return found


def cpu_s(turns: Path) -> dict[str, float]:
    """Seconds of processor that each role has taken, with children that have ended."""
    taken: dict[str, float] = defaultdict(float)
    for pid, role in of_contender(turns).items():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        taken[role] += sum(map(int, fields[11:15])) * TICK_S
    return dict(taken)


def pss_mb(turns: Path) -> dict[str, list[float]]:
    """Proportional set size of each process, in MB, by role."""
    taken: dict[str, list[float]] = defaultdict(list)
    for pid, role in of_contender(turns).items():
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        kb = sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        if kb:
            taken[role].append(kb / 1000)
    return dict(taken)
