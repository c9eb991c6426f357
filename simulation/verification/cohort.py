"""Table 1, again, from the patients themselves."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from client.service import SiteService
from client.stages.describe_cohort import described
from server.cohort_results import table_one
from server.coordinator import need
from server.study import CohortRecord, ExternalRecord, Study
from shared.config import Study as Settings
from shared.job import Job
from shared.quartiles import Quartiles
from simulation.verification.checks import Check, difference

TRAINING = ""
"""The training sites' patients, all together; each external site's stand under its name."""


@dataclass(frozen=True, slots=True, eq=False)
class PooledCohort:
    """All patients of a cohort: variables ``(n, p)``, NaN where blank, and labels ``(n,)``."""

    table: np.ndarray
    labels: np.ndarray

    def group(self, label: str, place: int) -> np.ndarray:
        """The values of a variable in a group."""
        inside = {"negative": self.labels == 0, "positive": self.labels == 1}
        column = self.table[inside.get(label, np.ones(len(self.labels), dtype=bool)), place]
        return np.asarray(column[~np.isnan(column)])


def read_cohorts(job: Job, settings: Settings) -> dict[str, PooledCohort]:
    """Every patient of the training sites together, and of each external site."""
    parts: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for name in sorted((*settings.sites.training, *settings.sites.external)):
        site = SiteService.open(job.site_files[name], settings, threads=job.threads).bench.site
        rows = site.clinical(site.everyone, described(settings)), site.labels(site.everyone)
        parts.setdefault(TRAINING if name in settings.sites.training else name, []).append(rows)
    return {
        name: PooledCohort(*(np.concatenate(column) for column in zip(*rows, strict=True)))
        for name, rows in parts.items()
    }


def check_cohorts(
    study: Study, cohorts: Mapping[str, PooledCohort], settings: Settings
) -> list[Check]:
    """Counts, moments, tests and differences of every cohort, and the quartiles."""
    record: CohortRecord = need(study.describe_cohort, "describe_cohort")
    external: ExternalRecord = need(study.external_evaluate, "external_evaluate")
    told = {TRAINING: list(record.sites.values())}
    told |= {name: [reply.description] for name, reply in external.sites.items()}
    checks = []
    for name, descriptions in told.items():
        stage = "external_evaluate" if name else "describe_cohort"
        checks += check_table(stage, table_one(descriptions), cohorts[name])
    if record.quartiles is not None:
        off = quartiles_off(record.quartiles, described(settings), cohorts[TRAINING])
        checks.append(Check("describe_cohort", "quartiles, beyond their precision", off))
    return checks


def check_table(stage: str, found: list[dict[str, Any]], cohort: PooledCohort) -> list[Check]:
    """One cohort's table against the patients."""
    off = {"counts and moments": 0.0, "P values": 0.0, "standardised differences": 0.0}
    for place, entry in enumerate(found):
        for label, group in entry["groups"].items():
            values = cohort.group(label, place)
            sd = values.std(ddof=1) if len(values) > 1 else np.nan
            mean = values.mean() if len(values) else 0.0
            again = np.array([len(values), mean, sd])
            known = np.array([group["n"], group["mean"], group["sd"]])
            both = np.isnan(again) & np.isnan(known)
            worst = difference(np.where(both, 0, known), np.where(both, 0, again))
            off["counts and moments"] = max(off["counts and moments"], worst)
        a, b = (cohort.group(label, place) for label in ("positive", "negative"))
        p, smd = compare(a, b, binary=entry["kind"] == "binary")
        told = (entry["test"] or {}).get("p"), entry["smd"]
        off["P values"] = max(off["P values"], _off(told[0], p))
        name = "standardised differences"
        off[name] = max(off[name], _off(told[1], smd))
    return [Check(stage, f"Table 1: {name}", worst) for name, worst in off.items()]


def compare(a: np.ndarray, b: np.ndarray, *, binary: bool) -> tuple[float, float]:
    """SciPy's p and the standardised difference of the patients' values; NaN where none."""
    with np.errstate(all="ignore"):
        ddof = 0 if binary else 1
        spread = np.sqrt((a.var(ddof=ddof) + b.var(ddof=ddof)) / 2)
        smd = (a.mean() - b.mean()) / spread if spread > 0 else 0.0 * (a.mean() == b.mean())
        if not binary:
            p = stats.ttest_ind(a, b, equal_var=False).pvalue if spread > 0 else np.nan
            return float(p), float(smd)
    table = np.array([[values.sum(), (1 - values).sum()] for values in (a, b)]).round().astype(int)
    if not (table.sum(axis=0).all() and table.sum(axis=1).all()):
        return np.nan, float(smd)
    if stats.contingency.expected_freq(table).min() < 5:
        return float(stats.fisher_exact(table).pvalue), float(smd)
    return float(stats.chi2_contingency(table, correction=False).pvalue), float(smd)


def quartiles_off(found: Quartiles, names: tuple[str, ...], cohort: PooledCohort) -> float:
    """How far a quartile lies outside of the range that its precision allows."""
    worst = 0.0
    for i, name in enumerate(found.names):
        for k, (label, told) in enumerate(
            (("negative", found.negative), ("positive", found.positive), ("all", found.together))
        ):
            values = cohort.group(label, names.index(name))
            if not len(values):
                continue
            again = np.quantile(values, [0.25, 0.5, 0.75], method="inverted_cdf")
            above = told[i] - again
            outside = np.maximum(np.maximum(above - found.precision[i, k], -above), 0.0)
            worst = max(worst, difference(again + outside, again))
    return worst


def _off(found: float | None, again: float) -> float:
    """The difference, where what neither side can tell is alike."""
    told = np.nan if found is None else found
    if np.isnan(told) and np.isnan(again):
        return 0.0
    return difference(told, again)
