"""A whole study with secure sums: the same numbers, and no hospital's own are known."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file

from client.forecast.forecast import forecast
from client.service import SiteService
from server.report import read_results, write_report
from server.secure_federation import ALL_SITES
from server.stages.train_branches import initial_seed
from server.study_folder import StudyFolder
from shared.config import load_study, networks
from shared.errors import PolicyError, SecureSumError
from shared.networks import build_network
from shared.stages.secure_sums import PREFIX, SUMMED_NAMES
from shared.stages.standardise import Request
from simulation.simulate import verify_folder
from tests.conftest import changed, flat_branch
from tests.finished_runs import (
    TINY,
    FinishedRun,
    recorded_questions,
    recorded_releases,
    results_of,
    run_without_report,
)
from tests.site_policies import write_policy

SUMS = {"exchange": "statistics", "inputs": ["radiomics_score", "clinical"]}
STATISTICS = {
    "branches": [],
    "fusion": SUMS,
    "selection": {"lasso": "logistic", "screen": "mann_whitney"},
    "standardise": {"clip_quantile": 0.05},
}
OWN = {
    "radiomics",
    "fusion",
    "study",
    "settings_yaml",
    "secure_sums",
    "disclosed",
    "external_looks",
}
"""What must differ: the study's hash, and what is not known of a hospital."""


@pytest.fixture(scope="module")
def run_at(finished_run, tmp_path_factory):
    """Run the tiny study with some sections changed, at copies of hospitals that have extracted."""

    def run(name, policy, **changes):
        out = tmp_path_factory.mktemp(name) / "run"
        shutil.copytree(finished_run.out / "cohort", out / "cohort")
        files = sorted(out.glob("cohort/*/site.yaml"))
        release = "release: {min_cell: 1, max_score_bins: 100}"
        write_policy(files[0], f"{release}\nsecagg: {{required: {policy}}}\n")
        study = changed(load_study(TINY), explain=None, **changes)
        with recorded_questions() as asked, recorded_releases() as released:
            run_without_report(study, out, files)
        (out / "released.json").write_text(json.dumps(released))
        return FinishedRun(out, results_of(out), tuple(asked))

    return run


@pytest.fixture(scope="module")
def plain(run_at):
    return run_at("plain", "false", **STATISTICS)


@pytest.fixture(scope="module")
def secure(run_at):
    """One hospital's policy demands it, and the study says nothing of it."""
    return run_at("secure", "true", **STATISTICS)


def floats(value, at=""):
    """Every number of the results by its place."""
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        return {p: n for key, part in pairs for p, n in floats(part, f"{at}/{key}").items()}
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return {at: value} if plain else {}


def test_every_number_of_the_results_is_that_of_the_plain_run(plain, secure):
    told = [
        floats({k: v for k, v in run.results.items() if k not in OWN})
        | floats({k: v for k, v in run.results["radiomics"].items() if k != "site_differences"})
        | floats({k: v for k, v in run.results["fusion"].items() if k != "without_site"})
        for run in (plain, secure)
    ]
    assert told[0].keys() == told[1].keys()
    assert len(told[0]) > 500
    for place, value in told[0].items():
        assert told[1][place] == pytest.approx(value, rel=1e-9, abs=1e-9), place


def test_the_run_is_the_pooled_computation(secure):
    verification = verify_folder(secure.out)
    assert verification.passed, verification.checks


def test_no_own_number_that_is_only_added_is_asked_for(plain, secure):
    assert {name for name, _ in plain.asked} & SUMMED_NAMES
    asked = {name for name, _ in secure.asked}
    assert not asked & SUMMED_NAMES
    assert {"secure_key", "secure_peers", "sum_of_standardise", "sum_of_fusion_steps"} <= asked


def test_what_leaves_a_hospital_in_clear_beside_the_masks_holds_no_number(secure):
    rows = [row for row in secure.released if row["question"].startswith("sum_of_")]
    assert rows
    for row in rows:
        names = {item["name"] for item in row["items"]}
        assert "hidden" in names
        assert all(name == "hidden" or name.startswith("same/") for name in names)


def test_all_that_leaves_was_foreseen_with_its_size_under_masks(secure, trained, tmp_path):
    for run in (secure, trained[1]):
        study = load_study(run.out / "study.yaml")
        cohort = shutil.copytree(run.out / "cohort", tmp_path / run.out.parent.name)
        for site_file in sorted(cohort.glob("*/site.yaml"))[:3]:
            # The first hospital's policy alone demands it; the others are asked likewise.
            write_policy(site_file, "release: {min_cell: 1}\nsecagg: {required: true}\n")
            foreseen = forecast(study, site_file).answers
            told = [row for row in run.released if row["site"] == site_file.parent.name]
            assert len(told) > 20
            for row in told:
                masked = row["question"].startswith(PREFIX)
                plain = row["question"].removeprefix(PREFIX)
                most = [each.n_bytes + 30 * each.bytes_each for each in foreseen
                        if (each.question, each.masked) == (plain, masked)]  # fmt: skip
                assert most, f"{row['question']} was not foreseen"
                assert row["n_bytes"] <= max(most), row["question"]
            if run is not secure:
                (weights,) = (each.n_bytes for each in foreseen if each.question == "train_branch")
                assert max(row["n_bytes"] for row in told) > 0.99 * weights


