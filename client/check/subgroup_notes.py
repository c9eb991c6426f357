"""The study's subgroups at this hospital: which nobody is in, which it will not tell of."""

from collections.abc import Mapping, Sequence

import numpy as np

from client.cohort.manifest import Case
from client.policy.settings import Policy
from client.subgroups import may_be_told
from shared.config import Study
from shared.subgroups import subgroup_names

TESTED = ("internal_test", "external_test")


def subgroup_notes(
    cases: Sequence[Case], splits: Mapping[str, str], policy: Policy, study: Study
) -> list[str]:
    """What is worth knowing of the subgroups; nothing where the study names none.

    Args:
        cases: Those that can be used.
        splits: By patient.
    """
    names = subgroup_names(study)
    if not names or not cases:
        return []
    notes = [
        f"clinical table: no patient is in the subgroup '{group}' of {column} "
        "(evaluation.subgroups). Is the value written otherwise here?"
        for column, groups in names.items()
        for place, group in enumerate(groups)
        if all(case.groups[column] != place for case in cases)
    ]
    tested = [case for case in cases if splits.get(case.patient_id) in TESTED]
    labels = np.array([case.label for case in tested], dtype=np.int64)
    divided = {
        column: np.array([case.groups[column] for case in tested], dtype=np.int64)
        for column in names
    }
    least = policy.release.min_cell
    silent = set(names) - set(may_be_told(divided, labels, least=least))
    notes += [
        f"subgroups of {column}: nothing will be told of them. Among the {len(tested)} test "
        "patients a subgroup, those with a blank cell, or those between it and another hold fewer "
        f"than {least} of a label (release.min_cell in policy.yaml), but not none. Filling in "
        "blank cells may help."
        for column in names
        if column in silent
    ]
    return notes
