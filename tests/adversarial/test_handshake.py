"""A server that runs other code, another study or other libraries is told so, and nothing else."""

import pytest

from shared.config import digest
from shared.identity import code_hash, versions
from shared.stages.hello import Request
from tests.adversarial.hospital import answers, asks, refuses, row

OTHERS = [
    row("T28", "other code", {"code_hash": "0" * 64}),
    row("T28", "another study", {"study_hash": "0" * 64}),
    row("T28", "other libraries", {"versions": versions() | {"flwr": "1.39.0"}}),
    row("T28", "a library too few", {"versions": {}}),
]


def greeting(study, **changes):
    return asks("hello", Request(**same(study) | changes))


def same(study):
    return {"code_hash": code_hash(), "study_hash": digest(study), "versions": versions()}


@pytest.mark.parametrize("change", OTHERS)
def test_a_server_that_is_not_the_studys_is_refused(hospital, study, change):
    refuses(hospital, greeting(study, **change), "E_HANDSHAKE")


def test_the_studys_own_server_is_greeted(hospital, study):
    answers(hospital, greeting(study))
