"""A server that asks for secure sums knows what pooling gives, and of a single site nothing."""

import dataclasses
import shutil
from functools import reduce

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.coordinator import Coordinator
from server.federation import WithoutFold
from server.secure_federation import ALL_SITES, SecureFederation, with_secure_sums
from server.study import Greetings, Study
from shared.codec import pack
from shared.errors import ConfigError, FederationError, LeverageError, WithheldError
from shared.glm import fit_logistic, logistic_sums, with_intercept
from shared.gram import gram
from shared.models import Extraction, Scale
from shared.moments import moments, pool_moments
from shared.secagg.additive import Summands, summands, summed
from shared.secagg.ring import STATISTICS
from shared.stages.clinical_model import (
    CLINICAL_STEP,
    PREDICTOR_MEANS,
    MeansReply,
    MeansRequest,
    StepReply,
    StepRequest,
)
from shared.stages.describe_cohort import DESCRIBE_COHORT
from shared.stages.hello import Reply as Hello
from shared.stages.secure_sums import Masked
from shared.stages.select_features import GRAM, GramReply, GramRequest
from tests.conftest import changed
from tests.secure_sites import NAMES, Sites, study_of

RNG = np.random.default_rng(7)
X = RNG.normal(size=(90, 3)) * [1.0, 40.0, 1e5]
Y = (RNG.random(90) < 1 / (1 + np.exp(-X[:, 0]))).astype(np.int64)
COLUMNS = ("grade", "age", "volume")


def divided(cuts):
    return dict(zip(NAMES, np.split(np.arange(90), cuts), strict=True))


def sites_of(folder, cuts=(30, 60)):
    rows = divided(cuts)

    def answer(site, request):
        table = X[rows[site]]
        if isinstance(request, MeansRequest):
            return MeansReply(moments(COLUMNS, table))
        design = with_intercept(table / [1.0, 40.0, 1e5])
        return StepReply(tuple(logistic_sums(design, Y[rows[site]], b) for b in request.betas))

    return Sites(folder, answer)


def secure(sites, folder):
    return SecureFederation(sites, NAMES, folder / "keys.json")


def test_of_what_is_added_one_reply_stands_for_all_sites(tmp_path):
    sites = sites_of(tmp_path)
    found = secure(sites, tmp_path).ask(PREDICTOR_MEANS, MeansRequest(), NAMES)
    assert list(found) == [ALL_SITES]
    expected = pool_moments([moments(COLUMNS, X[rows]) for rows in divided((30, 60)).values()])
    np.testing.assert_array_equal(found[ALL_SITES].moments.n, expected.n)
    np.testing.assert_allclose(found[ALL_SITES].moments.mean, expected.mean, rtol=1e-13)
    np.testing.assert_allclose(found[ALL_SITES].moments.m2, expected.m2, rtol=1e-13)


def test_the_sum_is_that_of_plain_answers_on_the_grid_to_the_bit(tmp_path):
    replies = [MeansReply(moments(COLUMNS, X[rows])) for rows in divided((30, 60)).values()]
    parts = [summands(reply) for reply in replies]
    plain = reduce(STATISTICS.add, [part.elements for part in parts])
    expected = pack(summed(MeansReply, Summands(parts[0].form, parts[0].same, plain)))
    federation = secure(sites_of(tmp_path), tmp_path)
    found = pack(federation.ask(PREDICTOR_MEANS, MeansRequest(), NAMES)[ALL_SITES])
    assert found.text == expected.text
    for name, array in expected.arrays.items():
        np.testing.assert_array_equal(found.arrays[name], array)


@settings(deadline=None, max_examples=6)
@given(st.tuples(st.integers(0, 90), st.integers(0, 90)).map(sorted))
def test_newton_through_masks_is_the_pooled_fit_however_patients_are_divided(
    tmp_path_factory, cuts
):
    folder = tmp_path_factory.mktemp("newton")
    federation = secure(sites_of(folder, tuple(cuts)), folder)

    def ask(beta):
        request = StepRequest(np.zeros(3), (), (beta,))
        return federation.ask(CLINICAL_STEP, request, NAMES)[ALL_SITES].sums[0]

    names = ("intercept", *COLUMNS)
    found = fit_logistic(ask, names)
    design = with_intercept(X / [1.0, 40.0, 1e5])
    pooled = fit_logistic(lambda beta: logistic_sums(design, Y, beta), names)
    np.testing.assert_allclose(found.coefficients, pooled.coefficients, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.se, pooled.se, rtol=1e-9)


def test_what_the_server_sees_of_a_site_is_uniform(tmp_path):
    sites = sites_of(tmp_path)
    federation = secure(sites, tmp_path)
    for step in range(60):
        request = StepRequest(np.zeros(3), (), (np.full(4, step / 100),))
        federation.ask(CLINICAL_STEP, request, NAMES)
    words = [reply.hidden for told in sites.seen for reply in told.values()
             if isinstance(reply, Masked)]  # fmt: skip
    content = np.concatenate([part.view(np.uint8).ravel() for part in words])
    counts = np.bincount(content, minlength=256)
    expected = len(content) / 256
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert 170 < chi_square < 360  # 255 degrees of freedom: beyond it by chance once in 100,000


