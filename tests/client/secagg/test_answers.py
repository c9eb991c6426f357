"""A site makes keys, believes those of the study's training sites alone, and tells sums by them."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from client.secagg.answers import answer_key, answer_peers, masked_answer, refuse_plain, weighted
from client.secagg.identity import PEERS
from shared.errors import CodecError, SecureSumError
from shared.moments import moments
from shared.networks import Layout, Weights
from shared.secagg.ring import WEIGHTS
from shared.stages.clinical_model import PREDICTOR_MEANS, MeansReply, MeansRequest
from shared.stages.secure_sums import SUMMED_NAMES, KeyRequest, PeersRequest, masked_question
from shared.updates import Change
from tests.secure_sites import KEYING, NAMES, bench_of, study_of
from tests.site_policies import made_policy

ANOTHER = "1e" * 16


@pytest.fixture
def benches(tmp_path):
    return {name: bench_of(tmp_path / name, name) for name in NAMES}


def keys_of(benches, keying=KEYING):
    return {name: answer_key(KeyRequest(keying), bench) for name, bench in benches.items()}


def believes(bench, keys, keying=KEYING):
    return answer_peers(PeersRequest(keying, keys), bench).sites


def asks(bench, table, *, keying=KEYING):
    """A site's masked moments of a column."""
    answer = masked_answer(PREDICTOR_MEANS, lambda _r, _b: MeansReply(moments(("age",), table)))
    return answer(masked_question(PREDICTOR_MEANS).request(keying, MeansRequest()), bench)


def test_the_same_key_is_told_whenever_it_is_asked_for(benches):
    bench = benches["site_a"]
    assert answer_key(KeyRequest(KEYING), bench) == answer_key(KeyRequest(KEYING), bench)
    another = answer_key(KeyRequest(ANOTHER), bench)
    assert another.announcement.key != answer_key(KeyRequest(KEYING), bench).announcement.key
    assert another.identity == answer_key(KeyRequest(KEYING), bench).identity


def test_keys_and_identity_are_for_their_owner_alone(benches):
    keys_of(benches)
    folder = benches["site_a"].site.folder
    for path in (folder / "identity.key", folder / "cache" / "secagg" / f"{KEYING}.key"):
        assert path.stat().st_mode & 0o777 == 0o600


def test_the_keys_of_all_training_sites_are_believed(benches):
    assert believes(benches["site_b"], keys_of(benches)) == NAMES


def swapped(keys):
    other = keys["site_c"].announcement
    return keys | {"site_b": replace(keys["site_b"], announcement=replace(other, site="site_b"))}


LIES = {
    "a site is missing": lambda keys: {n: k for n, k in keys.items() if n != "site_c"},
    "a site is added": lambda keys: keys | {"site_x": keys["site_b"]},
    "a key stands twice": lambda keys: keys | {"site_c": keys["site_b"]},
    "a key is another's": swapped,
    "this site's own is another": lambda keys: keys | {"site_a": keys["site_b"]},
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_server_that_lies_about_the_sites_is_refused(benches, lie):
    with pytest.raises(SecureSumError):
        believes(benches["site_a"], lie(keys_of(benches)))
    with pytest.raises(SecureSumError, match="were not told yet"):
        asks(benches["site_a"], np.ones((5, 1)))


def test_keys_that_were_made_for_another_number_are_refused(benches):
    keys = keys_of(benches) | {"site_b": keys_of(benches, ANOTHER)["site_b"]}
    with pytest.raises(SecureSumError, match="for another run or study"):
        believes(benches["site_a"], keys)


def test_two_sites_have_no_secure_sum(tmp_path):
    study = study_of("site_a", "site_b")
    two = {name: bench_of(tmp_path / name, name, study) for name in ("site_a", "site_b")}
    with pytest.raises(SecureSumError, match="the study has 2 training sites"):
        believes(two["site_a"], keys_of(two))


def test_an_identity_that_changes_later_is_refused(benches, tmp_path):
    believes(benches["site_a"], keys_of(benches))
    stranger = benches | {"site_b": bench_of(tmp_path / "stranger", "site_b")}
    with pytest.raises(SecureSumError, match="site_b has another identity than before"):
        believes(benches["site_a"], keys_of(stranger, ANOTHER), ANOTHER)


def test_after_a_drop_out_other_keys_need_another_number(benches):
    believes(benches["site_a"], keys_of(benches))
    folder = benches["site_c"].site.cache_folder / "secagg"
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(SecureSumError, match="were told before, and were others"):
        believes(benches["site_a"], keys_of(benches))
    assert believes(benches["site_a"], keys_of(benches, ANOTHER), ANOTHER) == NAMES


def test_a_lost_list_of_identities_is_met_anew(benches):
    believes(benches["site_a"], keys_of(benches))
    (benches["site_a"].site.folder / PEERS).unlink()
    assert believes(benches["site_a"], keys_of(benches)) == NAMES


def test_the_same_numbers_are_told_again_and_others_never_under_the_same_mask(benches):
    bench = benches["site_a"]
    believes(bench, keys_of(benches))
    table = np.arange(5.0)[:, None]
    first = asks(bench, table)
    np.testing.assert_array_equal(asks(bench, table).hidden, first.hidden)
    with pytest.raises(SecureSumError, match="other numbers were added before"):
        asks(bench, table + 1)


@pytest.mark.parametrize("value", [1e30, 2.0**63])
def test_a_number_too_large_for_the_ring_is_refused_before_it_is_masked(benches, value):
    believes(benches["site_a"], keys_of(benches))
    with pytest.raises(SecureSumError, match="cannot be summed under a mask"):
        asks(benches["site_a"], np.full((5, 1), value))


def test_weights_times_cases_must_fit_into_a_word():
    layout = Layout(("w",), ((2,),))
    weights = Weights(layout, np.array([300.0, -1.0], np.float32))
    reply = SimpleNamespace(weights=weights, change=None, n_cases=10)
    assert weighted(reply, 2).shape == (2, 1)
    with pytest.raises(CodecError, match="tells all that was trained"):
        weighted(reply, 3)
    reply.n_cases = 2**20
    with pytest.raises(SecureSumError, match="cannot be summed under a mask"):
        weighted(reply, 2)


def test_a_frozen_networks_trained_values_are_summed_alone():
    change = Change(np.array([3.0, -1.0], np.float32), np.empty(0, np.float32))
    reply = SimpleNamespace(weights=None, change=change, n_cases=2)
    np.testing.assert_array_equal(WEIGHTS.decode(weighted(reply, 2)), [6.0, -2.0])
    reply.n_cases = 0
    assert not weighted(reply, 2).any()


@pytest.mark.parametrize("name", sorted(SUMMED_NAMES | {"look_alike"}))
def test_where_the_policy_demands_it_no_own_number_is_told(name):
    with pytest.raises(SecureSumError, match="own numbers"):
        refuse_plain(made_policy("standard"), name)
    refuse_plain(made_policy("simulation"), name)
    refuse_plain(made_policy("standard"), "describe_cohort")
