"""Attacks on what left with noise: the same as on what left without, from what is there of it.

Sums with noise are taken for sums, and rows with noise for rows. What is found is held against rows
that were only drawn: to be graded, rows are given to the patients whom they lie nearest, which
finds some of them by chance alone. Epsilon bounds every attack; these are two of them.
"""

import numpy as np

from client.audit.attacks import LEAST_PATIENTS, link, member_by_row
from client.audit.attempts import NO_REQUEST, attempt, chance_of, failed, values_told
from client.audit.findings import Finding, linked, told
from client.audit.rebuilt import Step, matched
from client.audit.released import Released
from client.audit.sums import Told, by_chance, read_by
from client.audit.victims import complete, outsiders, victims_of
from client.stages.embed import fusion_rows
from client.workbench import Workbench
from shared.checks import Floats
from shared.errors import AuditError, TrifedError
from shared.glm import LogisticSums
from shared.moments import Moments
from shared.noised_rows import opened_rows
from shared.noised_sums import NoisedSums, opened
from shared.stages.embed import EMBED_NOISED
from shared.stages.fuse import FUSION_NOISED

NOISED_ROWS = "rows of patients with noise"


def on_noised_sums(released: Released, bench: Workbench) -> list[Finding]:
    """Attacks on sums with noise, where they left."""
    return read_by(noised, released, bench)


def noised(released: Released, bench: Workbench) -> Told | None:
    """What `fusion.exchange: statistics+dp` tells; None where it was not asked.

    Raises:
        AuditError: If a question is not kept.
        TrifedError: If the rows cannot be computed any more.
    """
    kept = released.of(FUSION_NOISED.name)
    if not kept:
        return None
    if any(each.request is None for each in kept):
        raise AuditError(NO_REQUEST)
    request, layer = kept[-1].request.rows, kept[-1].request.layer
    columns, rows, _ = fusion_rows(request, bench)
    clip_norm, n = bench.study.fusion.dp.clip_norm, len(rows)
    spread = Moments(columns, np.full(len(columns), n), layer.mean[0], n * layer.sd[0] ** 2)
    steps = tuple(
        Step(each.request.layer, (as_sums(each.reply.sums, n, clip_norm),)) for each in kept
    )
    return Told(request, np.zeros(n, dtype=np.int64), (spread,), steps)


def as_sums(sums: NoisedSums, n: int, clip_norm: float) -> LogisticSums:
    """Sums with noise as if there were none; what no sum can be is moved to the nearest it can."""
    score, information = opened(sums, clip_norm)
    np.fill_diagonal(information, np.maximum(np.diag(information), 0.0))
    return LogisticSums(n, score, information, 0.0)


def on_noised_rows(released: Released, bench: Workbench) -> list[Finding]:
    """Attacks on rows with noise, where they left."""
    answers = released.of(EMBED_NOISED.name)
    if not answers:
        return []
    request, reply = answers[-1].request, answers[-1].reply
    if request is None:
        return failed(NOISED_ROWS, NO_REQUEST)
    try:
        victims = victims_of(request.rows, bench)
    except TrifedError as error:
        return failed(NOISED_ROWS, str(error))
    truth = (complete(victims.rows) - request.mean) / request.sd
    columns, labels = opened_rows(reply.numbers, bench.study.fusion.dp.clip_norm)
    n = len(truth)
    if columns.shape != truth.shape:
        return failed(NOISED_ROWS, f"the hospital has {n} such patients now, not {len(columns)}")
    if n < LEAST_PATIENTS:
        return failed(NOISED_ROWS, f"{n} patients are too few to learn from half of them")
    truth = np.column_stack([truth, 2.0 * victims.labels - 1])
    rows = np.column_stack([columns, 2.0 * labels - 1])
    mine, turned = matched(rows, truth), float(np.mean(np.sort(labels) != np.sort(victims.labels)))

    def drawn(rng: np.random.Generator) -> Floats:
        return np.asarray(rows.mean(axis=0) + rows.std(axis=0) * rng.standard_normal(rows.shape))

    base = by_chance(drawn, victims.known, victims.wanted, truth, chance_of(7))
    words = (
        f"{n} rows of {rows.shape[1]} numbers, the label among them, of which the noise has turned "
        f"{turned:.0%} in sum. Chance is rows that were drawn with their mean and spread"
    )

    def linkage() -> Finding:
        linking = link(victims.known, mine, None, chance_of(1))
        return linked(NOISED_ROWS, linking, words, chance=max(base.found, linking.chance))

    def reconstruction() -> Finding:
        return values_told(NOISED_ROWS, mine, victims, chance=base.told)

    def membership() -> Finding:
        others, _ = outsiders(request.rows, bench)
        member = member_by_row(victims.known, mine, others, chance_of(3))
        return told(NOISED_ROWS, member, "by the nearest row")

    return [
        attempt(NOISED_ROWS, "linkage", linkage),
        attempt(
            NOISED_ROWS,
            "reconstruction",
            lambda: values_told(NOISED_ROWS, mine, victims, chance=base.told),
        ),
        attempt(NOISED_ROWS, "membership", membership),
    ]
