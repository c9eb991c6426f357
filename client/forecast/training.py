"""The answers that a study will ask of a training site about its patients and the models."""

from collections.abc import Iterator

import numpy as np

from client.forecast.crowd import Crowd
from client.forecast.description import described_by, text_of_images
from client.forecast.expected import EVERYONE, MOST_HALVINGS, TEST, TRAINING, TUNE, Expected
from client.policy.settings import Policy
from client.settings import SiteSettings
from client.stages.describe_cohort import described
from shared.config import Study, digest, networks
from shared.firth import hat_sums
from shared.fusion_columns import fusion_names
from shared.fusion_sums import fold_moments
from shared.heat import REGIONS, heat_sums
from shared.noised_sums import divided
from shared.placements import placement_sums
from shared.privacy import FUSION, Spending
from shared.regressions import reported_terms
from shared.stages import clinical_model, embed, evaluate, explain, fuse
from shared.stages.describe_cohort import COUNT_VARIABLES, DESCRIBE_COHORT, CountReply
from shared.subgroups import SubgroupScores, subgroup_names

QUARTILES_OF_LABELS_AND_ALL = 9
"""Sought at once: three of either label, and of both together."""


def of_cohort(study: Study, settings: SiteSettings, policy: Policy) -> Iterator[Expected]:
    """Describe the cohort."""
    splits = ("train", "tune", "internal_test")
    yield Expected(
        DESCRIBE_COHORT,
        lambda n: described_by(Crowd(study, n), settings, splits),
        EVERYONE,
        more_text=text_of_images(study, settings, policy),
    )
    names = described(study)

    def counted(n: int) -> CountReply:
        found = Crowd(study, n).counts(names, QUARTILES_OF_LABELS_AND_ALL)
        return CountReply(found, found)

    yield Expected(COUNT_VARIABLES, counted, EVERYONE, times=MOST_HALVINGS)


def of_clinical(study: Study) -> Iterator[Expected]:
    """The clinical model."""
    predictors, sites = study.clinical.predictors, study.sites.training
    terms = reported_terms(predictors, sites)
    k = max(len(one.names(sites)) for one in terms)

    def steps(n: int) -> object:
        return clinical_model.StepReply((Crowd(study, n).logistic(k),) * len(terms))

    def hats(n: int) -> object:
        return hat_sums(Crowd(study, n).table(k), np.zeros(k), np.eye(k))

    def means(n: int) -> object:
        return clinical_model.MeansReply(Crowd(study, n).moments(predictors))

    yield Expected(clinical_model.PREDICTOR_MEANS, means, TRAINING)
    yield Expected(clinical_model.CLINICAL_STEP, steps, TRAINING, times=None)
    yield Expected(clinical_model.CLINICAL_HATS, hats, TRAINING, times=None)


def of_fusion(study: Study) -> Iterator[Expected]:
    """The fusion layer: rows of single patients, or sums."""
    fusion, columns = study.fusion, fusion_names(study)
    k, who = len(columns), TUNE if study.fusion.rows_of == "tune" else TRAINING
    if fusion.exchange == "embeddings+dp":
        yield _noised_rows(study, columns, who)
        return
    if fusion.tells_rows:

        def rows(n: int) -> object:
            crowd = Crowd(study, n)
            return embed.RowsReply(columns, crowd.table(k), crowd.labels, "2000-01-01")

        yield Expected(
            embed.EMBED_ROWS, rows, f"each of the {who}, a row", checked=bool(fusion.n_outer_folds)
        )
        return
    if fusion.is_private:
        yield _noised(study, 1 + k, who)
        return
    layers = (fusion.folds + 1) * len(fusion.penalties)

    def moments(n: int) -> object:
        table, fold = Crowd(study, n).table(k), np.arange(n) % fusion.folds
        return fuse.MomentsReply(fold_moments(columns, table, fold, fusion.folds))

    def steps(n: int) -> object:
        return fuse.StepsReply((Crowd(study, n).logistic(1 + k),) * layers)

    def losses(n: int) -> object:
        return fuse.LossesReply(np.full(layers, n, dtype=np.int64), np.ones(layers))

    yield Expected(fuse.FUSION_MOMENTS, moments, who)
    yield Expected(fuse.FUSION_STEPS, steps, who, times=None)
    yield Expected(fuse.FUSION_LOSSES, losses, who)
    yield Expected(fuse.FUSION_SCORES, lambda n: Crowd(study, n).binned(), who)


def _noised_rows(study: Study, columns: tuple[str, ...], who: str) -> Expected:
    """Rows with noise, and their booking."""
    dp = study.fusion.dp

    def rows(n: int) -> object:
        numbers = np.zeros((n, 1 + len(columns)), dtype=np.int64)
        return embed.NoisedRowsReply(columns, numbers, (_booked(study),), "2000-01-01")

    return Expected(
        embed.EMBED_NOISED, rows, f"each of the {who}, a row with noise", epsilon=dp.epsilon
    )


def _booked(study: Study) -> Spending:
    dp = study.fusion.dp
    return Spending("0" * 24, digest(study), FUSION, 1, 1.0, 1.0, 1, dp.delta, dp.epsilon)


def _noised(study: Study, k: int, who: str) -> Expected:
    """Sums with noise, of k coefficients, and the bookings of all steps."""
    dp = study.fusion.dp
    sums = divided(np.zeros(k + k * (k + 1) // 2, dtype=np.int64), k)
    return Expected(
        fuse.FUSION_NOISED,
        lambda _n: fuse.NoisedReply(sums, (_booked(study),) * dp.steps),
        who,
        times=dp.steps,
        epsilon=dp.epsilon,
    )


def of_evaluation(study: Study) -> Iterator[Expected]:
    """How well the models do, and where networks look."""
    for network in networks(study):
        yield Expected(
            evaluate.EVALUATE_OUTPUTS,
            lambda _: evaluate.OutputsReply(),
            "nobody",
            about=network.name,
            checked=False,
        )

    def scores(n: int) -> object:
        crowd = Crowd(study, n)
        splits = ("train", "tune", "internal_test")
        models = {model: dict.fromkeys(splits, one) for model, one in crowd.of_models().items()}
        divided = {
            column: SubgroupScores(
                n, {model: (one,) * len(groups) for model, one in crowd.of_models().items()}
            )
            for column, groups in subgroup_names(study).items()
        }
        return evaluate.ScoresReply(models, crowd.compared(), divided, crowd.contributions())

    def placements(n: int) -> object:
        crowd = Crowd(study, n)
        placed = placement_sums(crowd.scores, crowd.labels, crowd.compared())
        return evaluate.PlacementsReply(placed, crowd.paired())

    yield Expected(evaluate.EVALUATE_SCORES, scores, f"{EVERYONE}, by split")
    yield Expected(evaluate.EVALUATE_PLACEMENTS, placements, TEST)
    if study.explain is None:
        return
    grid = study.explain.grid

    def heat(n: int) -> object:
        shares = np.full((n, len(REGIONS)), 0.3)
        return explain.Reply(heat_sums(shares, shares, np.ones((n, grid, grid)), n_without=n))

    for network in networks(study):
        yield Expected(
            explain.EXPLAIN,
            heat,
            TEST,
            times=2,
            about=network.name,
            least=study.explain.min_cases,
        )
