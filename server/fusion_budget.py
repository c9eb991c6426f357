"""Whether the fusion layer has more candidate parameters than its cases suffice for."""

from dataclasses import dataclass

from shared.config import Study as Settings
from shared.errors import CohortError
from shared.fusion_columns import fusion_names
from shared.sample_size import SampleSize, anticipated_r2, budget, sample_size
from shared.stages.describe_cohort import Description

EXAMPLES = (1, 2, 4, 6, 10, 20)


@dataclass(frozen=True, slots=True)
class FusionBudget:
    """What Riley's criteria say of the fusion layer.

    `allowed` is the most parameters that `n_cases` suffice for; `sizes` are the cases that some
    numbers of parameters need, the layer's own among them.
    """

    n_cases: int
    prevalence: float
    auc: float
    r2: float
    columns: tuple[str, ...]
    allowed: int
    sizes: tuple[SampleSize, ...]

    @property
    def own(self) -> SampleSize:
        """What the layer's own parameters need."""
        return next(size for size in self.sizes if size.n_parameters == len(self.columns))

    @property
    def suffices(self) -> bool:
        """Whether there are cases enough."""
        return self.own.needed <= self.n_cases


def fusion_budget(settings: Settings, sites: dict[str, Description]) -> FusionBudget:
    """Count the cases that the layer will be fitted on, and what its columns need.

    Args:
        settings: The study's; at least one column, and both labels among the cases.
        sites: The training sites' counts.
    """
    counts = [d.splits[settings.fusion.rows_of] for d in sites.values()]
    n_cases = sum(count.n for count in counts)
    prevalence = sum(count.n_positive for count in counts) / n_cases
    auc = settings.fusion.anticipated_auc
    r2 = anticipated_r2(auc, prevalence)
    columns = fusion_names(settings)
    wanted = sorted({*EXAMPLES, len(columns)})
    sizes = tuple(sample_size(p, prevalence=prevalence, r2=r2) for p in wanted)
    allowed = budget(n_cases, prevalence=prevalence, r2=r2)
    return FusionBudget(n_cases, prevalence, auc, r2, columns, allowed, sizes)


def check_budget(settings: Settings, sites: dict[str, Description]) -> None:
    """Refuse a fusion layer with too many parameters, unless the study only reports it.

    The precision of the prevalence is told but refuses nothing, since fewer parameters would not
    help it.

    Raises:
        CohortError: With the columns, the table of what each number of parameters needs, and what
            to do.
    """
    found = fusion_budget(settings, sites)
    if settings.fusion.budget == "report" or found.suffices:
        return
    table = "; ".join(f"{size.n_parameters}: {size.needed}" for size in found.sizes)
    raise CohortError(
        f"the fusion layer would be fitted on {found.n_cases} '{settings.fusion.rows_of}' patients "
        f"({found.prevalence:.0%} positive), which suffice for {found.allowed} candidate "
        f"parameters, but it has {len(found.columns)} ({', '.join(found.columns)}), for which "
        f"{found.own.needed} patients are needed (Riley et al. 2020, anticipated AUC "
        f"{found.auc:g}). Parameters: patients needed - {table}. Give branches fewer dimensions "
        "(embedding.dimension, or reduce: logit), take inputs or clinical predictors out, fit on "
        "more patients (fusion.fit_on: out_of_fold), or set fusion.budget: report to go on and "
        "have it said in the report."
    )
