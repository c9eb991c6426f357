"""The smallest cells: nothing of too few patients is computed, and no refusal says of whom."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from flwr.app import Context, Message, RecordDict
from sklearn.metrics import roc_auc_score

from client import app as courier
from client.release import (
    check_cases,
    check_class_columns,
    check_classes,
    check_columns,
    check_folds,
    told_scores,
    without_tails,
)
from client.service import SiteService
from client.stages import ANSWERS, stability
from server.aggregate import _identify_process
from shared.codec import content_hash
from shared.comparison import score_edges
from shared.config import Study, networks
from shared.errors import SmallCellError
from shared.fusion_sums import Layers
from shared.logistic_lasso_sums import Problems
from shared.models import (
    Bundle,
    ClinicalModel,
    Extraction,
    FusionModel,
    Projection,
    RadiomicsModel,
    Scale,
)
from shared.networks import EMBEDDING_WIDTH, build_network, get_weights
from shared.placements import ClassHistograms
from shared.quantiles import CountsBelow, Histograms
from shared.regressions import Terms
from shared.scores import at_threshold, score_sums
from shared.site_signal import SiteLda
from shared.stages import (
    clinical_model,
    describe_cohort,
    discretise,
    embed,
    evaluate,
    fuse,
    select_features,
    standardise,
    train_branches,
)
from shared.stages.stability import Request as ReadAgain
from shared.strict_yaml import parse_settings
from shared.wire import error_code, to_record
from tests.conftest import STUDY, changed, write_site
from tests.site_policies import made_policy, write_policy

NAMES = ("a", "b")
NOT_OF_A_CELL = {
    "hello": "versions and hashes",
    "external_hello": "versions and hashes",
    "agree_budget": "bookings of rounds, each of a round that was itself allowed",
    "embed_rows": "single patients, as the policy allows",
    "embed_noised": "studies of their own: tests/adversarial/test_fusion_noise.py",
    "fusion_noised": "studies of their own: tests/adversarial/test_fusion_noise.py",
    "evaluate_outputs": "how many cases there are",
    "external_outputs": "how many cases there are",
    "explain": "of fewer cases than the hospital or the study allows, nothing",
    "read_again": "of a feature that fewer than five cases have all readings of, nothing",
}
BY_LABEL = {
    "count_variables",
    "describe_cohort",
    "screen_features",
    "bin_features",
    "multiply_features",
    "logistic_lasso",
    "calibrate_score",
    "clinical_step",
    "clinical_hats",
    "train_branch",
    "fusion_moments",
    "fusion_steps",
    "fusion_losses",
    "fusion_scores",
    "evaluate_scores",
    "evaluate_placements",
    "external_scores",
}


def site(limit: int) -> Any:
    return SimpleNamespace(name="site_a", policy=made_policy(release={"min_cell": limit}))


@pytest.mark.parametrize(("n", "refused"), [(0, False), (1, True), (4, True), (5, False)])
def test_a_cell_is_empty_or_large_enough(n, refused):
    if not refused:
        check_cases(site(5), "the mean", n)
        return
    with pytest.raises(SmallCellError) as caught:
        check_cases(site(5), "the mean", n)
    for words in ("the mean would be of", str(n), "fewer than 5", "Add patients", "min_cell"):
        assert words in str(caught.value)


def test_each_column_has_its_own_count():
    table = np.array([[1.0, np.nan, np.nan]] * 3 + [[1.0, 1.0, np.nan]] * 2)
    with pytest.raises(SmallCellError, match="the mean of 'b' would be of 2 patients"):
        check_columns(site(5), "the mean", ("a", "b", "c"), table)
    check_columns(site(2), "the mean", ("a", "b", "c"), table)


@pytest.mark.parametrize(("labels", "word"), [([0] * 9 + [1], "positive"), ([0, 1, 1, 1], "neg")])
def test_each_class_has_its_own_count(labels, word):
    with pytest.raises(SmallCellError, match=f"{word}.* would be of 1 patient;"):
        check_classes(site(3), "the sum", np.array(labels))


def test_a_class_that_is_empty_is_allowed():
    check_classes(site(5), "the sum", np.zeros(5, dtype=int))
    check_classes(site(5), "the sum", np.zeros(0, dtype=int))


def test_a_class_may_be_too_small_in_one_column_alone():
    labels = np.array([0, 0, 0, 1, 1, 1])
    table = np.ones((6, 2))
    check_class_columns(site(3), "the mean", NAMES, table, labels)
    table[3, 1] = np.nan
    with pytest.raises(SmallCellError, match="positive patients, of 'b' would be of 2 patients"):
        check_class_columns(site(3), "the mean", NAMES, table, labels)


def test_a_fold_needs_enough_patients_and_no_class_of_one():
    labels, fold = np.array([0, 0, 0, 1, 1] * 2), np.repeat([0, 1], 5)
    check_folds(site(4), "the products", labels, fold)
    with pytest.raises(SmallCellError, match="of positive patients would be of 4"):
        check_folds(site(5), "the products", labels, fold)
    with pytest.raises(SmallCellError, match="fold 2 would be of 2 patients"):
        check_folds(site(4), "the products", labels, np.repeat([0, 1], [8, 2]))
    moved = np.array([0, 0, 0, 1, 0, 1, 0, 0, 1, 1])
    with pytest.raises(SmallCellError, match="fold 1, positive patients, would be of 1 patient"):
        check_folds(site(4), "the products", moved, fold)
    check_folds(site(1), "the products", moved, fold)


@pytest.fixture(scope="module")
def one_branch() -> Study:
    """One flat branch, one filtered image, two folds."""
    whole = parse_settings(STUDY, Study, name="study.yaml")
    branch = whole.branches[0].model_dump(mode="json")
    radiomics = {"classes": ["firstorder"], "log_sigma_mm": [2.0]}
    parts = {"selection": {"folds": 2}, "embedding": {"dimension": 1}}
    parts["fusion"] = {"exchange": "statistics"}
    return changed(whole, branches=[branch], radiomics=radiomics, **parts)


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Twelve patients, in each of three splits two of either label; four at an external site."""
    root = tmp_path_factory.mktemp("hospitals")
    return {
        "training": write_site(root / "a", n=12, split=True),
        "external": write_site(root / "d", n=4, name="site_d", role="external", split=True),
    }


