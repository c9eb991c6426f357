"""Where networks look, as sums that pool over sites: shares of heat, and a mean map of tumours.

The map's frame is the tumour's own: its middle is the origin and the radius of a circle of its area
is 1, so that tumours of all sizes lie upon each other.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shared.checks import Floats, Ints, require, require_counts, require_numbers
from shared.errors import FederationError
from shared.moments import Moments, moments, pool_moments

REGIONS = ("inside", "ring", "elsewhere")
COLUMNS = (*REGIONS, *(f"{region}_area" for region in REGIONS), "excess")
BINS = 20
MAP_RADII = 3.0


@dataclass(frozen=True, slots=True, eq=False)
class HeatSums:
    """What a site tells of the heat of its patients.

    Attributes:
        moments: Of `COLUMNS`: the share of a patient's heat inside the tumour, in the ring and
            elsewhere; the share of the field that each of these is; heat less field inside.
        bins: How many patients have a share of heat in each twentieth of [0, 1], (region, bin).
        map_sum: The sum of the patients' maps in the tumour's frame, (y, x), rows from front to
            back; 1 is what heat spread evenly over a patient's field would give.
        n_without: Patients without heat, or whose tumour is too small for the network's grid.
    """

    moments: Moments
    bins: Ints
    map_sum: Floats
    n_without: int

    def __post_init__(self) -> None:
        require(self.moments.names == COLUMNS, "heat: its shares have other names")
        require(bool((self.moments.n == self.n).all()), "heat: its shares are of other patients")
        require_counts("heat.bins", self.bins, (len(REGIONS), BINS))
        require(bool((self.bins.sum(axis=1) == self.n).all()), "heat: bins are of other patients")
        side = self.map_sum.shape[:1]
        require_numbers("heat.map_sum", self.map_sum, (*side, *side), minimum=0.0)
        require(self.n_without >= 0, "heat: n_without must not be negative")

    @property
    def n(self) -> int:
        """Patients that have heat."""
        return int(self.moments.n[0])


def heat_sums(shares: Floats, areas: Floats, maps: Floats, *, n_without: int) -> HeatSums:
    """The sums of patients' shares of heat and of field ``(n, region)`` and maps ``(n, y, x)``."""
    table = np.hstack([shares, areas, shares[:, :1] - areas[:, :1]])
    counts = [np.histogram(np.clip(one, 0, 1), BINS, (0.0, 1.0))[0] for one in shares.T]
    bins = np.array(counts, dtype=np.int64)
    return HeatSums(moments(COLUMNS, table), bins, maps.sum(axis=0), n_without)


def pool_heat_sums(parts: Sequence[HeatSums]) -> HeatSums:
    """Combine the sites' sums into those of all their patients, however these are divided.

    Raises:
        FederationError: If there are no parts, or two have maps of different sizes.
    """
    if len({part.map_sum.shape for part in parts}) != 1:
        raise FederationError("the sites' maps of heat have different sizes, or there are none.")
    return HeatSums(
        pool_moments([part.moments for part in parts]),
        np.sum([part.bins for part in parts], axis=0),
        np.sum([part.map_sum for part in parts], axis=0),
        sum(part.n_without for part in parts),
    )
