"""How this installation starts another of its own programs, and in which environment."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shared import SILENCE

ROOT = Path(__file__).resolve().parent.parent
LOOPBACK = ("127.0.0.1", "::1", "localhost")
MIB = 2**20
SPEED = {
    "FLWR_PRIVATE_MAX_ARRAY_CHUNK_SIZE": str(12 * MIB),
    "GLIBC_TUNABLES": ":".join(
        (
            "glibc.malloc.hugetlb=1",
            f"glibc.malloc.mmap_threshold={4 * MIB}",
            f"glibc.malloc.trim_threshold={32 * MIB}",
        )
    ),
}
"""Pieces of 12 MiB, since each is a request of its own on each part of its way; and memory in large
pages, since weights are copied often, and a page that is touched first costs more than its copy.
What takes more than 4 MiB goes back to the system as soon as it is free: by itself glibc learns
from weights that come and go to keep memory of their size, and a process of weeks keeps more."""

EAGER_PULLS: dict[str, Any] = {
    "initial_backoff": 0.05,
    "backoff_cap": 0.5,
    "max_tries_per_object": None,
}
"""How Flower waits for a piece that is told of and still on its way: never for seconds, and as long
as by default (two hours)."""

RETRY_S = 5.0
"""The longest wait before a SuperLink that did not answer is called again; Flower's is 20 s."""


def python(module: str, *arguments: str) -> tuple[str, ...]:
    """The command that runs a module with this Python; the current folder has no say."""
    return (sys.executable, "-P", "-m", module, *arguments)


def environment(
    home: Path, *, outer: Mapping[str, str] | None = None, **more: str
) -> dict[str, str]:
    """The environment of a program that uses Flower.

    Nothing calls home, what Flower keeps lies in `home`, its commands are those of this
    installation, and what is said within the machine never goes to a proxy.

    Args:
        home: Flower's folder; it is private to one deployment.
        outer: The environment to begin with; by default this process's.
        more: Further variables.
    """
    found = dict(os.environ if outer is None else outer)
    found = SPEED | found | SILENCE
    found["FLWR_HOME"] = str(home)
    found["PYTHONUNBUFFERED"] = "1"
    found["PATH"] = os.pathsep.join(
        [str(Path(sys.executable).parent), *filter(None, [found.get("PATH")])]
    )
    for name in ("NO_PROXY", "no_proxy"):
        known = [part for part in found.get(name, "").split(",") if part]
        found[name] = ",".join(dict.fromkeys([*known, *LOOPBACK]))
    return found | path_of_checkout(found) | more


def path_of_checkout(outer: Mapping[str, str]) -> dict[str, str]:
    """What a program needs to find this code, where it is a checkout that may not be installed."""
    if not (ROOT / "pyproject.toml").exists():
        return {}
    known = filter(None, outer.get("PYTHONPATH", "").split(os.pathsep))
    return {"PYTHONPATH": os.pathsep.join(dict.fromkeys([str(ROOT), *known]))}
