"""Which patients an answer is of: whole splits, and the parts of them that it tells apart.

A family is what can be subtracted from each other: all numbers of the clinical table, all of the
features, all of networks that see the same phases. Parameters do not make another family. What a
number leaves out for want of a value is not looked at here, nor what has noise of differential
privacy in it, whose budget counts every answer (`client.told_once`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from client.cohort.cases import Cases
from client.cohort.manifest import Case
from client.folds import deal, outer_folds, training_without
from client.products import Readings, has_phases
from client.seeds import generator_for
from client.stages.embed import cases_of
from client.stages.select_features import folds
from client.subgroups import may_be_told
from client.workbench import Workbench
from shared.branches import Network
from shared.stages import Question, clinical_model, discretise, embed, explain, fuse
from shared.stages import evaluate as evaluating
from shared.stages import select_features as select
from shared.stages.describe_cohort import COUNT_VARIABLES, DESCRIBE_COHORT
from shared.stages.external_evaluate import EXTERNAL_SCORES
from shared.stages.stability import READINGS
from shared.stages.standardise import COUNT_FEATURES, STANDARDISE
from shared.stages.train_branches import TRAIN_BRANCH
from shared.subgroups import subgroup_names

Part = tuple[Case, ...]


@dataclass(frozen=True, slots=True)
class Division:
    """One cohort that is told of, and how it is divided.

    Attributes:
        family: What it is told in.
        wholes: Sets of patients that numbers of either label are told of.
        parts: Sets of patients that numbers are told of, within the wholes: folds, what is left
            without one, subgroups.
    """

    family: str
    wholes: tuple[Part, ...]
    parts: tuple[Part, ...] = ()


def divisions_of(name: str, request: Any, bench: Workbench) -> tuple[Division, ...]:
    """Of whom the answer to a question is; of nobody where it tells nothing of patients.

    Raises:
        TrifedError: If the question names a network or a fold that the study does not have, or a
            fold is too small.
    """
    found = DIVIDED.get(name)
    return () if found is None else found(request, bench)


def of_everyone(_request: Any, bench: Workbench) -> tuple[Division, ...]:
    """Clinical numbers of all patients, and counts of each split."""
    site = bench.site
    splits = (site.training, site.tuning, site.internal_test)
    return (Division("clinical", _wholes(site.everyone, *splits)),)


def of_training(family: str) -> Callable[[Any, Workbench], tuple[Division, ...]]:
    """Numbers of the training patients."""

    def divided(_request: Any, bench: Workbench) -> tuple[Division, ...]:
        return (Division(family, _wholes(bench.site.training)),)

    return divided


def of_screened(request: Any, bench: Workbench) -> tuple[Division, ...]:
    """Numbers of the features of the training patients, or of these without an outer fold."""
    return (Division("features", _wholes(bench.site.training), _without_folds(bench, request)),)


def of_products(request: Any, bench: Workbench) -> tuple[Division, ...]:
    """The same for each fold of the selection."""
    cases = training_without(bench, request.held_out)
    labels, n_folds = bench.site.labels(cases), bench.study.selection.folds
    fold = folds(labels, n_folds, bench, request.held_out)
    inner = _by_fold(cases.cases, fold)
    parts = (*_without_folds(bench, request), *inner)
    return (Division("features", _wholes(bench.site.training), parts),)


def of_tune(_request: Any, bench: Workbench) -> tuple[Division, ...]:
    """How many tune patients look like each site's."""
    return (Division("look-alikes", _wholes(bench.site.tuning)),)


def of_read_again(request: Any, bench: Workbench) -> tuple[Division, ...]:
    """The training patients who are read again."""
    product = Readings(bench.study, request.extraction)
    fitting = tuple(case for case in bench.site.training if product.is_for(case))
    return (Division("readings", (fitting[: product.stability.cases_per_site],)),)


def of_network(request: Any, bench: Workbench) -> tuple[Division, ...]:
    """Weights trained on training patients, and scores of tune patients, who have the phases."""
    network = bench.network(request.network)
    tune = Division(f"scores of {_seen(network)}", (_present(bench.site.tuning, network),))
    if not request.train:
        return (tune,)
    without = () if network.fold is None else _parts_without(bench)
    trained = Division(
        f"networks of {_seen(network)}",
        (_present(bench.site.training, network),),
        tuple(_present(part, network) for part in without),
    )
    return (tune, trained)


def of_embeddings(request: Any, bench: Workbench) -> tuple[Division, ...]:
    """Sums of the embeddings of training patients, where they are asked for."""
    network = bench.network(request.network)
    if not request.sums or network.fold is not None:
        return ()
    family = f"embeddings of {_seen(network)}"
    return (Division(family, (_present(bench.site.training, network),)),)


def of_rows(_request: Any, bench: Workbench) -> tuple[Division, ...]:
    """The patients of whom rows leave; with noise in each, they show nobody by a difference."""
    if bench.study.fusion.exchange == "embeddings+dp":
        return ()
    return (Division("rows", (_fitted_on(bench),)),)


