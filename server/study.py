"""What a run has learned so far: one slot for each stage.

`Study` is replaced, never changed; `server.study_folder` keeps it on disk.
"""

from dataclasses import dataclass, field

import numpy as np

from server.site_influence import SiteInfluence
from shared.combat import Combat
from shared.comparison import Comparison
from shared.contributions import FusionContributions
from shared.glm import LogisticFit
from shared.heat import HeatSums
from shared.icc import Icc, IccSums
from shared.initial_weights import Origin
from shared.lasso import LassoFit
from shared.models import (
    Bundle,
    ClinicalModel,
    Extraction,
    FusionModel,
    Projection,
    RadiomicsModel,
    Scale,
)
from shared.privacy import Spent
from shared.quartiles import Quartiles
from shared.regressions import Regression
from shared.scores import ScoreSums
from shared.site_signal import SiteAnova, SiteConfusion
from shared.stages.describe_cohort import Description
from shared.stages.embed import Parts
from shared.stages.external_evaluate import ExternalReply
from shared.stages.hello import Reply as Hello
from shared.subgroups import SubgroupScores


@dataclass(frozen=True, slots=True)
class Identity:
    """Which study and code this folder belongs to."""

    study_hash: str
    code_hash: str


@dataclass(frozen=True, slots=True)
class Greetings:
    """What each training site said at `hello`."""

    sites: dict[str, Hello]


@dataclass(frozen=True, slots=True, eq=False)
class CohortRecord:
    """Each training site's cohort in numbers, and the pooled quartiles of what is not 0 or 1."""

    sites: dict[str, Description]
    quartiles: Quartiles | None = None


@dataclass(frozen=True, slots=True, eq=False)
class DiscretiseRecord:
    """What is shared of extraction, and the pooled median ranges if the widths were learnt."""

    extraction: Extraction
    median_ranges_hu: np.ndarray | None


@dataclass(frozen=True, slots=True, eq=False)
class StabilityRecord:
    """The features that another mask leaves alike; None where the study does not ask.

    `kept` names the features that go on, None for all.
    """

    pooled: IccSums | None
    icc: Icc | None
    kept: tuple[str, ...] | None


@dataclass(frozen=True, slots=True, eq=False)
class ScaleRecord:
    """The pooled scale, and how far the sites differ by the moments that it comes from.

    `combat` and `harmonised`, how far they differ after it, are None where the study does not
    harmonise.
    """

    scale: Scale
    sites: SiteAnova
    combat: Combat | None
    harmonised: SiteAnova | None


