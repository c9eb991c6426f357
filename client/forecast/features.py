"""The answers about radiomics features that a study will ask of a training site."""

from collections.abc import Iterator

import numpy as np

from client.forecast.crowd import Crowd
from client.forecast.expected import MOST_HALVINGS, TRAINING, TUNE, Expected
from client.radiomics.features import feature_names
from shared.config import Study
from shared.gram import gram
from shared.icc import icc_sums
from shared.logistic_lasso_sums import MAX_NUMBERS, LogisticLassoSums
from shared.quantiles import histogram
from shared.ranks import rank_sums
from shared.stages import select_features
from shared.stages import standardise as moments_of
from shared.stages.discretise import COUNT_RANGES
from shared.stages.stability import READINGS


def of_features(study: Study) -> Iterator[Expected]:
    """From widths of grey levels to the radiomics score."""
    names, folds = feature_names(study.phases, study.radiomics), 1 + study.fusion.n_outer_folds
    if study.radiomics.given_widths is None:
        filters = study.radiomics.filtered_names
        yield Expected(
            COUNT_RANGES, lambda n: Crowd(study, n).counts(filters, 3), TRAINING, MOST_HALVINGS
        )
    if study.stability is not None:
        n_read = 2 if study.stability.by == "reader" else 1 + study.stability.perturbations

        def readings(n: int) -> object:
            return icc_sums(names, np.repeat(Crowd(study, n).table(len(names))[:, None], n_read, 1))

        who = f"{TRAINING}, {study.stability.cases_per_site} at most"
        yield Expected(READINGS, readings, who, checked=False)
    clipped = study.standardise.clip_quantile is not None

    def standardised(n: int) -> object:
        return moments_of.Reply(Crowd(study, n).moments(names))

    yield Expected(moments_of.STANDARDISE, standardised, TRAINING, times=1 + clipped)
    if clipped:
        yield Expected(
            moments_of.COUNT_FEATURES,
            lambda n: Crowd(study, n).counts(names, 3),
            TRAINING,
            times=MOST_HALVINGS,
        )
    yield from _of_screen(study, names, folds)
    yield from _of_selection(study, names, folds)


def _of_screen(study: Study, names: tuple[str, ...], folds: int) -> Iterator[Expected]:
    screen, bins = study.selection.screen, study.selection.screen_bins
    if screen != "mann_whitney":

        def screened(n: int) -> object:
            crowd, reply = Crowd(study, n), select_features.ScreenReply
            if screen == "welch":
                return reply(None, crowd.class_moments(names))
            return reply(rank_sums(names, crowd.table(len(names)), crowd.labels), None)

        yield Expected(select_features.SCREEN, screened, TRAINING, times=folds)
        return

    def binned(n: int) -> object:
        edges = np.tile(np.arange(bins - 1.0), (len(names), 1))
        found = histogram(names, Crowd(study, n).table(len(names)), edges)
        return select_features.BinsReply(found, found)

    yield Expected(
        select_features.COUNT_SCALED,
        lambda n: Crowd(study, n).counts(names, bins - 1),
        TRAINING,
        times=folds * MOST_HALVINGS,
    )
    yield Expected(select_features.BIN_FEATURES, binned, TRAINING, times=folds)


def _of_selection(study: Study, names: tuple[str, ...], folds: int) -> Iterator[Expected]:
    longest = sorted(names, key=len, reverse=True)
    kept = tuple(longest[: study.selection.keep_at_most])
    p = len(kept)

    def products(n: int) -> object:
        crowd = Crowd(study, n)
        found = gram(kept, crowd.table(p), crowd.labels)
        return select_features.GramReply((found,) * study.selection.folds)

    def looks(_: int) -> object:
        return select_features.LookReply(np.zeros(len(study.sites.training), dtype=np.int64))

    def problems(m: int) -> object:
        counts, sums = np.zeros(m, dtype=np.int64), np.zeros(m)
        hessian = np.zeros((m, p * (p + 1) // 2))
        return LogisticLassoSums(counts, sums, np.zeros((m, p)), hessian, counts, sums)

    yield Expected(select_features.GRAM, products, TRAINING, times=folds)
    yield Expected(select_features.LOOK_ALIKE, looks, TUNE)
    if study.selection.lasso == "logistic":
        yield Expected(
            select_features.LOGISTIC_LASSO,
            problems,
            TRAINING,
            times=None,
            units="problems",
            most_bytes=8 * MAX_NUMBERS + 8 * (p * (p + 1) // 2 + p + 4) + 2000,
        )
    yield Expected(
        select_features.CALIBRATE, lambda n: Crowd(study, n).logistic(2), TRAINING, times=None
    )
