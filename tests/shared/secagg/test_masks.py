"""Masks vanish in the sum over all sites, and in nothing else."""

import dataclasses

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from scipy import stats

from shared.errors import SecureSumError
from shared.secagg import masks
from shared.secagg.keys import announce, peer_keys
from shared.secagg.masks import Occasion, masked, total
from shared.secagg.ring import STATISTICS, WEIGHTS

SITES = ("site_a", "site_b", "site_c")
RUN, STUDY = "0f" * 16, "ab" * 32
LENGTH = 1000


class Party:
    """One hospital: its identity, its key of the run, and whom its policy names."""

    def __init__(self, site):
        self.site, self.identity = site, Ed25519PrivateKey.generate()
        self.key = X25519PrivateKey.generate()
        self.told = announce(self.identity, self.key, site=site, run=RUN, study_hash=STUDY)


@pytest.fixture(scope="module")
def parties():
    return {site: Party(site) for site in SITES}


@pytest.fixture(scope="module")
def pinned(parties):
    return {site: party.identity.public_key() for site, party in parties.items()}


@pytest.fixture(scope="module")
def upload(parties, pinned):
    """A site's upload of numbers on an occasion."""

    def make(site, numbers, occasion):
        told = [parties[name].told for name in occasion.sites]
        peers = peer_keys(told, pinned, site=site, run=RUN, study_hash=STUDY)
        elements = occasion.ring.encode(numbers)
        return masked(elements, occasion, site=site, key=parties[site].key, peers=peers)

    return make


def occasion(ring=STATISTICS, *, number=1, length=LENGTH, sites=SITES):
    return Occasion(RUN, "standardise", number, sites, length, ring)


@pytest.fixture(scope="module")
def numbers():
    draw = np.random.default_rng(7)
    return {site: draw.normal(0.0, 1e3, LENGTH) for site in SITES}


@pytest.mark.parametrize("ring", [WEIGHTS, STATISTICS])
@pytest.mark.parametrize("chunk", [7, 1 << 18])
def test_the_sum_is_the_plain_one_to_the_bit(ring, chunk, upload, numbers, monkeypatch):
    monkeypatch.setattr(masks, "CHUNK", chunk)
    when = occasion(ring)
    found = total({site: upload(site, numbers[site], when) for site in SITES}, when)
    plain = np.zeros((LENGTH, ring.n_words), dtype=np.uint64)
    for site in SITES:
        plain = ring.add(plain, ring.encode(numbers[site]))
    np.testing.assert_array_equal(found, plain)


@pytest.mark.parametrize("ring", [WEIGHTS, STATISTICS])
def test_an_upload_tells_nothing_of_what_it_hides(ring, upload):
    """Zeros and a large constant look alike: bytes are uniform and hang on nothing."""
    when = occasion(ring, length=20_000)
    zeros = upload("site_a", np.zeros(20_000), when)
    content = np.frombuffer(zeros.tobytes(), dtype=np.uint8)
    counts = np.bincount(content, minlength=256)
    assert stats.chisquare(counts).pvalue > 1e-4
    words = zeros.ravel().astype(np.float64) / 2.0**64
    assert abs(words.mean() - 0.5) < 4 * np.sqrt(1 / 12 / words.size)
    draw = np.random.default_rng(3)
    secret = draw.normal(0.0, 100.0, 20_000)
    shown = upload("site_a", secret, dataclasses.replace(when, number=2))
    leading = shown[:, -1].astype(np.float64)
    assert abs(stats.pearsonr(secret, leading).statistic) < 5 / np.sqrt(20_000)


def test_two_of_three_uploads_leave_noise(upload, numbers):
    when = occasion()
    parts = {site: upload(site, numbers[site], when) for site in ("site_a", "site_b")}
    with pytest.raises(SecureSumError, match="each of its sites"):
        total(parts, when)
    noise = STATISTICS.decode(STATISTICS.add(parts["site_a"], parts["site_b"]))
    assert np.median(np.abs(noise)) > 2.0**100


def test_another_occasion_has_other_masks(upload):
    """Else the difference of two uploads of one site would be in the clear."""
    first = upload("site_a", np.zeros(LENGTH), occasion())
    again = upload("site_a", np.zeros(LENGTH), occasion())
    np.testing.assert_array_equal(first, again)
    for change in ({"number": 2}, {"question": "select_features"}, {"run": "1f" * 16}):
        other = upload("site_a", np.zeros(LENGTH), dataclasses.replace(occasion(), **change))
        assert (other != first).all(axis=1).mean() > 0.99
    shorter = upload("site_a", np.zeros(10), occasion(length=10))
    assert (shorter != first[:10]).all()


def test_masks_of_another_cohort_of_sites_do_not_vanish(parties, pinned, numbers):
    """A server that shows two sites different cohorts gets noise."""
    fourth = Party("site_d")
    known = pinned | {"site_d": fourth.identity.public_key()}
    four = occasion(sites=(*SITES, "site_d"))
    parts = {}
    for site in SITES:
        when = four if site == "site_a" else occasion()
        told = [*(parties[name].told for name in SITES), fourth.told]
        chosen = [t for t in told if t.site in when.sites]
        peers = peer_keys(chosen, known, site=site, run=RUN, study_hash=STUDY)
        elements = STATISTICS.encode(numbers[site])
        parts[site] = masked(elements, when, site=site, key=parties[site].key, peers=peers)
    wrong = STATISTICS.decode(total(parts, occasion()))
    assert np.median(np.abs(wrong)) > 2.0**100


def test_a_number_that_could_overflow_is_refused_before_it_is_masked(upload):
    with pytest.raises(SecureSumError, match="not finite"):
        upload("site_a", np.full(LENGTH, 2.0**62), occasion(WEIGHTS))


def test_the_length_is_part_of_the_occasion(upload):
    with pytest.raises(SecureSumError, match="as many numbers"):
        upload("site_a", np.zeros(3), occasion())


def test_an_upload_of_another_form_is_refused(upload, numbers):
    when = occasion()
    parts = {site: upload(site, numbers[site], when) for site in SITES}
    parts["site_b"] = parts["site_b"][:-1]
    with pytest.raises(SecureSumError, match="site_b's upload"):
        total(parts, when)


@pytest.mark.parametrize("sites", [("site_b", "site_a", "site_c"), ("site_a", "site_a", "site_b")])
def test_the_sites_of_an_occasion_are_in_order_and_each_once(sites):
    with pytest.raises(SecureSumError, match="in order, each once"):
        occasion(sites=sites)


def test_keys_of_other_sites_than_the_occasion_s_are_refused(parties, pinned):
    told = [party.told for party in parties.values()]
    peers = peer_keys(told, pinned, site="site_a", run=RUN, study_hash=STUDY)
    del peers["site_c"]
    elements = STATISTICS.encode(np.zeros(LENGTH))
    with pytest.raises(SecureSumError, match="keys at hand"):
        masked(elements, occasion(), site="site_a", key=parties["site_a"].key, peers=peers)
