"""The site file: what one hospital alone knows; it never leaves the hospital."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from shared.config import Study
from shared.errors import ConfigError
from shared.quantities import Name
from shared.strict_yaml import Settings, load_settings

FeaturesFrom = Literal["images", "trifed", "elsewhere"]
IN_POLICY = (
    "stands in policy.yaml beside this file now, which belongs to whoever decides what leaves your "
    "hospital: take it out here, and write that file with 'trifed site policy write'; {}"
)


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


class Device(Settings):
    """What the site computes on; `threads: 0` means all cores."""

    kind: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Annotated[int, Field(ge=0, le=256)] = 0
    keep_inputs: Literal["auto", "device", "host"] = "auto"


class SiteSettings(Settings):
    """One hospital: its name and role, its files and its device."""

    moved: ClassVar[Mapping[str, str]] = {
        "disclose": IN_POLICY.format("there it is release.rows"),
        "disclose_of": IN_POLICY.format("there it is release.rows_of"),
        "release": IN_POLICY.format("there max_epsilon is dp.max_epsilon"),
    }
    version: Literal[1]
    name: Name
    role: Literal["training", "external"]
    synthetic: bool = False
    data: Data = Data()
    cache: str = "cache"
    device: Device = Device()


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