def of_fusion(_request: Any, bench: Workbench) -> tuple[Division, ...]:
    """Sums over the folds of the fusion layer, and over what is left without one."""
    cases, study = _fitted_on(bench), bench.study
    labels = bench.site.labels(Cases(cases, "fusion"))
    rng = generator_for(study.seed, bench.site.name, "fusion_folds")
    parts = _by_fold(cases, deal(labels, study.fusion.folds, rng))
    return (Division("fusion", (cases,), (*parts, *(_less(cases, part) for part in parts))),)


def of_scores(_request: Any, bench: Workbench) -> tuple[Division, ...]:
    """Models' scores in each split, and in the subgroups of the patients who test."""
    site = bench.site
    tested = site.external_test if site.role == "external" else site.internal_test
    others = () if site.role == "external" else (site.training, site.tuning)
    parts = _subgroups(bench, tested)
    scores = Division("model scores", _wholes(*others, tested), parts)
    if site.role == "external":
        return (Division("clinical", _wholes(tested)), scores)
    return (scores,)


def of_heat(request: Any, bench: Workbench) -> tuple[Division, ...]:
    """Where a network looks, over internal test patients."""
    network = bench.network(request.network)
    return (Division(f"heat of {_seen(network)}", (_present(bench.site.internal_test, network),)),)


def _wholes(*handles: Cases) -> tuple[Part, ...]:
    return tuple(cases.cases for cases in handles)


def _fitted_on(bench: Workbench) -> Part:
    return tuple(case for cases in cases_of(bench) for case in cases)


def _without_folds(bench: Workbench, request: Any) -> tuple[Part, ...]:
    return () if request.held_out is None else _parts_without(bench)


def _parts_without(bench: Workbench) -> tuple[Part, ...]:
    """The training patients without each outer fold: their differences are folds, all told of."""
    cases = bench.site.training.cases
    return tuple(_less(cases, part) for part in _by_fold(cases, outer_folds(bench)))


def _by_fold(cases: Part, fold: np.ndarray) -> tuple[Part, ...]:
    return tuple(_chosen(cases, fold == k) for k in np.unique(fold))


def _chosen(cases: Part, rows: np.ndarray) -> Part:
    return tuple(case for case, wanted in zip(cases, rows, strict=True) if wanted)


def _less(cases: Part, part: Part) -> Part:
    gone = {case.patient_id for case in part}
    return tuple(case for case in cases if case.patient_id not in gone)


def _present(cases: Sequence[Case] | Cases, network: Network) -> Part:
    return tuple(case for case in cases if has_phases(case, network))


def _seen(network: Network) -> str:
    return f"{network.branch.kind} of {', '.join(sorted(network.phases))}"


def _subgroups(bench: Workbench, cases: Cases) -> tuple[Part, ...]:
    """The subgroups that may be told of beside each other; of these alone parts are compared."""
    site = bench.site
    names = subgroup_names(bench.study)
    places = {column: site.subgroup_places(cases, column) for column in names}
    told = may_be_told(places, site.labels(cases), least=site.policy.release.min_cell)
    return tuple(part for column in told for part in _by_fold(cases.cases, places[column]))


Divided = Callable[[Any, Workbench], tuple[Division, ...]]


def _by_name(*pairs: tuple[Divided, tuple[Question[Any, Any], ...]]) -> dict[str, Divided]:
    return {question.name: divided for divided, some in pairs for question in some}


DIVIDED = _by_name(
    (of_everyone, (DESCRIBE_COHORT, COUNT_VARIABLES)),
    (
        of_training("clinical"),
        (
            clinical_model.PREDICTOR_MEANS,
            clinical_model.CLINICAL_STEP,
            clinical_model.CLINICAL_HATS,
        ),
    ),
    (
        of_training("features"),
        (discretise.COUNT_RANGES, STANDARDISE, COUNT_FEATURES, select.CALIBRATE),
    ),
    (of_screened, (select.SCREEN, select.COUNT_SCALED, select.BIN_FEATURES)),
    (of_products, (select.GRAM, select.LOGISTIC_LASSO)),
    (of_tune, (select.LOOK_ALIKE,)),
    (of_read_again, (READINGS,)),
    (of_network, (TRAIN_BRANCH,)),
    (of_embeddings, (embed.EMBED_OUTPUTS,)),
    (of_rows, (embed.EMBED_ROWS,)),
    (
        of_fusion,
        (fuse.FUSION_MOMENTS, fuse.FUSION_STEPS, fuse.FUSION_LOSSES, fuse.FUSION_SCORES),
    ),
    (of_scores, (evaluating.EVALUATE_SCORES, evaluating.EVALUATE_PLACEMENTS, EXTERNAL_SCORES)),
    (of_heat, (explain.EXPLAIN,)),
)
"""Of whom each question is.

What is not here tells nothing of patients but how many there are, or has noise that is reckoned for
one patient more or less (`client.told_once`).
"""