def test_a_site_that_lost_its_keys_is_keyed_anew_with_all_others(tmp_path):
    sites = sites_of(tmp_path)
    federation = secure(sites, tmp_path)
    before = federation.ask(PREDICTOR_MEANS, MeansRequest(), NAMES)[ALL_SITES].moments
    shutil.rmtree(sites.benches["site_b"].site.cache_folder)
    after = federation.ask(PREDICTOR_MEANS, MeansRequest(), NAMES)[ALL_SITES].moments
    np.testing.assert_array_equal(after.m2, before.m2)
    assert sites.asked.count("secure_key") == 2


def test_a_run_that_is_resumed_asks_as_before_to_the_letter(tmp_path):
    sites = sites_of(tmp_path)
    secure(sites, tmp_path).ask(PREDICTOR_MEANS, MeansRequest(), NAMES)
    secure(sites, tmp_path).ask(PREDICTOR_MEANS, MeansRequest(), NAMES)
    assert sites.asked.count("secure_key") == 1
    first, second = sites.seen[-2:]
    for name in NAMES:
        np.testing.assert_array_equal(first[name].hidden, second[name].hidden)


def test_the_sum_of_some_sites_is_never_asked_for(tmp_path):
    sites = sites_of(tmp_path)
    with pytest.raises(FederationError, match="of all training sites"):
        secure(sites, tmp_path).ask(PREDICTOR_MEANS, MeansRequest(), NAMES[:2])
    assert sites.asked == []


def test_where_a_site_withholds_its_sums_there_is_no_sum_and_no_new_key(tmp_path):
    def answer(site, _request):
        if site == "site_b":
            raise LeverageError("too few patients carry it")
        return MeansReply(moments(COLUMNS, X))

    sites = Sites(tmp_path, answer)
    with pytest.raises(WithheldError):
        secure(sites, tmp_path).ask(PREDICTOR_MEANS, MeansRequest(), NAMES)
    assert sites.asked.count("secure_key") == 1


def test_answers_of_different_forms_make_no_sum(tmp_path):
    def answer(site, _request):
        names = ("grade", "size", "volume") if site == "site_c" else COLUMNS
        return MeansReply(moments(names, X))

    with pytest.raises(FederationError, match="different forms"):
        secure(Sites(tmp_path, answer), tmp_path).ask(PREDICTOR_MEANS, MeansRequest(), NAMES)


GREETING = Hello("site_a", "training", True, "a" * 64, "b" * 64, {})


def coordinator(study, folder):
    return Coordinator(study, sites_of(folder), None, folder, None)


def greeted(*demanding):
    said = {name: dataclasses.replace(GREETING, site=name) for name in NAMES}
    said |= {n: dataclasses.replace(said[n], secure_sums=True) for n in demanding}
    return Study(hello=Greetings(said))


@pytest.mark.parametrize(
    ("secagg", "demanding", "expected"),
    [
        ("auto", (), False),
        ("auto", ("site_b",), True),
        ("required", (), True),
        ("off", (), False),
    ],
)
def test_sums_are_secure_where_the_study_says_so_or_a_hospital_demands_it(
    secagg, demanding, expected, tmp_path
):
    study = changed(study_of(), secagg=secagg)
    found = with_secure_sums(greeted(*demanding), coordinator(study, tmp_path))
    assert isinstance(found.federation, SecureFederation) is expected
    again = with_secure_sums(greeted(*demanding), found)
    assert again is found


def test_a_study_that_needs_single_numbers_is_told_which_and_by_whom(tmp_path):
    study = changed(study_of(), standardise={"harmonise": "combat"})
    with pytest.raises(ConfigError, match=r"(?s)policy of site_c.*harmonise is combat"):
        with_secure_sums(greeted("site_c"), coordinator(study, tmp_path))
    with pytest.raises(ValueError, match="secagg is required, and standardise"):
        changed(study, secagg="required")


def test_questions_without_an_outer_fold_are_secure_too(tmp_path):
    seen = []

    def answer(_site, request):
        seen.append(request.held_out)
        return GramReply((gram(("a",), X[:, :1], Y),))

    sites = Sites(tmp_path, answer)
    scale = Scale.of(Extraction({}), ("a",), np.zeros(1), np.ones(1))
    federation = WithoutFold(secure(sites, tmp_path), 2)
    found = federation.ask(GRAM, GramRequest(scale), NAMES)[ALL_SITES].folds[0]
    assert (seen, found.n) == ([2, 2, 2], 270)


def test_what_is_told_of_each_hospital_is_asked_plainly(tmp_path):
    sites = sites_of(tmp_path)
    asked = []
    sites.ask = lambda question, *_args, **_options: asked.append(question.name) or {}
    secure(sites, tmp_path).ask(DESCRIBE_COHORT, None, NAMES)
    assert asked == ["describe_cohort"]
