"""From CT volumes on a disk to a report: the whole study, and its variations."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file
from sklearn.metrics import roc_auc_score

from client.device import compute_for
from client.explain.heat import heat_of, spacing_of, tumour_frame, tumour_of
from client.explain.weights import load_weights
from client.products import MaskTensor
from client.service import SiteService
from client.settings import Device
from client.training import outputs
from shared.config import load_study, networks
from shared.networks import build_network, set_weights
from simulation.simulate import verify_folder
from tests.conftest import changed, flat_branch
from tests.finished_runs import TINY, FinishedRun, run_without_report

MODELS = ("clinical", "radiomics", "branch_2_5d", "branch_3d", "fusion")
SPLITS = ("train", "tune", "internal_test", "external_test")
TRAINING = ("site_a", "site_b", "site_c")


def read_results(out: Path) -> dict[str, Any]:
    results: dict[str, Any] = json.loads((out / "results.json").read_text())
    return results


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("split", SPLITS)
def test_every_model_has_an_auc_with_an_interval_on_every_split(finished_run, model, split):
    measured = finished_run.results["models"][model][split]
    low, high = measured["auc_ci"]
    assert 0 <= low <= measured["auc"] <= high <= 1
    assert 0 < measured["n_positive"] < measured["n"]


@pytest.mark.parametrize("model", MODELS)
def test_counts_add_up_to_the_cohort(finished_run, model):
    sites = finished_run.results["cohort"]["sites"]
    splits = finished_run.results["models"][model]
    for split in SPLITS:
        counts = [site["splits"][split] for site in sites.values() if split in site["splits"]]
        assert splits[split]["n"] + splits[split]["n_missing"] == sum(c["n"] for c in counts)
        assert splits[split]["n_positive"] == sum(c["n_positive"] for c in counts)
    n_cases = {site: entry["n_cases"] for site, entry in sites.items()}
    assert n_cases == {"site_a": 24, "site_b": 20, "site_c": 16, "site_d": 16}


def test_rates_follow_from_the_counts(finished_run):
    for splits in finished_run.results["models"].values():
        for measured in splits.values():
            tp, fp, tn, fn = (measured["counts"][name] for name in ("tp", "fp", "tn", "fn"))
            assert tp + fp + tn + fn == measured["n"]
            assert measured["accuracy"]["value"] == pytest.approx((tp + tn) / measured["n"])


def test_models_are_compared_on_the_patients_of_whom_their_aucs_are(finished_run):
    compared = finished_run.results["comparisons"]
    assert compared["main"] == ["fusion", "branch_2_5d"]
    assert compared["silent"] == []
    cohorts = {"internal_test": compared["internal_test"]}
    cohorts["external_test"] = compared["external_sites"]["site_d"]
    for split, found in cohorts.items():
        aucs = {m: splits[split]["auc"] for m, splits in finished_run.results["models"].items()}
        assert found["n_left_out"] == 0
        assert found["auc"] == pytest.approx(aucs, abs=1e-12)
        for pair in found["pairs"]:
            difference = aucs[pair["first"]] - aucs[pair["second"]]
            assert pair["difference"] == pytest.approx(difference, abs=1e-12)
    assert len(cohorts["internal_test"]["pairs"]) == 10


def test_the_external_site_is_asked_nothing_before_its_evaluation(finished_run):
    of_external = [name for name, sites in finished_run.asked if "site_d" in sites]
    assert of_external == ["external_hello", *["external_outputs"] * 2, "external_scores"]
    assert [name for name, _ in finished_run.asked][-4:] == of_external


def test_a_question_goes_to_one_role_only(finished_run):
    assert {sites for _, sites in finished_run.asked} == {TRAINING, ("site_d",)}


@pytest.mark.parametrize("name", ["branch_2_5d", "branch_3d"])
def test_the_saved_weights_give_the_recorded_tune_auc(finished_run, name):
    study = load_study(TINY)
    network = next(n for n in networks(study) if n.name == name)
    module = build_network(network, seed=0)
    saved = load_file(finished_run.out / "weights" / f"{name}.safetensors")
    module.load_state_dict({key: torch.from_numpy(value) for key, value in saved.items()})
    scores, labels = [], []
    for site_file in finished_run.hospitals[:3]:
        site = SiteService.open(site_file, study, threads=1).bench.site
        tensor, _ = site.tensors(site.tuning, network)
        _, logits = outputs(module, torch.from_numpy(tensor), compute_for(network, Device()))
        scores.append(1 / (1 + np.exp(-logits)))
        labels.append(site.labels(site.tuning))
    binned = np.floor(np.concatenate(scores) * study.evaluation.score_bins)
    auc = roc_auc_score(np.concatenate(labels), binned)
    record = finished_run.results["branches"][name]
    best = record["rounds"][record["best_round"]]
    assert best["tune_auc"] == pytest.approx(auc, abs=1e-12)
    assert finished_run.results["models"][name]["tune"]["auc"] == pytest.approx(auc, abs=1e-12)


def test_the_best_round_is_the_best_on_tune_cases(finished_run):
    for record in finished_run.results["branches"].values():
        trained = record["rounds"][1:]
        best = min(entry["tune_loss"] for entry in trained)
        assert record["rounds"][record["best_round"]]["tune_loss"] == best


@pytest.mark.parametrize("name", ["branch_2_5d", "branch_3d"])
def test_the_heat_that_is_told_is_that_of_all_internal_test_patients_together(finished_run, name):
    assert_heat_is_that_of_one_table(finished_run.out, finished_run.hospitals, name)


def assert_heat_is_that_of_one_table(out: Path, hospitals: list[Path], name: str) -> None:
    """One table of every hospital's patients, with the saved weights, and numpy's statistics."""
    study = load_study(out / "study.yaml")
    network = next(n for n in networks(study) if n.name == name)
    module = build_network(network, seed=0)
    set_weights(module, load_weights(out / "weights", network))
    compute, spacing = compute_for(network, Device()), spacing_of(network)
    shares, areas, frames = [], [], []
    for site_file in hospitals[:3]:
        site = SiteService.open(site_file, study, threads=1).bench.site
        tensor, _ = site.tensors(site.internal_test, network)
        masks = site.arrays(site.internal_test, MaskTensor(study, network))
        heat = heat_of(module, network, torch.from_numpy(tensor), compute, study.explain.method)
        for one, case in zip(heat.maps, site.internal_test, strict=True):
            solid, tumour = (
                one.reshape(-1, *one.shape[-2:]),
                tumour_of(masks[case.patient_id], network),
            )
            if not (solid.any() and tumour.any()):
                continue
            shares.append(solid[tumour].sum())
            areas.append(tumour.mean())
            frames.append(tumour_frame(solid, tumour, spacing, study.explain.grid))
    told = read_results(out)["explanations"][name]
    assert told["sites"] == ["site_a", "site_b", "site_c"]
    assert told["n"] == len(shares) > 8
    inside = told["inside"]
    assert inside["mean"] == pytest.approx(np.mean(shares), abs=1e-7)
    assert inside["sd"] == pytest.approx(np.std(shares, ddof=1), abs=1e-7)
    assert inside["enrichment"] == pytest.approx(np.mean(shares) / np.mean(areas), rel=1e-6)
    assert sum(told[region]["mean"] for region in ("inside", "ring", "elsewhere")) == pytest.approx(
        1
    )
    assert sum(inside["histogram"]["counts"]) == len(shares)
    np.testing.assert_allclose(told["mean_map"], np.mean(frames, axis=0), rtol=1e-5, atol=1e-6)


def test_the_report_draws_where_the_networks_look(finished_run):
    text = (finished_run.out / "report.html").read_text(encoding="utf-8")
    section = text.split('<section id="explanations">')[1].split("</section>")[0]
    assert "Where branch 2.5D looks" in section
    assert section.count("data:image/png;base64") >= 2
    assert section.count("synthetic data") == 4


def test_weights_say_which_network_they_are(finished_run):
    with safe_open(finished_run.out / "weights" / "branch_3d.safetensors", "numpy") as file:
        assert json.loads(file.metadata()["trifed"])["branch"]["kind"] == "3d"


def test_the_run_verifies_itself(finished_run):
    assert finished_run.results["verify"]["passed"]


def test_the_report_marks_each_figure_as_synthetic(finished_run):
    text = (finished_run.out / "report.html").read_text(encoding="utf-8")
    figures = [part.split("</svg>")[0] for part in text.split("<svg")[1:]]
    assert len(figures) >= 5
    assert [figure.count("synthetic data") for figure in figures] == [1] * len(figures)


@pytest.fixture(scope="module")
def damaged_run(finished_run, tmp_path_factory):
    """A run of a network for each phase, at hospitals of which one has half an image."""
    folder = tmp_path_factory.mktemp("damaged")
    hospitals = linked(finished_run, folder / "hospitals")
    damaged = folder / "hospitals/site_b/images/B-0004_nephrographic.nii.gz"
    content = damaged.read_bytes()
    damaged.unlink()
    damaged.write_bytes(content[: len(content) // 2])
    study = changed(
        load_study(TINY),
        cohort={"on_bad_case": "exclude"},
        branches=flat_branch(phases="separate"),
        explain=None,
    )
    return run_without_report(study, folder / "run", hospitals)


def linked(finished_run: FinishedRun, root: Path) -> list[Path]:
    """The finished run's hospitals elsewhere; files are shared until they are replaced."""
    shutil.copytree(finished_run.out / "cohort", root, copy_function=os.link)
    return sorted(root.glob("*/site.yaml"))


