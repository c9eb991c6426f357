"""The three ways to fit the fusion layer: each is the pooled fit, and lets leave what it says."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

import trifed
from client.service import SiteService
from client.stages.embed import answer_rows
from client.stages.fuse import answer_moments, check_layers
from server.study_folder import StudyFolder
from shared.config import load_study
from shared.errors import CodecError, PolicyError, SmallCellError
from shared.fusion_sums import NO_FOLD, Layers
from shared.stages.embed import RowsRequest
from simulation.simulate import verify_folder
from tests.conftest import changed, flat_branch
from tests.finished_runs import (
    TINY,
    FinishedRun,
    recorded_questions,
    results_of,
    run_without_report,
)
from tests.site_policies import changed_policy

OUT_OF_FOLD = {"fit_on": "out_of_fold", "outer_folds": 2}
LOGIT = {"reduce": "logit", "dimension": 1}
MODES = {
    "scores": {"fusion": {"exchange": "scores"}},
    "statistics": {"fusion": {"exchange": "statistics"}},
    "scores out of fold": {"fusion": {"exchange": "scores"} | OUT_OF_FOLD},
    "statistics out of fold": {
        "fusion": {"exchange": "statistics"} | OUT_OF_FOLD,
        "embedding": LOGIT,
    },
}
ASKED = {"fusion_moments", "fusion_steps", "fusion_losses", "fusion_scores"}


@pytest.fixture(scope="module", params=MODES)
def run(request, finished_run, tmp_path_factory):
    """A whole run of the tiny study under one mode, at copies of hospitals that have extracted."""
    study = changed(
        load_study(TINY), **MODES[request.param], branches=flat_branch(size=[16, 16]), explain=None
    )
    out = tmp_path_factory.mktemp("exchange") / "run"
    shutil.copytree(finished_run.out / "cohort", out / "cohort")
    with recorded_questions() as asked:
        run_without_report(study, out, sorted(out.glob("cohort/*/site.yaml")))
    return FinishedRun(out, results_of(out), tuple(asked)), study


def record_of(run):
    return StudyFolder(run.out / "study").load()


def test_the_layer_is_that_of_all_rows_in_one_table(run):
    run, _ = run
    verification = verify_folder(run.out)
    checks = [check for check in verification.checks if check.stage == "fuse"]
    assert len(checks) == 5
    assert max(check.largest_difference for check in checks) <= 1e-8
    assert verification.passed


def test_only_the_mode_of_sums_asks_and_only_the_others_collect_rows(run):
    run, study = run
    asked = [name for name, _ in run.asked]
    summed = study.fusion.exchange == "statistics"
    assert (set(asked) & ASKED == ASKED) == summed == ("embed_rows" not in asked)
    assert len(record_of(run).embed.labels) == (0 if summed else run.results["fusion"]["n_cases"])


def test_results_tell_the_mode_the_questions_and_the_iterations(run):
    run, study = run
    fusion = run.results["fusion"]
    n_asked = sum(name in ASKED for name, _ in run.asked)
    assert (fusion["exchange"], fusion["n_questions"]) == (study.fusion.exchange, n_asked)
    summed = study.fusion.exchange == "statistics"
    assert (fusion["n_iterations"] is not None) == summed
    assert not summed or 1 <= fusion["n_iterations"] <= 10
    told = {entry["stage"]: entry["what"] for entry in run.results["disclosed"]}
    assert ("nothing" in told["fuse"]) != summed
    assert ("label of each" in told["embed"]) != summed
    assert "reduced embeddings" not in told["embed"]
    assert "one score" in told["embed"] or summed


def test_the_columns_are_those_that_the_mode_names(run):
    run, study = run
    names = [entry["name"] for entry in run.results["fusion"]["inputs"]][1:]
    branch = [name for name in names if name.startswith("branch")]
    if study.fusion.exchange == "scores":
        assert branch == ["branch_2_5d_score"]
    else:
        assert branch == [f"branch_2_5d_{i + 1}" for i in range(study.embedding.dimension)]


def test_a_run_by_sums_needs_no_policy_that_lets_a_single_case_leave(run):
    run, study = run
    bench = SiteService.open(run.hospitals[0], study, threads=1).bench
    whole, request = bench.site.policy, request_of(run)
    bench.site.policy = changed_policy(whole, release={"rows": ()})
    if study.fusion.exchange == "statistics":
        assert len(answer_moments(request, bench).folds) == study.fusion.folds
        with pytest.raises(PolicyError, match="under which none leave"):
            answer_rows(request, bench)
    else:
        rows = ("embeddings", "labels", "radiomics_score", "clinical")
        bench.site.policy = changed_policy(whole, release={"rows": rows})
        with pytest.raises(PolicyError, match=r"release\.rows of the policy lacks scores"):
            answer_rows(request, bench)
        with pytest.raises(PolicyError, match="does not ask for sums"):
            answer_moments(request, bench)


def test_sums_of_a_small_fold_do_not_leave(run):
    run, study = run
    if study.fusion.exchange != "statistics":
        pytest.skip("rows leave whole")
    bench = SiteService.open(run.hospitals[0], study, threads=1).bench
    bench.site.policy = changed_policy(bench.site.policy, release={"min_cell": 5})
    with pytest.raises(
        SmallCellError, match=r"[Ll]ower fusion\.(outer_)?folds|fusion layer's sums"
    ):
        answer_moments(request_of(run), bench)


def test_layers_that_the_study_does_not_have_are_refused(run):
    run, study = run
    bench = SiteService.open(run.hospitals[0], study, threads=1).bench

    def layers(fold):
        m = len(fold)
        return Layers(np.array(fold), np.zeros((m, 1)), np.ones((m, 1)), np.zeros((m, 2)))

    check_layers(layers([NO_FOLD, 4]), bench)
    for fold in ([5], [0] * 31):
        with pytest.raises(CodecError, match="does not have"):
            check_layers(layers(fold), bench)


def request_of(run):
    study = record_of(run)
    return RowsRequest(study.embed.parts, study.clinical_model.model)


def test_a_coefficient_off_by_a_millionth_is_found(run, capsys):
    run, _ = run
    folder, study = StudyFolder(run.out / "study"), record_of(run)
    model = study.fuse.model
    off = replace(model, coefficients=model.coefficients + 1e-6)
    folder.save(study, replace(study, fuse=replace(study.fuse, model=off)))
    try:
        assert trifed.main(["verify", str(run.out)]) == 1
        assert "NOT all within" in capsys.readouterr().out
    finally:
        folder.save(replace(study, fuse=None), study)