@pytest.fixture
def plant(hospitals: dict[str, Path], one_branch: Study) -> Callable[..., SiteService]:
    """The hospital that a question is for, with a limit of its own and the cache of all.

    It looked at nothing yet: an answer once given is not given again under a stricter limit.
    """

    def planted(name: str, limit: int) -> SiteService:
        site_file = hospitals[ANSWERS[name][0].of]
        for book in site_file.parent.rglob("looks.json"):
            book.unlink()
        write_policy(site_file, f"release: {{min_cell: {limit}}}\n")
        return SiteService.open(site_file, one_branch, threads=1)

    return planted


@pytest.fixture
def requests(one_branch: Study) -> dict[str, Any]:
    """A request for each question that is answered from patients."""
    (network,) = networks(one_branch)
    weights = get_weights(build_network(network, seed=1))
    extraction = Extraction({"log_2mm": 10.0})
    names = tuple(f"nephrographic__original__firstorder__{n}" for n in ("Mean", "Median"))
    ends = np.full(2, np.inf)
    scale = Scale(extraction, names, -ends, ends, np.zeros(2), np.ones(2), {})
    radiomics = RadiomicsModel(scale, np.ones(2), 0.0, np.array([0.0, 1e-3]))
    middle, terms = np.array([0.5, 65.0]), Terms(("sessile", "age"))
    clinical = clinical_model.StepRequest(middle, (terms,), (np.zeros(3),))
    model = ClinicalModel(("sessile", "age"), np.array([0.5, 65.0]), np.zeros(3))
    width = EMBEDDING_WIDTH[network.branch.network]
    projection = Projection(
        network.name, network.branch.name, np.zeros(width), np.ones((width, 1)), np.zeros(1)
    )
    columns = (f"{network.name}_1", "radiomics_score", "sessile", "age")
    fusion = FusionModel(columns, np.zeros(4), np.ones(4), np.zeros(5))
    bundle = Bundle(
        "0" * 64, model, radiomics, {network.name: content_hash(weights)}, (projection,), fusion, {}
    )
    parts = embed.Parts((projection,), bundle.network_hashes, radiomics)
    rows = embed.RowsRequest((parts,), model)
    both = np.zeros((2, 4))
    layers = fuse.LayersRequest(rows, Layers(np.array([-1, 0]), both, both + 1, np.zeros((2, 5))))
    return {
        "fusion_moments": rows,
        "fusion_steps": layers,
        "fusion_losses": layers,
        "fusion_scores": layers,
        "describe_cohort": describe_cohort.Request(),
        "count_variables": describe_cohort.CountRequest(("age",), np.array([[65.0]])),
        "count_ranges": discretise.Request(np.array([[100.0]])),
        "standardise": standardise.Request(extraction),
        "count_features": standardise.CountRequest(extraction, names, np.zeros((2, 1))),
        "screen_features": select_features.ScreenRequest(scale),
        "count_scaled_features": select_features.ThresholdsRequest(scale, np.zeros((2, 1))),
        "bin_features": select_features.BinsRequest(scale, np.array([[-1e9, 0.0, 1e9]] * 2)),
        "multiply_features": select_features.GramRequest(scale),
        "look_alike": select_features.LookRequest(
            scale, SiteLda(names, ("site_a", "site_b"), np.zeros((2, 2)), np.zeros(2))
        ),
        "logistic_lasso": select_features.LogisticLassoRequest(
            scale, Problems(np.ones((1, 2), dtype=bool), np.zeros((1, 2)))
        ),
        "calibrate_score": select_features.CalibrateRequest(radiomics, np.zeros(2)),
        "predictor_means": clinical_model.MeansRequest(),
        "clinical_step": clinical,
        "clinical_hats": clinical_model.HatRequest(middle, terms, np.zeros(3), np.eye(3)),
        "train_branch": train_branches.Request(network.name, 1, weights, True, 0.0),
        "embed_outputs": embed.OutputsRequest(network.name, weights, True),
        "evaluate_outputs": evaluate.OutputsRequest(network.name, weights),
        "evaluate_scores": evaluate.ScoresRequest(bundle),
        "evaluate_placements": evaluate.PlacementsRequest(bundle, many(one_branch)),
        "external_outputs": evaluate.OutputsRequest(network.name, weights),
        "external_scores": evaluate.ScoresRequest(bundle),
    }


