"""Settings of the fusion layer: what it sees, and on which scores it is fitted."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from shared.privacy_settings import FusionNoise
from shared.quantities import Positive
from shared.strict_yaml import Settings

SCORE_STEP = 0.5
"""What a score in a row of a single patient is rounded to, on the scale of logits."""


class Embedding(Settings):
    """What a branch contributes to the fusion layer for each patient."""

    reduce: Literal["pca", "pooled", "logit"] = "pca"
    dimension: Annotated[int, Field(ge=1, le=64)] = 2

    @model_validator(mode="after")
    def _logit_is_one_number(self) -> Self:
        if self.reduce == "logit" and self.dimension != 1:
            raise ValueError("reduce: logit gives one number; set dimension: 1")
        return self


class Fusion(Settings):
    """The fusion layer: ridge logistic regression on scores that no part was fitted on.

    With `fit_on: tune` they are of the `tune` split, which trained no branch. With `out_of_fold`
    they are of the training cases: each is scored by a radiomics score and by networks that were
    fitted without its fold. `in_sample` takes training cases as they are, which lets whatever
    overfits most weigh most; it is there to show that, and refused unless the study accepts it.
    By `exchange` the server sees of no case anything, as the sites answer with sums, or of each its
    reduced embeddings, or one score of each branch in their place. With `statistics+dp` the sums
    are of scores, and noise is added to them by `dp`; with `embeddings+dp` to each number of a row.
    With `budget: enforce` a study with more columns than its cases suffice for, at the anticipated
    AUC, is refused before anything is trained.
    """

    inputs: tuple[Literal["embeddings", "radiomics_score", "clinical"], ...] = Field(
        default=("embeddings", "radiomics_score", "clinical"), min_length=1
    )
    exchange: Literal["embeddings", "embeddings+dp", "scores", "statistics", "statistics+dp"] = (
        "statistics"
    )
    dp: FusionNoise = FusionNoise()
    fit_on: Literal["tune", "out_of_fold", "in_sample"] = "tune"
    outer_folds: Annotated[int, Field(ge=2, le=10)] = 5
    accept_in_sample: bool = False
    folds: Annotated[int, Field(ge=2, le=20)] = 5
    penalties: tuple[Positive, ...] = Field(default=(0.3, 1.0, 3.0, 10.0, 30.0), min_length=1)
    anticipated_auc: Annotated[float, Field(gt=0.5, lt=1)] = 0.8
    budget: Literal["enforce", "report"] = "enforce"

    @model_validator(mode="after")
    def _in_sample_is_meant(self) -> Self:
        if self.fit_on == "in_sample" and not self.accept_in_sample:
            raise ValueError(
                "fit_on: in_sample fits the fusion layer on scores of patients that its parts were "
                "fitted on; such a layer trusts whatever overfits most. Use tune or out_of_fold "
                "(accept_in_sample: true lets you see the difference)"
            )
        return self

    @model_validator(mode="after")
    def _noise_is_reckoned_for(self) -> Self:
        if not self.is_private:
            return self
        if self.fit_on == "out_of_fold":
            raise ValueError(
                f"exchange: {self.exchange} needs fit_on: tune: in which fold a training patient "
                "is hangs on the other patients, and noise for one patient would not cover that"
            )
        if self.sums_have_noise and len(self.penalties) != 1:
            raise ValueError(
                f"exchange: {self.exchange} takes one penalty, as penalties: [3.0]; to choose "
                "among several would cost further epsilon"
            )
        return self

    @property
    def is_private(self) -> bool:
        """Whether noise by `dp` is in what the sites tell."""
        return self.exchange in ("statistics+dp", "embeddings+dp")

    @property
    def sums_have_noise(self) -> bool:
        """Whether it is in sums."""
        return self.exchange == "statistics+dp"

    @property
    def answers_with_noise(self) -> int:
        """How many answers with noise a site gives in a run."""
        if not self.is_private:
            return 0
        return self.dp.steps if self.sums_have_noise else 1

    @property
    def tells_rows(self) -> bool:
        """Whether rows of single patients leave."""
        return self.exchange in ("embeddings", "embeddings+dp", "scores")

    @property
    def takes_scores(self) -> bool:
        """Whether a branch is one score of each case, and nothing of embeddings leaves."""
        return self.exchange in ("scores", "statistics+dp")

    @property
    def n_outer_folds(self) -> int:
        """Folds of the training cases that parts are fitted without; 0 unless scores need them."""
        return self.outer_folds if self.fit_on == "out_of_fold" else 0

    @property
    def rows_of(self) -> Literal["tune", "train"]:
        """The split whose cases the layer is fitted on."""
        return "tune" if self.fit_on == "tune" else "train"
