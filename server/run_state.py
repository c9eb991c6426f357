"""Where a run stands, for whoever looks at its folder: stages, rounds, and how the models did.

A run that is going on may be looked at; nothing in its folder is touched.
"""

import json
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from server.run import is_done
from server.stages import RUNS
from server.study import BranchesRecord, CohortRecord, NetworkRecord, Study
from server.study_folder import StudyFolder
from shared.branches import Network
from shared.config import Study as Settings
from shared.config import all_networks, load_study
from shared.errors import StateError

TRIES, PAUSE_S = 3, 0.2


def state_lines(run: Path) -> Iterator[str]:
    """Where a run stands, in lines for a terminal.

    Args:
        run: The run's folder.

    Raises:
        StateError: If it is not one, or a file of it is damaged.
    """
    study, settings = look(run / "study"), load_study(run / "study.yaml")
    yield f"{settings.name}: {settings.title}"
    yield f"{run}, seed {settings.seed}"
    yield from _cohort_lines(study.describe_cohort, settings)
    yield ""
    done = [stage for stage in RUNS if is_done(study, stage)]
    for number, stage in enumerate(RUNS, start=1):
        yield f"{number:2d} {stage:<18} {_state_of(run, stage, done)}".rstrip()
        if stage == "train_branches" and study.train_branches is not None:
            yield from _network_lines(study.train_branches, settings)
    results = results_of(run)
    if results is not None:
        yield ""
        yield from result_lines(results)
        yield f"\nreport: {run / 'report.html'}"
    else:
        yield "\nNot finished. The command that began it goes on with --resume."


def results_of(run: Path) -> dict[str, Any] | None:
    """The results of a run; None while it goes on."""
    try:
        text = (run / "results.json").read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    found: dict[str, Any] = json.loads(text)
    return found


def look(folder: Path) -> Study:
    """A run's state, which may be in the act of being saved.

    Raises:
        StateError: If there is none, or it is damaged.
    """
    if not (folder / "identity.json").exists():
        raise StateError(f"{folder.parent} holds no run; give the --out of trifed simulate.")
    for _ in range(TRIES - 1):
        try:
            return StudyFolder(folder, reading=True).load()
        except StateError:
            time.sleep(PAUSE_S)
    return StudyFolder(folder, reading=True).load()


def result_lines(results: dict[str, Any]) -> Iterator[str]:
    """Each model's AUC on the two test splits."""
    if results["synthetic"]:
        yield "synthetic data: these patients are made up"
    heading = f"AUC ({results['confidence_level']:.0%} CI)"
    yield f"{heading:<16} {'internal test':<26} external test"
    for model, splits in results["models"].items():
        internal, external = (_auc(splits.get(s)) for s in ("internal_test", "external_test"))
        yield f"{model:<16} {internal:<26} {external}"


def _auc(measured: dict[str, Any] | None) -> str:
    """An AUC with its interval and n."""
    if measured is None or measured["auc"] is None:
        return "–"
    low, high = measured["auc_ci"]
    return f"{measured['auc']:.3f} ({low:.3f}-{high:.3f}) n={measured['n']}"


def _cohort_lines(record: CohortRecord | None, settings: Settings) -> Iterator[str]:
    if record is None:
        return
    counts = [
        f"{site} {sum(split.n for split in found.splits.values())}"
        for site, found in record.sites.items()
    ]
    yield f"training: {', '.join(counts)} patients"
    if settings.sites.external:
        yield f"external: {', '.join(settings.sites.external)}"


def _state_of(run: Path, stage: str, done: list[str]) -> str:
    if stage in done:
        saved = datetime.fromtimestamp((run / "study" / f"{stage}.json").stat().st_mtime)
        return f"done {saved:%Y-%m-%d %H:%M}"
    return "next, or going on" if stage == next(s for s in RUNS if s not in done) else ""


def _network_lines(branches: BranchesRecord, settings: Settings) -> Iterator[str]:
    for network in all_networks(settings):
        record = branches.networks.get(network.name)
        yield f"   {network.name:<24} {_rounds(network, record)}"


def _rounds(network: Network, record: NetworkRecord | None) -> str:
    if record is None:
        return "not begun"
    said = f"{record.rounds[-1].round} of {network.branch.training.rounds} rounds"
    if record.finished:
        said += ", finished"
    best = record.rounds[record.best_round]
    if best.round > 0 and best.tune_auc is not None:
        said += f"; best is round {best.round}, tune AUC {best.tune_auc:.3f}"
    moved = sum(entry.bytes_down + entry.bytes_up for entry in record.rounds)
    return f"{said}; {moved / 1e6:,.0f} MB moved"
