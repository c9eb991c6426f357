"""The cells of the kill matrix: what each hit did, and how all of them are told."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from tests.deployment.moments import MOMENTS, VICTIMS

UNDISTURBED = "undisturbed"
ONE_COMMAND = ("whole site",)


@dataclass(frozen=True, slots=True)
class Cell:
    """What one hit did; seconds are None and `trouble` says why where the study did not go on.

    Attributes:
        place: Stage and round in which it hit.
        seconds: How long the study was at that place.
        trainings: How many trainings began there, at all sites.
    """

    victim: str
    moment: str
    place: tuple[int, int] = (0, 0)
    seen: str = ""
    seconds: float | None = None
    trainings: int = 0
    same_numbers: bool = False
    trouble: str = ""

    @property
    def well(self) -> bool:
        """Whether it went on, and ended with the numbers of the undisturbed run."""
        return self.seconds is not None and self.same_numbers


def table(found: dict[str, Any]) -> Iterator[str]:
    """The matrix, a line for each cell."""
    yield (
        f"{'victim':<13} {'moment':<11} {'went on':<17} {'again':>5} {'lost s':>7} "
        f"{'numbers':<7} when exactly"
    )
    for victim in VICTIMS:
        for moment in MOMENTS:
            entry = found["cells"].get(f"{victim}, {moment}")
            if entry is None:
                yield f"{victim:<13} {moment:<11} not run"
            else:
                yield line_of(Cell(**entry), found.get(UNDISTURBED, {}))


def line_of(cell: Cell, undisturbed: dict[str, Any]) -> str:
    """One cell against the undisturbed run's same stage or round."""
    how = "with one command" if cell.victim in ONE_COMMAND else "by itself"
    lost = again = ""
    usual = undisturbed.get(".".join(map(str, cell.place)))
    if cell.seconds is None:
        how = "NO"
    elif usual is not None:
        lost, again = f"{cell.seconds - usual[0]:.0f}", str(cell.trainings - usual[1])
    numbers = "same" if cell.same_numbers else "OTHER"
    return (
        f"{cell.victim:<13} {cell.moment:<11} {how:<17} {again:>5} {lost:>7} {numbers:<7} "
        f"{cell.trouble or cell.seen}"
    )


def same_as(run: Path, other: Path) -> bool:
    """Whether two runs' results and weights are the same to the bit."""
    found = [json.loads((folder / "results.json").read_text()) for folder in (run, other)]
    for results in found:
        results.pop("verify", None)  # only a simulation can tell
        results.pop("code_hash")  # the reference may be of the code before a comment changed
    files = sorted(file.name for file in (other / "weights").iterdir())
    same = found[0] == found[1] and files == sorted(p.name for p in (run / "weights").iterdir())
    return same and all(same_tensors(run / "weights" / n, other / "weights" / n) for n in files)


def same_tensors(file: Path, other: Path) -> bool:
    """Whether two files hold the same tensors to the bit."""
    here, there = load_file(file), load_file(other)
    return list(here) == list(there) and all(
        here[name].tobytes() == there[name].tobytes() and np.isfinite(there[name]).all()
        for name in there
    )
