"""The sites of a baseline: patients of the study's sites, in another role or as one hospital.

The patients, their splits and what is kept of them are those of the federated study; nothing is
drawn or extracted again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.cache import Cache
from client.cohort.cases import Cases, TrainingCases
from client.cohort.manifest import Case
from client.policy.keys import KEYS
from client.policy.settings import Policy, RowPart
from client.products import Product
from client.radiomics.features import feature_names
from client.settings import FeaturesFrom, SiteSettings
from client.shelf import Shelf
from client.site import Site, place_of, silent
from shared.config import Study
from shared.models import Extraction
from shared.phases import Phase
from simulation.baselines.plans import POOLED

Named = tuple[tuple[str, ...], NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose patient a case is, and the case as it stands there."""

    site: Site
    case: Case


class BorrowedShelf(Shelf):
    """The shelves of the sites that the patients come from, as one."""

    def __init__(self, origins: Mapping[str, Origin], study: Study, cache: Cache) -> None:
        super().__init__(study, Path(), cache, threads=1, progress=silent)
        self._origins = origins

    def fill(self, cases: Sequence[Case], products: Sequence[Product]) -> dict[str, str]:
        """See `Shelf.fill`; each site fills its own shelf."""
        bad: dict[str, str] = {}
        for site, theirs in by_site(cases, self._origins):
            told = site.shelf.fill(list(theirs.values()), products)
            bad |= {
                name: told[case.patient_id]
                for name, case in theirs.items()
                if case.patient_id in told
            }
        return bad

    def arrays(self, cases: Sequence[Case], product: Product) -> dict[str, NDArray[Any]]:
        """See `Shelf.arrays`; under the borrowed patients' ids."""
        found: dict[str, NDArray[Any]] = {}
        for site, theirs in by_site(cases, self._origins):
            kept = site.shelf.arrays(list(theirs.values()), product)
            found |= {
                name: kept[case.patient_id]
                for name, case in theirs.items()
                if case.patient_id in kept
            }
        return found


class BorrowedSite(Site):
    """Patients of one or more opened sites as one hospital of another study."""

    def __init__(
        self,
        settings: SiteSettings,
        origins: Mapping[str, Origin],
        study: Study,
        *,
        policy: Policy,
        folder: Path,
    ) -> None:
        members = list({id(origin.site): origin.site for origin in origins.values()}.values())
        super().__init__(
            folder / "site.yaml",
            settings,
            study,
            policy=policy,
            threads=members[0].threads,
            progress=silent,
        )
        self._members = members
        self._origins = origins
        self._shelf = BorrowedShelf(origins, study, Cache(self.cache_folder))
        self.exclusions = tuple(e for member in members for e in member.exclusions)
        external = settings.role == "external"
        self._cases = tuple(
            replace(
                origin.case,
                patient_id=name,
                split="external_test" if external else origin.case.split,
            )
            for name, origin in origins.items()
        )

    @property
    def features_from(self) -> FeaturesFrom:
        """`images` if any of the sites has images."""
        found = [member.features_from for member in self._members]
        return "images" if "images" in found else found[0]

    @property
    def home(self) -> Path:
        """A borrowed hospital's own folder: a baseline's looks at its patients are looks."""
        return self._members[0].folder if len(self._members) == 1 else self.folder

    def lacking(self, case: Case) -> list[Phase]:
        """The phases that the patient lacks at the own site."""
        origin = self._origin(case)
        return origin.site.lacking(origin.case)

    def features(self, cases: Cases, extraction: Extraction) -> Named:
        """The radiomics table, each row as its own site has it; see `Site.features`."""
        row_of = {case.patient_id: row for row, case in enumerate(cases)}
        names = feature_names(self.study.phases, self.study.radiomics)
        table = np.full((len(cases), len(names)), np.nan)
        for site, theirs in by_site(cases.cases, self._origins):
            handle = Cases(tuple(theirs.values()), cases.split)
            table[[row_of[name] for name in theirs]] = site.features(handle, extraction)[1]
        return names, table

    def readings(self, cases: TrainingCases, extraction: Extraction) -> Named:
        """The readings of the same patients as in the federated study; see `Site.readings`."""
        asked = {(o.site.name, o.case.patient_id) for o in map(self._origin, cases)}
        found = []
        for site in self._members:
            theirs = tuple(c for c in site.everyone if (site.name, c.patient_id) in asked)
            found.append(site.readings(TrainingCases(theirs, cases.split), extraction))
        return found[0][0], np.concatenate([values for _, values in found])

    def _origin(self, case: Case) -> Origin:
        return self._origins[case.patient_id]


