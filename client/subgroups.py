"""This site's test patients divided as the study names it; a division that tells too much stays.

What is told of a subgroup can be subtracted from what is told of all patients, and, where one
subgroup lies within another, from that of the other. So the rule is about differences: whatever
subgroups of one column together lie within subgroups of another, or within all, the patients that
are left between them are none, or as many as `release.min_cell`, of either label.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import TypeVar

import numpy as np

from client.comparing import comparable
from client.scoring import binned, summarised
from client.site import Cases, Site
from client.workbench import Workbench
from shared.checks import Ints
from shared.comparison import complete
from shared.config import Study
from shared.models import Bundle
from shared.subgroups import NO_GROUP, SubgroupScores, members, of_label, subgroup_names

T = TypeVar("T")
Membership = dict[str, np.ndarray]
"""Column to who stands in each subgroup, a mask (group, patient)."""


def told_subgroups(
    site: Site, study: Study, cases: Cases, found: Mapping[str, np.ndarray], labels: Ints
) -> tuple[Membership, dict[str, int]]:
    """Who stands in the subgroups that may be told of, and how many have no value, by column.

    A column that may not be told of is left out, and said to be in the hospital's own log.

    Args:
        found: Model to scores (n,), NaN where a patient has none.
        labels: Of the same patients.
    """
    names, least = subgroup_names(study), site.policy.release.min_cell
    divided = {column: site.subgroup_places(cases, column) for column in names}
    others = []
    if comparable(site, found, labels) is not None:
        others.append(complete(np.stack(list(found.values()))).astype(np.int64))
    scored = [np.isfinite(scores) for scores in found.values()]
    told = may_be_told(divided, labels, least=least, counted=scored, others=others)
    for column in (column for column in names if column not in told):
        site.log.warning(
            "%s: nothing is told of the subgroups of %s: in one, among patients without a value, "
            "or between it and another there are fewer than %d patients of a label",
            *(cases.split, column, least),
        )
    inside, without = Membership(), dict[str, int]()
    for column in told:
        places, own = divided[column], of_label(study, column)
        inside[column] = members(places, labels, len(names[column]), shared_negatives=own)
        without[column] = 0 if own else int((places == NO_GROUP).sum())
    return inside, without


def may_be_told(
    divided: Mapping[str, Ints],
    labels: Ints,
    *,
    least: int,
    counted: Sequence[np.ndarray] = (),
    others: Sequence[Ints] = (),
) -> list[str]:
    """The columns whose subgroups may be told of; of two that tell too much the first may.

    Args:
        divided: Column to the place of each patient's subgroup, (n,).
        labels: Of the same patients.
        least: The fewest that may be told of, unless there are none.
        counted: Masks (n,) of the patients that counts are of, beside all of them.
        others: Divisions of the same patients that are told of anyway, beside the whole.
    """
    everyone = np.ones(len(labels), dtype=bool)
    known, told = [everyone.astype(np.int64), *others], []
    for column, places in divided.items():
        close = [too_close(places, o, labels, (everyone, *counted), least) for o in known]
        if not any(close):
            known.append(places)
            told.append(column)
    return told


def too_close(
    places: Ints, other: Ints, labels: Ints, counted: Iterable[np.ndarray], least: int
) -> bool:
    """Whether subtracting counts of two divisions of the same patients may tell of too few.

    Args:
        places: Of each patient's subgroup, (n,); those without a value have one of their own.
        other: The same by another column, or all alike for the whole.
        labels: Of the same patients; the labels are told apart, so each is looked at by itself.
        counted: Masks (n,) of the patients that counts are of.
        least: The fewest that may be told of, unless there are none.
    """
    for mask, label in product(counted, (0, 1)):
        rows = mask & (labels == label)
        table = contingency(places[rows], other[rows])
        ours, theirs = unions(table.shape[0]), unions(table.shape[1])
        beyond = ours @ table @ (1 - theirs).T
        between = (1 - ours) @ table @ theirs.T
        if ((beyond == 0) & (between > 0) & (between < least)).any():
            return True
    return False


def contingency(places: Ints, other: Ints) -> Ints:
    """How many patients stand in each pair of subgroups."""
    (_, row), (_, column) = (np.unique(p, return_inverse=True) for p in (places, other))
    table = np.zeros((row.max(initial=-1) + 1, column.max(initial=-1) + 1), dtype=np.int64)
    np.add.at(table, (row, column), 1)
    return table


def unions(n: int) -> Ints:
    """Every way to choose from n subgroups, as rows of 0 and 1 (2 ** n, n)."""
    return (np.arange(2**n)[:, None] >> np.arange(n)) & 1


def subgroup_scores(
    bench: Workbench,
    cases: Cases,
    bundle: Bundle,
    found: Mapping[str, np.ndarray],
    labels: Ints,
    *,
    sums: bool = True,
    summaries: bool = False,
) -> dict[str, SubgroupScores]:
    """Each model's scores in the subgroups that may be told of, by column.

    Args:
        sums: Whether counts in the study's bins are told.
        summaries: Whether a few numbers computed from every score are.
    """
    inside, without = told_subgroups(bench.site, bench.study, cases, found, labels)
    result = {}
    for column, masks in inside.items():
        groups = [
            (labels[rows], {model: scores[rows] for model, scores in found.items()})
            for rows in masks
        ]
        counts = [binned(bench, bundle, *group) for group in groups if sums]
        few = [summarised(bundle, *group) for group in groups if summaries]
        result[column] = SubgroupScores(without[column], _by_model(counts), _by_model(few))
    return result


def _by_model(groups: list[dict[str, T]]) -> dict[str, tuple[T, ...]]:
    models = groups[0] if groups else ()
    return {model: tuple(group[model] for group in groups) for model in models}
