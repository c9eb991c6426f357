"""Smallest cells: a statistic of too few patients is refused before it is computed.

The sum over one patient is that patient's row, and of two patients whoever knows one knows the
other. Each site's half of a stage therefore asks here first, with nothing but counts. A cell is
the patients that one number is of: those with a value of a feature, those of one label, those of
one fold. It may be empty, which says that there is nobody; or it holds at least `release.min_cell`
patients of the hospital's policy. The study cannot lower that.

What is not a cell: how many patients lack a phase or were set aside, which are counts of files;
single bins of scores and of features, and how many values are at or below a number, which are of
use only if they are fine (the ends of clinical variables and of ranges are hidden:
`without_tails`); how many patients look like another hospital's; and the rows that the
policy lets leave for the fusion layer. Subgroups are cells, and so is what is left when one is
subtracted (`client.subgroups`).
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from client.policy.settings import LEAST_CELL
from client.releases.cells import note_cell
from client.site import Site
from shared.checks import Floats, Ints
from shared.errors import SmallCellError
from shared.quantiles import CountsBelow

LEAST_OF_A_CLASS = 2
"""In a fold: the products with the label of one positive patient would be that patient's row."""
LOWER = (
    "or let whoever decides that in your hospital lower release.min_cell in policy.yaml "
    f"(to {LEAST_CELL} at least)"
)


def check_cases(site: Site, what: str, n: int) -> None:
    """Refuse a statistic of `n` patients if that is too few; of none it is allowed.

    Args:
        what: What was asked, as the subject of a sentence.

    Raises:
        SmallCellError: Naming what was asked, the count, the limit and the remedy.
    """
    _check(what, n, site.policy.release.min_cell, f"Add patients, {LOWER}")


def are_enough(site: Site, n: int, *, at_least: int) -> bool:
    """Whether a statistic of `n` patients may be told, where a site with too few tells nothing.

    Unlike `check_cases` it stops no run: the other sites' patients are told of without this one's.

    Args:
        at_least: The study's own limit; the policy's counts where it is higher.
    """
    enough = n >= max(at_least, site.policy.release.min_cell)
    if enough:
        note_cell(n)
    return enough


def check_columns(site: Site, what: str, names: Sequence[str], table: Floats) -> None:
    """Refuse a statistic of each column of a table ``(n, p)`` if one has too few values.

    Raises:
        SmallCellError: Naming the first such column.
    """
    limit = site.policy.release.min_cell
    counts = (~np.isnan(table)).sum(axis=0)
    for name, n in zip(names, counts.tolist(), strict=True):
        _check(f"{what} of '{name}'", n, limit, f"Fill in its blank cells, {LOWER}")


def told_scores(site: Site, scores: Floats, bins: int) -> Floats:
    """Scores ``(n,)`` as this hospital tells of them: in the middle of bins that are its own.

    With many bins nearly every patient stands alone in one, and which label follows which score is
    told patient by patient. Of a study with more bins than `release.max_score_bins` all that is
    told of scores, hits, sums and curves, is therefore of scores that are rounded first.
    """
    most = site.policy.release.max_score_bins
    if bins <= most:
        return scores
    return np.asarray((np.minimum(np.floor(scores * most), most - 1) + 0.5) / most)


def without_tails(site: Site, counts: CountsBelow) -> CountsBelow:
    """Counts in which the few lowest and the few highest values are not to be found.

    Where fewer than `release.min_tail` patients are at or below a number, none is said to be; where
    fewer are above, all are said to be at or below. Who asks for more and more numbers comes no
    nearer to an end than to that many patients' values.
    """
    least, n = site.policy.release.min_tail, counts.n[:, None]
    below = np.where(counts.below < least, 0, counts.below)
    below = np.where((n - counts.below < least) & (below > 0), n, below)
    return replace(counts, below=below)


def check_classes(site: Site, what: str, labels: Ints) -> None:
    """Refuse a statistic by label, or one that tells the labels apart, if a class is too small.

    Raises:
        SmallCellError: Naming the label.
    """
    limit = site.policy.release.min_cell
    for label, word in enumerate(("negative", "positive")):
        n = int((labels == label).sum())
        _check(f"{what} of {word} patients", n, limit, f"Add such patients, {LOWER}")


def check_class_columns(
    site: Site, what: str, names: Sequence[str], table: Floats, labels: Ints
) -> None:
    """Refuse a statistic of each column by label if a class has too few values of one.

    Raises:
        SmallCellError: Naming the first such column and the label.
    """
    check_classes(site, what, labels)
    for label, word in enumerate(("negative", "positive")):
        check_columns(site, f"{what} of {word} patients,", names, table[labels == label])


def check_folds(
    site: Site, what: str, labels: Ints, fold: Ints, *, setting: str = "selection.folds"
) -> None:
    """Refuse sums of products for each fold if a fold, or a class in it, is too small.

    Within a fold a class may be smaller than the limit, but not a single patient; over all folds
    it may not.

    Args:
        labels: Of the cases, ``(n,)``.
        fold: Of the same cases, ``(n,)``.
        setting: What the study can lower for larger folds.

    Raises:
        SmallCellError: Naming the fold.
    """
    limit = site.policy.release.min_cell
    fewer = f"Add patients, or lower {setting} in the study"
    check_classes(site, what, labels)
    for k in np.unique(fold):
        inside = labels[fold == k]
        _check(f"{what} of fold {k + 1}", len(inside), limit, f"{fewer}, {LOWER}")
        for label, word in enumerate(("negative", "positive")):
            n = int((inside == label).sum())
            least = min(limit, LEAST_OF_A_CLASS)
            _check(f"{what} of fold {k + 1}, {word} patients,", n, least, fewer)


def check_each_fold(site: Site, what: str, labels: Ints, fold: Ints) -> None:
    """Refuse statistics of all cases but a fold if a class of one label in a fold is too small.

    Args:
        labels: Of the training cases, ``(n,)``.
        fold: Of the same cases, ``(n,)``.

    Raises:
        SmallCellError: Naming the fold and the label.
    """
    limit = site.policy.release.min_cell
    for k in np.unique(fold):
        for label, word in enumerate(("negative", "positive")):
            n = int((labels[fold == k] == label).sum())
            remedy = f"Lower fusion.outer_folds in the study, {LOWER}"
            _check(f"{what} {k + 1}, by difference, {word} patients,", n, limit, remedy)


def _check(what: str, n: int, limit: int, remedy: str) -> None:
    if not 0 < n < limit:
        note_cell(n)
        return
    raise SmallCellError(
        f"{what} would be of {n} {'patient' if n == 1 else 'patients'}; nothing is told of fewer "
        f"than {limit}, unless of none. {remedy}."
    )
