"""The study file: everything that is decided once and is the same at every site."""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from shared.branches import HASHED, Branch, Branch25D, Explain, Network
from shared.evaluation_settings import Evaluation
from shared.fusion_settings import Embedding, Fusion
from shared.phantom_settings import Phantom
from shared.phases import Phase
from shared.privacy_settings import DifferentialPrivacy
from shared.quantities import Count, Fraction, Name, Positive
from shared.radiomics_settings import Radiomics, Selection, Stability, Standardise
from shared.secure_study import hindrances
from shared.strict_yaml import Settings, load_settings
from shared.subgroup_settings import check_of_label

SPLITS = ("train", "tune", "internal_test", "external_test")
Split = Literal["train", "tune", "internal_test", "external_test"]


class Sites(Settings):
    """Who takes part: sites that train, and external sites that only evaluate."""

    training: tuple[Name, ...] = Field(min_length=1)
    external: tuple[Name, ...] = ()

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        names = self.training + self.external
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"a site has one role; named more than once: {', '.join(twice)}")
        return self


class Endpoint(Settings):
    """The reference standard: a clinical column, and which of its values make the label 0 and 1."""

    name: str
    column: str
    negative: tuple[str, ...] = Field(min_length=1)
    positive: tuple[str, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _values_differ(self) -> Self:
        both = sorted(set(self.negative) & set(self.positive))
        if both:
            raise ValueError(f"a value is either positive or negative; in both: {', '.join(both)}")
        return self


class SplitShares(Settings):
    """How each training site divides its patients where its manifest does not."""

    train: Fraction = 0.5
    tune: Fraction = 0.25
    internal_test: Fraction = 0.25

    @model_validator(mode="after")
    def _sum_is_one(self) -> Self:
        total = self.train + self.tune + self.internal_test
        if abs(total - 1) > 1e-9:
            raise ValueError(f"train, tune and internal_test must sum to 1, not {total:g}")
        if self.train == 0:
            raise ValueError("train must be above 0: there is nothing to learn from")
        return self


class Cohort(Settings):
    """Which patients take part."""

    splits: SplitShares = SplitShares()
    min_cases: Count = 10
    on_bad_case: Literal["stop", "exclude"] = "stop"
    missing_phase: Literal["stop", "allow"] = "stop"
    min_roi_voxels: Count = 30
    describe: tuple[str, ...] = ()


class Preprocess(Settings):
    """From volumes to the networks' input: a fixed HU window, never one for each image."""

    window_hu: tuple[float, float] = (-160.0, 240.0)

    @model_validator(mode="after")
    def _window_is_open(self) -> Self:
        if self.window_hu[0] >= self.window_hu[1]:
            raise ValueError("window_hu must be [low, high] with low below high")
        return self


class Clinical(Settings):
    """The clinical model's predictors, columns of the clinical table: numbers, or yes/no as 1/0."""

    predictors: tuple[str, ...] = Field(min_length=1)
    max_iterations: Count = 25
    tolerance: Positive = 1e-10


class Aggregation(Settings):
    """Flower's strategy and the guard before it."""

    strategy: str = "FedAvg"
    arguments: dict[str, float] = Field(default_factory=dict)
    quorum: Count | None = None
    max_site_share: Annotated[float, Field(gt=0, le=1)] = 0.8
    max_cases_per_site: Count = 1_000_000
    updates: Literal["fp32", "bf16", "int8"] = "fp32"


class Study(Settings):
    """One study: the settings every site must share, hashed and compared before anything runs."""

    version: Literal[1]
    name: Name
    title: str
    seed: Annotated[int, Field(ge=0, lt=2**31)]
    sites: Sites
    endpoint: Endpoint
    phases: tuple[Phase, ...] = Field(min_length=1)
    cohort: Cohort = Cohort()
    preprocess: Preprocess = Preprocess()
    radiomics: Radiomics = Radiomics()
    stability: Stability | None = None
    standardise: Standardise = Standardise()
    selection: Selection = Selection()
    clinical: Clinical
    branches: tuple[Branch, ...] = ()
    dp: DifferentialPrivacy | None = None
    aggregation: Aggregation = Aggregation()
    secagg: Literal["auto", "required", "off"] = "auto"
    embedding: Embedding = Embedding()
    fusion: Fusion = Fusion()
    evaluation: Evaluation = Evaluation()
    explain: Explain | None = None
    phantom: Phantom | None = None

    @field_validator("phases")
    @classmethod
    def _phases_once(cls, phases: tuple[Phase, ...]) -> tuple[Phase, ...]:
        if len(set(phases)) != len(phases):
            raise ValueError("each phase may stand once")
        return phases

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        strange = {p for pair in self.radiomics.deltas for p in pair} - set(self.phases)
        if strange:
            raise ValueError(f"radiomics.deltas: '{min(strange)}' is no phase of this study")
        if any(later == earlier for later, earlier in self.radiomics.deltas):
            raise ValueError("radiomics.deltas: a pair must name two phases")
        if self.stability is not None and self.radiomics.mode == "table":
            raise ValueError("stability needs images; radiomics.mode is table")
        names = [branch.name for branch in self.branches]
        taken = [*names, "clinical", "radiomics", "fusion"]
        if len(set(taken)) != len(taken):
            raise ValueError("branch names must differ, and be none of clinical, radiomics, fusion")
        parts = [network.name for network in all_networks(self)]
        twice = sorted({part for part in parts if parts.count(part) > 1})
        if twice:
            raise ValueError(f"two networks would be named {twice[0]}; use shorter branch names")
        quorum = self.aggregation.quorum
        if quorum is not None and quorum > len(self.sites.training):
            raise ValueError(
                f"aggregation.quorum is {quorum}, but only {len(self.sites.training)} sites train"
            )
        if self.phantom is not None:
            expected = {*self.sites.training, *self.sites.external}
            if set(self.phantom.sites) != expected:
                raise ValueError(
                    f"phantom.sites must name exactly the sites: {', '.join(sorted(expected))}"
                )
        return self

    @model_validator(mode="after")
    def _secure_sums_fit(self) -> Self:
        found = hindrances(self) if self.secagg == "required" else []
        if found:
            raise ValueError(f"secagg is required, and {'; '.join(found)}")
        return self

    @model_validator(mode="after")
    def _branches_fit(self) -> Self:
        sees_branches = "embeddings" in self.fusion.inputs
        if not self.branches:
            if sees_branches:
                raise ValueError(
                    "without branches there are no embeddings; drop them in fusion.inputs"
                )
            if self.dp is not None:
                raise ValueError("dp.cnn is about the networks, but there are no branches; drop dp")
            if self.explain is not None:
                raise ValueError("without branches there is nothing to explain; drop 'explain'")
            return self
        if self.radiomics.mode == "table":
            raise ValueError("branches need images; radiomics.mode is table. Set branches: []")
        with_noise = sees_branches and self.fusion.exchange == "embeddings+dp"
        if with_noise and self.embedding.reduce == "pca":
            raise ValueError(
                "fusion.exchange: embeddings+dp needs embedding.reduce: pooled or logit; the sums "
                "for pca would be told without noise"
            )
        one_number = self.embedding.reduce == "logit" or self.fusion.takes_scores
        if sees_branches and self.fusion.n_outer_folds and not one_number:
            raise ValueError(
                "fusion.fit_on: out_of_fold needs embedding: {reduce: logit, dimension: 1}, or "
                "fusion.exchange: scores; the "
                "embeddings of networks trained without different folds cannot be compared"
            )
        for branch in self.branches:
            if not isinstance(branch, Branch25D):
                continue
            if self.explain is not None and not branch.has_one_grid:
                raise ValueError(
                    f"explain: {branch.name} looks at several stacks or at a field of each "
                    "patient's own size (stack_offsets_mm, roi_margin_mm); drop 'explain'"
                )
            if self.dp is not None and branch.n_stacks > 1:
                raise ValueError(
                    f"dp.cnn: {branch.name} looks at several stacks of a patient, whose gradients "
                    "are not clipped as one; give stack_offsets_mm one place"
                )
        return self

    @model_validator(mode="after")
    def _subgroups_fit(self) -> Self:
        endpoint = self.endpoint
        check_of_label(self.evaluation.subgroups, endpoint.column, endpoint.positive)
        return self

    @property
    def model_names(self) -> tuple[str, ...]:
        """The models that are evaluated, in the order of the report."""
        return ("clinical", "radiomics", *(branch.name for branch in self.branches), "fusion")


def networks(study: Study) -> tuple[Network, ...]:
    """The networks behind the branches: one for a branch, or one for each phase of it."""
    found: list[Network] = []
    for branch in study.branches:
        if branch.phases == "channels":
            found.append(Network(name=branch.name, branch=branch, phases=study.phases))
        else:
            found.extend(
                Network(name=f"{branch.name}_{phase}"[:32], branch=branch, phases=(phase,))
                for phase in study.phases
            )
    return tuple(found)


def all_networks(study: Study) -> tuple[Network, ...]:
    """The networks behind the branches, each followed by those that scores out of fold need.

    For each of the study's folds of the training cases one more, trained without that fold.
    """
    return tuple(
        trained
        for network in networks(study)
        for trained in (network, *without_folds(study, network))
    )


def without_folds(study: Study, network: Network) -> tuple[Network, ...]:
    """The network once for each fold that it does not see; none unless scores are out of fold."""
    if "embeddings" not in study.fusion.inputs:
        return ()
    return tuple(
        network.model_copy(update={"name": f"{network.name[:25]}_fold{k + 1}", "fold": k})
        for k in range(study.fusion.n_outer_folds)
    )


def load_study(path: Path) -> Study:
    """Read and check a study file; paths in it count from its folder."""
    study = load_settings(path, Study)
    branches = tuple(branch.beside(path.parent) for branch in study.branches)
    return study.model_copy(update={"branches": branches})


def digest(value: Settings | dict[str, Any]) -> str:
    """SHA-256 of settings, whatever the order and look of the file; paths do not count."""
    content = (
        value.model_dump(mode="json", context=HASHED) if isinstance(value, Settings) else value
    )
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
