"""Invitations: whatever is changed in one, or is not as it must be, is found before it is used."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared.config import digest
from shared.errors import HandshakeError, InvitationError
from shared.invitation import Invitation, read_invitation
from tests.conftest import STUDY
from tests.made_up_joining import content_of, forged, invitation_file, made_server

OTHERS = {
    "version": 2,
    "site": "site_b",
    "role": "external",
    "address": "evil.example.org:443",
    "certificate": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    "study": STUDY,
    "study_hash": "0" * 64,
    "code_hash": "0" * 64,
    "flwr": "1.40.0",
    "run": "0" * 32,
    "server_key": "0" * 64,
}
FAULTS = [
    ("site", "Site A"),
    ("site", "../site_a"),
    ("role", "observer"),
    ("address", "https://fl.example.org"),
    ("address", "FL.example.org:443"),
    ("certificate", "none"),
    ("certificate", "-----BEGIN CERTIFICATE-----\n" + "A" * 200_000),
    ("certificate", "-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\n"),
    ("study", "x" * 1_000_001),
    ("study_hash", "A" * 64),
    ("code_hash", "abc"),
    ("flwr", "1.41.0; rm"),
    ("run", "run"),
    ("run", "0" * 64),
    ("server_key", "00" * 31 + "0 "),
    ("version", True),
    ("site", None),
]


@pytest.fixture
def server(tmp_path):
    return made_server(tmp_path / "coordinator")


@pytest.fixture
def file(server):
    return invitation_file(server)


@pytest.fixture
def edit(file):
    """Change the JSON of an invitation and nothing of its signature."""

    def change(**content):
        body = json.loads(file.read_text())
        body["content"] |= content
        file.write_text(json.dumps(body))
        return file

    return change


def test_what_was_written_is_read(file, study):
    found, its_study = read_invitation(file)
    assert (found.site, found.role, found.address) == ("site_a", "training", "fl.example.org:8443")
    assert found.study_hash == digest(study) == digest(its_study)


def test_blanks_and_line_ends_may_change_on_the_way(file):
    before = read_invitation(file)
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n  "))
    assert read_invitation(file) == before


def test_every_field_has_a_change_to_be_tried():
    assert set(OTHERS) == set(Invitation.__dataclass_fields__)


@pytest.mark.parametrize("field", [name for name in OTHERS if name != "version"])
def test_a_change_of_any_field_breaks_the_signature(edit, field):
    with pytest.raises(InvitationError, match="signature does not fit") as error:
        read_invitation(edit(**{field: OTHERS[field]}))
    assert error.value.code == "E_SIGN"


def test_another_version_is_said_to_be_one(edit):
    with pytest.raises(InvitationError, match="of form 2, and this release of trifed reads form 1"):
        read_invitation(edit(version=2))


@pytest.mark.parametrize(("field", "value"), FAULTS)
def test_a_field_out_of_its_form_is_refused_before_the_signature_is(edit, field, value):
    with pytest.raises(InvitationError, match=r"site_a\.trifed-invitation: is damaged"):
        read_invitation(edit(**{field: value}))


def test_a_field_too_many_or_too_few_is_refused(edit, file):
    with pytest.raises(InvitationError, match="exactly the declared fields"):
        read_invitation(edit(more="1"))
    body = json.loads(file.read_text())
    del body["content"]["more"], body["content"]["run"]
    file.write_text(json.dumps(body))
    with pytest.raises(InvitationError, match="exactly the declared fields"):
        read_invitation(file)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"file": "trifed invitation"}',
        b'{"file": "trifed invitation", "content": [], "signature": ""}',
        b'{"file": "trifed invitation", "content": {"version": 1}, "signature": "zz"}',
        b'{"file": "trifed invitation", "content": {"version": 1}, "signature": 1}',
        b"\xff\xfe",
        b"[" * 100_000,
        b" " * 3_000_001,
    ],
)
def test_a_file_of_anything_else_is_refused_in_words(tmp_path, text):
    (tmp_path / "x").write_bytes(text)
    with pytest.raises(InvitationError, match="invitation"):
        read_invitation(tmp_path / "x")


def test_a_file_that_is_not_there_is_said_to_be(tmp_path):
    with pytest.raises(InvitationError, match="cannot be read"):
        read_invitation(tmp_path / "x")


@pytest.mark.parametrize("signature", ["", "00", "00" * 64, "00" * 600])
def test_no_other_signature_is_taken(file, signature):
    body = json.loads(file.read_text()) | {"signature": signature}
    file.write_text(json.dumps(body))
    with pytest.raises(InvitationError, match="signature"):
        read_invitation(file)


def test_an_answer_is_no_invitation(file):
    body = json.loads(file.read_text()) | {"file": "trifed answer"}
    file.write_text(json.dumps(body))
    with pytest.raises(InvitationError, match="not a 'trifed invitation'"):
        read_invitation(file)


def test_a_stranger_who_signs_everything_anew_has_another_fingerprint(file):
    told = content_of(file).fingerprint
    assert read_invitation(file, told=told)
    forged(file, Ed25519PrivateKey.generate(), address="evil.example.org:443")
    with pytest.raises(InvitationError, match=r"you were told.*do not join"):
        read_invitation(file, told=told)


def test_a_stranger_cannot_sign_in_the_coordinators_name(file):
    forged(file, Ed25519PrivateKey.generate(), names_itself=False, site="site_b")
    with pytest.raises(InvitationError, match="signature does not fit"):
        read_invitation(file)


@pytest.mark.parametrize(
    ("change", "words"),
    [({"code_hash": "0" * 64}, "the code 0000000000000000"), ({"flwr": "1.40.0"}, "flwr==1.40.0")],
)
def test_a_server_with_other_code_is_refused(server, file, change, words):
    with pytest.raises(HandshakeError, match=words) as error:
        read_invitation(forged(file, server.signing_key(), **change))
    assert error.value.code == "E_HANDSHAKE"


@pytest.mark.parametrize(
    "change",
    [
        {"study_hash": "0" * 64},
        {"study": STUDY.replace("seed: 1", "seed: 2")},
        {"site": "site_x"},
        {"site": "site_d"},
        {"role": "external"},
    ],
)
def test_a_signed_invitation_that_contradicts_itself_is_refused(server, file, change):
    with pytest.raises(InvitationError, match="another hash, or gives the site another role"):
        read_invitation(forged(file, server.signing_key(), **change))


def test_a_signed_certificate_that_is_none_is_refused(server, file):
    with pytest.raises(InvitationError, match="its certificate is not readable"):
        read_invitation(forged(file, server.signing_key(), certificate=str(OTHERS["certificate"])))


def test_a_signed_study_that_is_none_is_refused_with_the_line(server, file):
    with pytest.raises(InvitationError, match="in it line 16: nome is not a setting"):
        read_invitation(forged(file, server.signing_key(), study=STUDY + "nome: x\n"))


def test_an_invitation_holds_no_private_key(server, file):
    text = file.read_text()
    assert "PRIVATE KEY" not in text
    secret = server.signing_key().private_bytes_raw().hex()
    assert secret not in text
    for key in server.keys.glob("*.key"):
        assert not any(line in text for line in key.read_text().splitlines() if len(line) > 30)
