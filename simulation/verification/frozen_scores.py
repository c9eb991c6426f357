"""Every test patient's scores by the frozen models, which no one has outside of a simulation."""

from dataclasses import dataclass

import numpy as np

from client.scoring import probabilities
from client.service import SiteService
from server.coordinator import need
from server.study import EvaluationRecord, Study
from shared.config import Study as Settings
from shared.job import Job


@dataclass(frozen=True, slots=True, eq=False)
class SiteScores:
    """One site's test patients: scores ``(k, n)`` in the order of the models, labels ``(n,)``."""

    scores: np.ndarray
    labels: np.ndarray


def read_scores(job: Job, study: Study, settings: Settings) -> dict[str, SiteScores]:
    """Site to scores: of internal test patients at training sites, of all at external ones."""
    record: EvaluationRecord = need(study.evaluate, "evaluate")
    found = {}
    for name in sorted((*settings.sites.training, *settings.sites.external)):
        bench = SiteService.open(job.site_files[name], settings, threads=job.threads).bench
        site, external = bench.site, name in settings.sites.external
        cases = site.external_test if external else site.internal_test
        scores = probabilities(bench, cases, record.bundle)
        table = np.stack([scores[model] for model in settings.model_names])
        found[name] = SiteScores(table, site.labels(cases))
    return found
