"""How this site's images were acquired: headers kept in the cache, and what is told of them."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from client import images
from client.cache import code_version
from client.cohort.manifest import Case
from client.images.headers import UNREADABLE, Header, header_of
from client.products import Sources, Volumes
from client.release import are_enough
from client.site import Site
from shared import acquisition
from shared.acquisition import SPACINGS, Acquisition, census
from shared.checks import Floats
from shared.moments import moments
from shared.phases import Phase


@dataclass(frozen=True, slots=True)
class Headers:
    """The headers of a patient's images, text ``(phase, 5)``; a row is a `Header`."""

    phases: tuple[Phase, ...]

    @property
    def depends_on(self) -> tuple[str, str, str]:
        """The phases, and the code that reads headers."""
        return " ".join(self.phases), "headers", _code()

    @property
    def opens(self) -> bool:
        """No pixel is read."""
        return False

    def is_for(self, case: Case) -> bool:
        """Whoever has an image."""
        return bool(case.images)

    def sources(self, case: Case) -> Sources:
        """The images without their masks."""
        return Sources({}, {str(phase): (path,) for phase, path in case.images.items()})

    def compute(self, case: Case, opened: Volumes) -> NDArray[np.str_]:  # noqa: ARG002
        """The headers in the order of the phases; a row as if unreadable where there is none."""
        found = [header_of(case.images[p]) if p in case.images else UNREADABLE for p in self.phases]
        return np.array([[str(part) for part in astuple(header)] for header in found])


def acquired(site: Site) -> dict[str, Acquisition]:
    """How the images of all cases were acquired, by phase; empty where a site has no images.

    Nothing here stops a run: an image whose header cannot be read counts as unknown, and of too
    few images nothing is told but their number, which follows from how many lack the phase.
    """
    if site.features_from != "images":
        return {}
    product, cases = Headers(tuple(site.study.phases)), site.everyone.cases
    site.shelf.fill(cases, [product])
    kept = site.shelf.arrays(cases, product)
    found: dict[str, Acquisition] = {}
    for place, phase in enumerate(product.phases):
        ids = [case.patient_id for case in cases if phase in case.images]
        headers = [_header(kept[who][place]) if who in kept else UNREADABLE for who in ids]
        found[phase] = _told(site, headers)
    return found


def _header(row: NDArray[np.str_]) -> Header:
    in_plane, between, *words = map(str, row)
    return Header(float(in_plane), float(between), *words)


def _told(site: Site, headers: Sequence[Header]) -> Acquisition:
    """What may be told of one phase's images."""
    least = site.policy.release.min_cell
    table = np.array([[h.in_plane_mm, h.slice_mm] for h in headers], dtype=np.float64)
    return Acquisition(
        n_images=len(headers),
        spacing=moments(SPACINGS, _enough(site, table.reshape(-1, len(SPACINGS)))),
        kvp=census([header.kvp for header in headers], least=least),
        manufacturer=census([header.manufacturer for header in headers], least=least),
        kernel=census([header.kernel for header in headers], least=least),
    )


def _enough(site: Site, table: Floats) -> Floats:
    """The table, or no row of it if too few have values."""
    n = int((~np.isnan(table)).all(axis=1).sum())
    return table if are_enough(site, n, at_least=1) else table[:0]


@cache
def _code() -> str:
    return code_version(images, acquisition)
