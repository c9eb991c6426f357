import json
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from server.coordinator import Coordinator
from server.federation import settle
from server.progress import LoggedProgress
from server.stages import train_branches
from server.stages.train_branches import (
    best_weights,
    initial_seed,
    last_weights,
    run,
    with_scores,
)
from server.study import CohortRecord, NetworkRecord, RoundRecord, Study
from server.study_folder import StudyFolder
from shared.branches import Training
from shared.config import networks
from shared.errors import AggregationError, CohortError, ConfigError, FederationError
from shared.initial_weights import Origin
from shared.moments import class_moments
from shared.networks import Weights, get_weights, layout_of
from shared.privacy import Spending
from shared.scores import score_sums
from shared.stages.describe_cohort import Description, SplitCount
from shared.stages.train_branches import Reply

SITES = ("site_a", "site_b", "site_c")
ROUNDS = 3


def tiny_network(_network, *, seed):
    """A network of three weights in the place of a ResNet."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return torch.nn.Linear(2, 1)


LAYOUT = layout_of(torch.nn.Linear(2, 1))


@pytest.fixture
def settings(study, change, monkeypatch):
    """One network, three rounds, three training sites."""
    monkeypatch.setattr(train_branches, "build_network", tiny_network)
    monkeypatch.setattr(train_branches, "network_layout", lambda _: LAYOUT)
    branch = {"name": "flat", "kind": "2.5d", "training": {"rounds": ROUNDS}}
    return change(study, sites={"training": list(SITES)}, branches=[branch])


def tune_scores(*scores):
    """Half negative, half positive cases with these scores."""
    labels = np.arange(len(scores)) % 2
    return score_sums(
        np.array(scores), labels, bins=100, calibration_bins=2, threshold=float("nan")
    )


def trained(site, request):
    """A site's honest reply: a step that depends on the site, the round and the weights."""
    step = 0.1 * (1 + SITES.index(site)) / request.round
    weights = Weights(LAYOUT, (request.weights.vector * 0.9 + step).astype(np.float32))
    n_cases = 10 + SITES.index(site)
    return Reply(weights if request.train else None, n_cases, 0.5, tune_scores(0.4, 0.6), 1.4)


class Federation:
    """Sites as a function from site and request to reply; keeps what was asked."""

    def __init__(self, answer=trained):
        self.answer, self.asked = answer, []

    def ask(self, question, request, sites, *, quorum=None, keep):
        self.asked.append(request)
        replies, failures = {}, {}
        for site in sites:
            try:
                replies[site] = keep(site, self.answer(site, request))
            except CohortError as error:
                failures[site] = error.code
        return settle(question.name, replies, failures, quorum)


def coordinator(settings, folder, federation):
    return Coordinator(settings, federation, StudyFolder(folder), folder, LoggedProgress())


def train(settings, folder, answer=trained):
    """Run the stage from wherever the folder stands; the final weights' bits."""
    federation = Federation(answer)
    c = coordinator(settings, folder, federation)
    study = run(c.folder.load(), c)
    return study, c.folder.get_weights("flat", ROUNDS, LAYOUT).vector.tobytes(), federation


def in_round(number, sites, reply):
    """Honest replies but in one round at some sites."""

    def answer(site, request):
        if site in sites and request.round == number and request.train:
            return reply(site, request)
        return trained(site, request)

    return answer


def fails(_site, _request):
    raise CohortError("case DOE^JOHN has no mask")


def with_nan(site, request):
    reply = trained(site, request)
    reply.weights.vector[0] = np.nan
    return reply


