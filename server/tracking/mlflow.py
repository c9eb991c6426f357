"""MLflow's files: one SQLite database with one run in it; no server, and nobody is told.

`shared` has switched MLflow's telemetry off before MLflow is imported here.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from mlflow.entities import Metric, Param, Run
from mlflow.tracking import MlflowClient

from server.tracking.points import Point

logging.getLogger("mlflow").setLevel(logging.WARNING)
AT_ONCE = 1000
"""Numbers that MLflow takes in one call."""
RUNNING = "RUNNING"


class MlflowBook:
    """A run's MLflow run, in ``folder/mlflow.db``; files that MLflow keeps would be beside it."""

    def __init__(self, folder: Path, told: Mapping[str, str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._told, self._artifacts = told, (folder.resolve() / "mlruns").as_uri()
        self._client = MlflowClient(f"sqlite:///{folder.resolve() / 'mlflow.db'}")

    def written(self) -> dict[tuple[str, str, int], float]:
        """The last value of each number that stands there, by series, name and step."""
        run, found = self._run(), {}
        for key in run.data.metrics:
            series, _, name = key.partition("/")
            for metric in self._client.get_metric_history(run.info.run_id, key):
                found[series, name, metric.step] = metric.value
        return found

    def write(self, points: Sequence[Point], time_s: float) -> None:
        """Add numbers that were known at `time_s`."""
        run = self._run()
        metrics = [
            Metric(f"{point.series}/{point.name}", point.value, round(time_s * 1000), point.step)
            for point in points
        ]
        known = run.data.params
        params = [Param(name, text) for name, text in self._told.items() if name not in known]
        for start in range(0, len(metrics), AT_ONCE):
            batch = metrics[start : start + AT_ONCE]
            self._client.log_batch(run.info.run_id, batch, () if start else params)

    def finish(self) -> None:
        """Say that the run is finished."""
        run = self._run()
        if run.info.status == RUNNING:
            self._client.set_terminated(run.info.run_id)

    def kept(self, value: float) -> float:
        """A value as it is."""
        return value

    def _run(self) -> Run:
        """The one run; begun if there is none."""
        study = self._told["study"]
        found = self._client.get_experiment_by_name(study)
        experiment = (
            found.experiment_id
            if found
            else self._client.create_experiment(study, artifact_location=self._artifacts)
        )
        runs = self._client.search_runs([experiment], max_results=1)
        if runs:
            return runs[0]
        tags = {"use": self._told["use"]}
        return self._client.create_run(experiment, tags=tags, run_name=study)
