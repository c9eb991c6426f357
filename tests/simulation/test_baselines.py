"""Baselines of the tiny run: the same code, seed and splits, and gaps that are what they say."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy import stats

import trifed
from client.cohort.tables import SHARES
from client.extract import extract_table
from client.site import open_site
from server.progress import LoggedProgress
from server.report import read_results
from server.report.numbers.listed import numbers
from server.study_folder import StudyFolder
from shared.config import load_study, networks
from shared.delong import correlated_aucs
from shared.errors import CohortError, ConfigError, StateError, TrainingError
from shared.models import Extraction
from simulation.baselines import run as running
from simulation.baselines.compare import compare_runs, write_comparison
from simulation.baselines.plans import WHATS, Baseline, baselines_of, settings_of
from simulation.baselines.run import open_runs, run_baselines, sites_of
from simulation.baselines.scores import SideBySide, frozen_runs, joined, scored_splits
from simulation.baselines.sites import pool
from simulation.baselines.summary import mean_over_seeds, summarise
from tests.conftest import changed
from tests.finished_runs import TINY, copy_run
from tests.server.test_report_numbers import unlisted
from tests.site_policies import write_policy

ROOT = Path(__file__).parents[2]
TRAINED = {"pooled", "alone_site_a", "without_site_b", "without_site_c"}


def opened(out, whats=WHATS):
    return open_runs(out, whats, threads=None)


def run_all(runs):
    run_baselines(runs, lambda _: nullcontext(LoggedProgress()))


@pytest.fixture(scope="module")
def out(finished_run, tmp_path_factory):
    """The tiny run with all its baselines, where separated labels cannot be fitted; to be read."""

    def no_estimate(*_args, **_options):
        raise CohortError("no estimate was found for a few separated cases")

    folder = copy_run(finished_run.out, tmp_path_factory.mktemp("baselines") / "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("server.regressions.fit_firth", no_estimate)
        assert trifed.main(["baselines", str(folder), "--plain"]) == 0
    return folder


@pytest.fixture(scope="module")
def found(out):
    return json.loads((out / "baselines.json").read_text())


@pytest.fixture(scope="module")
def runs(out):
    return opened(out)


def learned(out, name=""):
    return StudyFolder(out / (f"baselines/{name}/study" if name else "study")).load()


def test_the_settings_differ_from_the_study_in_the_sites_alone():
    study = changed(
        load_study(TINY), aggregation={"quorum": 3}, standardise={"harmonise": "combat"}
    )
    alone = settings_of(Baseline("alone", "site_b"), study)
    left = settings_of(Baseline("leave_one_out", "site_b"), study)
    assert (alone.sites.training, alone.sites.external) == (("site_b",), ("site_d",))
    assert (left.sites.training, left.sites.external) == (
        ("site_a", "site_c"),
        ("site_d", "site_b"),
    )
    assert (alone.aggregation.quorum, left.aggregation.quorum) == (1, 2)
    assert (alone.standardise.harmonise, left.standardise.harmonise) == ("none", "combat")
    same = {"sites", "phantom", "aggregation", "standardise"}
    assert alone.model_dump(exclude=same) == study.model_dump(exclude=same)


def test_a_study_of_one_site_has_nothing_to_be_compared_with():
    one = settings_of(Baseline("alone", "site_b"), load_study(TINY))
    with pytest.raises(ConfigError, match="one site trains"):
        baselines_of(one, WHATS)


def test_splits_stay_as_each_site_drew_them(runs):
    def members(site):
        return {split: {c.patient_id for c in site.handle(split)} for split in SHARES}

    drawn = {name: members(site) for name, site in runs.sites.items()}
    alone = Baseline("alone", "site_b")
    again = sites_of(runs, alone, settings_of(alone, runs.settings))
    assert members(again["site_b"]) == drawn["site_b"]
    whole = Baseline("pooled")
    pooled = sites_of(runs, whole, settings_of(whole, runs.settings))["pooled"]
    for split in SHARES:
        named = {f"{name}/{i}" for name in runs.settings.sites.training for i in drawn[name][split]}
        assert {case.patient_id for case in pooled.handle(split)} == named


def test_every_patient_of_the_site_left_out_is_tested(runs):
    left = Baseline("leave_one_out", "site_b")
    site = sites_of(runs, left, settings_of(left, runs.settings))["site_b"]
    assert (site.role, len(site.training), len(site.external_test)) == ("external", 0, 20)


def test_networks_begin_with_the_same_weights(out):
    for network in ("branch_2_5d", "branch_3d"):
        ours, theirs = (
            learned(out, name).train_branches.networks[network].rounds[0] for name in ("", "pooled")
        )
        assert ours.tune_loss == pytest.approx(theirs.tune_loss, abs=1e-6)


def test_the_pooled_clinical_model_and_scale_are_the_federated_ones(out):
    federated, pooled = learned(out), learned(out, "pooled")
    a, b = federated.clinical_model.model, pooled.clinical_model.model
    np.testing.assert_allclose(b.coefficients, a.coefficients, rtol=1e-8)
    np.testing.assert_allclose(b.means, a.means, rtol=1e-8)
    a, b = federated.standardise.scale, pooled.standardise.scale
    assert a.names == b.names
    np.testing.assert_allclose(b.mean / a.sd, a.mean / a.sd, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(b.sd / a.sd, 1, rtol=1e-8)
    assert pooled.describe_cohort.sites["pooled"].n_cases == 60


def test_the_pooled_clinical_model_has_no_gap_at_all(found):
    for models in found["splits"].values():
        gap = models["clinical"]["gaps"]["pooled"]
        assert (gap["value"], gap["ci"], gap["p"]) == (0, [0, 0], 1)


def test_nothing_is_extracted_again(out, finished_run):
    def kept(folder):
        cohort = folder / "cohort"
        return {path.relative_to(cohort) for path in cohort.glob("*/cache/??/*.npy")}

    assert kept(out) == kept(finished_run.out)
    assert list((out / "baselines").rglob("*.npy")) == []


def test_each_baseline_is_one_more_look_at_the_external_patients(out):
    def looks(folder):
        return json.loads((folder / "results.json").read_text())["external_looks"]

    assert looks(out)["site_d"]["looks"] == 1
    told = {name: looks(out / "baselines" / name) for name in TRAINED}
    counts = sorted(of["site_d"]["looks"] for of in told.values())
    assert counts == list(range(counts[0], counts[0] + len(TRAINED)))
    assert counts[0] > 1
    assert told["without_site_b"]["site_b"]["looks"] == 1
    assert not list((out / "baselines").rglob("looks.json"))


def test_what_cannot_be_trained_is_told_and_left_out(found):
    told = {run["name"]: run for run in found["runs"]}
    assert {name for name, run in told.items() if run["untrained"] is None} == TRAINED
    assert told["alone_site_b"]["untrained"]["code"] == "E_COHORT"
    assert "a few separated cases" in told["alone_site_b"]["untrained"]["why"]
    assert (told["alone_site_b"]["n_train"], told["alone_site_b"]["n_train_positive"]) == (10, 5)
    for of in found["splits"]["internal_test"].values():
        assert set(of["auc"]) == TRAINED | {"federated", "mean_alone"}
        assert of["auc"]["mean_alone"] == of["auc"]["alone_site_a"]


def tied_share(study, model, split):
    """How far the AUC of binned scores can be from that of the scores: half of all ties."""
    parts = [reply.sums[model] for reply in study.external_evaluate.sites.values()]
    if split == "internal_test":
        parts = study.evaluate.sums[model][split].values()
    n, p = (sum(getattr(part, label) for part in parts) for label in ("negatives", "positives"))
    return float(n @ p) / (2 * n.sum() * p.sum())


@pytest.mark.parametrize("run", ["federated", "pooled", "alone_site_a"])
def test_aucs_are_those_of_the_run_s_own_results_within_a_bin(out, found, run):
    folder = out if run == "federated" else out / "baselines" / run
    study = StudyFolder(folder / "study").load()
    results = json.loads((folder / "results.json").read_text())["models"]
    splits = ["external_test"] if run.startswith("alone") else list(found["splits"])
    for split in splits:
        for model, of in found["splits"][split].items():
            binned = results[model][split]
            off = of["auc"][run]["value"] - binned["auc"]
            assert abs(off) <= tied_share(study, model, split) + 1e-12
            assert (of["n"], of["n_positive"]) == (binned["n"], binned["n_positive"])


def test_a_gap_is_the_difference_of_the_scores_on_the_same_patients(runs, found):
    whole = joined(scored_splits(runs, frozen_runs(runs))["external_test"])
    rows = [whole.scores[run]["fusion"] for run in ("federated", "without_site_b")]
    both = correlated_aucs(np.stack(rows), whole.labels)
    error = np.sqrt(both.variance.sum() - 2 * both.covariance[0, 1])
    gap = found["splits"]["external_test"]["fusion"]["gaps"]["without_site_b"]
    assert gap["value"] == pytest.approx(both.auc[0] - both.auc[1])
    assert gap["p"] == pytest.approx(2 * stats.norm.sf(abs(gap["value"]) / error))
    assert gap["ci"][1] - gap["value"] == pytest.approx(1.959963984540054 * error)


def test_the_mean_of_sites_alone_has_the_variance_of_a_mean_of_paired_aucs():
    rng = np.random.default_rng(2)
    labels = np.arange(40) % 2
    names = ("federated", "pooled", "alone_a", "alone_b")
    rows = {name: {"fusion": labels + rng.normal(size=40)} for name in names}
    rows["pooled"]["fusion"][:3] = np.nan
    of = compare_runs(SideBySide(labels, rows), "fusion", ["alone_a", "alone_b"], 0.95)
    table = np.stack([rows[name]["fusion"][3:] for name in names])
    found = correlated_aucs(table, labels[3:])
    weights = np.array([1, 0, -0.5, -0.5])
    error = np.sqrt(weights @ found.covariance @ weights)
    assert (of["n"], of["n_missing"]) == (37, 3)
    assert of["auc"]["mean_alone"]["value"] == pytest.approx(found.auc[2:].mean())
    assert of["gaps"]["mean_alone"]["value"] == pytest.approx(weights @ found.auc)
    assert of["gaps"]["mean_alone"]["z"] == pytest.approx(weights @ found.auc / error)


def test_a_branch_that_scores_nobody_has_no_auc():
    rows = {name: {"branch": np.full(4, np.nan)} for name in ("federated", "pooled")}
    of = compare_runs(SideBySide(np.array([0, 1, 0, 1]), rows), "branch", [], 0.95)
    assert of["n"] == 0
    assert np.isnan(of["auc"]["pooled"]["value"])
    assert of["gaps"]["pooled"]["ci"] is None


def test_the_site_left_out_is_compared_on_its_internal_test_alone(out, found):
    assert set(found["left_out"]) == {"site_b", "site_c"}
    own = json.loads((out / "baselines/without_site_b/results.json").read_text())
    for model, of in found["left_out"]["site_b"].items():
        external = own["external_sites"]["site_b"][model]
        assert of["n"] == external["n"] == 20
        assert of["auc"]["value"] == pytest.approx(external["auc"], abs=0.05)
        assert of["internal_test"]["n"] == 5


def test_flat_and_deep_branches_are_compared_in_every_run(found):
    (pair,) = found["branches"]["external_test"]
    models = found["splits"]["external_test"]
    for run, gap in pair["gaps"].items():
        first, second = (models[pair[key]]["auc"][run]["value"] for key in ("first", "second"))
        assert gap["value"] == pytest.approx(first - second)
    assert (pair["first"], pair["second"]) == ("branch_2_5d", "branch_3d")


def test_the_report_shows_them_and_marks_the_figure(out):
    text = (out / "report.html").read_text()
    section = text[text.index('<section id="baselines">') :].split("</section>")[0]
    for words in (
        "All pooled",
        "of 1 of 3 sites",
        "site_a alone",
        "Without site_b",
        "not possible",
    ):
        assert words in section
    svgs = re.findall(r"<svg.*?</svg>", section, flags=re.DOTALL)
    assert [svg.count("synthetic data") for svg in svgs] == [1] * 4


def test_every_number_of_the_comparison_says_where_it_is_from_and_printed(out):
    results = read_results(out)
    found = {number["id"]: number for number in numbers(results)}
    assert [number["id"] for number in found.values() if number["kind"] == "unknown"] == []
    gap = found["baselines.splits.external_test.fusion.gaps.pooled"]
    assert "figures/baselines" in gap["printed"]
    assert unlisted(results) == {}


def test_the_report_leaves_out_baselines_of_other_models(out, tmp_path):
    for name in ("results.json", "baselines.json"):
        shutil.copy(out / name, tmp_path)
    assert "baselines" in read_results(tmp_path)
    text = (tmp_path / "baselines.json").read_text()
    (tmp_path / "baselines.json").write_text(
        re.sub('"bundle_hash": "..', '"bundle_hash": "zz', text)
    )
    assert "baselines" not in read_results(tmp_path)


def test_no_patient_stands_in_what_is_written(out, runs):
    text = (out / "baselines.json").read_text() + (out / "report.html").read_text()
    for site in runs.sites.values():
        assert not [case for case in site.everyone if case.patient_id in text]


def test_what_is_done_is_not_run_again(out, monkeypatch):
    def refused(*_args):
        raise AssertionError

    before = (out / "baselines.json").read_bytes()
    monkeypatch.setattr(running, "run_study", refused)
    assert trifed.main(["baselines", str(out), "--plain", "--what", "alone"]) == 0
    assert (out / "baselines.json").read_bytes() == before


KILLED = """
import os, signal, sys
from client.service import SiteService
import trifed
answer, seen = SiteService.answer, 0
def trapped(self, name, request):
    global seen
    seen += name == sys.argv[2]
    if seen == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
    return answer(self, name, request)
