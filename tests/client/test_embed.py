from dataclasses import replace
from datetime import date, timedelta
from types import SimpleNamespace

import numpy as np
import pytest

from client import embeddings as embeddings_module
from client.embeddings import kept_outputs
from client.scoring import branch_probability, fusion_columns, probabilities
from client.settings import Device
from client.stages.embed import answer_outputs, answer_rows
from client.training import outputs
from client.workbench import Workbench
from shared.codec import content_hash
from shared.config import networks
from shared.errors import CodecError, PolicyError, StateError
from shared.models import (
    Bundle,
    ClinicalModel,
    Extraction,
    FusionModel,
    Projection,
    RadiomicsModel,
    Scale,
)
from shared.networks import build_network, get_weights
from shared.stages.embed import OutputsRequest, Parts, RowsRequest
from tests.site_policies import made_policy

EVERYTHING = ("embeddings", "labels", "radiomics_score", "clinical")
N = {"train": 6, "tune": 5, "internal_test": 3}
CLINICAL = ClinicalModel(("sessile", "age"), np.array([0.5, 60.0]), np.array([0.1, 0.2, 0.01]))
RADIOMICS = RadiomicsModel(
    Scale.of(Extraction({}), ("f",), np.zeros(1), np.ones(1)),
    np.array([2.0]),
    1.0,
    np.array([0.0, 1.0]),
)


class Handle:
    """The cases of a split, known by their numbers."""

    def __init__(self, split):
        self.split = split
        self.cases = [SimpleNamespace(patient_id=f"P{number}") for number in range(N[split])]

    def __iter__(self):
        return iter(self.cases)

    def __len__(self):
        return len(self.cases)

    def key(self):
        return self.split.encode().hex() * 4


class Site:
    """A hospital without files: tensors and tables are drawn from the split's name."""

    name, role, threads, features_from = "site_a", "training", 1, "images"
    training, tuning, internal_test = Handle("train"), Handle("tune"), Handle("internal_test")

    def __init__(self, study, folder, rows=EVERYTHING):
        self.study, self.folder, self.home, self.cache_folder = study, folder, folder, folder
        self.settings = SimpleNamespace(device=Device(kind="cpu"))
        self.policy = made_policy(release={"min_cell": 1, "rows": rows, "rows_of": ("tune",)})

    def handle(self, split):
        return Handle(split)

    def _rng(self, cases):
        return np.random.default_rng(len(cases.cases))

    def tensors(self, cases, network):
        shape = (len(cases.cases), 9, *network.branch.size)
        present = np.ones(len(cases.cases), dtype=bool)
        present[1] = False
        tensor = self._rng(cases).normal(size=shape).astype(np.float32)
        tensor[~present] = 0
        return tensor, present

    def labels(self, cases):
        return np.arange(len(cases.cases)) % 2

    known_labels = labels

    def features(self, cases, _extraction):
        return ("f",), self._rng(cases).normal(size=(len(cases.cases), 1))

    def clinical(self, cases, columns):
        rows = np.column_stack([self.labels(cases), 60.0 + np.arange(len(cases.cases))])
        rows[0, 1] = np.nan
        return rows[:, [("sessile", "age").index(column) for column in columns]]


@pytest.fixture
def one_branch(study, change):
    branch = {"name": "flat", "kind": "2.5d", "network": "resnet10", "size": [16, 16],
              "training": {"precision": "fp32"}}  # fmt: skip
    return change(study, branches=[branch])


@pytest.fixture
def make_bench(one_branch, change, tmp_path):
    def made(rows=EVERYTHING, **changes):
        return Workbench(Site(change(one_branch, **changes), tmp_path, rows), threads=1)

    return made


@pytest.fixture
def weights(one_branch):
    (network,) = networks(one_branch)
    return get_weights(build_network(network, seed=2))


def rows_request(weights, n=2):
    rng = np.random.default_rng(0)
    projection = Projection(
        "flat", "flat", rng.normal(size=512), rng.normal(size=(512, n)), np.zeros(n)
    )
    parts = Parts((projection,), {"flat": content_hash(weights)}, RADIOMICS)
    return RowsRequest((parts,), CLINICAL)


def test_sums_are_those_of_the_training_embeddings_that_are_there(make_bench, weights):
    bench = make_bench()
    sums = answer_outputs(OutputsRequest("flat", weights, True), bench).sums
    (network,) = networks(bench.study)
    inputs = bench.inputs(network, bench.site.training)
    expected, _ = outputs(bench.module(network), inputs.tensor, bench.compute(network))
    assert sums.n == len(expected) == N["train"] - 1
    np.testing.assert_allclose(sums.sum_x, expected.sum(axis=0), rtol=1e-10)
    np.testing.assert_allclose(sums.sum_xx, expected.T @ expected, rtol=1e-10)