def test_a_damaged_image_is_left_out_and_counted(damaged_run):
    results = read_results(damaged_run)
    site = results["cohort"]["sites"]["site_b"]
    assert (site["n_cases"], site["n_excluded"]) == (19, 1)
    assert site["exclusion_reasons"] == {"image": 1}
    assert "B-0004" not in json.dumps(results)


def test_separate_phases_train_a_network_each_and_make_one_model(damaged_run):
    phases = ("corticomedullary", "excretory", "nephrographic")
    saved = sorted(path.stem for path in (damaged_run / "weights").iterdir())
    assert saved == [f"branch_2_5d_{phase}{end}" for phase in phases for end in ("", "-last")]
    models = read_results(damaged_run)["models"]
    assert list(models) == ["clinical", "radiomics", "branch_2_5d", "fusion"]
    assert models["branch_2_5d"]["external_test"]["n"] == 16


def test_patients_without_a_phase_take_part_where_they_can(run_changed):
    sites = {name: {"n_cases": n, "scanner": name[-1]} for name, n in SMALL.items()}
    phantom = {"missing_phase_rate": 0.2, "sites": sites}
    results = read_results(run_changed([], phantom=phantom, cohort={"missing_phase": "allow"}))
    external = results["cohort"]["sites"]["site_d"]
    branch = results["models"]["branch_2_5d"]["external_test"]
    radiomics = results["models"]["radiomics"]["external_test"]
    assert sum(external["missing_phases"].values()) > 0
    assert (branch["n"] + branch["n_missing"], radiomics["n"]) == (12, 12)
    assert branch["n_missing"] > 0
    assert results["models"]["fusion"]["external_test"]["n"] == 12


