"""A model card says what the bundle and the results of its run say, and nothing else."""

import copy

import pytest

import trifed
from server.bundle_export import export_bundle
from server.model_card import model_card
from shared.bundle_file import read_bundle
from shared.errors import StateError
from tests.made_bundle import bundle_without_networks


@pytest.fixture(scope="module")
def bundle_file(finished_run, tmp_path_factory):
    path = tmp_path_factory.mktemp("bundle") / "tiny.bundle"
    export_bundle(finished_run.out, path)
    return path


def cells(card, heading, model):
    """The cells of a model's line under a heading."""
    part = card.partition(f"# {heading}\n")[2].partition("\n#")[0]
    (line,) = [line for line in part.splitlines() if line.startswith(f"| {model} ")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def two_digits(value):
    return f"{value:.2f}".removeprefix("0")


@pytest.mark.parametrize("where", ["Internal test", "External site site_d"])
def test_the_card_prints_what_the_results_hold(finished_run, bundle_file, where):
    results = finished_run.results
    external = results["external_sites"]["site_d"]["fusion"]
    told = external if "site_d" in where else results["models"]["fusion"]["internal_test"]
    _, n, auc, sensitivity, *_, brier = cells(
        model_card(read_bundle(bundle_file), results), where, "Fusion"
    )
    assert n == f"{told['n']} ({told['n_positive']})"
    low, high = map(two_digits, told["auc_ci"])
    assert auc == f"{two_digits(told['auc'])} ({low}–{high})"
    assert sensitivity.startswith(two_digits(told["sensitivity"]["value"]) + " (")
    assert brier == f"{told['brier']:.3f}"


def test_in_sample_numbers_are_not_shown(finished_run, bundle_file):
    card = model_card(read_bundle(bundle_file), finished_run.results)
    performance = card.partition("## Performance")[2].partition("\n## ")[0]
    assert performance.count("### ") == 2
    results = copy.deepcopy(finished_run.results)
    for model in results["models"].values():
        for split in ("train", "tune"):
            model[split]["auc"] = 0.111
    assert model_card(read_bundle(bundle_file), results) == card


def test_the_patients_are_those_of_the_training_sites(finished_run, bundle_file):
    card = model_card(read_bundle(bundle_file), finished_run.results)
    sites = finished_run.results["cohort"]["sites"].values()
    splits = [site["splits"]["train"] for site in sites if site["role"] == "training"]
    n, positive = (sum(split[key] for split in splits) for key in ("n", "n_positive"))
    assert cells(card, "Patients of the training sites", "Train") == [
        "Train",
        str(n),
        str(positive),
    ]


def test_the_command_writes_it_and_a_card_of_a_bundle_alone_says_what_it_lacks(
    finished_run, bundle_file, tmp_path
):
    out = tmp_path / "card.md"
    arguments = ["bundle", "card", str(bundle_file), "--out", str(out)]
    assert trifed.main([*arguments, "--run", str(finished_run.out)]) == 0
    card = out.read_text()
    assert card == model_card(read_bundle(bundle_file), finished_run.results)
    for words in ("Not a medical device", "Synthetic data", read_bundle(bundle_file).bundle.hash()):
        assert words in card
    assert trifed.main(arguments) == 0
    assert "Not known from the bundle alone" in out.read_text()


def test_the_results_of_another_run_are_refused(finished_run, study):
    with pytest.raises(StateError, match="the run's models are bundle"):
        model_card(bundle_without_networks(study), finished_run.results)


def test_a_bundle_that_tells_nothing_of_its_patients_says_so(study):
    card = model_card(bundle_without_networks(study))
    assert "does not tell how many there were" in card
    assert "| Radiomics | 0.250 |" in card