@dataclass(frozen=True, slots=True, eq=False)
class SelectionRecord:
    """How the radiomics score came about.

    `edges` are those of the screen's bins, None where it has none. `frequency` is how often the
    LASSO at `frequency_alpha` kept each of `pruned` on half samples; the score's own LASSO chose
    from `candidates`, those of them that are kept often enough. `without_fold` are the scores
    fitted without each outer fold, if the fusion layer needs them.
    """

    screened: tuple[str, ...]
    p_values: np.ndarray
    edges: np.ndarray | None
    looks: SiteConfusion
    pruned: tuple[str, ...]
    frequency: np.ndarray
    frequency_alpha: float
    candidates: tuple[str, ...]
    lasso: LassoFit
    calibration: LogisticFit
    model: RadiomicsModel
    without_fold: tuple[RadiomicsModel, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class ClinicalRecord:
    """The clinical model and its fit, and the regressions of its predictors beside it.

    `alone` are those of each predictor, `together` that of the model, and `by_site` the model with
    an intercept for each site; None where there is one site, or a predictor tells the sites apart.
    """

    model: ClinicalModel
    fit: LogisticFit
    alone: tuple[Regression, ...] = ()
    together: Regression | None = None
    by_site: Regression | None = None


@dataclass(frozen=True, slots=True)
class RoundRecord:
    """One round: who trained on how many cases with what loss; the aggregate's tune scores.

    `tune_auc` and `tune_loss` are of this round's aggregate, so they are known one question
    later; None until then. Round 0 is the network before training. `bytes_down` and `bytes_up`
    are what the weights took on the wire, to and from the sites that answered.
    """

    round: int
    sites: dict[str, tuple[int, float]]
    tune_auc: float | None
    tune_loss: float | None
    bytes_down: int
    bytes_up: int


@dataclass(frozen=True, slots=True)
class NetworkRecord:
    """One network's rounds; its weights lie beside, by round.

    `origin` is None for fresh ones; `spent` is what each site says it has spent on privacy for it,
    empty without `dp`.
    """

    rounds: tuple[RoundRecord, ...]
    best_round: int
    finished: bool
    n_parameters: int
    origin: Origin | None = None
    spent: dict[str, Spent] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BranchesRecord:
    """Every network's rounds."""

    networks: dict[str, NetworkRecord]


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddingRecord:
    """The rows that the sites disclosed for the fusion layer, in the order of site names.

    There are none where it is fitted on sums. `parts` are what its cases are scored with, and
    `spent` what each site has spent on noise in the rows. `delete_by` is the first of the sites'
    last days for keeping the rows; empty where there are none.
    """

    projections: tuple[Projection, ...]
    network_hashes: dict[str, str]
    columns: tuple[str, ...]
    rows: np.ndarray
    labels: np.ndarray
    sites: tuple[str, ...]
    parts: tuple[Parts, ...] = ()
    spent: dict[str, Spent] = field(default_factory=dict)
    delete_by: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class FusionRecord:
    """The fusion layer, how its penalty was chosen, and its threshold from held-out folds.

    `held_out` are the scores of the cases that it was fitted on, each from the other folds; None
    where noise is in what the sites told, which then was not asked, and no penalty was chosen.
    `spent` is what each site has spent on that noise. `penalties` are those that the sites let be
    fitted.
    `n_questions` went to the sites; `n_iterations` are the Newton steps that their sums took, None
    where the server had the rows. `influence` is each site's, where single sites' numbers are seen.
    """

    model: FusionModel
    penalty: float
    penalties: np.ndarray
    cv_log_loss: np.ndarray
    threshold: float
    n_cases: int
    held_out: ScoreSums | None
    n_questions: int = 0
    n_iterations: int | None = None
    influence: tuple[SiteInfluence, ...] = ()
    spent: dict[str, Spent] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class EvaluationRecord:
    """The frozen bundle, and model to split to site to sums.

    `comparison` is of the internal test patients of all sites but the `silent` ones, which have
    too few of some; None where all are silent. `subgroups` are by column, then by site, of those
    that told of them, `contributions` by site likewise.
    """

    bundle: Bundle
    sums: dict[str, dict[str, dict[str, ScoreSums]]]
    comparison: Comparison | None = None
    silent: tuple[str, ...] = ()
    subgroups: dict[str, dict[str, SubgroupScores]] = field(default_factory=dict)
    contributions: dict[str, FusionContributions] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class NetworkHeat:
    """Where a network looks, over the sites that told of it; `silent` sites have too few cases.

    `untrained` is the same with random weights.
    """

    trained: HeatSums | None
    untrained: HeatSums | None
    sites: tuple[str, ...]
    silent: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ExplainRecord:
    """Each network's heat; empty where the study does not ask."""

    networks: dict[str, NetworkHeat]


@dataclass(frozen=True, slots=True, eq=False)
class ExternalRecord:
    """What each external site said of the bundle with this hash."""

    bundle_hash: str
    sites: dict[str, ExternalReply]
    synthetic: bool


@dataclass(frozen=True, slots=True, eq=False)
class Study:
    """The run so far: one slot for each stage."""

    hello: Greetings | None = None
    describe_cohort: CohortRecord | None = None
    discretise: DiscretiseRecord | None = None
    stability: StabilityRecord | None = None
    standardise: ScaleRecord | None = None
    select_features: SelectionRecord | None = None
    clinical_model: ClinicalRecord | None = None
    train_branches: BranchesRecord | None = None
    embed: EmbeddingRecord | None = None
    fuse: FusionRecord | None = None
    evaluate: EvaluationRecord | None = None
    explain: ExplainRecord | None = None
    external_evaluate: ExternalRecord | None = None
