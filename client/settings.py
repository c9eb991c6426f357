"""The site file: what one hospital alone knows; it never leaves the hospital."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from shared.config import Study
from shared.errors import ConfigError
from shared.quantities import Name, Positive
from shared.stages.external_evaluate import ExternalLevel
from shared.strict_yaml import Settings, load_settings

FeaturesFrom = Literal["images", "trifed", "elsewhere"]
Disclosure = Literal["embeddings", "scores", "labels", "radiomics_score", "clinical"]


class Data(Settings):
    """Where the patients' files are; relative paths start at the site file's folder."""

    root: str = "."
    manifest: str | None = "manifest.csv"
    clinical: str | None = "clinical.csv"
    features: str | None = None
    features_from: Literal["trifed", "elsewhere"] = "trifed"
    resample_masks: bool = False

    @model_validator(mode="before")
    @classmethod
    def _table_names_the_patients(cls, found: Any) -> Any:
        """With a table of features, patients are its rows unless a manifest is named."""
        if isinstance(found, dict) and found.get("features") is not None:
            return {"manifest": None} | found
        return found

    @model_validator(mode="after")
    def _somebody_is_named(self) -> Self:
        if self.manifest is None and self.features is None:
            raise ValueError("manifest may be left out only where features names a table")
        if self.features is None and self.features_from != "trifed":
            raise ValueError(
                "features_from says where the table 'features' is from; name the table"
            )
        return self


LEAST_CELL = 3


class Release(Settings):
    """What is too few to be told of, and how much the networks may show of one patient.

    A statistic of fewer patients than `min_cell`, but not of none, never leaves. Networks are
    trained only up to `max_epsilon`, over all studies; None is no limit. `external` is what may be
    told of an external cohort's scores.
    """

    min_cell: Annotated[int, Field(ge=1)] = 5
    max_epsilon: Positive | None = None
    external: ExternalLevel = "summary"


class Device(Settings):
    """What the site computes on; `threads: 0` means all cores."""

    kind: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Annotated[int, Field(ge=0, le=256)] = 0
    keep_inputs: Literal["auto", "device", "host"] = "auto"


class SiteSettings(Settings):
    """One hospital: its name and role, its files, its device, and what may leave it."""

    version: Literal[1]
    name: Name
    role: Literal["training", "external"]
    synthetic: bool = False
    data: Data = Data()
    cache: str = "cache"
    device: Device = Device()
    disclose: tuple[Disclosure, ...] = ()
    disclose_of: tuple[Literal["tune", "train"], ...] = ("tune",)
    release: Release = Release()

    @model_validator(mode="after")
    def _cells_are_large_enough(self) -> Self:
        if self.release.min_cell < LEAST_CELL and not self.synthetic:
            raise ValueError(
                f"release.min_cell must be at least {LEAST_CELL}, not {self.release.min_cell}; "
                "only made-up patients (synthetic: true) may do with less"
            )
        return self


def load_site_settings(path: Path) -> SiteSettings:
    """Read and check a site file."""
    return load_settings(path, SiteSettings)


def check_role(settings: SiteSettings, study: Study, *, guest: bool = False) -> None:
    """Refuse a site that the study does not name in its role.

    Args:
        guest: Let in an external site that the study does not name, unless it trains there.

    Raises:
        ConfigError: If the study does not list the site, or lists it in the other role.
    """
    if guest and settings.role == "external" and settings.name not in study.sites.training:
        return
    members = study.sites.training if settings.role == "training" else study.sites.external
    if settings.name not in members:
        raise ConfigError(
            f"site.yaml: '{settings.name}' with role {settings.role} is not in the study's "
            f"sites.{settings.role} ({', '.join(members) or 'none'}). Correct name or role."
        )