def many(study: Study) -> ClassHistograms:
    """A hundred patients of each label in every bin of every model."""
    bins, k = study.evaluation.score_bins, len(study.model_names)
    counts = np.full((k, bins + 2), 100)
    part = Histograms(study.model_names, score_edges(k, bins), counts)
    return ClassHistograms(part, part)


QUESTIONS = [name for name in ANSWERS if name not in NOT_OF_A_CELL]


def prepare_scores(service: SiteService, requests: dict[str, Any], name: str) -> None:
    """Scores are asked for after the outputs."""
    before = {"evaluate_scores": "evaluate_outputs", "external_scores": "external_outputs"}
    before["evaluate_placements"] = "evaluate_outputs"
    before |= {f"fusion_{what}": "evaluate_outputs" for what in
               ("moments", "steps", "losses", "scores")}  # fmt: skip
    if name in before:
        service.answer(before[name], requests[before[name]])


@pytest.mark.parametrize("name", QUESTIONS)
def test_every_question_on_four_patients_is_refused_where_five_are_asked_for(
    plant, requests, name, monkeypatch
):
    _identify_process()
    service = plant(name, limit=5)
    prepare_scores(service, requests, name)
    with pytest.raises(SmallCellError, match="fewer than 5") as refusal:
        service.answer(name, requests[name])
    assert refusal.value.code == "E_SMALL_CELL"
    monkeypatch.setattr(courier, "open_service", lambda _: service)
    kind = f"{ANSWERS[name][0].verb}.{name}"
    message = Message(to_record(requests[name]), message_type=kind, dst_node_id=1)
    reply = courier.app(message, Context(1, 1, {}, RecordDict({}), {}))
    assert error_code(reply.content) == "E_SMALL_CELL"
    assert set(reply.content) == {"error"}
    assert dict(reply.content["error"]) == {"code": "E_SMALL_CELL"}


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_class_of_two_is_refused_by_all_that_tells_the_classes_apart(plant, requests, name):
    service = plant(name, limit=3)
    prepare_scores(service, requests, name)
    if name not in BY_LABEL:
        assert service.answer(name, requests[name]) is not None
        return
    with pytest.raises(SmallCellError, match="of 2 patients; nothing is told of fewer than 3"):
        service.answer(name, requests[name])