SMALL = {"site_a": 16, "site_b": 16, "site_c": 16, "site_d": 12}


VARIANTS: dict[str, tuple[dict[str, Any], dict[str, Any], str, list[str]]] = {
    "FedProx, logit": (
        {"strategy": "FedProx", "arguments": {"proximal_mu": 5.0}},
        {"reduce": "logit", "dimension": 1},
        "van_elteren",
        ["branch_2_5d_1"],
    ),
    "FedAdam, pooled": (
        {"strategy": "FedAdam", "arguments": {"eta": 0.001, "tau": 0.001}},
        {"reduce": "pooled", "dimension": 3},
        "van_elteren",
        ["branch_2_5d_1", "branch_2_5d_2", "branch_2_5d_3"],
    ),
    "FedMedian, pca": (
        {"strategy": "FedMedian", "arguments": {}},
        {"reduce": "pca", "dimension": 2},
        "welch",
        ["branch_2_5d_1", "branch_2_5d_2"],
    ),
}
SHOWN = "FedMedian, pca"
"""The variant whose heat is computed, and whose screen is verified."""


@pytest.fixture(scope="module", params=VARIANTS)
def variant(request, finished_run, tmp_path_factory):
    """A run with another strategy, reduction and screen, and what is expected of it."""
    aggregation, embedding, screen, columns = VARIANTS[request.param]
    study = changed(
        load_study(TINY),
        aggregation=aggregation,
        embedding=embedding,
        selection={"screen": screen},
        fusion={"inputs": ["embeddings"]},
        branches=flat_branch(training=TWO_PASSES),
        explain={"method": "occlusion"} if request.param == SHOWN else None,
    )
    out = tmp_path_factory.mktemp("variant") / "run"
    return run_without_report(study, out, finished_run.hospitals), columns