def test_sums_leave_only_if_asked_for_and_embeddings_may_leave(make_bench, weights):
    assert answer_outputs(OutputsRequest("flat", weights, False), make_bench(())).sums is None
    with pytest.raises(PolicyError, match=r"release\.rows of the policy lacks embeddings"):
        answer_outputs(OutputsRequest("flat", weights, True), make_bench(("labels",)))


def test_sums_of_embeddings_follow_the_studys_exchange(make_bench, weights):
    request = OutputsRequest("flat", weights, True)
    bench = make_bench((), fusion={"exchange": "statistics"})
    assert answer_outputs(request, bench).sums.n == N["train"] - 1
    with pytest.raises(PolicyError, match="nothing of embeddings leaves"):
        answer_outputs(request, make_bench(fusion={"exchange": "scores"}))


def test_a_branchs_score_stands_in_place_of_its_embedding(make_bench, weights):
    bench = make_bench((*EVERYTHING[1:], "scores"), fusion={"exchange": "scores"})
    answer_outputs(OutputsRequest("flat", weights, False), bench)
    reply = answer_rows(rows_request(weights), bench)
    assert reply.columns == ("flat_score", "radiomics_score", "sessile", "age")
    logits = kept_outputs(bench, content_hash(weights), bench.site.tuning)[1]
    np.testing.assert_array_equal(np.sort(reply.rows[:, 0]), np.sort(np.round(2 * logits) / 2))
    score = 2 * np.random.default_rng(N["tune"]).normal(size=N["tune"]) + 1
    np.testing.assert_allclose(np.sort(reply.rows[:, 1]), np.sort(np.round(2 * score) / 2))


def test_a_network_that_the_study_does_not_have_is_refused(make_bench, weights):
    with pytest.raises(CodecError, match="does not have"):
        answer_outputs(OutputsRequest("deep", weights, False), make_bench())


@pytest.mark.parametrize("kept_back", EVERYTHING)
def test_rows_leave_only_if_the_policy_names_every_part_of_them(make_bench, weights, kept_back):
    bench = make_bench(tuple(what for what in EVERYTHING if what != kept_back))
    answer_outputs(OutputsRequest("flat", weights, False), bench)
    with pytest.raises(PolicyError, match=rf"release\.rows of the policy lacks {kept_back}\."):
        answer_rows(rows_request(weights), bench)


def test_what_the_study_does_not_use_need_not_be_in_the_policy(make_bench, weights):
    bench = make_bench(("labels", "clinical"), fusion={"inputs": ["clinical"]})
    reply = answer_rows(rows_request(weights), bench)
    assert reply.columns == ("sessile", "age")


def test_a_row_has_embedding_radiomics_and_clinical_columns_of_the_tune_cases(make_bench, weights):
    bench = make_bench()
    answer_outputs(OutputsRequest("flat", weights, False), bench)
    reply = answer_rows(rows_request(weights), bench)
    assert reply.columns == ("flat_1", "flat_2", "radiomics_score", "sessile", "age")
    assert (reply.rows.shape, reply.labels.shape) == ((N["tune"], 5), (N["tune"],))
    assert np.isnan(reply.rows[:, :2]).all(axis=1).sum() == 1
    score = 2 * np.random.default_rng(N["tune"]).normal(size=N["tune"]) + 1
    np.testing.assert_allclose(np.sort(reply.rows[:, 2]), np.sort(score))
    assert sorted(reply.rows[:, 4]) == [60, 61, 62, 63, 64]


def test_rows_come_in_an_order_that_says_nothing_and_keep_their_labels(make_bench, weights):
    bench = make_bench()
    answer_outputs(OutputsRequest("flat", weights, False), bench)
    reply, again = (answer_rows(rows_request(weights), bench) for _ in range(2))
    np.testing.assert_array_equal(reply.rows, again.rows)
    assert list(reply.rows[:, 0]) == sorted(reply.rows[:, 0]) or np.isnan(reply.rows[:, 0]).any()
    assert list(reply.rows[:, 4]) != sorted(reply.rows[:, 4])
    np.testing.assert_array_equal(reply.labels, reply.rows[:, 3])


def test_with_the_rows_goes_the_last_day_on_which_they_may_be_kept(make_bench, weights):
    bench = make_bench()
    answer_outputs(OutputsRequest("flat", weights, False), bench)
    days = bench.site.policy.release.keep_rows_days
    reply = answer_rows(rows_request(weights), bench)
    assert date.fromisoformat(reply.delete_by) - date.today() == timedelta(days=days)
    with pytest.raises(CodecError):
        replace(reply, delete_by="when DOE^JOHN says so")


