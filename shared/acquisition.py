"""How a site's images were acquired, in numbers; what may be told of a scanner is a closed list.

The texts of a DICOM header are typed by people and may hold anything. Only words from the list of
makers, and kernels written as the makers write theirs, have a place here; both sides check that.
"""

import re
from dataclasses import dataclass

import numpy as np

from shared.checks import require
from shared.moments import Moments

SPACINGS = ("in_plane_mm", "slice_mm")
"""Mean of the spacings of rows and columns; from slice to slice."""
NOT_STATED = "not stated"
"""No DICOM, an element that is absent, or a header that cannot be read."""
MAKERS = {
    "siemens": "Siemens",
    "ge medical": "GE",
    "ge healthcare": "GE",
    "general electric": "GE",
    "philips": "Philips",
    "toshiba": "Toshiba",
    "canon": "Canon",
    "hitachi": "Hitachi",
    "fujifilm": "Fujifilm",
    "united imaging": "United Imaging",
    "uih": "United Imaging",
    "neusoft": "Neusoft",
    "samsung": "Samsung",
    "neurologica": "NeuroLogica",
    "minfound": "MinFound",
    "shimadzu": "Shimadzu",
}
"""How a maker's name begins in headers, in small letters, and how it is told."""
KVP = re.compile(r"[1-9][0-9]{1,2}")
KERNEL = re.compile(
    r"STANDARD|SOFT|DETAIL|BONE|BONEPLUS|CHEST|EDGE|LUNG|ULTRA"  # GE
    r"|[ABDHIJQSTU][fhlrsv]?[0-9]{2}[dfhmsuv]?"  # Siemens
    r"|F[CL][0-9]{2}"  # Canon, Toshiba
    r"|[ABCDL]|E[BC]?|Y[ABCDEL]|U[ABC]"  # Philips
    r"|[BH]_V?(?:SOFT|SMOOTH|SHARP)_[A-D]{1,2}"  # United Imaging
)
MAX_MM = 1000.0


@dataclass(frozen=True, slots=True)
class Census:
    """How many images have each value.

    `rest` are those of all values that too few images have or that are on no list; a value with
    too few never stands alone.
    """

    counts: dict[str, int]
    rest: int

    def __post_init__(self) -> None:
        require(all(n >= 1 for n in self.counts.values()), "a census must not count nobody")
        require(self.rest >= 0, "a census must not have a negative rest")

    @property
    def n(self) -> int:
        """All images."""
        return sum(self.counts.values()) + self.rest


@dataclass(frozen=True, slots=True, eq=False)
class Acquisition:
    """One phase's images at a site.

    Attributes:
        spacing: Of `SPACINGS`, in mm; without any image where too few headers can be read.
        kvp: By tube voltage in whole kVp.
        manufacturer: By maker, of `MAKERS`.
        kernel: By convolution kernel, written as `KERNEL` says.
    """

    n_images: int
    spacing: Moments
    kvp: Census
    manufacturer: Census
    kernel: Census

    def __post_init__(self) -> None:
        n, spacing = self.n_images, self.spacing
        require(n >= 0, "acquisition: n_images must not be negative")
        require(spacing.names == SPACINGS, "acquisition: the spacings are others")
        require(bool((spacing.n <= n).all()), "acquisition: spacings of too many images")
        told = spacing.n > 0
        within = np.where(told, (spacing.mean > 0) & (spacing.mean <= MAX_MM), spacing.mean == 0)
        require(bool(within.all()), "acquisition: an impossible spacing")
        for census in (self.kvp, self.manufacturer, self.kernel):
            require(census.n == n, "acquisition: a census of other images")
        for values, ok in (
            (self.kvp.counts, is_kvp),
            (self.manufacturer.counts, is_maker),
            (self.kernel.counts, is_kernel),
        ):
            good = all(value == NOT_STATED or ok(value) for value in values)
            require(good, "acquisition: a word that may not be told")


def is_kvp(text: str) -> bool:
    """Whether a text is a tube voltage in whole kVp."""
    return KVP.fullmatch(text) is not None


def is_maker(text: str) -> bool:
    """Whether a text is a maker's name as it is told."""
    return text in MAKERS.values()


def is_kernel(text: str) -> bool:
    """Whether a text is written as a known maker writes kernels."""
    return KERNEL.fullmatch(text) is not None


def maker_of(text: str) -> str:
    """The maker that a header's text begins with; empty where it is none that is known."""
    words = " ".join(text.lower().replace("_", " ").split())
    if words == "ge":
        return "GE"
    return next((maker for start, maker in MAKERS.items() if words.startswith(start)), "")


def census(values: list[str], *, least: int) -> Census:
    """Count values so that each told count, and the rest, is of at least `least` images.

    Values of too few images go to the rest; while that is too small itself, so does the next
    smallest, since all images less the others would be what it holds. Of fewer than `least`
    images in all, no value is told.

    Args:
        values: One for each image; empty for one that is on no list.
    """
    found = {value: values.count(value) for value in sorted(set(values)) if value}
    by_size = sorted(found, key=lambda value: (found[value], value))
    rest = values.count("")
    while by_size and (found[by_size[0]] < least or 0 < rest < least):
        rest += found.pop(by_size.pop(0))
    return Census(found, rest)
