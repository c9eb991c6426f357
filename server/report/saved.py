"""The results of a run's folder, with those of its baselines where there are any."""

import json
from pathlib import Path
from typing import Any

from shared.errors import StateError


def read_results(run_folder: Path) -> dict[str, Any]:
    """The content of `results.json`, and of `baselines.json` if it is of the same models.

    Raises:
        StateError: If the run is not finished.
    """
    path = run_folder / "results.json"
    if not path.exists():
        raise StateError(f"{path} does not exist; finish the run first (--resume).")
    results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    beside = run_folder / "baselines.json"
    if beside.exists():
        found = json.loads(beside.read_text(encoding="utf-8"))
        if found["bundle_hash"] == (results.get("study") or {}).get("bundle_hash"):
            results["baselines"] = found
    return results
