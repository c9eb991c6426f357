"""What the hospital's policy will not let happen, told before the study begins."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from client.check.report import Verdict
from client.cohort.manifest import Case
from client.policy.beyond import beyond, refuse_small_cohort
from client.policy.load import load_policy
from client.policy.packs import pack_policy
from client.policy.settings import Policy
from client.settings import SiteSettings
from shared.config import Study
from shared.errors import CohortError, PolicyError


def policy_problems(
    site_file: Path, settings: SiteSettings, study: Study
) -> tuple[Policy, list[str]]:
    """The policy, and what the study asks beyond it; where there is none, the strictest pack."""
    try:
        policy = load_policy(site_file, settings)
    except PolicyError as error:
        return pack_policy("strict"), [str(error)]
    found = beyond(policy, study, settings)
    return policy, [f"the policy does not allow what the study asks: {line}." for line in found]


def small_cohort(policy: Policy, settings: SiteSettings, usable: Sequence[Case]) -> list[str]:
    """That the policy demands more patients."""
    try:
        refuse_small_cohort(policy, settings, usable)
    except CohortError as error:
        return [str(error)]
    return []


def small_cells(policy: Policy, verdicts: Sequence[Verdict]) -> list[str]:
    """That a split holds so few patients of a label that the site will tell nothing of it."""
    limit = policy.release.min_cell
    counts = Counter((v.split, v.label) for v in verdicts if v.ready and v.label is not None)
    return [
        f"the split {split} holds {n} {'positive' if label else 'negative'} patients, but nothing "
        f"is told of fewer than {limit} (release.min_cell in policy.yaml), so the study will stop "
        "here. Add patients, or enlarge the split's share in the study."
        for (split, label), n in sorted(counts.items())
        if n < limit
    ]
