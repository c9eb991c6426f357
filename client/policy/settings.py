"""policy.yaml: what may leave this hospital and how its patients may be trained on.

The file stands beside the site file and belongs to the hospital's privacy officer; the site service
alone reads it. A pack gives the value of each key that the file does not name
(`client.policy.packs`).
"""

from datetime import date
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from shared.quantities import Count, Positive
from shared.stages.external_evaluate import ExternalLevel
from shared.strict_yaml import Settings

VERSION = 1
LEAST_CELL = 3
Pack = Literal["strict", "standard", "simulation"]
RowPart = Literal["embeddings", "scores", "labels", "radiomics_score", "clinical"]
RowSplit = Literal["tune", "train"]
Exchange = Literal["statistics+dp", "statistics", "scores", "embeddings+dp", "embeddings"]
NEEDS_BASIS: tuple[Exchange, ...] = ("embeddings", "embeddings+dp")
"""What a fusion layer is fitted on only with a legal basis that the policy names."""


class CohortLimits(Settings):
    """How many usable patients this hospital must have before it answers anything.

    And by how many, unless by none, two cohorts must differ of which the same is told; `differing`
    names cohorts for which that is waived (`client.differences`).
    """

    min_patients: Count = 50
    min_external: Count = 30
    min_class: Annotated[int, Field(ge=0)] = 10
    min_delta: Count = 10
    differing: tuple[Annotated[str, Field(pattern="^[0-9a-f]{12}$")], ...] = ()


class ReleaseLimits(Settings):
    """What is too few to be told of, and what may be told of single patients.

    A statistic of fewer patients than `min_cell`, but not of none, never leaves; the lowest and the
    highest values of a variable are not to be found but by so many patients as `min_tail`. A mode
    of the fusion layer is allowed by its name in `exchange`, and no other with it.
    """

    min_cell: Count = 10
    min_tail: Count = 5
    max_score_bins: Annotated[int, Field(ge=20)] = 50
    external: ExternalLevel = "summary"
    exchange: tuple[Exchange, ...] = ("statistics", "statistics+dp")
    legal_basis: str = ""
    max_dimension: Count = 8
    keep_rows_days: Count = 365
    rows: tuple[RowPart, ...] = ()
    rows_of: tuple[RowSplit, ...] = ("tune",)

    @field_validator("exchange", mode="before")
    @classmethod
    def _one_name_is_a_list(cls, names: Any) -> Any:
        if isinstance(names, str):
            return (names,)
        return tuple(names) if isinstance(names, list) else names


class TrainingLimits(Settings):
    """How a study may train its networks on this hospital's patients."""

    max_rounds: Count = 50
    min_batch: Annotated[int, Field(ge=2)] = 8
    max_lr: Positive = 0.1
    max_epochs: Count = 10
    min_steps: Count = 5
    max_weight: Annotated[float, Field(ge=1)] = 10.0
    max_growth: Annotated[float, Field(gt=1)] | None = 2.0


class NoiseLimits(Settings):
    """How much private fits may show of a patient; None is no limit.

    `max_epsilon` is of all networks and fusion layers of all studies together, and
    `max_fusion_epsilon` of the fusion layers among them.
    """

    required: bool = True
    max_epsilon: Positive | None = 6.0
    max_fusion_epsilon: Positive | None = 6.0
    max_delta: Annotated[float, Field(gt=0, le=0.01)] = 1e-5


class SecureSums(Settings):
    """Whether this hospital's sums may be known only together with those of others."""

    required: bool = True


class Refusals(Settings):
    """How many questions of a run may be refused before no more are answered."""

    most: Count = 10


class Policy(Settings):
    """One hospital's policy; what stands here as default is the pack `strict`."""

    version: int
    pack: Pack
    officer: str = ""
    valid_until: date | None = None
    cohort: CohortLimits = CohortLimits()
    release: ReleaseLimits = ReleaseLimits()
    train: TrainingLimits = TrainingLimits()
    dp: NoiseLimits = NoiseLimits()
    secagg: SecureSums = SecureSums()
    refusals: Refusals = Refusals()

    @field_validator("version")
    @classmethod
    def _version_is_known(cls, version: int) -> int:
        if version != VERSION:
            raise ValueError(
                f"this release of trifed reads version {VERSION} of a policy, found {version}; "
                "install the release that the file was written for, or write it anew"
            )
        return version

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if self.pack != "simulation" and self.valid_until is None:
            raise ValueError(
                "valid_until is missing: name the last day on which the policy is in force, as "
                "YYYY-MM-DD"
            )
        return self

    @field_validator("cohort")
    @classmethod
    def _differences_are_large_enough(
        cls, cohort: CohortLimits, found: ValidationInfo
    ) -> CohortLimits:
        refuse_few("min_delta", cohort.min_delta, found)
        return cohort

    @field_validator("release")
    @classmethod
    def _embeddings_have_a_basis(
        cls, release: ReleaseLimits, found: ValidationInfo
    ) -> ReleaseLimits:
        named = [mode for mode in NEEDS_BASIS if mode in release.exchange]
        if named and not release.legal_basis.strip() and found.data.get("pack") != "simulation":
            raise ValueError(
                f"exchange names {named[0]}, which lets data leave by which a patient can be found "
                "again; name the legal basis for it in legal_basis, as the article and the "
                "agreement, or take it out"
            )
        return release

    @field_validator("release")
    @classmethod
    def _cells_are_large_enough(
        cls, release: ReleaseLimits, found: ValidationInfo
    ) -> ReleaseLimits:
        refuse_few("min_cell", release.min_cell, found)
        return release


def refuse_few(name: str, value: int, found: ValidationInfo) -> None:
    """Refuse a least number of patients that is too small for real ones.

    Raises:
        ValueError: Naming the key, the least that it may be, and what was found.
    """
    if found.data.get("pack") != "simulation" and value < LEAST_CELL:
        raise ValueError(
            f"{name} must be at least {LEAST_CELL}, found {value}; only made-up patients "
            "(pack: simulation) may do with less"
        )
