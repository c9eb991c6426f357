"""Secure sums against a server that lies about keys and hospitals, and asks for what it may not."""

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from shared.config import digest
from shared.letter import read
from shared.secagg.keys import announce
from shared.stages.clinical_model import PREDICTOR_MEANS, MeansRequest
from shared.stages.secure_sums import KeyReply, KeyRequest, PeersRequest, masked_question
from tests.adversarial.hospital import answers, asks, build, refuses, row, served, small_study

THREE = ("site_a", "site_b", "site_c")
KEYING, ANOTHER = "0f" * 16, "1e" * 16
OTHERS = {site: Ed25519PrivateKey.generate() for site in THREE[1:]}
MASKED = masked_question(PREDICTOR_MEANS)


def study_of(*sites, **changes):
    return small_study(sites={"training": list(sites or THREE)}, **changes)


@pytest.fixture(scope="module")
def study():
    return study_of()


def reply_of(study, site, keying=KEYING, *, by=None):
    """Another hospital's key, as that hospital would make it; `by` another identity."""
    identity, key = OTHERS.get(site) if by is None else by, X25519PrivateKey.generate()
    told = announce(identity, key, site=site, run=keying, study_hash=digest(study))
    return KeyReply(told, identity.public_key().public_bytes_raw().hex())


def own(hospital, keying=KEYING):
    """The hospital's own key, as it tells it."""
    return read(KeyReply, answers(hospital, asks("secure_key", KeyRequest(keying))))


def all_keys(hospital, study, keying=KEYING):
    keys = {site: reply_of(study, site, keying) for site in OTHERS}
    return {"site_a": own(hospital, keying), **keys}


def peers(keys, keying=KEYING):
    return asks("secure_peers", PeersRequest(keying, keys))


def sum_of(keying=KEYING):
    return asks(MASKED.name, MASKED.request(keying, MeansRequest()))


def swapped(keys, _study):
    told = replace(keys["site_b"].announcement, key=keys["site_c"].announcement.key)
    return keys | {"site_b": replace(keys["site_b"], announcement=told)}


def by_the_server(keys, study):
    return keys | {"site_b": reply_of(study, "site_b", by=Ed25519PrivateKey.generate())}


def of_another_keying(keys, study):
    return keys | {"site_b": reply_of(study, "site_b", ANOTHER)}


def of_another_study(keys, _study):
    return keys | {"site_b": reply_of(study_of(seed=99), "site_b")}


def without_one(keys, _study):
    return {site: keys[site] for site in ("site_a", "site_b")}


def another_member(keys, study):
    stranger = reply_of(study, "site_x", by=Ed25519PrivateKey.generate())
    return {"site_a": keys["site_a"], "site_b": keys["site_b"], "site_x": stranger}


def twice(keys, _study):
    return keys | {"site_c": keys["site_b"]}


LIES = [
    row("T59", "a key of another hospital", swapped),
    row("T59", "another run", of_another_keying),
    row("T59", "another study", of_another_study),
    row("T60", "a hospital is left out", without_one),
    row("T60", "a hospital that the study does not have", another_member),
    row("T60", "a hospital stands twice", twice),
]


@pytest.fixture
def fresh(tmp_path, study):
    """A hospital that has seen no other yet."""
    with served(build(tmp_path / "a"), study) as found:
        yield found


@pytest.mark.parametrize("lie", LIES)
def test_keys_that_are_not_the_other_hospitals_are_refused_and_nothing_is_added(fresh, study, lie):
    refuses(fresh, peers(lie(all_keys(fresh, study), study)), "E_SECAGG")
    refuses(fresh, sum_of(), "E_SECAGG")


@pytest.mark.row("T59")
def test_an_identity_that_the_server_puts_in_anothers_place_later_is_refused(fresh, study):
    answers(fresh, peers(all_keys(fresh, study)))
    keys = by_the_server(all_keys(fresh, study, ANOTHER), study)
    refuses(fresh, peers(keys, ANOTHER), "E_SECAGG")


@pytest.mark.row("T60")
def test_two_hospitals_add_nothing(tmp_path):
    study = study_of("site_a", "site_b")
    with served(build(tmp_path / "a"), study) as hospital:
        keys = {"site_a": own(hospital), "site_b": reply_of(study, "site_b")}
        refuses(hospital, peers(keys), "E_SECAGG")
        refuses(hospital, sum_of(), "E_SECAGG")


@pytest.mark.row("T61")
def test_after_a_drop_out_new_keys_need_a_new_round(fresh, study):
    keys = all_keys(fresh, study)
    answers(fresh, peers(keys))
    answers(fresh, sum_of())
    again = keys | {"site_c": reply_of(study, "site_c")}
    refuses(fresh, peers(again), "E_SECAGG")
    answers(fresh, peers(all_keys(fresh, study, ANOTHER), ANOTHER))
    answers(fresh, sum_of(ANOTHER))


@pytest.mark.row("T62")
def test_a_number_that_could_overflow_the_sum_is_refused_before_it_is_masked(tmp_path, study):
    site_file = build(tmp_path / "a")
    table = site_file.parent / "clinical.csv"
    table.write_text(table.read_text().replace(",60", ",6e30"))
    with served(site_file, study) as hospital:
        answers(hospital, peers(all_keys(hospital, study)))
        refuses(hospital, sum_of(), "E_SECAGG")


ASKED = [row("T64", name, name) for name in ("secure_seeds", "secure_secret", "unmask", "mask_of")]


@pytest.mark.parametrize("name", ASKED)
def test_there_is_no_question_that_asks_for_a_secret(fresh, study, name):
    answers(fresh, peers(all_keys(fresh, study)))
    refuses(fresh, asks(name, KeyRequest(KEYING)), "E_CODEC")
