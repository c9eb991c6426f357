"""Roll call: Flower numbers its nodes anew in every run, so each says which site it is.

Leaves the hospital: the site's name.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RollCall:
    """Who are you?"""


@dataclass(frozen=True, slots=True)
class SiteName:
    """This is my name."""

    name: str
