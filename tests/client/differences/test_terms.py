"""A run keeps to the terms that it asked in first, and asks no oftener than its searches do."""

from types import SimpleNamespace

import numpy as np
import pytest

from client.differences.terms import Term, Terms, terms_of
from client.policy.packs import pack_policy
from server.quantile_search import found_quantiles
from server.quartiles import find_quartiles
from shared.errors import DifferenceError, StateError
from shared.fusion_sums import Layers
from shared.models import Extraction, Scale, SiteScale
from shared.moments import class_moments
from shared.quantiles import bisection, counts_below
from shared.radiomics_settings import Selection
from shared.searches import OF_CLIPPING, OF_RANGES, of_bins
from shared.stages.describe_cohort import CountReply, CountRequest
from shared.stages.discretise import Request as Ranges
from shared.stages.select_features import BinsRequest, GramRequest, ScreenRequest, ThresholdsRequest
from shared.stages.standardise import CountRequest as FeatureCounts
from shared.stages.standardise import Request as Moments

RUN = "0a" * 16
EXTRACTION = Extraction({})


def bench(pack="standard", name="site_a"):
    site = SimpleNamespace(policy=pack_policy(pack), name=name)
    return SimpleNamespace(site=site, study=SimpleNamespace(selection=Selection(screen_bins=16)))


def scale(mean=0.0, high=np.inf, own=None, names=("f", "g")):
    p = len(names)
    sites = {} if own is None else {"site_a": SiteScale(np.full(p, own), np.ones(p))}
    ends = np.full(p, np.inf)
    return Scale(EXTRACTION, names, -ends, np.full(p, high), np.full(p, mean), np.ones(p), sites)


def ask(terms, name, request, run=RUN, at=None):
    asked = terms_of(name, request, at or bench())
    terms.check(run, asked)
    terms.note(run, asked)


@pytest.fixture
def terms(tmp_path):
    return Terms(tmp_path)


@pytest.mark.parametrize("other", [scale(mean=1e-9), scale(high=3.0), scale(own=0.5)])
def test_a_second_scale_of_a_feature_is_refused_in_the_run_and_after_a_restart(
    terms, tmp_path, other
):
    ask(terms, "multiply_features", GramRequest(scale()))
    ask(terms, "multiply_features", GramRequest(scale().take(("g",))))
    for found in (terms, Terms(tmp_path)):
        with pytest.raises(DifferenceError, match="the scale of f") as refusal:
            ask(found, "screen_features", ScreenRequest(other))
        assert refusal.value.code == "E_DIFF"


def test_another_run_has_a_scale_of_its_own(terms):
    ask(terms, "multiply_features", GramRequest(scale()))
    ask(terms, "multiply_features", GramRequest(scale(mean=1.0)), run="0b" * 16)


def test_of_scales_by_site_only_this_sites_counts(terms):
    elsewhere = bench(name="site_b")
    ask(terms, "multiply_features", GramRequest(scale(own=0.1)), at=elsewhere)
    ask(terms, "multiply_features", GramRequest(scale(own=0.2)), at=elsewhere)


def test_edges_that_differ_by_one_are_refused_and_each_fold_has_its_own(terms):
    edges = np.arange(10.0).reshape(2, 5)
    moved = edges.copy()
    moved[1, 3] += 0.5
    ask(terms, "bin_features", BinsRequest(scale(), edges))
    ask(terms, "bin_features", BinsRequest(scale(), moved, held_out=0))
    with pytest.raises(DifferenceError, match="the edges of g"):
        ask(terms, "bin_features", BinsRequest(scale(), moved))


def test_a_feature_is_clipped_to_one_pair_of_ends(terms):
    ends = np.array([-1.0]), np.array([1.0])
    ask(terms, "standardise", Moments(EXTRACTION))
    ask(terms, "standardise", Moments(EXTRACTION, ("f",), *ends))
    with pytest.raises(DifferenceError, match="the ends of f"):
        ask(terms, "standardise", Moments(EXTRACTION, ("f",), ends[0], ends[1] + 0.1))


