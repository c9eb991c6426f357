"""Under what something left or was refused: the hospital's policy and approval, by their hashes."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from client.approvals.approvals import Approvals
from client.policy.load import policy_hash
from shared.errors import ApprovalError


@dataclass(frozen=True, slots=True)
class Grounds:
    """What was in force when a row was written.

    Attributes:
        policy: SHA-256 of policy.yaml, as `sha256sum` tells it; empty where it cannot be read.
        approval: SHA-256 of the line of approvals.jsonl by which the study is approved; empty
            where it is not, as with made-up patients.
    """

    policy: str = ""
    approval: str = ""


AskGrounds = Callable[[], Grounds]


def grounds_of(site_file: Path, study_hash: str) -> Grounds:
    """What is in force now for a study; it never fails, since refusals need a row too."""
    try:
        approval = Approvals(site_file.resolve().parent).approval_of(study_hash)
    except ApprovalError:
        approval = ""
    return Grounds(policy_hash(site_file), approval)


def asks_grounds(site_file: Path, study_hash: str) -> AskGrounds:
    """`grounds_of` for whoever asks again at each row."""
    return partial(grounds_of, site_file, study_hash)
