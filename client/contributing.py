"""What each input of the fusion layer adds to the logits of this site's patients, in sums."""

import numpy as np

from client.release import are_enough
from client.scoring import bundle_columns
from client.site import Cases
from client.workbench import Workbench
from shared.checks import Ints
from shared.contributions import FusionContributions, fusion_contributions, sources_of
from shared.fusion_columns import fusion_names
from shared.models import Bundle


def told_contributions(
    bench: Workbench, cases: Cases, bundle: Bundle, labels: Ints
) -> FusionContributions | None:
    """The sums over a handle's cases; None where a cell is too small.

    A cell is the patients of a label, or those of them who have a value of their own in a column:
    the others add what anybody without a value does, so that a sum is that of the few who have one.

    Raises:
        CodecError: If the fusion layer is of other columns than the study's.
    """
    site, names = bench.site, fusion_names(bench.study)
    columns = bundle_columns(bench, cases, bundle)
    known = own_values(bench, cases, bundle, columns)
    everyone = np.ones((len(labels), 1), dtype=bool)
    counted = np.hstack([everyone, known])
    cells = [n for label in (0, 1) for n in counted[labels == label].sum(axis=0).tolist() if n]
    if not all(are_enough(site, n, at_least=1) for n in cells):
        site.log.warning(
            "%s: nothing is told of what the fusion layer's inputs add to the logits: fewer than "
            "%d patients of a label, or fewer with a value of an input",
            *(cases.split, site.policy.release.min_cell),
        )
        return None
    sources = sources_of(names, bench.study)
    return fusion_contributions(bundle.fusion, columns, known=known, labels=labels, sources=sources)


def own_values(bench: Workbench, cases: Cases, bundle: Bundle, columns: np.ndarray) -> np.ndarray:
    """Which of the fusion layer's columns ``(n, k)`` are the patients' own: a mask.

    Blank clinical cells, the last columns, hold the training mean there already.
    """
    known = np.isfinite(columns)
    if "clinical" in bench.study.fusion.inputs:
        rows = bench.site.clinical(cases, bundle.clinical.predictors)
        known[:, -rows.shape[1] :] = np.isfinite(rows)
    return np.asarray(known)