def test_what_is_not_known_of_a_hospital_is_said_and_not_made_up(secure):
    found = secure.results["radiomics"]["site_differences"]
    assert (found["n_tested"], found["share"], found["confusion"]) == (0, None, None)
    assert "nothing is known of a single hospital" in found["why_not"]
    assert secure.results["fusion"]["without_site"] == []
    assert secure.results["secure_sums"] is True
    out = secure.out / "report.html"
    write_report(read_results(secure.out), out)
    assert "whether features tell the hospitals apart was not tried" in out.read_text()


def test_the_hospital_that_demands_it_refuses_to_tell_its_own_sums(secure):
    study = load_study(secure.out / "study.yaml")
    service = SiteService.open(secure.hospitals[0], study, threads=1)
    extraction = StudyFolder(secure.out / "study", reading=True).load().discretise.extraction
    with pytest.raises(SecureSumError, match="own numbers"):
        service.answer("standardise", Request(extraction))


@pytest.mark.parametrize(
    "changes",
    [
        {"secagg": "off"},
        {"standardise": {"harmonise": "combat"}},
        {"aggregation": {"strategy": "FedMedian"}},
        {"aggregation": {"updates": "int8"}},
        {"aggregation": {"quorum": 2}},
    ],
    ids=str,
)
def test_a_study_that_needs_its_own_sums_is_refused_before_anything_is_computed(secure, changes):
    study = changed(load_study(TINY), **changes)
    with pytest.raises(PolicyError, match=r"secagg\.required of the policy is true"):
        SiteService.open(secure.hospitals[0], study, threads=1)


@pytest.fixture(scope="module")
def trained(run_at):
    """The same study with one round of a network: without and with secure sums."""
    return [
        run_at(name, policy, branches=flat_branch())
        for name, policy in (("trained", "false"), ("trained_securely", "true"))
    ]


def test_the_weights_are_those_of_the_plain_round_on_the_grid(trained):
    found = [vector_of(run) for run in trained]
    grid = 3 * 2.0**-34 + 2.0**-22 * np.abs(found[0])
    assert (np.abs(found[1] - found[0]) <= grid).all()


def test_so_are_those_of_a_network_whose_trunk_is_frozen_and_it_stays_as_it_was(run_at):
    (branch,) = flat_branch(freeze=["trunk"])
    branch["training"]["rounds"] = 2
    plain, secure = (
        run_at(name, policy, branches=[branch])
        for name, policy in (("frozen", "false"), ("frozen_securely", "true"))
    )
    found = [
        load_file(run.out / "weights" / "branch_2_5d-last.safetensors") for run in (plain, secure)
    ]
    (network,) = networks(load_study(plain.out / "study.yaml"))
    seed = initial_seed(plain.results["study"]["seed"], network.name)
    first = build_network(network, seed=seed).state_dict()
    trained = {name for name in found[0] if (found[0][name] != first[name].numpy()).any()}
    assert 0 < len(trained) < 4
    for name, values in found[0].items():
        if name in trained:
            np.testing.assert_allclose(found[1][name], values, rtol=1e-4, atol=1e-6)
        else:
            np.testing.assert_array_equal(found[1][name], values)


def vector_of(run):
    tensors = load_file(run.out / "weights" / "branch_2_5d-last.safetensors")
    return np.concatenate([tensors[name].ravel() for name in sorted(tensors)]).astype(np.float64)


def test_a_rounds_losses_are_known_of_all_sites_together(trained):
    records = [
        StudyFolder(run.out / "study", reading=True).load().train_branches.networks["branch_2_5d"]
        for run in trained
    ]
    first, other = (record.rounds[1] for record in records)
    assert list(other.sites) == [ALL_SITES]
    n, loss = other.sites[ALL_SITES]
    assert n == sum(n for n, _ in first.sites.values())
    assert loss == pytest.approx(sum(n * x for n, x in first.sites.values()) / n, rel=1e-12)
    assert other.bytes_up == 2 * first.bytes_up
    assert records[1].rounds[0].tune_loss == pytest.approx(records[0].rounds[0].tune_loss, 1e-9)