@pytest.fixture(scope="module")
def plain_weights(finished_run, tmp_path_factory):
    """What FedAvg gives."""
    study = changed(load_study(TINY), branches=flat_branch(training=TWO_PASSES), explain=None)
    out = tmp_path_factory.mktemp("plain") / "run"
    run_without_report(study, out, finished_run.hospitals)
    return load_file(out / "weights" / "branch_2_5d.safetensors")


def test_another_strategy_gives_other_weights(variant, plain_weights):
    ours = load_file(variant[0] / "weights" / "branch_2_5d.safetensors")
    assert all(np.isfinite(tensor).all() for tensor in ours.values())
    assert any(not np.array_equal(ours[name], plain_weights[name]) for name in ours)


def test_a_branch_enters_the_fusion_layer_as_reduced(variant):
    out, columns = variant
    inputs = read_results(out)["fusion"]["inputs"]
    assert [entry["name"] for entry in inputs] == ["intercept", *columns]
    assert all(entry["coefficient"] is not None for entry in inputs)


@pytest.mark.parametrize("variant", [SHOWN], indirect=True)
def test_the_heat_by_occlusion_is_that_of_all_patients_together_too(variant, finished_run):
    assert_heat_is_that_of_one_table(variant[0], finished_run.hospitals, "branch_2_5d")


@pytest.mark.parametrize("variant", [SHOWN], indirect=True)
def test_the_welch_screen_verifies(variant):
    checks = {
        check.quantity: check.largest_difference for check in verify_folder(variant[0]).checks
    }
    assert checks["welch p-values"] <= 1e-8


TWO_PASSES = {"rounds": 1, "local_epochs": 2}


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
OPTIONS = [
    "--headless",
    "--no-sandbox",
    "--no-first-run",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--enable-logging=stderr",
    "--v=0",
    "--virtual-time-budget=3000",
    "--dump-dom",
]


def open_in_browser(page: Path, folder: Path) -> tuple[str, list[str], list[str]]:
    """The page as the browser has it, what its console says, and the addresses it asked for.

    What the browser asks for on its own has no origin in the browser's own log of its network.
    """
    log = folder / "network.json"
    found = subprocess.run(
        [
            str(CHROMIUM),
            *OPTIONS,
            f"--user-data-dir={folder / 'profile'}",
            f"--log-net-log={log}",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    console = [line for line in found.stderr.splitlines() if ":CONSOLE" in line]
    events = [event.get("params", {}) for event in json.loads(log.read_text())["events"]]
    asked = [e["url"] for e in events if e.get("initiator", "not an origin") != "not an origin"]
    return found.stdout, console, asked


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine")
def test_the_report_opens_in_a_browser_and_asks_the_network_for_nothing(finished_run, tmp_path):
    page, console, asked = open_in_browser(finished_run.out / "report.html", tmp_path)
    assert finished_run.results["title"] in page
    assert (console, asked) == ([], [])


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine")
def test_a_page_that_complains_and_asks_the_network_is_noticed(tmp_path):
    page = tmp_path / "page.html"
    page.write_text('<img src="http://elsewhere.test/a.png"><script>console.error("oh")</script>')
    _, console, asked = open_in_browser(page, tmp_path)
    assert (len(console), asked) == (1, ["http://elsewhere.test/a.png"])
