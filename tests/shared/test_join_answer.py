"""Answers to invitations: only the holder of a key can send it, and only a P-384 key."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from shared.errors import CodecError, InvitationError
from shared.join_answer import (
    JoinAnswer,
    load_public_key,
    node_fingerprint,
    public_text,
    read_answer,
    render_answer,
)
from shared.signed_file import render_signed

KEY = ec.generate_private_key(ec.SECP384R1())
OTHERS = {
    "site": "site_b",
    "role": "external",
    "public_key": public_text(ec.generate_private_key(ec.SECP384R1()).public_key()),
    "study_hash": "1" * 64,
    "code_hash": "1" * 64,
    "run": "1" * 32,
}


def openssh(key):
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def answer(public_key=None):
    return JoinAnswer(
        version=1,
        site="site_a",
        role="training",
        public_key=public_key or public_text(KEY.public_key()),
        study_hash="0" * 64,
        code_hash="0" * 64,
        run="0" * 32,
    )


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "site_a.trifed-answer"
    path.write_bytes(render_answer(answer(), KEY))
    return path


def test_what_was_written_is_read(file):
    assert read_answer(file) == answer()


def test_every_field_has_a_change_to_be_tried():
    assert {"version", *OTHERS} == set(JoinAnswer.__dataclass_fields__)


@pytest.mark.parametrize("field", OTHERS)
def test_a_change_of_any_field_breaks_the_proof(file, field):
    body = json.loads(file.read_text())
    body["content"][field] = OTHERS[field]
    file.write_text(json.dumps(body))
    with pytest.raises(InvitationError, match="not by the key in it") as error:
        read_answer(file)
    assert error.value.code == "E_SIGN"


def test_a_key_of_somebody_else_cannot_be_handed_in(file):
    thief = ec.generate_private_key(ec.SECP384R1())
    file.write_bytes(render_answer(answer(), thief))
    with pytest.raises(InvitationError, match="not by the key in it"):
        read_answer(file)


@pytest.mark.parametrize("signature", ["00", "30060201000201ff", "zz"])
def test_no_other_signature_is_taken(file, signature):
    body = json.loads(file.read_text()) | {"signature": signature}
    file.write_text(json.dumps(body))
    with pytest.raises(InvitationError, match="damaged"):
        read_answer(file)


def test_a_signature_of_the_same_content_as_an_invitation_is_none(file):
    from cryptography.hazmat.primitives.hashes import SHA256

    content = render_signed("invitation", answer(), lambda m: KEY.sign(m, ec.ECDSA(SHA256())))
    file.write_bytes(content.replace(b"trifed invitation", b"trifed answer"))
    with pytest.raises(InvitationError, match="not by the key in it"):
        read_answer(file)


@pytest.mark.parametrize(
    "text",
    [
        openssh(ec.generate_private_key(ec.SECP256R1())),
        openssh(Ed25519PrivateKey.generate()),
        openssh(KEY) + " a comment",
        openssh(KEY) + "\n",
        "ecdsa-sha2-nistp384 AAAA",
        "key",
        "x" * 2000,
        "schlüssel",
    ],
    ids=["P-256", "Ed25519", "comment", "line", "cut off", "word", "long", "letters"],
)
def test_only_a_p384_key_to_the_letter_is_one(text):
    with pytest.raises(CodecError, match="P-384"):
        answer(text)


def test_a_fingerprint_is_the_keys():
    assert node_fingerprint(openssh(KEY)) == node_fingerprint(answer().public_key)
    assert node_fingerprint(OTHERS["public_key"]) != node_fingerprint(answer().public_key)
    assert load_public_key(openssh(KEY)) == KEY.public_key()
