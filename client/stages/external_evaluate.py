"""The external site's half of `external_evaluate`."""

import numpy as np

from client.comparing import compared_here
from client.contributing import told_contributions
from client.embeddings import keep_outputs
from client.looks import Cohort, Look, now, open_cohort, write_down
from client.scoring import binned, checked_scores, summarised
from client.stages.describe_cohort import describe
from client.subgroups import subgroup_scores
from client.workbench import Workbench
from shared.checks import Ints
from shared.codec import from_text, to_text
from shared.errors import CodecError, LooksError, PolicyError
from shared.models import Bundle
from shared.stages.evaluate import OutputsReply, OutputsRequest, ScoresRequest
from shared.stages.external_evaluate import LEVELS, ExternalReply, ScoreTable


def answer_outputs(request: OutputsRequest, bench: Workbench) -> OutputsReply:
    """Compute and keep a network's outputs for the external cohort."""
    handles = (bench.site.external_test,)
    keep_outputs(bench, bench.network(request.network), request.weights, handles)
    return OutputsReply()


def answer_scores(request: ScoresRequest, bench: Workbench) -> ExternalReply:
    """The external cohort in numbers, and of each model what the policy lets leave; once."""
    bundle = request.bundle
    cohort = open_cohort(bench.looks, bench.site.external_test)
    if first := cohort.first(bundle.hash()):
        return told_before(bench, first)
    reply = evaluate_bundle(bench, bundle, cohort)
    write_down(
        bench.looks,
        cohort,
        bundle=bundle.hash(),
        date=reply.date,
        level=reply.level,
        limits=limits_of(bench),
        answer=to_text(reply),
    )
    return reply


def limits_of(bench: Workbench) -> dict[str, int]:
    """How many patients a number is of at least, and how finely scores are told, by key."""
    release = bench.site.policy.release
    bins = min(release.max_score_bins, bench.study.evaluation.score_bins)
    return {
        "min_cell": release.min_cell,
        "min_tail": release.min_tail,
        "max_score_bins": bins,
    }


def told_before(bench: Workbench, look: Look) -> ExternalReply:
    """The first answer, unless the hospital would tell less today.

    Raises:
        PolicyError: If it would.
        LooksError: If another release wrote the answer in another form.
    """
    site, release = bench.site, bench.site.policy.release
    if LEVELS.index(release.external) < LEVELS.index(look.level):
        raise PolicyError(
            f"this bundle was evaluated on {look.date} at the level {look.level}; release.external "
            f"is {release.external} now, so that this answer may not leave again, and there is no "
            "other."
        )
    for key, then in look.limits.items():
        now_is = getattr(release, key)
        if now_is < then if key == "max_score_bins" else now_is > then:
            raise PolicyError(
                f"this bundle was evaluated on {look.date} with {key} {then}; release.{key} is "
                f"{now_is} now, so that this answer may not leave again, and there is no other."
            )
    site.log.info("this bundle was evaluated on %s; the first answer is told again", look.date)
    try:
        return from_text(ExternalReply, look.answer)
    except CodecError as error:
        raise LooksError(
            f"the answer of {look.date} was written by another release of trifed ({error}). "
            "Install that release to read it."
        ) from None


def evaluate_bundle(bench: Workbench, bundle: Bundle, cohort: Cohort) -> ExternalReply:
    """Score the external cohort, whose outputs are kept already, and tell what may be told.

    Raises:
        SmallCellError: If the patients of a label are too few to be told of.
    """
    cases, level = bench.site.external_test, bench.site.policy.release.external
    description = describe(bench, (cases,))
    labels, found = checked_scores(bench, cases, bundle)
    summaries = summarised(bundle, labels, found)
    sums = {} if level == "summary" else binned(bench, bundle, labels, found)
    table = score_table(found, labels) if level == "scores" else None
    looks = cohort.n_looks + 1
    together = compared_here(bench.site, found, labels, bundle)
    divided = subgroup_scores(
        bench, cases, bundle, found, labels, sums=level != "summary", summaries=True
    )
    return ExternalReply(
        level=level,
        cohort=cohort.hash,
        looks=looks,
        date=now(),
        description=description,
        summaries=summaries,
        sums=sums,
        scores=table,
        comparison=together,
        subgroups=divided,
        contributions=told_contributions(bench, cases, bundle, labels),
    )


def score_table(found: dict[str, np.ndarray], labels: Ints) -> ScoreTable:
    """Every patient's scores and label, sorted by the numbers so that the order says nothing."""
    rows = np.column_stack([*found.values(), labels.astype(np.float64)])
    rows = rows[np.lexsort(rows.T[::-1])]
    return ScoreTable(tuple(found), rows[:, :-1].copy(), rows[:, -1].astype(np.int64))
