"""Every test patient's scores by the frozen models, which no one has outside of a simulation."""

from dataclasses import dataclass, field

import numpy as np

from client.cohort.tables import patient_key, read_table
from client.scoring import bundle_columns, probabilities
from client.service import SiteService
from client.site import Cases, Site
from server.coordinator import need
from server.study import EvaluationRecord, Study
from shared.config import Study as Settings
from shared.fusion_columns import fusion_names
from shared.job import Job
from simulation.verification.formulas import in_the_middle


@dataclass(frozen=True, slots=True, eq=False)
class SiteScores:
    """One site's test patients: scores ``(k, n)`` in the order of the models, labels ``(n,)``.

    The scores are as the site tells of them (`as_told`).
    `cells` are the patients' cells of each column that the study divides by, as the hospital wrote
    them; `inputs` the fusion layer's columns ``(n, k)``, NaN where a patient has no own value.
    """

    scores: np.ndarray
    labels: np.ndarray
    cells: dict[str, list[str]] = field(default_factory=dict)
    inputs: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))


def read_scores(job: Job, study: Study, settings: Settings) -> dict[str, SiteScores]:
    """Site to scores: of internal test patients at training sites, of all at external ones."""
    record: EvaluationRecord = need(study.evaluate, "evaluate")
    found = {}
    for name in sorted((*settings.sites.training, *settings.sites.external)):
        bench = SiteService.open(job.site_files[name], settings, threads=job.threads).bench
        site, external = bench.site, name in settings.sites.external
        cases = site.external_test if external else site.internal_test
        inputs = bundle_columns(bench, cases, record.bundle)
        scores = probabilities(bench, cases, record.bundle, columns=inputs)
        table = np.stack([scores[model] for model in settings.model_names])
        columns = [subgroup.column for subgroup in settings.evaluation.subgroups]
        cells = read_cells(site, cases, columns) if columns else {}
        inputs = with_blanks(inputs, site.clinical(cases, settings.clinical.predictors), settings)
        told = as_told(site, table, settings)
        found[name] = SiteScores(told, site.labels(cases), cells, inputs)
    return found


def as_told(site: Site, scores: np.ndarray, settings: Settings) -> np.ndarray:
    """Scores as a hospital tells of them whose policy has fewer bins than the study."""
    own = site.policy.release.max_score_bins
    return scores if own >= settings.evaluation.score_bins else in_the_middle(scores, own)


def with_blanks(columns: np.ndarray, clinical: np.ndarray, settings: Settings) -> np.ndarray:
    """The fusion layer's columns, its clinical ones as the hospital has them: NaN where blank."""
    found = np.array(columns)
    for name, values in zip(settings.clinical.predictors, clinical.T, strict=True):
        if name in fusion_names(settings):
            found[:, fusion_names(settings).index(name)] = values
    return found


def read_cells(site: Site, cases: Cases, columns: list[str]) -> dict[str, list[str]]:
    """Cells of the clinical table by column, in the order of the cases."""
    table = read_table(site.folder / (site.settings.data.clinical or ""), lower=False)
    rows = {patient_key(row.cells["patient_id"]): row.cells for row in table.rows}
    return {
        column: [rows[patient_key(case.patient_id)][column] for case in cases] for column in columns
    }
