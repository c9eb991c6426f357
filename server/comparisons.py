"""Models against each other on the same patients, for `results.json`."""

import itertools
from typing import Any

import numpy as np
from scipy import stats

from server.coordinator import need
from server.performance import interval
from server.study import EvaluationRecord, ExternalRecord, Study
from shared.branches import Branch25D
from shared.comparison import Comparison
from shared.config import Study as Settings
from shared.delong import Contrast, pair_tests
from shared.metrics import Estimate
from shared.paired import PairedSums, decided, reclassified
from shared.reclassification import Improvement, integrated_improvement, net_reclassification

POWER = 0.8


def comparison_results(study: Study, settings: Settings) -> dict[str, Any]:
    """Every two models' AUCs on internal test patients together, and at each external site.

    `main` names the comparison that the study is about, fusion and the first 2.5D branch, if it
    has one.
    """
    record: EvaluationRecord = need(study.evaluate, "evaluate")
    external: ExternalRecord = need(study.external_evaluate, "external_evaluate")
    level = settings.evaluation.confidence_level
    flat = [branch.name for branch in settings.branches if isinstance(branch, Branch25D)]
    return {
        "main": ["fusion", flat[0]] if flat else None,
        "internal_test": compared(record.comparison, level),
        "silent": list(record.silent),
        "external_sites": {
            site: compared(reply.comparison, level) for site, reply in external.sites.items()
        },
    }


def compared(found: Comparison | None, level: float) -> dict[str, Any] | None:
    """One cohort's models, each pair's difference with DeLong's test and Holm's p over the pairs.

    Of a pair the model that is later in the study comes first.
    """
    if found is None:
        return None
    pairs = [(j, i) for i, j in itertools.combinations(range(len(found.models)), 2)]
    tests = pair_tests(found.aucs, pairs, level)
    return {
        "n": found.aucs.n_positive + found.aucs.n_negative,
        "n_positive": found.aucs.n_positive,
        "n_left_out": found.n_left_out,
        "auc": dict(zip(found.models, found.aucs.auc.tolist(), strict=True)),
        "pairs": [
            {"first": found.models[i], "second": found.models[j], **tested(test, level)}
            | {"p_holm": p}
            | moved(found.paired, i, j, level)
            for (i, j), (test, p) in zip(pairs, tests, strict=True)
        ],
    }


def moved(sums: PairedSums, first: int, second: int, level: float) -> dict[str, Any]:
    """McNemar's test of the frozen decisions, and IDI and NRI of the first model over the second.

    The NRI is of these decisions: the difference of the two models' Youden's J. All but the IDI are
    None where a model has no threshold.
    """
    changes, decisions = reclassified(sums, first, second), decided(sums, first, second)
    idi = improved(integrated_improvement(changes, level))
    if decisions is None:
        return {"mcnemar": None, "nri": None, "idi": idi}
    mcnemar = {
        "only_first_right": decisions.only_first,
        "only_second_right": decisions.only_second,
        "p": decisions.p_exact,
    }
    return {"mcnemar": mcnemar, "nri": improved(net_reclassification(changes, level)), "idi": idi}


def improved(found: Improvement) -> dict[str, Any]:
    """An improvement with its interval and p."""
    known = np.isfinite(found.low)
    ci = [found.low, found.high] if known else None
    return {"value": found.value, "ci": ci, "p": found.p}


def tested(test: Contrast, level: float) -> dict[str, Any]:
    """A difference with its test, and how large one would have to be.

    A difference below `least_significant` has a p above 1 - level at the standard error found;
    one of `least_powered` would be found with a chance of 80%.
    """
    known = np.isfinite(test.low)
    reach = (test.high - test.low) / 2
    quantile = stats.norm.ppf(0.5 + level / 2)
    return {
        "difference": test.value,
        "ci": interval(Estimate(test.value, test.low, test.high)) if known else None,
        "z": test.z,
        "p": test.p,
        "least_significant": reach,
        "least_powered": reach * (1 + stats.norm.ppf(POWER) / quantile),
    }
