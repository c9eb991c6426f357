"""Who trains, who tunes, who tests: splits drawn once, whatever the order of the manifest."""

import hashlib
import math
from collections.abc import Iterable
from dataclasses import replace

from client.cohort.manifest import Case
from client.cohort.tables import SHARES
from shared.config import Split, Study


def assign_splits(cases: Iterable[Case], study: Study, site_name: str) -> list[Case]:
    """Give every case without a split one; a split that the manifest gives is kept.

    At a site that does not train all cases are `external_test`. Elsewhere train, tune and
    internal_test are drawn by `cohort.splits` within each label, patients in the order of the
    SHA-256 of seed, site and id, so that the draw does not depend on the manifest's order. Whole
    numbers are had by largest remainder; ties go to the split that is furthest below its share.
    """
    given = list(cases)
    if site_name not in study.sites.training:
        return [replace(case, split=case.split or "external_test") for case in given]
    drawn: dict[str, Split] = {}
    waiting = [case for case in given if case.split is None]
    totals = dict.fromkeys(SHARES, 0)
    for label in sorted({-1 if case.label is None else case.label for case in waiting}):
        members = [c for c in waiting if (-1 if c.label is None else c.label) == label]
        members.sort(key=lambda case: _draw_key(study.seed, site_name, case.patient_id))
        counts = _allot(len(members), study, totals)
        splits = [split for split in SHARES for _ in range(counts[split])]
        drawn |= {case.patient_id: split for case, split in zip(members, splits, strict=True)}
    return [replace(case, split=case.split or drawn[case.patient_id]) for case in given]


def _draw_key(seed: int, site_name: str, patient_id: str) -> bytes:
    return hashlib.sha256(f"{seed}|{site_name}|{patient_id}".encode()).digest()


def _allot(n_cases: int, study: Study, totals: dict[Split, int]) -> dict[Split, int]:
    """Whole numbers for each split by largest remainder; `totals` is brought up to date."""
    shares = {split: float(getattr(study.cohort.splits, split)) for split in SHARES}
    quotas = {split: round(n_cases * shares[split], 9) for split in SHARES}
    counts = {split: math.floor(quotas[split]) for split in SHARES}
    n_after = sum(totals.values()) + n_cases
    order = sorted(
        SHARES,
        key=lambda split: (
            counts[split] - quotas[split],
            totals[split] + counts[split] - n_after * shares[split],
        ),
    )
    for split in order[: n_cases - sum(counts.values())]:
        counts[split] += 1
    for split in SHARES:
        totals[split] += counts[split]
    return counts
