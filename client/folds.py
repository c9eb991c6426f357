"""Folds of a site's training cases, dealt by patient and balanced by label.

Outer folds are those that the parts of a model are fitted without, so that they can score them out
of fold; within what remains, each fit may have folds of its own. Which fold a patient is in hangs
on the study's seed and the site alone.
"""

import numpy as np

from client.cohort.cases import Cases, TrainingCases
from client.release import check_each_fold
from client.seeds import generator_for
from client.workbench import Workbench
from shared.errors import CodecError


def deal(labels: np.ndarray, n_folds: int, rng: np.random.Generator) -> np.ndarray:
    """A fold for each case ``(n,)``, balanced by label."""
    fold = np.empty(len(labels), dtype=int)
    start = 0
    for value in (0, 1):
        rows = rng.permutation(np.flatnonzero(labels == value))
        fold[rows] = (start + np.arange(len(rows))) % n_folds
        start += len(rows)
    return fold


def outer_folds(bench: Workbench) -> np.ndarray:
    """The outer fold of each training case ``(n,)``.

    Raises:
        SmallCellError: If a fold has too few patients of a label, since what is told of all cases
            and of all but a fold tells, by their difference, of the fold.
    """
    labels = bench.site.labels(bench.site.training)
    n_folds = bench.study.fusion.n_outer_folds
    rng = generator_for(bench.study.seed, bench.site.name, "outer_folds")
    fold = deal(labels, n_folds, rng)
    check_each_fold(bench.site, "what is told without fold", labels, fold)
    return fold


def training_without(bench: Workbench, held_out: int | None) -> TrainingCases:
    """The training cases outside of an outer fold; all of them if None."""
    if held_out is None:
        return bench.site.training
    return _chosen(bench.site.training, ~in_fold(bench, held_out))


def held_out_cases(bench: Workbench, held_out: int) -> TrainingCases:
    """The training cases of an outer fold."""
    return _chosen(bench.site.training, in_fold(bench, held_out))


def in_fold(bench: Workbench, held_out: int) -> np.ndarray:
    """Which training cases are in an outer fold, bool ``(n,)``.

    Raises:
        CodecError: If the study has no such fold.
    """
    if not 0 <= held_out < bench.study.fusion.n_outer_folds:
        raise CodecError("the request names a fold that the study does not have")
    return np.asarray(outer_folds(bench) == held_out)


def _chosen(cases: Cases, rows: np.ndarray) -> TrainingCases:
    chosen = (case for case, wanted in zip(cases, rows, strict=True) if wanted)
    return TrainingCases(tuple(chosen), cases.split)
