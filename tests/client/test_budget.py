import functools
import shutil

import pytest

from client.budget import agree, pay_for_round
from client.ledger import NAME
from client.service import SiteService
from client.stages import train_branches
from shared.config import digest
from shared.errors import BudgetError, CodecError, FederationError, PolicyError, TrainingError
from shared.networks import build_network, get_weights
from shared.privacy import Spending, epsilon
from shared.stages.train_branches import AGREE_BUDGET, BudgetRequest, Request
from simulation.local import LocalFederation
from tests.site_policies import write_policy

DP = {"cnn": {"noise_multiplier": 2.0, "epsilon": 6.0}}
AT_MOST_4 = {"cnn": {"noise_multiplier": 2.0, "epsilon": 4.0}}
FLAT = {"name": "flat", "kind": "2.5d", "network": "resnet10", "size": [16, 16]}
FLAT["training"] = {"rounds": 3, "batch_size": 2}


@pytest.fixture
def private_study(study, change):
    """One small network for three rounds; its noise would allow eight."""
    return change(study, branches=[FLAT], dp=DP, cohort={"min_cases": 4})


@pytest.fixture
def site_file(make_site, tmp_path):
    return make_site(tmp_path / "site_a", n=16)


@pytest.fixture
def opened(site_file, private_study):
    """The site as a new process opens it."""

    def at(study=private_study, **dp):
        if dp:
            limits = ", ".join(f"{key}: {value}" for key, value in dp.items())
            write_policy(site_file, f"release: {{min_cell: 1}}\ndp: {{{limits}}}\n")
        return SiteService.open(site_file, study, threads=1)

    return at


def spend(service, rounds):
    """Pay for rounds without training them."""
    bench = service.bench
    network = bench.network("flat")
    spent = ()
    for number in rounds:
        spent = pay_for_round(bench, network, round_number=number, n=8)
    return spent


def ask(service, spent=(), rounds=3):
    return service.answer("agree_budget", BudgetRequest({"flat": rounds}, tuple(spent))).spent


@functools.cache
def fitting(n=8, sigma=2.0, limit=6.0):
    """How many rounds fit, by a count from below."""
    rounds = 0
    while True:
        steps = (rounds + 1) * max(1, round(n / 2))
        if epsilon([cost(steps, sigma=sigma, n=n)], 1e-5) > limit:
            return rounds
        rounds += 1


def cost(steps, *, sigma=2.0, n=8, **changes):
    fields = {"id": f"x{steps}", "study": "s", "network": "flat", "round": 1, "steps": steps}
    fields |= {"noise_multiplier": sigma, "sample_rate": 2 / n, "delta": 1e-5, "budget": 6.0}
    return Spending(**fields | changes)


def test_a_run_that_fits_is_agreed_to_and_costs_nothing_yet(opened, site_file):
    assert ask(opened()) == ()
    assert not (site_file.parent / NAME).exists()


def test_a_run_that_does_not_fit_is_refused_before_anything_is_spent(opened, site_file):
    fit = fitting()
    assert ask(opened(), rounds=fit) == ()
    with pytest.raises(BudgetError) as refused:
        ask(opened(), rounds=fit + 1)
    text = str(refused.value)
    assert refused.value.code == "E_BUDGET"
    assert f"flat: {fit + 1} more rounds" in text
    assert f"enough for {fit} rounds" in text
    assert "dp.cnn.epsilon is 6" in text
    assert "Spent so far: 0.00; left: 6.00" in text
    assert "noise_multiplier" in text
    assert not (site_file.parent / NAME).exists()


def test_a_booking_says_what_the_round_costs(opened, private_study, site_file):
    (entry,) = spend(opened(), [1])
    assert (entry.study, entry.network, entry.round) == (digest(private_study), "flat", 1)
    assert (entry.noise_multiplier, entry.sample_rate, entry.steps) == (2.0, 0.25, 4)
    assert (entry.delta, entry.budget) == (1e-5, 6.0)
    assert entry.id in (site_file.parent / NAME).read_text()


def test_rounds_are_refused_once_the_budget_is_spent(opened):
    service, fit = opened(), fitting()
    assert len(spend(service, range(fit))) == fit
    with pytest.raises(BudgetError, match="enough for 0 rounds"):
        spend(service, [fit])
    assert len(service.bench.ledger.entries()) == fit


def forget_cache(folder):
    shutil.rmtree(folder / "cache")


def forget_ledger(folder):
    (folder / NAME).unlink()


def forget_both(folder):
    forget_cache(folder)
    forget_ledger(folder)


