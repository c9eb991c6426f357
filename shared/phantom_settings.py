"""Settings of made-up cohorts."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from shared.quantities import Count, Name
from shared.strict_yaml import Settings


class PhantomSite(Settings):
    """A made-up hospital: how many patients, and which scanner's look they have."""

    n_cases: Count
    scanner: Literal["a", "b", "c", "d"]
    n_positive: Annotated[int, Field(ge=0)] | None = None


class Phantom(Settings):
    """A made-up cohort, written to disk as hospitals would have it."""

    preset: Literal["null", "hard", "paper", "easy"] = "paper"
    size: Literal["tiny", "small", "medium"] = "small"
    sites: dict[Name, PhantomSite] = Field(min_length=1)
    missing_phase_rate: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    format: Literal["nifti", "dicom"] = "nifti"

    @field_validator("preset", mode="before")
    @classmethod
    def _null_is_a_name(cls, preset: object) -> object:
        """YAML reads an unquoted null as nothing, but here it is the name of a preset."""
        return "null" if preset is None else preset
