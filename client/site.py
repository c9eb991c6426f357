"""Site: this hospital's settings, study, cases, cache and device.

Splits are types: what fits takes a `TrainingCases` or `TuneCases`; a `TestCases` can only be
applied to. Rows of every table stand in the order of the cases in the handle, and that order
depends on the patients' ids alone.
"""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.cache import Cache
from client.cohort.cases import Cases, TestCases, TrainingCases, TuneCases
from client.cohort.feature_table import feature_rows, missing_phases, read_cohort
from client.cohort.manifest import Case, check_cohort_size
from client.cohort.patients import Patients
from client.cohort.splits import assign_splits
from client.cohort.tables import listed
from client.policy.beyond import policy_for, refuse_small_cohort
from client.policy.load import load_policy
from client.policy.settings import Policy
from client.prepare import Progress
from client.products import MaskTensor, Product, Ranges, Readings, Row, Tensor
from client.radiomics.features import extracted_names, feature_names, with_deltas
from client.settings import Device, FeaturesFrom, SiteSettings, check_role, load_site_settings
from client.shelf import Shelf
from client.workers import n_threads
from shared.branches import Network
from shared.config import Study, networks
from shared.errors import ImageError
from shared.models import Extraction
from shared.networks import input_shape
from shared.phases import Phase

__all__ = ["Cases", "Site", "TestCases", "TrainingCases", "TuneCases", "open_site"]


class Site(Patients):
    """One hospital, opened; made by `open_site`."""

    def __init__(
        self,
        site_file: Path,
        settings: SiteSettings,
        study: Study,
        *,
        policy: Policy,
        threads: int,
        progress: Progress,
    ) -> None:
        super().__init__(settings.name)
        self.settings = settings
        self.policy = policy
        self.folder = site_file.parent.resolve()
        self.study = study
        self.threads = threads
        self._shelf = Shelf(
            study,
            (site_file.parent / settings.data.root).resolve(),
            Cache(site_file.parent / settings.cache),
            threads=threads,
            progress=progress,
        )
        self._prepared: set[tuple[str, str, str]] = set()

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
    def home(self) -> Path:
        """Where the hospital keeps the book of what its external cohort was shown."""
        return self.folder

    @property
    def shelf(self) -> Shelf:
        """What was computed of its cases."""
        return self._shelf

    @property
    def cache_folder(self) -> Path:
        """Where this hospital keeps what was computed; nothing in it leaves the hospital."""
        return self._shelf.cache.folder

    def lacking(self, case: Case) -> list[Phase]:
        """The phases that a case lacks: it has no image of them, or no feature in a table."""
        if self.features_from == "images":
            return [phase for phase in self.study.phases if phase not in case.images]
        return missing_phases(case.features, self.study)

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
            product = Row(self.study, extraction)
            self.prepare(product)
            rows = self._shelf.rows(cases, product, len(extracted))
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
        names, product = self.study.radiomics.filtered_names, Ranges(self.study)
        self.prepare(product)
        return names, self._shelf.rows(cases, product, len(names))

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
        bad = self._shelf.fill(chosen, [product])
        if bad and self.study.cohort.on_bad_case == "stop":
            raise ImageError(listed(list(bad.values())))
        for reason in bad.values():
            self.log.warning("not read again: %s", reason)
        read = tuple(case for case in chosen if case.patient_id not in bad)
        names, first = self.features(TrainingCases(read, cases.split), extraction)
        found = np.empty((len(read), 1 + product.n_others, len(names)))
        found[:, 0] = first
        others = self._shelf.arrays(read, product)
        for place, case in zip(found, read, strict=True):
            rows = others[case.patient_id]
            place[1:] = with_deltas(rows, self.study.phases, self.study.radiomics)
        return names, found

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
        kept = self._shelf.arrays(cases.cases, product)
        present = np.array([case.patient_id in kept for case in cases], dtype=bool)
        stacked = np.zeros((len(cases), *input_shape(network)), dtype=np.float32)
        for row, case in enumerate(cases):
            if present[row]:
                stacked[row] = kept[case.patient_id]
        return stacked, present

    def arrays(self, cases: Cases, product: Product) -> dict[str, NDArray[Any]]:
        """A product of these cases, of those that can have it, by id; no others are prepared.

        Raises:
            ImageError: If one of the cases cannot be used.
        """
        bad = self._shelf.fill(cases.cases, [product])
        if bad:
            raise ImageError(listed(list(bad.values())))
        return self._shelf.arrays(cases.cases, product)

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
        kinds = (Tensor,) if self.study.explain is None else (Tensor, MaskTensor)
        tensors = [kind(self.study, each) for each in networks(self.study) for kind in kinds]
        products = {product.depends_on: product for product in (*wanted, radiomics, *tensors)}
        missing = [product for key, product in products.items() if key not in self._prepared]
        if not missing:
            return
        bad = self._shelf.fill(self._cases, missing)
        if radiomics in missing:
            usable = [case for case in self._cases if case.patient_id not in bad]
            bad |= self._shelf.copies(usable, radiomics)
        drawn = any(case.split is not None for case in self._cases)
        if bad and (drawn or self.study.cohort.on_bad_case == "stop"):
            raise ImageError(listed(list(bad.values())))
        self._exclude(bad)
        self._prepared |= products.keys()

    def _load(self, *, labels_required: bool, site_file: Path) -> None:
        """Read the tables, set bad cases aside, then draw the splits."""
        found = read_cohort(self.settings, site_file, self.study, labels_required=labels_required)
        self.exclusions = found.exclusions
        if found.n_objected:
            self.log.info("%d patients object (objections.csv): not read", found.n_objected)
        self._cases = tuple(sorted(found.cases, key=lambda case: place_of(case.patient_id)))
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
    guest: bool = False,
    local: bool = False,
) -> Site:
    """Open a hospital: read its tables, set bad cases aside where the study says so, draw splits.

    With `cohort.on_bad_case: exclude` all images are prepared here, since the splits are drawn
    among the patients that remain; otherwise on first need.

    Args:
        threads: Worker processes; None takes `device.threads`, and 0 all cores.
        progress: Called as (what, done, total).
        guest: Whether the study need not know the site, whose patients are all tested.
        local: Whether nothing will be told to anybody, so that the policy need not allow the study.

    Raises:
        ConfigError: If the site file is wrong, or the study does not know the site in its role.
        PolicyError: If there is no policy in force, or the study asks for more than it allows.
        ManifestError: If the tables are wrong.
        CohortError: If too few patients can be used.
    """
    settings = load_site_settings(site_file)
    check_role(settings, study, guest=guest)
    policy = load_policy(site_file, settings) if local else policy_for(site_file, settings, study)
    site = Site(
        site_file,
        settings,
        study,
        policy=policy,
        threads=n_threads(settings.device.threads if threads is None else threads),
        progress=progress or silent,
    )
    site._load(labels_required=labels_required, site_file=site_file)
    if not local:
        refuse_small_cohort(policy, settings, site.everyone.cases)
    return site


def place_of(patient_id: str) -> bytes:
    """What a site's cases are ordered by: it hangs on the patient's id alone."""
    return hashlib.sha256(patient_id.encode()).digest()


def silent(_what: str, _done: int, _total: int) -> None:
    """Report no progress."""
