"""Attacks on sums of which a fusion layer was fitted."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from client.audit.attacks import LEAST_PATIENTS, link, reconstruct, told_apart
from client.audit.attempts import NO_REQUEST, attempt, chance_of, failed, values_told
from client.audit.findings import Finding, linked, not_measured, told
from client.audit.rebuilt import Step, draw, matched, rebuild
from client.audit.released import Released
from client.audit.victims import complete, outsiders, victims_of
from client.stages.fuse import folded_rows
from client.workbench import Workbench
from shared.checks import Floats, Ints
from shared.errors import AuditError, TrifedError
from shared.moments import Moments
from shared.stages.embed import RowsRequest
from shared.stages.fuse import FUSION_MOMENTS, FUSION_STEPS
from shared.stages.secure_sums import PREFIX

SUMS = "sums for the fusion layer"
DRAWS = 10


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """What was told of rows, summed.

    Attributes:
        request: Which rows.
        fold: Of each patient (n,), as the hospital deals them.
        folds: The moments of each fold's rows, as they were told.
    """

    request: RowsRequest
    fold: Ints
    folds: tuple[Moments, ...]
    steps: tuple[Step, ...]


def plain(released: Released, bench: Workbench) -> Told | None:
    """What `fusion.exchange: statistics` tells; None where it was not asked.

    Raises:
        AuditError: If a question is not kept.
        TrifedError: If the rows cannot be computed any more.
    """
    moments, steps = released.of(FUSION_MOMENTS.name), released.of(FUSION_STEPS.name)
    if not moments or not steps:
        return None
    if any(each.request is None for each in (*moments, *steps)):
        raise AuditError(NO_REQUEST)
    request = moments[-1].request
    found = tuple(Step(each.request.layers, each.reply.sums) for each in steps)
    return Told(request, folded_rows(request, bench)[3], moments[-1].reply.folds, found)


MASKED = PREFIX + FUSION_STEPS.name
UNDER_MASKS = (
    "they left under masks that vanish in the sum over all training sites alone; the server knows "
    "that sum, and this hospital does not"
)


def on_sums(released: Released, bench: Workbench) -> list[Finding]:
    """Attacks on sums, where the fusion layer was fitted on them."""
    masked = any(row.question == MASKED for row in released.rows)
    return (failed(SUMS, UNDER_MASKS) if masked else []) + read_by(plain, released, bench)


def read_by(
    reader: Callable[[Released, Workbench], Told | None], released: Released, bench: Workbench
) -> list[Finding]:
    """Attacks on the sums that a reader finds, if any."""
    try:
        found = reader(released, bench)
        return [] if found is None else attacked(found, bench)
    except TrifedError as error:
        return failed(SUMS, str(error))


def attacked(sums: Told, bench: Workbench) -> list[Finding]:
    """Rebuild the rows, and attack what was rebuilt.

    Raises:
        TrifedError: If the patients' own rows cannot be computed any more.
    """
    victims, order = victims_of(sums.request, bench), np.argsort(sums.fold, kind="stable")
    truth, known = complete(victims.rows)[order], victims.known[order]
    n = len(truth)
    if n < LEAST_PATIENTS:
        return failed(SUMS, f"{n} patients are too few to learn from half of them")
    found = rebuild(sums.folds, sums.steps, chance_of(4))
    mine = matched(found.rows, truth)
    base = by_chance(
        lambda rng: draw(sums.folds, rng), known, victims.wanted[order], truth, chance_of(6)
    )
    effort = (
        f"{found.n_numbers:,} numbers were told of {n} patients with {mine.shape[1]} values each; "
        f"rows that fit them to {found.misfit[1]:.2%} were found. Chance is rows that were drawn "
        "with the right mean and spread"
    )

    def linkage() -> Finding:
        found = link(known, mine, None, chance_of(1))
        return linked(SUMS, found, effort, chance=max(base.found, found.chance))

    def reconstruction() -> Finding:
        return values_told(SUMS, mine, victims, order=order, chance=base.told)

    def membership() -> Finding:
        _, others = outsiders(sums.request, bench)
        return by_mean(truth, complete(others))

    return [
        attempt(SUMS, "linkage", linkage),
        attempt(SUMS, "reconstruction", reconstruction),
        attempt(SUMS, "membership", membership),
    ]


@dataclass(frozen=True, slots=True)
class Base:
    """How often patients are found by rows that were only drawn, and how much these tell."""

    found: float
    told: float


def by_chance(
    drawn: Callable[[np.random.Generator], Floats],
    known: Floats,
    wanted: Floats,
    truth: Floats,
    rng: np.random.Generator,
) -> Base:
    """The same attacks with rows of the right mean and spread that fit nothing, over several draws.

    Such rows are nearer to patients than a guess, because they are graded as those who lie nearest.
    """
    found, told_best = [], []
    for _ in range(DRAWS):
        rows = matched(drawn(rng), truth)
        found.append(link(known, rows, None, chance_of(1)).rate)
        told_best.append(np.nanmax(reconstruct(rows, wanted, chance_of(2))))
    return Base(float(np.mean(found)), float(np.mean(told_best)))


def by_mean(members: Floats, others: Floats) -> Finding:
    """Membership by the released mean: those who are in it pull it towards themselves.

    References:
        Homer et al. (2008). Resolving individuals contributing trace amounts of DNA to highly
        complex mixtures. PLoS Genetics 4(8), e1000167.
    """
    reference, asked = np.array_split(chance_of(5).permutation(others), 2)
    if min(len(reference), len(asked)) < 2:
        return not_measured(SUMS, "membership", "there are too few patients of the test split")
    centre = reference.mean(axis=0)
    spread = np.cov(np.vstack([members, reference]).T).reshape(len(centre), len(centre))
    lean = np.linalg.pinv(spread + 1e-9 * np.eye(len(centre))) @ (members.mean(axis=0) - centre)
    found = told_apart((members - centre) @ lean, (asked - centre) @ lean)
    return told(SUMS, found, "by how far a patient leans towards the released means")
