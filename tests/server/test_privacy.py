import numpy as np
import pytest

from server.coordinator import Coordinator
from server.federation import settle
from server.privacy import (
    agree_on_budget,
    privacy_results,
    rounds_left,
    total_privacy,
    with_replies,
)
from server.progress import LoggedProgress
from server.study import BranchesRecord, NetworkRecord, RoundRecord, Study
from server.study_folder import StudyFolder
from shared.config import all_networks
from shared.errors import BudgetError, FederationError
from shared.privacy import Spending, epsilon
from shared.scores import score_sums
from shared.stages.train_branches import BudgetReply, Reply

DP = {"cnn": {"noise_multiplier": 2.0, "epsilon": 8.0}}
SITES = ("site_a", "site_b")


def booked(site, number, network="flat"):
    return Spending(f"{site}{network}{number}", "s", network, number, 2.0, 0.16, 6, 1e-5, 8.0)


def record(done, spent):
    rounds = tuple(RoundRecord(number, {}, None, None, 0, 0) for number in range(done + 1))
    return NetworkRecord(rounds, 0, False, 3, spent=spent)


@pytest.fixture
def settings(study, change):
    """Two private networks: flat for three rounds, deep for two."""
    branches = [
        {"name": "flat", "kind": "2.5d", "training": {"rounds": 3}},
        {"name": "deep", "kind": "3d", "training": {"rounds": 2}},
    ]
    return change(study, branches=branches, dp=DP)


class Federation:
    """Sites that hold ledgers; keeps what was asked of whom."""

    def __init__(self, ledgers, refuses=()):
        self.ledgers, self.refuses, self.asked = ledgers, refuses, []

    def ask(self, question, request, sites, *, quorum=None):
        self.asked.append((tuple(sites), request))
        fail = {site: BudgetError.code for site in sites if site in self.refuses}
        replies = {s: BudgetReply(self.ledgers.get(s, ())) for s in sites if s not in fail}
        return settle(question.name, replies, fail, quorum)


def coordinator(settings, folder, federation):
    return Coordinator(settings, federation, StudyFolder(folder), folder, LoggedProgress())


def test_each_site_is_asked_by_itself_and_told_its_own_spending_alone(settings, tmp_path):
    spent = {site: (booked(site, 1),) for site in SITES}
    study = Study(train_branches=BranchesRecord({"flat": record(1, spent)}))
    federation = Federation({})
    agree_on_budget(study, coordinator(settings, tmp_path, federation))
    assert [sites for sites, _ in federation.asked] == [("site_a",), ("site_b",)]
    for (site,), request in federation.asked:
        assert request.spent == spent[site]
        assert request.rounds == {"flat": 2, "deep": 2}


def test_what_a_site_has_spent_is_kept_across_a_restart(settings, tmp_path):
    ledger = (booked("site_a", 1), booked("site_a", 2), booked("site_a", 1, "deep"))
    study = Study(train_branches=BranchesRecord({"flat": record(1, {"site_a": ledger[:1]})}))
    c = coordinator(settings, tmp_path, Federation({"site_a": ledger}))
    agree_on_budget(study, c)
    kept = c.folder.load().train_branches.networks["flat"].spent
    assert kept == {"site_a": ledger[:2]}


def test_a_site_that_has_forgotten_takes_nothing_off_the_record(settings, tmp_path):
    spent = {"site_a": (booked("site_a", 1),)}
    study = Study(train_branches=BranchesRecord({"flat": record(1, spent)}))
    after = agree_on_budget(study, coordinator(settings, tmp_path, Federation({"site_a": ()})))
    assert after.train_branches.networks["flat"].spent == spent


def test_a_refusal_stops_the_run_and_names_the_site(settings, tmp_path):
    study = Study(train_branches=BranchesRecord({}))
    federation = Federation({}, refuses=("site_b",))
    with pytest.raises(FederationError, match="agree_budget failed at site_b: E_BUDGET"):
        agree_on_budget(study, coordinator(settings, tmp_path, federation))


@pytest.mark.parametrize("why", ["no dp", "all rounds done"])
def test_nobody_is_asked_where_there_is_nothing_to_agree(settings, change, tmp_path, why):
    if why == "no dp":
        settings = change(settings, dp=None)
    done = {"flat": record(3, {}), "deep": record(2, {})}
    study = Study(train_branches=BranchesRecord(done if why != "no dp" else {}))
    federation = Federation({})
    assert agree_on_budget(study, coordinator(settings, tmp_path, federation)) is study
    assert federation.asked == []


def test_a_rounds_replies_add_to_the_history():
    scores, labels = np.array([0.4, 0.6]), np.array([0, 1])
    tune = score_sums(scores, labels, bins=20, calibration_bins=2, threshold=float("nan"))
    replies = {
        site: Reply(None, 0, float("nan"), tune, 1.0, spent=(booked(site, 1), booked(site, 2)))
        for site in SITES
    }
    found = with_replies(record(1, {"site_a": (booked("site_a", 1),)}), replies)
    assert {site: [e.round for e in spent] for site, spent in found.spent.items()} == {
        "site_a": [1, 2],
        "site_b": [1, 2],
    }


def test_the_results_hold_each_sites_epsilon_and_its_history(settings):
    spent = {"site_a": tuple(booked("site_a", k) for k in range(1, 4))}
    found = privacy_results(record(3, spent), settings)["site_a"]
    assert found["epsilon"] == epsilon(spent["site_a"], 1e-5)
    assert found["delta"] == 1e-5
    assert found["history"][2] == {
        "round": 3,
        "noise_multiplier": 2.0,
        "sample_rate": 0.16,
        "steps": 6,
    }


def test_without_dp_there_is_no_epsilon(study):
    assert privacy_results(record(3, {}), study) is None
    assert total_privacy(BranchesRecord({"flat": record(3, {})}), study) is None


def test_all_networks_of_a_site_are_composed(settings):
    flat = tuple(booked("site_a", k) for k in range(1, 4))
    deep = tuple(booked("site_a", k, "deep") for k in range(1, 3))
    both = {"flat": record(3, {"site_a": flat}), "deep": record(2, {"site_a": deep})}
    found = total_privacy(BranchesRecord(both), settings)
    one = epsilon(flat, 1e-5)
    assert found == {"site_a": {"epsilon": epsilon((*flat, *deep), 1e-5), "delta": 1e-5}}
    assert one < found["site_a"]["epsilon"] < one + epsilon(deep, 1e-5)


def test_the_networks_trained_without_a_fold_are_asked_for_too(settings, change, tmp_path):
    out_of_fold = change(
        settings,
        fusion={"fit_on": "out_of_fold"},
        embedding={"reduce": "logit", "dimension": 1},
    )
    federation = Federation({})
    agree_on_budget(Study(), coordinator(out_of_fold, tmp_path, federation))
    (_, request), _ = federation.asked
    names = {network.name for network in all_networks(out_of_fold)}
    assert set(request.rounds) == names
    assert len(names) > 2


def test_rounds_left_are_those_not_trained_yet():
    assert (rounds_left(None, 5), rounds_left(record(0, {}), 5), rounds_left(record(5, {}), 5)) == (
        5,
        5,
        0,
    )
