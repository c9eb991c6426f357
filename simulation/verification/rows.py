"""The training cases of all sites in one table, which no one has outside of a simulation."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from client.service import SiteService
from client.stages.fuse import folded_rows
from client.stages.select_features import folds
from client.workbench import Workbench
from server.coordinator import need
from server.fit_fusion import balanced_folds
from server.study import DiscretiseRecord, EmbeddingRecord, ScaleRecord, Study
from shared.config import Study as Settings
from shared.job import Job
from shared.models import CLIP_SD, Extraction
from shared.stages.embed import RowsRequest
from simulation.verification import formulas
from simulation.verification.frozen_scores import SiteScores, as_told, read_scores


@dataclass(frozen=True, slots=True, eq=False)
class PooledReadings:
    """Readings ``(n, k, p)`` of all sites' training cases read again, and the site of each.

    `least` is how many patients each site tells of at least.
    """

    values: np.ndarray
    sites: np.ndarray
    least: dict[str, int]


@dataclass(frozen=True, slots=True, eq=False)
class PooledFusion:
    """What the fusion layer is fitted on: columns ``(n, k)``, labels and folds ``(n,)``.

    `counted` makes of held-out scores ``(n,)`` those that were counted, as the sites tell of them.
    """

    table: np.ndarray
    labels: np.ndarray
    fold: np.ndarray
    counted: Callable[[np.ndarray], np.ndarray] = field(default=lambda scores: scores)


@dataclass(frozen=True, slots=True, eq=False)
class PooledRows:
    """Rows of all sites' training cases: features as extracted, and as they are put to use.

    `prepared` is what the study lets become of the features before they are chosen from: clipped
    and harmonised, computed here from the pooled rows alone. `tune_features` are the tune cases',
    as extracted, and `tune_sites` where each is.
    """

    names: tuple[str, ...]
    features: np.ndarray
    prepared: np.ndarray
    ranges: np.ndarray
    clinical: np.ndarray
    labels: np.ndarray
    sites: np.ndarray
    folds: np.ndarray
    tune_features: np.ndarray
    tune_sites: np.ndarray
    readings: PooledReadings | None = None
    fusion: PooledFusion | None = None
    scores: Mapping[str, SiteScores] = field(default_factory=dict)

    def columns(self, wanted: tuple[str, ...]) -> np.ndarray:
        """Prepared features by name ``(n, k)``."""
        index = {name: i for i, name in enumerate(self.names)}
        return self.prepared[:, [index[name] for name in wanted]]

    def scaled(self, wanted: tuple[str, ...]) -> np.ndarray:
        """The same on their own mean and standard deviation, clipped, a missing one at its mean."""
        table = self.columns(wanted)
        z = (table - np.nanmean(table, axis=0)) / np.nanstd(table, axis=0, ddof=1)
        return np.asarray(np.nan_to_num(np.clip(z, -CLIP_SD, CLIP_SD), nan=0.0))


def pool_rows(job: Job, study: Study, settings: Settings) -> PooledRows:
    """Read every training site's rows and stack them."""
    discretise: DiscretiseRecord = need(study.discretise, "discretise")
    record: ScaleRecord = need(study.standardise, "standardise")
    names: tuple[str, ...] = ()
    parts: list[tuple[np.ndarray, ...]] = []
    tune: list[tuple[np.ndarray, np.ndarray]] = []
    benches = {
        site: SiteService.open(job.site_files[site], settings, threads=job.threads).bench
        for site in sorted(settings.sites.training)
    }
    for site, bench in benches.items():
        names, table = bench.site.features(bench.site.training, discretise.extraction)
        parts.append((table, *rows_of(bench, settings, site)))
        table = bench.site.features(bench.site.tuning, discretise.extraction)[1]
        tune.append((table, np.full(len(table), site)))
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    features, ranges, clinical, labels, sites, fold = columns
    place = [names.index(name) for name in record.scale.names]
    prepared = np.full_like(features, np.nan)
    prepared[:, place] = formulas.prepare_features(
        features[:, place],
        sites,
        clip_quantile=settings.standardise.clip_quantile,
        combat=settings.standardise.harmonise == "combat",
    )
    tune_features, tune_sites = (np.concatenate(column) for column in zip(*tune, strict=True))
    return PooledRows(
        names,
        features,
        prepared,
        ranges,
        clinical,
        labels,
        sites,
        fold,
        tune_features,
        tune_sites,
        pool_readings(benches, discretise.extraction) if settings.stability else None,
        pool_fusion(benches, study, settings),
        read_scores(job, study, settings),
    )


def pool_fusion(
    benches: Mapping[str, Workbench], study: Study, settings: Settings
) -> PooledFusion | None:
    """The rows that the server was sent, or each site's own; None where they told with noise."""
    embed: EmbeddingRecord = need(study.embed, "embed")
    if settings.fusion.tells_rows:
        fold = balanced_folds(embed.labels, embed.sites, settings.fusion.folds)
        return PooledFusion(embed.rows, embed.labels, fold)
    if settings.fusion.is_private:
        return None
    request = RowsRequest(embed.parts, need(study.clinical_model, "clinical_model").model)
    found = [folded_rows(request, bench)[1:] for bench in benches.values()]
    ends = np.cumsum([len(labels) for _, labels, _ in found])[:-1]

    def counted(scores: np.ndarray) -> np.ndarray:
        parts = zip(benches.values(), np.split(scores, ends), strict=True)
        return np.concatenate([as_told(bench.site, part, settings) for bench, part in parts])

    table, labels, fold = (np.concatenate(column) for column in zip(*found, strict=True))
    return PooledFusion(table, labels, fold, counted)


def pool_readings(benches: Mapping[str, Workbench], extraction: Extraction) -> PooledReadings:
    """Every training site's readings under each other."""
    values, sites, least = [], [], {}
    for name, bench in benches.items():
        site = bench.site
        least[name] = site.policy.release.min_cell
        values.append(site.readings(site.training, extraction)[1])
        sites.append(np.full(len(values[-1]), name))
    return PooledReadings(np.concatenate(values), np.concatenate(sites), least)


def rows_of(bench: Workbench, settings: Settings, site: str) -> tuple[np.ndarray, ...]:
    """Ranges, clinical predictors, labels, site name and fold of a site's training cases."""
    training = bench.site.training
    labels = bench.site.labels(training)
    ranges = np.empty((len(labels), 0))
    if settings.radiomics.given_widths is None:
        ranges = bench.site.ranges(training)[1]
    return (
        ranges,
        bench.site.clinical(training, settings.clinical.predictors),
        labels,
        np.full(len(labels), site),
        folds(labels, settings.selection.folds, bench),
    )