def borrow(site: Site, study: Study, *, role: str, folder: Path) -> BorrowedSite:
    """A site in a role of another study; one that is external has every patient tested.

    It keeps the branches' outputs where the site does, so that none is computed twice.
    """
    changes = {"role": role, "cache": str(site.cache_folder)}
    settings = SiteSettings.model_validate(site.settings.model_dump() | changes)
    origins = {case.patient_id: Origin(site, case) for case in site.everyone}
    return BorrowedSite(settings, origins, study, policy=site.policy, folder=folder)


def pool(sites: Sequence[Site], study: Study, *, folder: Path) -> BorrowedSite:
    """All sites as one hospital; patients' ids begin with their site, so that no two meet.

    It lets leave what every site does, and tells of as few patients as the strictest.
    """
    origins = {
        f"{site.name}/{case.patient_id}": Origin(site, case)
        for site in sites
        for case in site.everyone
    }
    settings = pooled_settings([site.settings for site in sites])
    ordered = dict(sorted(origins.items(), key=lambda entry: place_of(entry[0])))
    return BorrowedSite(settings, ordered, study, policy=pooled_policy(sites), folder=folder)


def pooled_settings(sites: Sequence[SiteSettings]) -> SiteSettings:
    """The site file of all as one: the first's, but for its name and its cache."""
    first = sites[0].model_dump()
    made_up = any(site.synthetic for site in sites)
    own = {"name": POOLED, "cache": "cache", "synthetic": made_up}
    return SiteSettings.model_validate(first | own)


def pooled_policy(sites: Sequence[Site]) -> Policy:
    """Of each key the strictest site's value; rows hold what every site lets stand in them."""
    found = strictest([site.policy for site in sites])
    release = found.release.model_copy(update={"rows": common_rows(sites)})
    return found.model_copy(update={"release": release})


def strictest(policies: Sequence[Policy]) -> Policy:
    """The first policy, with each key as the strictest of them has it."""
    found = policies[0]
    for key in KEYS:
        value = key.of(found)
        for policy in policies[1:]:
            other = key.of(policy)
            if isinstance(value, tuple):
                value = tuple(item for item in value if item in other)
            elif key.is_looser(value, other):
                value = other
        found = key.set(found, value)
    return found


def common_rows(sites: Sequence[Site]) -> tuple[RowPart, ...]:
    """What every site's rows may hold; one that brings a table has no embeddings that it could."""
    first = [what for site in sites for what in site.policy.release.rows]
    return tuple(
        what
        for what in dict.fromkeys(first)
        if all(
            what in site.policy.release.rows
            or (what in ("embeddings", "scores") and site.features_from != "images")
            for site in sites
        )
    )


def by_site(
    cases: Sequence[Case], origins: Mapping[str, Origin]
) -> list[tuple[Site, dict[str, Case]]]:
    """The cases as they stand at their own sites, by borrowed id, apart for each site."""
    found: dict[str, tuple[Site, dict[str, Case]]] = {}
    for case in cases:
        origin = origins[case.patient_id]
        theirs = found.setdefault(origin.site.name, (origin.site, {}))[1]
        theirs[case.patient_id] = replace(origin.case, split=case.split)
    return list(found.values())
