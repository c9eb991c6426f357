from dataclasses import replace
from types import SimpleNamespace

import pytest

from client.stages.hello import answer
from server.stages.hello import check_greeting
from shared.config import digest
from shared.errors import HandshakeError
from shared.identity import code_hash, versions
from shared.stages.hello import Reply, Request
from tests.site_policies import made_policy


@pytest.fixture
def mine(study):
    """What this machine's server says."""
    return Request(code_hash(), digest(study), versions())


@pytest.fixture
def bench(study):
    """A site on this machine."""
    about = {"settings": SimpleNamespace(synthetic=True), "policy": made_policy()}
    site = SimpleNamespace(name="site_a", role="training", **about)
    return SimpleNamespace(site=site, study=study)


@pytest.fixture
def theirs(mine):
    return Reply("site_a", "training", False, mine.code_hash, mine.study_hash, mine.versions)


def other(library):
    return versions() | {library: "0.0.1"}


def other_micro():
    major, minor, _ = versions()["python"].split(".")
    return versions() | {"python": f"{major}.{minor}.99"}


MISMATCHES = {
    "code": ({"code_hash": "0" * 64}, "code of trifed"),
    "study": ({"study_hash": "0" * 64}, "study file"),
    "library": ({"versions": other("torch")}, "torch 0.0.1 there"),
    "flower": ({"versions": other("flwr")}, "flwr 0.0.1 there"),
    "python": ({"versions": other("python")}, "python 0.0.1 there"),
    "radiomics": ({"versions": other("radiomics")}, "radiomics"),
    "no versions": ({"versions": {}}, "absent there"),
}


def test_two_that_run_the_same_agree(mine, bench, theirs):
    check_greeting("site_a", "training", mine, theirs)
    said = answer(mine, bench)
    assert (said.site, said.role, said.synthetic) == ("site_a", "training", True)
    check_greeting("site_a", "training", mine, said)


@pytest.mark.parametrize("what", MISMATCHES)
def test_the_server_refuses_a_site_that_differs_and_names_it(mine, theirs, what):
    changes, reason = MISMATCHES[what]
    with pytest.raises(HandshakeError, match=f"site_a .*{reason}"):
        check_greeting("site_a", "training", mine, replace(theirs, **changes))


@pytest.mark.parametrize("what", MISMATCHES)
def test_the_site_refuses_a_server_that_differs(mine, bench, what):
    changes, reason = MISMATCHES[what]
    with pytest.raises(HandshakeError, match=reason):
        answer(replace(mine, **changes), bench)


@pytest.mark.parametrize("changes", [{"site": "site_b"}, {"role": "external"}], ids=str)
def test_the_server_refuses_a_site_of_another_name_or_role(mine, theirs, changes):
    with pytest.raises(HandshakeError, match="site_a should be a training site"):
        check_greeting("site_a", "training", mine, replace(theirs, **changes))


def test_a_micro_release_of_python_may_differ(mine, bench, theirs):
    check_greeting("site_a", "training", mine, replace(theirs, versions=other_micro()))
    answer(replace(mine, versions=other_micro()), bench)


def test_another_setting_is_another_study(mine, bench, change):
    bench.study = change(bench.study, seed=2)
    with pytest.raises(HandshakeError, match="study file"):
        answer(mine, bench)