def test_the_fusion_layer_has_one_scale_for_each_fold(terms, monkeypatch):
    monkeypatch.setattr("client.differences.terms._rows", lambda *_: iter(()))

    def layers(fold, mean):
        made = Layers(np.array([fold]), np.full((1, 1), mean), np.ones((1, 1)), np.zeros((1, 2)))
        return SimpleNamespace(rows=None, layers=made)

    ask(terms, "fusion_steps", layers(-1, 0.0))
    ask(terms, "fusion_steps", layers(1, 0.5))
    with pytest.raises(DifferenceError, match="scale without fold 2"):
        ask(terms, "fusion_losses", layers(1, 0.6))


def test_nothing_is_fixed_for_made_up_patients(terms):
    for mean in (0.0, 1.0):
        ask(terms, "multiply_features", GramRequest(scale(mean=mean)), at=bench("simulation"))


def test_what_cannot_be_read_is_not_taken_for_nothing(tmp_path):
    (tmp_path / f"{RUN}.txt").write_text("half a li")
    with pytest.raises(StateError, match="does not say how"):
        Terms(tmp_path).check(RUN, [Term("x", "0" * 32)])


def test_a_run_within_one_process_is_remembered_and_not_written(terms, tmp_path):
    ask(terms, "multiply_features", GramRequest(scale()), run="")
    with pytest.raises(DifferenceError):
        ask(terms, "multiply_features", GramRequest(scale(mean=1.0)), run="")
    assert not list(tmp_path.iterdir())


TABLE = np.random.default_rng(3).gamma(2.0, 9.0, size=(41, 2))
LABELS = np.arange(41) % 2
NAMES = ("age", "size")


def test_a_studys_quartiles_are_found_and_nothing_more_is_counted(terms):
    def answer(request):
        for _ in range(2):  # asked again after a crash
            ask(terms, "count_variables", request)
        parts = (counts_below(NAMES, TABLE[y == LABELS], request.thresholds) for y in (0, 1))
        return [CountReply(*parts)]

    found = find_quartiles(answer, class_moments(NAMES, TABLE, LABELS))
    exact = np.quantile(TABLE, [0.25, 0.5, 0.75], axis=0, method="inverted_cdf").T
    assert (np.abs(found.together - exact) <= found.precision[:, 2:] + 1e-12).all()
    with pytest.raises(DifferenceError, match="in 12 ways"):
        ask(terms, "count_variables", CountRequest(("age",), np.array([[61.0]])))


@pytest.mark.parametrize(
    ("name", "search", "quantiles", "request_of"),
    [
        ("count_ranges", OF_RANGES, [0.5], Ranges),
        (
            "count_features",
            OF_CLIPPING,
            [0.05, 0.95],
            lambda thresholds: FeatureCounts(EXTRACTION, NAMES, thresholds),
        ),
        (
            "count_scaled_features",
            of_bins(16),
            [k / 16 for k in range(1, 16)],
            lambda thresholds: ThresholdsRequest(scale(names=NAMES), thresholds, held_out=1),
        ),
    ],
)
def test_every_search_of_a_study_is_answered_to_its_end_and_no_further(
    terms, name, search, quantiles, request_of
):
    def answer(thresholds):
        ask(terms, name, request_of(thresholds))
        return {"site_a": counts_below(NAMES, TABLE, thresholds)}

    begun = bisection(NAMES, quantiles, low=0.0, high=200.0, tolerance=search.tolerance)
    found = found_quantiles(begun, answer)
    exact = np.quantile(TABLE, quantiles, axis=0, method="inverted_cdf").T
    np.testing.assert_allclose(found.result, exact, atol=200 * search.tolerance + 1e-12)
    with pytest.raises(DifferenceError, match=f"in {search.rounds} ways"):
        answer(np.full((2, 1), 3.25))


def test_more_numbers_at_once_than_a_search_asks_for_are_refused(terms):
    with pytest.raises(DifferenceError, match="10 numbers at once"):
        ask(terms, "count_variables", CountRequest(("age",), np.arange(10.0)[None]))
