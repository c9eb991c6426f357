"""Accepting: a site's key is kept once, and nobody else's in its place without a word."""

import dataclasses
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from server.joining.accept import accept
from server.joining.folder import AcceptedSite
from shared.config import digest
from shared.errors import ConfigError, HandshakeError, InvitationError, StateError
from shared.identity import code_hash
from shared.join_answer import JoinAnswer, public_text, render_answer
from tests.made_up_joining import made_server


@pytest.fixture
def server(tmp_path):
    return made_server(tmp_path / "coordinator")


@pytest.fixture
def answer(server, tmp_path):
    """Write a site's answer, by a new key unless one is given; anything in it may be changed."""

    def write(site="site_a", *, key=None, **changes):
        key = key or ec.generate_private_key(ec.SECP384R1())
        found = JoinAnswer(
            version=1,
            site=site,
            role="external" if site == "site_d" else "training",
            public_key=public_text(key.public_key()),
            study_hash=digest(server.study),
            code_hash=code_hash(),
            run=server.settings.run,
        )
        file = tmp_path / f"{site}.trifed-answer"
        file.write_bytes(render_answer(dataclasses.replace(found, **changes), key))
        return file

    return write


def test_a_key_is_kept_under_the_sites_name(server, answer):
    key = ec.generate_private_key(ec.SECP384R1())
    public = public_text(key.public_key())
    assert accept(server, answer(key=key)) == AcceptedSite("site_a", "training", public)
    assert json.loads(server.site_file("site_a").read_text()) == {
        "name": "site_a",
        "role": "training",
        "public_key": public,
    }
    assert server.accepted("site_b") is None


def test_the_same_answer_again_changes_nothing(server, answer):
    key = ec.generate_private_key(ec.SECP384R1())
    first = accept(server, answer(key=key))
    assert accept(server, answer(key=key)) == first


def test_a_second_key_for_a_site_is_refused_unless_it_is_meant(server, answer):
    before = accept(server, answer())
    second = answer()
    with pytest.raises(StateError, match=r"another key was accepted for site_a.*--replace"):
        accept(server, second)
    assert server.accepted("site_a") == before
    assert accept(server, second, replace=True) != before
    assert server.accepted("site_a") != before


def test_two_sites_cannot_have_one_key(server, answer):
    key = ec.generate_private_key(ec.SECP384R1())
    accept(server, answer("site_a", key=key))
    with pytest.raises(StateError, match="was accepted for site_a already"):
        accept(server, answer("site_b", key=key), replace=True)
    assert server.accepted("site_b") is None


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"site": "site_x"}, ConfigError, "no site of this study; it names site_a, site_b"),
        ({"role": "external"}, ConfigError, "with role external, and the study gives it training"),
        ({"study_hash": "0" * 64}, ConfigError, "joined another study"),
        ({"run": "0" * 32}, ConfigError, "another run of this one.*invitations/site_a"),
        ({"code_hash": "0" * 64}, HandshakeError, "the code 0000000000000000"),
    ],
    ids=["site", "role", "study", "run", "code"],
)
def test_an_answer_to_something_else_is_refused(server, answer, changes, kind, words):
    with pytest.raises(kind, match=words):
        accept(server, answer(**changes))
    assert not (server.path / "sites").exists()


def test_a_changed_answer_is_refused(server, answer):
    file = answer()
    file.write_text(file.read_text().replace("site_a", "site_b"))
    with pytest.raises(InvitationError, match="not by the key in it"):
        accept(server, file)


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"name": "site_a"}'])
def test_a_damaged_record_is_told_of(server, content):
    server.site_file("site_a").parent.mkdir()
    server.site_file("site_a").write_text(content)
    with pytest.raises(StateError, match=r"site_a\.json: is damaged"):
        server.accepted("site_a")


def test_a_record_under_another_name_is_damaged(server, answer):
    accept(server, answer())
    server.site_file("site_a").rename(server.site_file("site_b"))
    with pytest.raises(StateError, match=r"site_b\.json: is damaged"):
        server.accepted("site_b")
