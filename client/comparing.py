"""Models compared on this site's patients; their scores stay here."""

from collections.abc import Iterable, Mapping

import numpy as np

from client.release import are_enough
from client.site import Site
from shared.checks import Floats, Ints
from shared.comparison import Comparison, cells_left, complete, score_edges
from shared.delong import correlated_aucs
from shared.errors import CodecError
from shared.models import Bundle
from shared.paired import paired_sums
from shared.placements import ClassHistograms, class_histograms


def comparable(
    site: Site, found: Mapping[str, np.ndarray], labels: Ints
) -> tuple[Floats, Ints] | None:
    """Scores ``(k, n)`` and labels of the patients with every score; None if cells are too small.

    Args:
        found: Model to scores, NaN where a patient has none.
        labels: Of the same patients.
    """
    scores = np.stack(list(found.values()))
    cells = [n for n in cells_left(scores, labels) if n]
    if not all(are_enough(site, n, at_least=1) for n in cells):
        return None
    whole = complete(scores)
    return scores[:, whole], labels[whole]


def counted(
    site: Site, found: Mapping[str, np.ndarray], labels: Ints, bins: int
) -> ClassHistograms | None:
    """The first round: the scores of complete patients in the study's bins, if they may be told."""
    told = comparable(site, found, labels)
    if told is None:
        return None
    return class_histograms(tuple(found), *told, score_edges(len(found), bins))


def check_counted(own: ClassHistograms, pooled: ClassHistograms) -> None:
    """Refuse pooled counts that this site's patients are not among, or in other bins.

    Placements in made-up counts could be those of single bins, and their products would join the
    bins of two models.

    Raises:
        CodecError: If they are not the counts of a cohort that these patients belong to.
    """
    if own.names != pooled.names or not np.array_equal(own.negative.edges, pooled.negative.edges):
        raise CodecError("the pooled counts are of other models or bins than this site's")
    for mine, all_sites in ((own.negative, pooled.negative), (own.positive, pooled.positive)):
        if (mine.counts > all_sites.counts).any():
            raise CodecError("the pooled counts do not hold this site's patients")


def thresholds_of(bundle: Bundle, models: Iterable[str]) -> Floats:
    """Each model's frozen threshold ``(k,)``; NaN where it has none."""
    return np.array([bundle.thresholds.get(model, np.nan) for model in models])


def compared_here(
    site: Site, found: Mapping[str, np.ndarray], labels: Ints, bundle: Bundle
) -> Comparison | None:
    """The models compared on this site's patients alone, from every score; None if too few."""
    told = comparable(site, found, labels)
    if told is None:
        return None
    paired = paired_sums(tuple(found), *told, thresholds_of(bundle, found))
    return Comparison(tuple(found), len(labels) - len(told[1]), correlated_aucs(*told), paired)