def files_of(folder):
    return {p.name: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_each_round_is_the_mean_weighted_by_cases_of_what_the_sites_trained(settings, tmp_path):
    _, found, _ = train(settings, tmp_path)
    seed = initial_seed(settings.seed, "flat")
    expected = get_weights(tiny_network(None, seed=seed)).vector.astype(np.float64)
    for number in range(1, ROUNDS + 1):
        steps = 0.1 * np.array([1, 2, 3]) / number
        expected = 0.9 * expected + np.average(steps, weights=[10, 11, 12])
    np.testing.assert_allclose(np.frombuffer(found, np.float32), expected, rtol=1e-6)


def test_the_last_question_only_scores(settings, tmp_path):
    _, _, federation = train(settings, tmp_path)
    asked = [(request.round, request.train) for request in federation.asked]
    assert asked == [(1, True), (2, True), (3, True), (4, False)]


def test_the_record_says_who_trained_and_how_the_aggregate_scored(settings, tmp_path):
    study, _, _ = train(settings, tmp_path)
    record = study.train_branches.networks["flat"]
    assert (record.finished, record.n_parameters, len(record.rounds)) == (True, 3, ROUNDS + 1)
    assert record.rounds[0].sites == {}
    assert record.rounds[1].sites["site_b"] == (11, 0.5)
    moved = [(entry.bytes_down, entry.bytes_up) for entry in record.rounds]
    assert moved == [(0, 0), (36, 36), (36, 36), (36 + 36, 36)]
    assert all(entry.tune_auc == 1.0 for entry in record.rounds)
    assert record.rounds[1].tune_loss == pytest.approx(1.4 * 3 / 6)


def test_the_best_round_is_kept_and_the_last(settings, tmp_path):
    def best_is_one(site, request):
        tune_loss_sum = 0.9 if request.round == 2 else 1.4
        reply = trained(site, request)
        return Reply(reply.weights, reply.n_cases, 0.5, tune_scores(0.4, 0.6), tune_loss_sum)

    study, _, _ = train(settings, tmp_path, best_is_one)
    assert study.train_branches.networks["flat"].best_round == 1
    kept = sorted(path.name for path in (tmp_path / "weights").iterdir())
    assert kept == ["flat-r0001.safetensors", "flat-r0003.safetensors"]


def test_the_best_rounds_weights_are_those_that_go_on(settings, tmp_path):
    study, _, _ = train(settings, tmp_path)
    c = coordinator(settings, tmp_path, Federation())
    (network,) = networks(settings)
    best = study.train_branches.networks["flat"].best_round
    expected = c.folder.get_weights("flat", best, LAYOUT).vector
    np.testing.assert_array_equal(best_weights(study, c, network).vector, expected)


def files_when_saved(folder, number):
    """The files once a round is saved, which goes on while the sites work on the next."""
    for _ in range(500):
        record = json.loads((folder / "train_branches.json").read_text())["value"]["networks"]
        if record and record["flat"]["rounds"][-1]["round"] == number:
            files = set(files_of(folder))
            kept = {f"flat-r{n:04d}.safetensors" for n in (number, record["flat"]["best_round"])}
            if files == {"train_branches.json", *kept}:
                return files_of(folder)
        time.sleep(0.01)
    raise AssertionError(f"round {number} was not saved")


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize(
    ("sites", "reply", "error", "named"),
    [
        (["site_b", "site_c"], fails, FederationError, "site_b: E_COHORT, site_c: E_COHORT"),
        (["site_c"], fails, FederationError, "site_c: E_COHORT"),
        (["site_b"], with_nan, AggregationError, "site_b: its weights hold NaN"),
    ],
    ids=["two of three fail", "one fails", "one sends NaN"],
)
def test_a_refused_round_changes_nothing_and_a_good_one_follows(
    settings, tmp_path, number, sites, reply, error, named
):
    before = {}

    def remembering(site, request):
        if request.round == number and not before:
            before.update(files_when_saved(tmp_path / "run", number - 1))
        return in_round(number, sites, reply)(site, request)

    with pytest.raises(error, match=named) as refusal:
        train(settings, tmp_path / "run", remembering)
    assert "DOE" not in str(refusal.value)
    assert files_of(tmp_path / "run") == before
    study = StudyFolder(tmp_path / "run").load()
    assert study.train_branches.networks["flat"].rounds[-1].round == number - 1
    _, resumed, federation = train(settings, tmp_path / "run")
    assert federation.asked[0].round == number
    assert resumed == train(settings, tmp_path / "whole")[1]


def test_with_a_quorum_a_round_goes_on_without_a_site(settings, change, tmp_path):
    settings = change(settings, aggregation={"quorum": 2})
    study, _, _ = train(settings, tmp_path, in_round(2, ["site_a"], fails))
    rounds = study.train_branches.networks["flat"].rounds
    assert [sorted(entry.sites) for entry in rounds[1:]] == [
        list(SITES), ["site_b", "site_c"], list(SITES),
    ]  # fmt: skip


def test_below_the_quorum_the_round_is_refused_and_the_sites_are_named(settings, change, tmp_path):
    settings = change(settings, aggregation={"quorum": 2})
    with pytest.raises(FederationError, match=r"site_a: E_COHORT, site_c: E_COHORT .1 of the 2"):
        train(settings, tmp_path, in_round(1, ["site_a", "site_c"], fails))


def test_an_interrupted_fedadam_goes_on_with_its_moments(settings, change, tmp_path):
    settings = change(settings, aggregation={"strategy": "FedAdam", "arguments": {"eta": 0.01}})
    with pytest.raises(FederationError):
        train(settings, tmp_path / "run", in_round(3, ["site_a"], fails))
    _, resumed, _ = train(settings, tmp_path / "run")
    assert resumed == train(settings, tmp_path / "whole")[1]


def test_a_site_without_a_case_for_the_network_has_no_part_in_the_mean(settings, tmp_path):
    def empty(_site, _request):
        return Reply(None, 0, 0.0, tune_scores(), 0.0)

    study, _, _ = train(settings, tmp_path, in_round(1, ["site_a"], empty))
    assert study.train_branches.networks["flat"].rounds[1].sites["site_a"] == (0, 0.0)


def test_a_finished_network_asks_nothing(settings, tmp_path):
    train(settings, tmp_path)
    assert train(settings, tmp_path)[2].asked == []


def test_fedprox_sends_its_mu_in_training_rounds_alone(settings, change, tmp_path):
    settings = change(
        settings, aggregation={"strategy": "FedProx", "arguments": {"proximal_mu": 0.25}}
    )
    _, _, federation = train(settings, tmp_path)
    assert [request.proximal_mu for request in federation.asked] == [0.25, 0.25, 0.25, 0.0]


def scored(auc_scores, *rounds, **training):
    record = NetworkRecord(rounds, 0, False, 3)
    reply = Reply(None, 0, 0.0, tune_scores(*auc_scores), 1.0)
    return with_scores(record, {"site_a": reply}, Training(**training))


def test_the_round_with_the_smallest_tune_loss_is_best_even_if_another_has_a_larger_auc():
    rounds = [RoundRecord(1, {}, 0.9, 0.8, 0, 0), RoundRecord(2, {}, 0.6, 0.3, 0, 0)]
    last = RoundRecord(3, {}, None, None, 0, 0)
    assert scored((0.4, 0.6), RoundRecord(0, {}, 1.0, 0.1, 0, 0), *rounds, last).best_round == 2


def test_of_rounds_with_equal_loss_the_one_with_the_larger_auc_is_best():
    rounds = [RoundRecord(n, {}, area, 0.2, 0, 0) for n, area in ((0, 1.0), (1, 0.6), (2, 0.9))]
    assert scored((0.4, 0.6), *rounds, RoundRecord(3, {}, None, None, 0, 0)).best_round == 2


def test_where_no_auc_is_defined_the_smallest_loss_is_best():
    rounds = [
        RoundRecord(n, {}, float("nan"), loss, 0, 0) for n, loss in ((0, 0.1), (1, 2.0), (2, 1.5))
    ]
    found = scored((0.4,), *rounds, RoundRecord(3, {}, None, None, 0, 0))
    assert np.isnan(found.rounds[-1].tune_auc)
    assert found.best_round == 3
    assert scored((0.4,), *rounds[:-1], RoundRecord(2, {}, None, None, 0, 0)).best_round == 2


def test_by_auc_the_round_with_the_largest_auc_is_best_and_of_equal_ones_the_smaller_loss():
    rounds = [RoundRecord(n, {}, area, loss, 0, 0) for n, area, loss in (
        (0, 1.0, 0.1), (1, 0.9, 0.8), (2, 0.9, 0.7), (3, float("nan"), 0.1),
    )]  # fmt: skip
    found = scored((0.6, 0.4), *rounds, RoundRecord(4, {}, None, None, 0, 0), best_by="auc")
    assert found.rounds[-1].tune_auc == 0.0
    assert found.best_round == 2


def nobody_to_judge(site, request):
    """An honest reply of a site without tune cases."""
    reply = trained(site, request)
    return replace(reply, tune=tune_scores(), tune_loss_sum=0.0)


def test_without_tune_cases_the_last_round_is_the_best(settings, tmp_path):
    study, _, _ = train(settings, tmp_path, nobody_to_judge)
    record = study.train_branches.networks["flat"]
    assert record.best_round == ROUNDS
    assert {(entry.tune_auc, entry.tune_loss) for entry in record.rounds} == {(None, None)}


def with_training(settings, change, **training):
    """The study with the branch trained otherwise."""
    branch = {"name": "flat", "kind": "2.5d", "training": {"rounds": ROUNDS} | training}
    return change(settings, branches=[branch])


def test_patience_without_tune_cases_is_refused(settings, change, tmp_path):
    settings = with_training(settings, change, patience=2)
    with pytest.raises(ConfigError, match="patience needs patients in the split 'tune'"):
        train(settings, tmp_path, nobody_to_judge)


LOSSES = [9.0, 2.0, 1.0, 1.5, 1.0, 0.5, 0.4, 0.3, 0.2]


def rising_after_the_second(site, request):
    """The tune loss of the aggregates of rounds 0, 1, 2 ...; round 2 is the best for a while."""
    reply = trained(site, request)
    return replace(reply, tune_loss_sum=LOSSES[request.round - 1])


@pytest.mark.parametrize(
    ("patience", "last", "best"), [(1, 3, 2), (2, 4, 2), (3, 8, 8), (None, 8, 8)]
)
def test_training_ends_when_patience_does(settings, change, tmp_path, patience, last, best):
    settings = with_training(settings, change, rounds=8, patience=patience)
    federation = Federation(rising_after_the_second)
    c = coordinator(settings, tmp_path, federation)
    study = run(c.folder.load(), c)
    record = study.train_branches.networks["flat"]
    assert (record.rounds[-1].round, record.best_round, record.finished) == (last, best, True)
    assert [request.round for request in federation.asked] == list(range(1, last + 2))
    kept = sorted(path.name for path in (tmp_path / "weights").iterdir())
    assert kept == sorted({f"flat-r{n:04d}.safetensors" for n in (best, last)})
    (network,) = networks(settings)
    for weights_of, number in ((best_weights, best), (last_weights, last)):
        expected = c.folder.get_weights("flat", number, LAYOUT).vector
        np.testing.assert_array_equal(weights_of(study, c, network).vector, expected)
    assert train_again(settings, tmp_path) == []


def train_again(settings, folder):
    """What a finished run still asks."""
    federation = Federation(fails)
    c = coordinator(settings, folder, federation)
    run(c.folder.load(), c)
    return federation.asked


@pytest.mark.parametrize("number", [2, 4, 5])
def test_early_stopping_survives_an_interruption(settings, change, tmp_path, number):
    settings = with_training(settings, change, rounds=8, patience=2)

    def interrupted(site, request):
        if request.round == number:
            raise CohortError("the power is out")
        return rising_after_the_second(site, request)

    def record_of(folder, answer):
        c = coordinator(settings, folder, Federation(answer))
        return run(c.folder.load(), c).train_branches.networks["flat"]

    with pytest.raises(FederationError):
        record_of(tmp_path / "run", interrupted)
    resumed = record_of(tmp_path / "run", rising_after_the_second)
    assert resumed == record_of(tmp_path / "whole", rising_after_the_second)
    assert resumed.rounds[-1].round == 4


def described(n, n_positive):
    """A training site's cohort, of which only the split to train on matters here."""
    none = class_moments((), np.empty((0, 0)), np.empty(0, np.int64))
    return Description(n, {"train": SplitCount(n, n_positive)}, {}, {}, none)


@pytest.mark.parametrize(("class_weights", "expected"), [("balanced", 31 / 11), ("none", 1.0)])
def test_balanced_positives_count_pooled_negatives_over_positives(
    settings, change, tmp_path, class_weights, expected
):
    settings = with_training(settings, change, class_weights=class_weights)
    cohort = CohortRecord({"site_a": described(20, 3), "site_b": described(22, 8)})
    federation = Federation()
    run(Study(describe_cohort=cohort), coordinator(settings, tmp_path, federation))
    assert {request.positive_weight for request in federation.asked} == {expected}


def test_each_network_starts_from_weights_of_its_own():
    assert initial_seed(1, "flat") != initial_seed(1, "deep")
    assert initial_seed(1, "flat") != initial_seed(2, "flat")


def test_an_empty_study_gets_an_empty_record_first(settings, tmp_path):
    c = coordinator(settings, tmp_path, Federation(fails))
    with pytest.raises(FederationError):
        run(Study(), c)
    assert list(c.folder.load().train_branches.networks) == ["flat"]


def test_the_first_weights_are_those_of_the_file_and_the_record_says_so(
    settings, tmp_path, monkeypatch
):
    origin = Origin("trifed", "a" * 64, 2, (), None)
    ones = Weights(LAYOUT, np.ones(3, np.float32))
    monkeypatch.setattr(train_branches, "begin", lambda *_: (ones, origin))
    study, _, federation = train(settings, tmp_path)
    np.testing.assert_array_equal(federation.asked[0].weights.vector, ones.vector)
    assert study.train_branches.networks["flat"].origin == origin


def test_a_network_that_has_begun_does_not_look_for_its_file_again(settings, tmp_path, monkeypatch):
    with pytest.raises(FederationError):
        train(settings, tmp_path / "run", in_round(2, ["site_a"], fails))
    monkeypatch.setattr(train_branches, "begin", None)
    study, _, _ = train(settings, tmp_path / "run")
    assert study.train_branches.networks["flat"].finished


def test_a_round_that_is_dropped_when_patience_ends_is_still_on_the_privacy_bill(
    settings, change, tmp_path
):
    """Its noised weights have left the hospital, whatever becomes of them."""

    def bills(site, request):
        paid = Spending(
            f"{site}{request.round}", "s", "flat", request.round, 2.0, 0.2, 5, 1e-5, 8.0
        )
        return replace(rising_after_the_second(site, request), spent=(paid,))

    settings = with_training(settings, change, rounds=8, patience=1)
    c = coordinator(settings, tmp_path, Federation(bills))
    record = run(c.folder.load(), c).train_branches.networks["flat"]
    assert record.rounds[-1].round == 3
    assert [[entry.round for entry in record.spent[site]] for site in SITES] == [[1, 2, 3, 4]] * 3
