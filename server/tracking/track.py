"""Write what is new in a run's folder to TensorBoard's or MLflow's files, each number once.

What stands in the files is read back and compared. So the same call may be made while the run goes
on, after it, and after a `--resume`: it writes what is missing.
"""

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, Protocol

from server.extras import how_to_install
from server.run_state import look, results_of
from server.study import Study
from server.tracking.points import Point, points_of
from shared.config import Study as Settings
from shared.config import digest, load_study
from shared.errors import InstallError, StateError
from shared.research_use import USE

Program = Literal["tensorboard", "mlflow"]
Key = tuple[str, str, int]
FOLDER = "tracking"
PAUSE_S = 10.0


class Book(Protocol):
    """One program's files of one run."""

    def written(self) -> Mapping[Key, float]:
        """The last value of each number that stands there, by series, name and step."""
        ...

    def write(self, points: Sequence[Point], time_s: float) -> None:
        """Add numbers that were known at `time_s`, in seconds since 1970."""
        ...

    def finish(self) -> None:
        """Say that the run is finished."""
        ...

    def kept(self, value: float) -> float:
        """What the files make of a value: they may keep fewer digits."""
        ...


def track(run: Path, program: Program) -> tuple[int, int]:
    """Write what is new; how many numbers were written, and how many there are by now.

    A number of a round never changes. One of a model does where a result is added to the run; the
    new value is then written beside the old one.

    Raises:
        StateError: If the folder holds no run, or the files are another run's.
        InstallError: If the program's library is not installed.
    """
    study, settings = look(run / "study"), load_study(run / "study.yaml")
    results = results_of(run)
    points = points_of(study, results)
    book = open_book(run, program, about(study, settings))
    written = book.written()
    new = [p for p in points if written.get((p.series, p.name, p.step)) != book.kept(p.value)]
    changed = [p for p in new if p.step > 0 and (p.series, p.name, p.step) in written]
    if changed:
        raise StateError(
            f"{run / FOLDER} tracks another run: {changed[0].series}, round {changed[0].step} has "
            f"another {changed[0].name} there. Remove the folder, and track again."
        )
    if new:
        book.write(new, state_time(run))
    if results is not None:
        book.finish()
    return len(new), len(points)


def state_time(run: Path) -> float:
    """When the run's folder last changed, in seconds since 1970."""
    places = (run / "results.json", run / "study" / "train_branches.json", run / "study.yaml")
    return max(place.stat().st_mtime for place in places if place.exists())


def about(study: Study, settings: Settings) -> dict[str, str]:
    """What the files say of the run as a whole; nothing of patients or single sites."""
    greetings = study.hello.sites.values() if study.hello else ()
    told = {
        "use": USE,
        "study": settings.name,
        "title": settings.title,
        "study_hash": digest(settings),
        "seed": str(settings.seed),
        "synthetic": "yes: made-up patients" if any(g.synthetic for g in greetings) else "no",
    }
    for branch in settings.branches:
        training = branch.training
        told |= {
            f"{branch.name}.network": branch.network,
            f"{branch.name}.kind": branch.kind,
            f"{branch.name}.rounds": str(training.rounds),
            f"{branch.name}.local_epochs": str(training.local_epochs),
            f"{branch.name}.learning_rate": f"{training.learning_rate:g}",
            f"{branch.name}.batch_size": str(training.batch_size),
        }
    return told


def open_book(run: Path, program: Program, told: Mapping[str, str]) -> Book:
    """The files of one program, in ``run/tracking``.

    Raises:
        InstallError: If its library is not installed.
    """
    if importlib.util.find_spec(program) is None:
        raise InstallError(
            f"tracking with {program} needs its library, which trifed installs with its extra "
            f"'tracking': {how_to_install('tracking')}."
        )
    if program == "mlflow":
        from server.tracking.mlflow import MlflowBook

        return MlflowBook(run / FOLDER, told)
    from server.tracking.tensorboard import TensorBoardBook

    return TensorBoardBook(run / FOLDER / "tensorboard", told)


def follow(
    run: Path, program: Program, tell: Callable[[int, int], None], pause: Callable[[], None]
) -> None:
    """Track again and again until the run is finished; `pause` waits in between.

    Raises:
        StateError: See `track`.
        InstallError: See `track`.
    """
    while True:
        finished = results_of(run) is not None
        tell(*track(run, program))
        if finished:
            return
        pause()