@pytest.mark.parametrize("forget", [forget_cache, forget_ledger])
def test_removing_one_copy_gives_nothing_back(opened, site_file, forget):
    fit = fitting()
    spend(opened(), range(fit))
    forget(site_file.parent)
    with pytest.raises(BudgetError):
        spend(opened(), [fit])


def test_removing_both_copies_gives_nothing_back_in_a_run_that_goes_on(opened, site_file):
    fit = fitting()
    told = spend(opened(), range(fit))
    forget_both(site_file.parent)
    service = opened()
    with pytest.raises(BudgetError, match="enough for 0 rounds"):
        ask(service, told, rounds=1)
    assert opened().bench.ledger.entries() == told
    with pytest.raises(BudgetError):
        spend(opened(), [fit])


def test_the_larger_of_the_two_histories_counts(opened):
    service = opened()
    ours = spend(service, [1, 2])
    assert ask(service, ours[:1]) == ours
    assert ask(service, ()) == ours


def test_a_history_of_another_study_is_refused(opened):
    with pytest.raises(CodecError, match="another study"):
        ask(opened(), [cost(4)])


def test_each_network_has_a_budget_of_its_own(opened, private_study, change):
    branches = [FLAT, FLAT | {"name": "second"}]
    service = opened(change(private_study, branches=branches))
    fit = fitting()
    spend(service, range(fit))
    bench = service.bench
    assert len(pay_for_round(bench, bench.network("second"), round_number=1, n=8)) == 1


def test_the_hospitals_limit_counts_networks_and_studies_together(opened, private_study, change):
    study = change(private_study, dp=AT_MOST_4)
    fit = fitting(limit=4.0)
    first = fit // 2
    spend(opened(study, max_epsilon=4.0), range(first))
    service = opened(change(study, name="other"))
    assert ask(service, rounds=fit - first) == ()
    with pytest.raises(BudgetError, match=r"dp.max_epsilon is 4.*enough for \d rounds"):
        ask(service, rounds=fit - first + 1)
    spend(service, range(fit - first))
    with pytest.raises(BudgetError, match=r"dp\.max_epsilon"):
        spend(service, [1])


def test_the_hospitals_limit_is_checked_for_all_networks_before_the_first(
    opened, private_study, change
):
    branches = [FLAT, FLAT | {"name": "second"}]
    study = change(private_study, branches=branches, dp=AT_MOST_4)
    bench = opened(study, max_epsilon=4.0).bench
    half = fitting(limit=4.0) // 2
    assert agree(bench, {"flat": half, "second": half}, ()) == ()
    with pytest.raises(BudgetError, match="flat, second"):
        agree(bench, {"flat": half + 1, "second": half + 1}, ())


def question(service, study, *, train=True):
    network = service.bench.network("flat")
    weights = get_weights(build_network(network, seed=study.seed))
    return Request("flat", 1, weights, train, 0.0)


def test_a_hospital_with_a_limit_trains_nothing_without_noise(opened, private_study, change):
    plain = change(private_study, dp=None)
    with pytest.raises(PolicyError, match=r"epsilon is infinite.*dp\.max_epsilon.*is 100"):
        opened(plain, max_epsilon=100.0)
    service = opened(private_study)
    service.bench.site.study = plain
    with pytest.raises(BudgetError, match=r"epsilon is infinite.*dp\.max_epsilon.*is 100"):
        service.answer("train_branch", question(service, plain))


def test_a_round_is_on_disk_before_its_training_begins(opened, private_study, monkeypatch):
    service, seen = opened(), []

    def breaks(*_):
        seen.extend(opened().bench.ledger.entries())
        raise TrainingError("the power failed")

    monkeypatch.setattr(train_branches, "train_privately", breaks)
    with pytest.raises(TrainingError):
        service.answer("train_branch", question(service, private_study))
    assert [entry.round for entry in seen] == [1]
    assert opened().bench.ledger.entries() == tuple(seen)


def test_a_private_round_tells_its_history_and_no_loss(opened, private_study):
    service = opened()
    reply = service.answer("train_branch", question(service, private_study))
    assert reply.loss != reply.loss
    assert [entry.round for entry in reply.spent] == [1]
    assert reply.weights is not None
    assert (reply.weights.vector != question(service, private_study).weights.vector).any()


def test_scoring_costs_nothing(opened, private_study):
    service = opened()
    service.answer("train_branch", question(service, private_study, train=False))
    assert service.bench.ledger.entries() == ()


def test_only_the_code_of_a_refusal_reaches_the_server(site_file, private_study):
    federation = LocalFederation({"site_a": site_file}, private_study, threads=1)
    request = BudgetRequest({"flat": 300}, ())
    with pytest.raises(FederationError, match="agree_budget failed at site_a: E_BUDGET"):
        federation.ask(AGREE_BUDGET, request, ["site_a"])
