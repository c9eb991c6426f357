"""Embed: the branches' outputs, reduced to few numbers for each patient.

Leaves the hospital, by ``fusion.exchange``: with ``embeddings``, and only if the site's policy
lets them leave, the reduced embeddings, radiomics score, clinical predictors and label of each case
that the fusion layer is fitted on (``fusion.fit_on``: the tune cases or the training cases),
without ids and in the order of what they hold, embeddings in half precision; with ``scores`` the
same with one logit of each branch in place of its embeddings, and scores in steps of half a logit;
with ``statistics`` and ``statistics+dp`` no row. With ``embeddings+dp`` each such row once, scaled
by numbers known before and shortened, with Gaussian noise in every number, the label among them;
and what this spent on privacy: its epsilon covers these rows alone, and not how many they are. With
``reduce: pca``, where embeddings are taken and not scores, also the sum and the sum of products of
the embeddings of training cases.
Stays: every other case, and the embeddings themselves.
"""

import re
from dataclasses import dataclass

import numpy as np

from shared.checks import require, require_counts, require_numbers
from shared.models import ClinicalModel, Projection, RadiomicsModel
from shared.networks import Weights
from shared.privacy import Spent
from shared.stages import Question

LEAST_SD = 1e-12
DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


@dataclass(frozen=True, slots=True, eq=False)
class OutputsRequest:
    """Compute and keep this network's outputs for all cases; `sums` asks for the products."""

    network: str
    weights: Weights
    sums: bool


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddingSums:
    """Count, sum ``(width,)`` and sum of products ``(width, width)``."""

    n: int
    sum_x: np.ndarray
    sum_xx: np.ndarray

    def __post_init__(self) -> None:
        width = len(self.sum_x)
        require(self.n >= 0, "embeddings: n must not be negative")
        require_numbers("embeddings.sum_x", self.sum_x, (width,))
        require_numbers("embeddings.sum_xx", self.sum_xx, (width, width))


@dataclass(frozen=True, slots=True, eq=False)
class OutputsReply:
    """The sums, if they were asked for."""

    sums: EmbeddingSums | None


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """What one set of cases is scored with; hashes are of the weights that stand for a network."""

    projections: tuple[Projection, ...]
    network_hashes: dict[str, str]
    radiomics: RadiomicsModel


@dataclass(frozen=True, slots=True, eq=False)
class RowsRequest:
    """One row for each case that the fusion layer is fitted on, from the models' frozen parts.

    `parts` are one for all these cases, or one for each outer fold, fitted without it.
    """

    parts: tuple[Parts, ...]
    clinical: ClinicalModel


@dataclass(frozen=True, slots=True, eq=False)
class RowsReply:
    """Rows ``(n, len(columns))`` with NaN where a case has no value, and labels ``(n,)``.

    `delete_by` is the last day, YYYY-MM-DD, on which whoever is sent them may have them.
    """

    columns: tuple[str, ...]
    rows: np.ndarray
    labels: np.ndarray
    delete_by: str = ""

    def __post_init__(self) -> None:
        n = len(self.labels)
        require(self.rows.dtype == np.float64, "fusion rows must be float64")
        require(self.rows.shape == (n, len(self.columns)), "fusion rows: one for each label")
        require(not np.isinf(self.rows).any(), "fusion rows must not be infinite")
        require_counts("fusion labels", self.labels, (n,))
        require(bool((self.labels <= 1).all()), "fusion labels must be 0 or 1")
        require_day("fusion rows: delete_by", self.delete_by)


@dataclass(frozen=True, slots=True, eq=False)
class NoisedRowsRequest:
    """What makes a case's row, and the columns' scale: mean and sd ``(k,)``."""

    rows: RowsRequest
    mean: np.ndarray
    sd: np.ndarray

    def __post_init__(self) -> None:
        require_numbers("scale.mean", self.mean, (len(self.mean),))
        require_numbers("scale.sd", self.sd, (len(self.mean),), minimum=LEAST_SD)


@dataclass(frozen=True, slots=True, eq=False)
class NoisedRowsReply:
    """Vectors with noise ``(n, len(columns) + 1)``, and what the fusion layer has spent here.

    See `RowsReply`.
    """

    columns: tuple[str, ...]
    numbers: np.ndarray
    spent: Spent
    delete_by: str = ""

    def __post_init__(self) -> None:
        require(self.numbers.dtype == np.int64, "noised rows must be int64")
        width = (1 + len(self.columns),)
        require(self.numbers.shape[1:] == width, "noised rows: one number for each column, label")
        require_day("noised rows: delete_by", self.delete_by)


def require_day(name: str, day: str) -> None:
    """Refuse a text that is no day; empty is none."""
    require(not day or bool(DAY.fullmatch(day)), f"{name} must be a day")


EMBED_NOISED = Question("embed_noised", "query", NoisedRowsRequest, NoisedRowsReply)
EMBED_OUTPUTS = Question("embed_outputs", "query", OutputsRequest, OutputsReply)
EMBED_ROWS = Question("embed_rows", "query", RowsRequest, RowsReply)
