"""Hello: both sides run the same code on the same study, or nothing runs.

Leaves the hospital: versions of the software, hashes of code and study, the site's name and role,
and whether its patients are made up.
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
    """What the site runs."""

    site: str
    role: str
    synthetic: bool
    code_hash: str
    study_hash: str
    versions: dict[str, str]


HELLO = Question("hello", "query", Request, Reply)
EXTERNAL_HELLO = Question("external_hello", "query", Request, Reply, of="external")
