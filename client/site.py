"""Site: this hospital's settings, study, cases, cache and device.

Splits are types: what fits takes a `TrainingCases` or `TuneCases`; a `TestCases` can only be
applied to. Rows of every table stand in the order of the cases in the handle, and that order
depends on the patients' ids alone.
"""

import hashlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.cache import Cache
from client.cohort.cases import Cases, TestCases, TrainingCases, TuneCases
from client.cohort.copies import copies
from client.cohort.feature_table import feature_rows, missing_phases, read_cohort
from client.cohort.manifest import Case, Exclusion, check_cohort_size
from client.cohort.splits import assign_splits
from client.cohort.tables import listed
from client.prepare import Progress, prepare, task_for
from client.products import Product, Ranges, Readings, Row, Tensor, has_phases
from client.radiomics.features import extracted_names, feature_names, with_deltas
from client.settings import Device, FeaturesFrom, SiteSettings, load_site_settings
from client.tensors import input_shape
from shared.branches import Network
from shared.config import Split, Study, networks
from shared.errors import CohortError, ConfigError, ImageError
from shared.models import Extraction
from shared.phases import Phase

__all__ = ["Cases", "Site", "TestCases", "TrainingCases", "TuneCases", "open_site"]


class Site:
    """One hospital, opened; made by `open_site`."""

    def __init__(
        self,
        site_file: Path,
        settings: SiteSettings,
        study: Study,
        *,
        threads: int,
        progress: Progress,
    ) -> None:
        self.settings = settings
        self.study = study
        self.threads = threads
        self.exclusions: tuple[Exclusion, ...] = ()
        self.log = logging.getLogger(f"trifed.site.{settings.name}")
        self._root = (site_file.parent / settings.data.root).resolve()
        self._cache = Cache(site_file.parent / settings.cache)
        self._progress = progress
        self._cases: tuple[Case, ...] = ()
        self._keys: dict[tuple[str, str, str], dict[str, str]] = {}

    @property
    def name(self) -> str:
        """The site's name, as the study has it."""
        return self.settings.name

    @property
    def features_from(self) -> FeaturesFrom:
        """Where the radiomics features come from; `images` unless the site brings a table."""
        data = self.settings.data
        if data.features is None:
            return "images"
        return "elsewhere" if self.study.radiomics.mode == "table" else data.features_from

    @property
    def role(self) -> str:
        """`training`, or `external`: evaluates only."""
        return self.settings.role

    @property
    def device(self) -> Device:
        """What the site computes on."""
        return self.settings.device

    @property
    def cache_folder(self) -> Path:
        """Where this hospital keeps what was computed; nothing in it leaves the hospital."""
        return self._cache.folder

    @property
    def training(self) -> TrainingCases:
        """The training split; empty at an external site."""
        return TrainingCases(self._in_split("train"), "train")

    @property
    def tuning(self) -> TuneCases:
        """The tune split; empty at an external site."""
        return TuneCases(self._in_split("tune"), "tune")

    @property
    def internal_test(self) -> TestCases:
        """The internal test split; empty at an external site."""
        return TestCases(self._in_split("internal_test"), "internal_test")

    @property
    def external_test(self) -> TestCases:
        """All cases of an external site; empty elsewhere."""
        return TestCases(self._in_split("external_test"), "external_test")

    def handle(self, split: Split) -> Cases:
        """The handle of a split by its name."""
        handles: dict[Split, type[Cases]] = {"train": TrainingCases, "tune": TuneCases}
        return handles.get(split, TestCases)(self._in_split(split), split)

    def _in_split(self, split: Split) -> tuple[Case, ...]:
        return tuple(case for case in self._cases if case.split == split)

    @property
    def everyone(self) -> Cases:
        """All cases of the site, whatever their split."""
        return Cases(self._cases, "all")

    def lacking(self, case: Case) -> list[Phase]:
        """The phases that a case lacks: it has no image of them, or no feature in a table."""
        if self.features_from == "images":
            return [phase for phase in self.study.phases if phase not in case.images]
        return missing_phases(case.features, self.study)

    def labels(self, cases: Cases) -> NDArray[np.int64]:
        """The labels 0/1, shape (n,).

        Raises:
            CohortError: If the site was opened without labels.
        """
        labels = [case.label for case in cases]
        if any(label is None for label in labels):
            raise CohortError(
                f"{self.name}: was opened without labels. Set data.clinical in site.yaml."
            )
        return np.array(labels, dtype=np.int64).reshape(len(labels))

    def clinical(self, cases: Cases, columns: Sequence[str]) -> NDArray[np.float64]:
        """Columns of the clinical table, shape (n, k); NaN where a cell is blank.

        Raises:
            CohortError: If a column is not one of the clinical table's numbers.
        """
        known = {column for case in self._cases for column in case.clinical}
        lacking = [column for column in columns if column not in known and len(self._cases)]
        if lacking:
            raise CohortError(
                f"{self.name}: the clinical table has no column of numbers '{lacking[0]}'. "
                "Add it, or take it out of the study."
            )
        values = [[case.clinical[column] for column in columns] for case in cases]
        return np.array(values, dtype=np.float64).reshape(len(values), len(columns))

    def features(
        self, cases: Cases, extraction: Extraction
    ) -> tuple[tuple[str, ...], NDArray[np.float64]]:
        """The radiomics table: names, the same at every site, and values (n, p).

        NaN stands where a patient lacks the phase. All cases are extracted on first need, unless
        the site brings its features as a table.

        Raises:
            ImageError: If a case cannot be used and the study says to stop.
            InstallError: If PyRadiomics is not installed.
        """
        phases, settings = self.study.phases, self.study.radiomics
        extracted = extracted_names(phases, settings)
        if self.features_from == "images":
            rows = self._rows(cases, Row(self.study, extraction), len(extracted))
        else:
            rows = feature_rows(cases.cases, extracted)
        return feature_names(phases, settings), with_deltas(rows, phases, settings)

    def ranges(self, cases: Cases) -> tuple[tuple[str, ...], NDArray[np.float64]]:
        """The range of each filtered image inside the ROI, HU: names and values (n, filters).

        NaN where there is no image.

        Raises:
            ImageError: If a case cannot be used and the study says to stop.
            InstallError: If PyRadiomics is not installed.
        """
        names = self.study.radiomics.filtered_names
        return names, self._rows(cases, Ranges(self.study), len(names))

    def readings(
        self, cases: TrainingCases, extraction: Extraction
    ) -> tuple[tuple[str, ...], NDArray[np.float64]]:
        """The radiomics table under several masks: names, and values (n, readings, p).

        The first reading is the case's row of `features`; the others are under redrawn masks, or
        one under a second reader's. Of the cases that can be read again the first
        `stability.cases_per_site` are, whose order hangs on the patients' ids alone.

        Raises:
            ConfigError: If the study has no section `stability`.
            ImageError: If a second reader's mask cannot be used and the study says to stop.
        """
        product = Readings(self.study, extraction)
        fitting = [case for case in cases if product.is_for(case)]
        chosen = tuple(fitting[: product.stability.cases_per_site])
        bad, keys = self._prepare(chosen, [product])
        if bad and self.study.cohort.on_bad_case == "stop":
            raise ImageError(listed(list(bad.values())))
        for reason in bad.values():
            self.log.warning("not read again: %s", reason)
        read = tuple(case for case in chosen if case.patient_id not in bad)
        names, first = self.features(TrainingCases(read, cases.split), extraction)
        found = np.empty((len(read), 1 + product.n_others, len(names)))
        found[:, 0] = first
        for place, case in zip(found, read, strict=True):
            others = self._cached(keys[product.depends_on][case.patient_id])
            place[1:] = with_deltas(others, self.study.phases, self.study.radiomics)
        return names, found

    def _rows(self, cases: Cases, product: Product, width: int) -> NDArray[np.float64]:
        """A product that is one row for each case, (n, width)."""
        self.prepare(product)
        rows = np.full((len(cases), width), np.nan)
        keys = self._keys.get(product.depends_on, {})
        for row, case in enumerate(cases):
            if product.is_for(case):
                rows[row] = self._cached(keys[case.patient_id])
        return rows

    def tensors(
        self, cases: Cases, network: Network
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """A network's input, float32 (n, ...), and which cases have all its phases, (n,).

        The row of a case that lacks a phase is zeros.

        Raises:
            ImageError: If a case cannot be used and the study says to stop.
        """
        product = Tensor(self.study, network)
        self.prepare(product)
        present = np.array([has_phases(case, network) for case in cases], dtype=bool)
        stacked = np.zeros((len(cases), *input_shape(network)), dtype=np.float32)
        keys = self._keys.get(product.depends_on, {})
        for row, case in enumerate(cases):
            if present[row]:
                stacked[row] = self._cached(keys[case.patient_id])
        return stacked, present

    def prepare(self, *wanted: Product) -> None:
        """Compute these products of every case, unless the cache has them.

        What needs the same images is computed with them, so that each is opened once: the
        networks' inputs, and the radiomics rows unless they wait for widths to be learnt. Two
        patients with the same radiomics are one patient's images twice; the later one is bad.

        Raises:
            ImageError: If a case cannot be used and the study says to stop, or the splits are
                drawn already; up to ten are listed.
        """
        if self.features_from != "images":
            return
        widths = self.study.radiomics.given_widths
        radiomics = Ranges(self.study) if widths is None else Row(self.study, Extraction(widths))
        tensors = [Tensor(self.study, network) for network in networks(self.study)]
        products = {product.depends_on: product for product in (*wanted, radiomics, *tensors)}
        missing = [product for key, product in products.items() if key not in self._keys]
        if not missing:
            return
        bad, keys = self._prepare(self._cases, missing)
        if radiomics in missing:
            bad |= self._copies(bad, keys[radiomics.depends_on])
        drawn = any(case.split is not None for case in self._cases)
        if bad and (drawn or self.study.cohort.on_bad_case == "stop"):
            raise ImageError(listed(list(bad.values())))
        self._exclude(bad)
        self._keys |= keys

    def _prepare(
        self, cases: Sequence[Case], products: Sequence[Product]
    ) -> tuple[dict[str, str], dict[tuple[str, str, str], dict[str, str]]]:
        """Why patients cannot be used, and under which names the cache keeps what of whom."""
        bad: dict[str, str] = {}
        tasks = []
        for case in cases:
            try:
                tasks.append(task_for(case, self.study, self._root, self._cache, products))
            except ImageError as error:
                bad[case.patient_id] = str(error)
        bad |= prepare(tasks, threads=self.threads, progress=self._progress)
        keys: dict[tuple[str, str, str], dict[str, str]] = {p.depends_on: {} for p in products}
        for task in tasks:
            for product, key in task.products:
                keys[product.depends_on][task.case.patient_id] = key
        in_order = [case.patient_id for case in cases if case.patient_id in bad]
        return {patient: bad[patient] for patient in in_order}, keys

    def _copies(self, bad: dict[str, str], keys: dict[str, str]) -> dict[str, str]:
        """Why patients are copies of others, by the radiomics that the cache keeps of them."""
        cases = [c for c in self._cases if c.patient_id in keys and c.patient_id not in bad]
        return copies(cases, {c.patient_id: self._cached(keys[c.patient_id]) for c in cases})

    def _exclude(self, bad: dict[str, str]) -> None:
        gone = [case for case in self._cases if case.patient_id in bad]
        self.exclusions += tuple(
            Exclusion(case.patient_id, case.line, "image", bad[case.patient_id]) for case in gone
        )
        for case in gone:
            self.log.warning("excluded: %s", bad[case.patient_id])
        self._cases = tuple(case for case in self._cases if case.patient_id not in bad)

    def _cached(self, key: str) -> NDArray[Any]:
        array = self._cache.get(key)
        if array is None:
            raise ImageError(
                f"{self.name}: an entry of the cache {self._cache.folder} was lost during the "
                "run. Start again; it will be computed anew."
            )
        return array

    def _load(self, *, labels_required: bool, site_file: Path) -> None:
        """Read the tables, set bad cases aside, then draw the splits."""
        manifest = read_cohort(
            self.settings, site_file, self.study, labels_required=labels_required
        )
        self.exclusions = manifest.exclusions
        self._cases = tuple(sorted(manifest.cases, key=_order))
        if self.study.cohort.on_bad_case == "exclude":
            self.prepare()
        check_cohort_size(self._cases, self.study, self.name, n_excluded=len(self.exclusions))
        self._cases = tuple(assign_splits(self._cases, self.study, self.name))


def open_site(
    site_file: Path,
    study: Study,
    *,
    threads: int | None = None,
    progress: Progress | None = None,
    labels_required: bool = True,
) -> Site:
    """Open a hospital: read its tables, set bad cases aside where the study says so, draw splits.

    With `cohort.on_bad_case: exclude` all images are prepared here, since the splits are drawn
    among the patients that remain; otherwise on first need.

    Args:
        threads: Worker processes; None takes `device.threads`, and 0 all cores.
        progress: Called as (what, done, total).

    Raises:
        ConfigError: If the site file is wrong, or the study does not know the site in its role.
        ManifestError: If the tables are wrong.
        CohortError: If too few patients can be used.
    """
    settings = load_site_settings(site_file)
    check_role(settings, study)
    site = Site(
        site_file,
        settings,
        study,
        threads=n_threads(settings.device.threads if threads is None else threads),
        progress=progress or _silent,
    )
    site._load(labels_required=labels_required, site_file=site_file)
    return site


def check_role(settings: SiteSettings, study: Study) -> None:
    """Refuse a site that the study does not name in its role.

    Raises:
        ConfigError: If the study does not list the site, or lists it in the other role.
    """
    members = study.sites.training if settings.role == "training" else study.sites.external
    if settings.name not in members:
        raise ConfigError(
            f"site.yaml: '{settings.name}' with role {settings.role} is not in the study's "
            f"sites.{settings.role} ({', '.join(members) or 'none'}). Correct name or role."
        )


def n_threads(wanted: int) -> int:
    """How many processes may compute at once; 0 means all cores that are ours."""
    if wanted > 0:
        return wanted
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def _order(case: Case) -> bytes:
    return hashlib.sha256(case.patient_id.encode()).digest()


def _silent(_what: str, _done: int, _total: int) -> None:
    """Report no progress."""