def test_rows_for_weights_that_were_never_sent_are_refused(make_bench, weights):
    with pytest.raises(StateError, match="never sent"):
        answer_rows(rows_request(weights), make_bench())


def test_outputs_are_computed_once_and_kept_for_the_next_process(make_bench, weights, monkeypatch):
    answer_outputs(OutputsRequest("flat", weights, False), make_bench())
    monkeypatch.setattr(embeddings_module, "outputs", None)
    bench = make_bench()
    answer_outputs(OutputsRequest("flat", weights, False), bench)
    kept, logits = kept_outputs(bench, content_hash(weights), bench.site.internal_test)
    assert (kept.shape, logits.shape) == ((3, 512), (3,))
    np.testing.assert_array_equal(np.isnan(logits), [False, True, False])


def test_other_weights_are_computed_anew(make_bench, weights, one_branch):
    (network,) = networks(one_branch)
    others = get_weights(build_network(network, seed=3))
    bench = make_bench()
    for one in (weights, others):
        answer_outputs(OutputsRequest("flat", one, False), bench)
    first, second = (
        kept_outputs(bench, content_hash(one), bench.site.tuning)[1][0] for one in (weights, others)
    )
    assert first != second


@pytest.fixture
def bundle(weights):
    (request,) = rows_request(weights).parts
    fusion = FusionModel(
        ("flat_1", "flat_2", "radiomics_score", "sessile", "age"),
        np.zeros(5), np.ones(5), np.array([0.3, 0.0, 0.0, 0.0, 1.0, 0.0]),
    )  # fmt: skip
    return Bundle("s", CLINICAL, RADIOMICS, request.network_hashes, request.projections, fusion, {})


def test_each_model_gives_its_probability_of_each_case(make_bench, weights, bundle):
    bench = make_bench()
    answer_outputs(OutputsRequest("flat", weights, False), bench)
    cases = bench.site.tuning
    found = probabilities(bench, cases, bundle)
    assert tuple(found) == (*bench.study.model_names[:2], "flat", "fusion")
    _, logits = kept_outputs(bench, content_hash(weights), cases)
    rows = bench.site.clinical(cases, ("sessile", "age"))
    age = np.where(np.isnan(rows[:, 1]), 60, rows[:, 1])
    score = 2 * bench.site.features(cases, Extraction({}))[1][:, 0] + 1
    for model, logit in {
        "clinical": 0.1 + 0.2 * rows[:, 0] + 0.01 * age,
        "radiomics": score,
        "flat": logits,
        "fusion": 0.3 + rows[:, 0],
    }.items():
        np.testing.assert_allclose(found[model], 1 / (1 + np.exp(-logit)), rtol=1e-10)


def test_a_case_without_a_phase_has_no_probability_of_the_branch_but_of_the_others(
    make_bench, weights, bundle
):
    bench = make_bench()
    answer_outputs(OutputsRequest("flat", weights, False), bench)
    found = probabilities(bench, bench.site.tuning, bundle)
    assert [np.isnan(p).sum() for p in found.values()] == [0, 0, 1, 0]


def test_a_branch_of_separate_phases_takes_the_mean_logit_of_those_there(
    one_branch, change, monkeypatch
):
    separate = one_branch.branches[0].model_dump(mode="json") | {"phases": "separate"}
    study = change(one_branch, branches=[separate])
    logits = {"flat_corticomedullary": [1, np.nan], "flat_nephrographic": [2, np.nan],
              "flat_excretory": [np.nan, np.nan]}  # fmt: skip
    monkeypatch.setattr(
        "client.scoring.kept_outputs", lambda _bench, name, _cases: (None, np.array(logits[name]))
    )
    bench = SimpleNamespace(study=study)
    found = branch_probability(bench, None, "flat", {name: name for name in logits})
    np.testing.assert_allclose(found, [1 / (1 + np.exp(-1.5)), np.nan])


def test_columns_follow_the_studys_inputs(make_bench, weights):
    bench = make_bench(fusion={"inputs": ["clinical", "radiomics_score"]})
    (request,) = rows_request(weights).parts
    names, rows = fusion_columns(
        bench,
        bench.site.tuning,
        projections=request.projections,
        network_hashes=request.network_hashes,
        radiomics=RADIOMICS,
        clinical=CLINICAL,
    )
    assert names == ("radiomics_score", "sessile", "age")
    assert rows.shape == (N["tune"], 3)
