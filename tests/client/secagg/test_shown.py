"""People can compare by telephone whom a hospital adds its numbers with."""

import stat

import pytest

import trifed
from client.secagg.identity import NAME, PEERS, SiteIdentity
from client.secagg.shown import peer_lines
from shared.errors import SecureSumError, StateError
from shared.fingerprints import fingerprint, grouped

OTHER, ANOTHER = "ab" * 32, "cd" * 32


def test_nobody_is_known_at_first_and_showing_makes_nothing(tmp_path):
    own, others = peer_lines(tmp_path)
    assert "none yet" in own
    assert others == "No other hospital's was seen yet."
    assert list(tmp_path.iterdir()) == []


def test_an_identity_is_made_once_for_its_owner_alone(tmp_path):
    first, second = SiteIdentity(tmp_path).public(), SiteIdentity(tmp_path).public()
    assert first == second
    assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o600
    assert grouped(fingerprint(bytes.fromhex(first))) in peer_lines(tmp_path)[0]


def test_the_first_identity_of_a_site_is_kept_and_another_refused(tmp_path):
    identity = SiteIdentity(tmp_path)
    identity.meet({"site_b": OTHER})
    assert f"site_b  {grouped(fingerprint(bytes.fromhex(OTHER)))}" in peer_lines(tmp_path)[1]
    with pytest.raises(SecureSumError, match="site_b has another identity"):
        identity.meet({"site_b": ANOTHER, "site_c": OTHER})
    assert identity.peers() == {"site_b": OTHER}


@pytest.mark.parametrize("content", ["{", "[]", '{"site_b": "ab"}', f'{{"../b": "{OTHER}"}}'])
def test_a_damaged_list_of_identities_is_not_passed_over(tmp_path, content):
    (tmp_path / PEERS).write_text(content)
    with pytest.raises(StateError, match="cannot be read as the identities"):
        SiteIdentity(tmp_path).meet({"site_b": OTHER})


def test_a_damaged_identity_is_not_made_anew(tmp_path):
    (tmp_path / NAME).write_text("ab")
    with pytest.raises(StateError, match="is damaged"):
        SiteIdentity(tmp_path).key()


def test_the_command_shows_them(tmp_path, make_site, capsys):
    site_file = make_site(tmp_path / "site")
    SiteIdentity(site_file.parent).meet({"site_b": OTHER})
    assert trifed.main(["site", "peers", str(site_file)]) == 0
    assert "Compare each by telephone" in capsys.readouterr().out