@pytest.mark.parametrize("name", QUESTIONS)
def test_the_same_questions_are_answered_where_one_patient_is_enough(plant, requests, name):
    service = plant(name, limit=1)
    prepare_scores(service, requests, name)
    assert isinstance(service.answer(name, requests[name]), ANSWERS[name][0].reply)


@pytest.mark.parametrize(("limit", "told"), [(1, [4, 6]), (6, [0, 6]), (7, [0, 0])])
def test_readings_of_fewer_than_the_hospital_allows_do_not_leave(limit, told):
    readings = np.random.default_rng(3).normal(size=(8, 3, 2))
    readings[:2, 1, 1] = np.nan
    readings[:4, 2, 0] = np.nan
    hospital = site(limit)
    hospital.training = None
    hospital.readings = lambda _cases, _extraction: (NAMES, readings)
    bench: Any = SimpleNamespace(site=hospital)
    np.testing.assert_array_equal(stability.answer(ReadAgain(Extraction({})), bench).n, told)


@pytest.mark.parametrize(
    "name", ["describe_cohort", "train_branch", "evaluate_scores", "evaluate_placements"]
)
def test_nothing_is_computed_for_a_refused_release(plant, requests, name, monkeypatch):
    service = plant(name, limit=5)
    for place in (
        "client.stages.describe_cohort.class_moments",
        "client.stages.train_branches.outputs",
        "client.stages.train_branches.train_round",
        "client.scoring.probabilities",
    ):
        monkeypatch.setattr(place, lambda *_, **__: pytest.fail("computed"))
    with pytest.raises(SmallCellError):
        service.answer(name, requests[name])


def tails(below: list[int], n: int, least: int) -> list[int]:
    site = SimpleNamespace(policy=made_policy(release={"min_tail": least}))
    counts = CountsBelow(("age",), np.array([n]), np.array([below]))
    found: list[int] = without_tails(site, counts).below[0].tolist()  # type: ignore[arg-type]
    return found


def test_the_few_at_either_end_are_not_to_be_found() -> None:
    assert tails([0, 1, 2, 3, 10, 17, 18, 19, 20], 20, 3) == [0, 0, 0, 3, 10, 17, 20, 20, 20]
    assert tails([0, 1, 19, 20], 20, 1) == [0, 1, 19, 20]
    assert tails([0, 0], 0, 3) == [0, 0]


def test_fewer_patients_than_two_ends_have_are_told_as_none_or_all() -> None:
    assert tails([0, 1, 2, 3, 4], 4, 3) == [0, 0, 0, 4, 4]


def told(scores: Any, bins: int, most: int) -> Any:
    site = SimpleNamespace(policy=made_policy(release={"max_score_bins": most}))
    return told_scores(site, np.asarray(scores), bins)  # type: ignore[arg-type]


def test_scores_are_told_of_in_the_hospitals_own_bins() -> None:
    found = told([0.0, 0.0199, 0.02, 0.5, 1.0, np.nan], 1000, 50)
    np.testing.assert_allclose(found, [0.01, 0.01, 0.03, 0.51, 0.99, np.nan])
    exact = [0.123, 0.987]
    assert told(exact, 50, 50).tolist() == told(exact, 40, 50).tolist() == exact


@pytest.mark.parametrize(("most", "at_most"), [(100, 0.002), (50, 0.005)])
def test_an_auc_moves_by_no_more_than_the_policy_says(most: int, at_most: float) -> None:
    rng = np.random.default_rng(7)
    moved = []
    for _ in range(200):
        labels = rng.integers(0, 2, 200)
        scores = 1 / (1 + np.exp(-rng.normal(labels - 0.5, 1.0)))
        pair = (told(scores, 1000, bins) for bins in (1000, most))
        one, two = (roc_auc_score(labels, found) for found in pair)
        moved.append(abs(one - two))
    assert np.quantile(moved, 0.95) < at_most


def test_rounded_scores_keep_the_sums_in_step() -> None:
    labels = np.arange(60) % 2
    scores = told(np.linspace(0.01, 0.99, 60), 1000, 50)
    sums = score_sums(scores, labels, bins=1000, calibration_bins=10, threshold=0.437)
    assert (sums.negatives + sums.positives > 0).sum() <= 50
    assert at_threshold(sums, 0.3).tp == int((scores[labels == 1] >= 0.3).sum())
