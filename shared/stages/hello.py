"""Hello: both sides run the same code on the same study, or nothing runs.

Leaves the hospital: versions of the software, hashes of code and study, the site's name and role,
whether its patients are made up, and whether its policy demands secure sums.
Stays: everything about patients.
"""

from dataclasses import dataclass

from shared.stages import Question


@dataclass(frozen=True, slots=True)
class Request:
    """What the server runs."""

    code_hash: str
    study_hash: str
    versions: dict[str, str]


@dataclass(frozen=True, slots=True)
class Reply:
    """What the site runs, and whether its policy demands secure sums."""

    site: str
    role: str
    synthetic: bool
    code_hash: str
    study_hash: str
    versions: dict[str, str]
    secure_sums: bool = False


HELLO = Question("hello", "query", Request, Reply)
EXTERNAL_HELLO = Question("external_hello", "query", Request, Reply, of="external")
