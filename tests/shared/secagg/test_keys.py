"""A key for secure sums is believed only by the identity that the hospital's own policy names."""

import dataclasses

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from shared.errors import CodecError, SecureSumError
from shared.secagg.keys import announce, peer_keys

SITES = ("site_a", "site_b", "site_c")
RUN, STUDY = "0f" * 16, "ab" * 32


@pytest.fixture
def identities():
    return {site: Ed25519PrivateKey.generate() for site in SITES}


@pytest.fixture
def told(identities):
    return [
        announce(identity, X25519PrivateKey.generate(), site=site, run=RUN, study_hash=STUDY)
        for site, identity in identities.items()
    ]


@pytest.fixture
def believed(identities):
    """The keys that site_a believes, of these announcements."""
    pinned = {site: identity.public_key() for site, identity in identities.items()}

    def believe(announcements, **changes):
        options = {"site": "site_a", "run": RUN, "study_hash": STUDY} | changes
        return peer_keys(announcements, pinned, **options)

    return believe


def test_announcements_of_all_sites_give_their_keys_in_order(told, believed):
    found = believed(told[::-1])
    assert list(found) == list(SITES)
    assert [key.public_bytes_raw().hex() for key in found.values()] == [part.key for part in told]


def test_a_key_that_the_server_put_in_another_s_place_is_refused(told, believed):
    swapped = dataclasses.replace(told[1], key=told[2].key)
    with pytest.raises(SecureSumError, match="site_b's key is not signed"):
        believed([told[0], swapped, told[2]])


def test_a_signature_by_another_site_is_refused(told, believed):
    renamed = dataclasses.replace(told[1], site="site_c")
    with pytest.raises(SecureSumError, match="site_c's key is not signed"):
        believed([told[0], renamed])


@pytest.mark.parametrize("change", [{"run": "1f" * 16}, {"study_hash": "cd" * 32}])
def test_an_announcement_of_another_run_or_study_is_refused(change, told, believed):
    with pytest.raises(SecureSumError, match="another run or study"):
        believed(told, **change)


def test_who_stands_twice_is_refused(told, believed):
    with pytest.raises(SecureSumError, match="site_a stands twice"):
        believed([*told, told[0]])


def test_who_is_not_in_the_policy_is_refused(told, believed, identities):
    stranger = announce(
        identities["site_a"], X25519PrivateKey.generate(), site="site_x", run=RUN, study_hash=STUDY
    )
    with pytest.raises(SecureSumError, match="site_x has no identity"):
        believed([*told, stranger])


@pytest.mark.parametrize("least", [1, 3])
def test_two_sites_are_never_enough(least, told, believed):
    with pytest.raises(SecureSumError, match="2 sites are too few"):
        believed(told[:2], least=least)


def test_the_policy_may_want_more(told, believed):
    with pytest.raises(SecureSumError, match="3 sites are too few for a secure sum of 5"):
        believed(told, least=5)


def test_this_site_must_be_among_them(told, believed):
    with pytest.raises(SecureSumError, match="this site is not among"):
        believed(told, site="site_d")


@pytest.mark.parametrize(
    "change", [{"key": "0" * 63}, {"signature": "zz"}, {"run": "x"}, {"study_hash": ""}]
)
def test_an_announcement_of_another_form_is_none(change, told):
    with pytest.raises((CodecError, ValueError)):
        dataclasses.replace(told[0], **change)
