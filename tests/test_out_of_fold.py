"""The fusion layer's rows, out of fold: each is of models that never saw the patient."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from client.folds import held_out_cases, outer_folds
from client.service import SiteService
from client.stages import train_branches
from client.stages.embed import answer_rows
from client.training import outputs
from server.coordinator import Coordinator
from server.progress import LoggedProgress
from server.stages.train_branches import best_weights
from server.study_folder import StudyFolder
from shared.config import all_networks, load_study, networks, without_folds
from shared.errors import PolicyError
from shared.models import standardise
from shared.networks import set_weights
from shared.stages.embed import RowsRequest
from tests.site_policies import changed_policy


@pytest.fixture(scope="module")
def settings(thorough_run):
    return load_study(thorough_run.out / "study.yaml")


@pytest.fixture(scope="module")
def study(thorough_run):
    return StudyFolder(thorough_run.out / "study").load()


@pytest.fixture(scope="module")
def benches(thorough_run, settings):
    files = {path.parent.name: path for path in thorough_run.hospitals}
    return {
        name: SiteService.open(files[name], settings, threads=1).bench
        for name in settings.sites.training
    }


def column(study, name):
    """A column of the fusion layer's rows, by site, in the order of its values."""
    values = study.embed.rows[:, study.embed.columns.index(name)]
    sites = np.array(study.embed.sites)
    return {site: np.sort(values[sites == site]) for site in sorted(set(sites))}


def test_there_is_a_row_for_each_training_case(study, benches):
    sites = np.array(study.embed.sites)
    for name, bench in benches.items():
        labels = bench.site.labels(bench.site.training)
        assert sorted(study.embed.labels[sites == name]) == sorted(labels)


def test_the_networks_scores_are_those_of_networks_without_the_fold(
    thorough_run, settings, study, benches
):
    coordinator = Coordinator(
        settings, None, StudyFolder(thorough_run.out / "study"), thorough_run.out, LoggedProgress()
    )
    (network,) = networks(settings)
    without = without_folds(settings, network)
    weights = [best_weights(study, coordinator, trained) for trained in without]
    found = column(study, "branch_2_5d_1")
    for name, bench in benches.items():
        logits = []
        for k, vector in enumerate(weights):
            module, compute = bench.module(network), bench.compute(network)
            set_weights(module, vector)
            tensor, _ = bench.site.tensors(held_out_cases(bench, k), network)
            logits.append(outputs(module, torch.from_numpy(tensor), compute)[1])
        expected = np.sort(np.concatenate(logits))  # rows travel in half precision
        np.testing.assert_allclose(found[name], expected, rtol=2.0**-11, atol=1e-6)


def test_the_radiomics_scores_are_those_of_scores_without_the_fold(study, benches):
    found = column(study, "radiomics_score")
    for name, bench in benches.items():
        names, table = bench.site.features(
            bench.site.training, study.select_features.model.scale.extraction
        )
        fold = outer_folds(bench)
        scores = []
        for k, model in enumerate(study.select_features.without_fold):
            z = standardise(model.scale, names, table[fold == k], name)
            scores.append(z @ model.coefficients + model.intercept)
        np.testing.assert_allclose(found[name], np.sort(np.concatenate(scores)), atol=1e-9)


def test_a_network_without_a_fold_is_trained_on_the_others_alone(settings, benches, monkeypatch):
    seen = []

    def spy(module, inputs, *_):  # noqa: ARG001
        seen.append(inputs.tensor.clone())
        return 0.0

    monkeypatch.setattr(train_branches, "train_round", spy)
    (network,) = networks(settings)
    bench = benches["site_a"]
    everyone = bench.inputs(network, bench.site.training).tensor
    for trained in without_folds(settings, network):
        seen.clear()
        request = SimpleNamespace(
            network=trained.name, round=1, proximal_mu=0.0, positive_weight=1.0
        )
        n_cases, *_ = train_branches.train(
            bench, request, train_branches.training_without(bench, trained.fold)
        )
        rows = outer_folds(bench) != trained.fold
        assert n_cases == rows.sum() < len(everyone)
        torch.testing.assert_close(seen[0], everyone[rows], rtol=0, atol=0)


def test_results_say_how_the_layer_was_fitted_and_how_its_networks_were_trained(
    thorough_run, settings, study
):
    fusion = thorough_run.results["fusion"]
    assert fusion["fitted_on"] == "train, out of fold"
    assert fusion["outer_folds"] == 2
    assert fusion["n_cases"] == len(study.embed.labels)
    low, high = fusion["held_out_auc_ci"]
    assert 0 <= low <= fusion["held_out_auc"] <= high <= 1
    branch = thorough_run.results["branches"]["branch_2_5d"]
    whole = branch["rounds"][1]["n_cases"]
    parts = [trained["rounds"][1]["n_cases"] for trained in branch["without_folds"]]
    assert sum(parts) == whole
    assert set(study.train_branches.networks) == {n.name for n in all_networks(settings)}
    embed = next(row for row in thorough_run.results["disclosed"] if row["stage"] == "embed")
    assert "each training case" in embed["what"]


def test_a_hospital_that_lets_tune_rows_alone_leave_stops_the_run(study, benches):
    bench = benches["site_b"]
    whole = bench.site.policy
    bench.site.policy = changed_policy(whole, release={"rows_of": ("tune",)})
    try:
        with pytest.raises(PolicyError, match=r"release\.rows_of of the policy lacks train"):
            answer_rows(RowsRequest((), study.clinical_model.model), bench)
    finally:
        bench.site.policy = whole