SiteService.answer = trapped
trifed.main(["baselines", sys.argv[1], "--plain", "--what", "pooled"])
"""


@pytest.mark.slow
def test_a_killed_baseline_goes_on_to_the_same_numbers(out, finished_run, tmp_path):
    again = copy_run(finished_run.out, tmp_path / "run")
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, str(again), "train_branch", "5"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL
    assert not (again / "baselines/pooled/results.json").exists()
    whats = ("pooled",)
    run_all(opened(again, whats))
    for name in ("results.json", "study/fuse.json", "study/evaluate.json"):
        first, second = (folder / "baselines/pooled" / name for folder in (out, again))
        assert first.read_bytes() == second.read_bytes()
    assert [run["name"] for run in write_comparison(opened(again, whats))["runs"]] == ["pooled"]


def test_a_fault_is_no_untrainable_baseline(finished_run, tmp_path, monkeypatch):
    runs = opened(copy_run(finished_run.out, tmp_path / "run"), ("pooled",))

    def broken(_coordinator):
        raise TrainingError("a gradient is not finite")

    monkeypatch.setattr(running, "run_study", broken)
    with pytest.raises(TrainingError):
        run_all(runs)
    assert not (runs.folder(Baseline("pooled")) / "untrained.json").exists()


def test_other_threads_are_refused(out):
    with pytest.raises(StateError, match="begun with --threads 1"):
        run_all(open_runs(out, WHATS, threads=2))


def test_an_unfinished_run_has_no_baselines(tmp_path):
    with pytest.raises(StateError, match="no finished simulation"):
        opened(tmp_path)


def test_several_runs_are_only_summarised(capsys):
    assert trifed.main(["baselines", "a", "b"]) == 1
    assert "go with --summary" in capsys.readouterr().err


def other_seed(out, folder, *, seed, shift):
    """A run that stands for another seed: every gap is larger by `shift`."""
    folder.mkdir()
    shutil.copy(out / "results.json", folder)
    content = json.loads((out / "baselines.json").read_text())
    content["study"]["seed"] = seed
    for models in content["splits"].values():
        for of in models.values():
            for gap in of["gaps"].values():
                gap["value"] += shift
    (folder / "baselines.json").write_text(json.dumps(content))
    return folder


def test_a_summary_is_the_mean_over_seeds_with_its_t_interval(out, found, tmp_path, capsys):
    others = [other_seed(out, tmp_path / f"s{k}", seed=k, shift=0.1 * k) for k in (7, 8)]
    target = tmp_path / "summary.json"
    arguments = ["baselines", "--summary", *map(str, [out, *others]), "--out", str(target)]
    assert trifed.main(arguments) == 0
    gap = json.loads(target.read_text())["splits"]["external_test"]["fusion"]["gaps"]["pooled"]
    start = found["splits"]["external_test"]["fusion"]["gaps"]["pooled"]["value"]
    values = [start, start + 0.7, start + 0.8]
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert gap["mean"] == pytest.approx(np.mean(values))
    assert gap["ci"] == pytest.approx([expected.low, expected.high])
    assert (gap["n_seeds"], gap["values"]) == (3, pytest.approx(values))
    shown = capsys.readouterr().out
    assert "seeds: 3, 7, 8" in shown
    assert "branch_2_5d less branch_3d, federated" in shown
    assert "n=3 seeds" in shown


def test_one_seed_has_no_interval():
    assert mean_over_seeds([0.25], 0.95) == {
        "mean": 0.25,
        "ci": None,
        "n_seeds": 1,
        "values": [0.25],
    }


def test_a_summary_is_of_one_study_and_of_different_seeds(out, tmp_path):
    twin = other_seed(out, tmp_path / "twin", seed=3, shift=0)
    with pytest.raises(StateError, match="have the same seed, 3"):
        summarise([out, twin])
    path = other_seed(out, tmp_path / "strange", seed=4, shift=0) / "baselines.json"
    path.write_text(path.read_text().replace('"settings_hash": "', '"settings_hash": "x'))
    with pytest.raises(StateError, match="other settings"):
        summarise([out, path.parent])


def test_a_summary_asks_for_baselines(finished_run):
    with pytest.raises(StateError, match="run: trifed baselines"):
        summarise([finished_run.out])


@pytest.mark.slow
def test_a_pooled_study_with_everything_on_learns_the_same_widths_and_readings(
    thorough_run, tmp_path
):
    runs = opened(copy_run(thorough_run.out, tmp_path / "run"), ("pooled",))
    run_all(runs)
    federated, pooled = learned(runs.job.out), learned(runs.job.out, "pooled")
    assert federated.discretise.extraction == pooled.discretise.extraction
    a, b = federated.stability, pooled.stability
    assert a.pooled.n.tolist() == b.pooled.n.tolist()
    np.testing.assert_allclose(b.icc.estimate, a.icc.estimate, rtol=1e-8, atol=1e-8)
    assert pooled.standardise.combat is None


def test_a_hospital_with_a_table_is_pooled_with_one_with_images(finished_run, tmp_path):
    study, root = load_study(TINY), tmp_path / "cohort"
    shutil.copytree(finished_run.out / "cohort", root)
    site_file = root / "site_b" / "site.yaml"
    extract_table(site_file, study, root / "site_b" / "features.csv", threads=1)
    settings = yaml.safe_load(site_file.read_text()) | {"data": {"features": "features.csv"}}
    site_file.write_text(yaml.safe_dump(settings))
    rows = "rows: [labels, radiomics_score, clinical, scores]"
    write_policy(site_file, f"release: {{min_cell: 2, {rows}}}\ntrain: {{max_rounds: 50}}\n")
    a, b = (open_site(root / name / "site.yaml", study) for name in ("site_a", "site_b"))
    whole = settings_of(Baseline("pooled"), study)
    pooled = pool([a, b], whole, folder=tmp_path / "pooled")
    widths = Extraction(study.radiomics.given_widths)
    table = pooled.features(pooled.training, widths)[1]
    rows = {case.patient_id: row for case, row in zip(pooled.training, table, strict=True)}
    for site in (a, b):
        for case, row in zip(site.training, site.features(site.training, widths)[1], strict=True):
            np.testing.assert_array_equal(rows.pop(f"{site.name}/{case.patient_id}"), row)
    assert (rows, pooled.features_from) == ({}, "images")
    assert set(pooled.policy.release.rows) == set(a.policy.release.rows)
    assert (pooled.policy.release.min_cell, pooled.policy.train.max_rounds) == (2, 50)
    present = pooled.tensors(pooled.training, networks(whole)[0])[1]
    assert [c.patient_id.startswith("site_a") for c in pooled.training] == present.tolist()
