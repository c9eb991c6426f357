"""A study whose fusion layer is fitted with noise: it runs, is booked, and says its epsilon."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from client.ledger import NAME, parse
from client.service import SiteService
from client.settings import load_site_settings
from client.stages.embed import answer_noised as answer_noised_rows
from client.stages.embed import answer_rows, demand_sums, fusion_rows
from client.stages.fuse import answer_noised, answer_steps
from server.fuse_noise import fitted_with_noise
from server.report import write_report
from server.study_folder import StudyFolder
from shared.config import digest, load_study
from shared.errors import BudgetError, CodecError, PolicyError
from shared.fusion_sums import NO_FOLD, Layers
from shared.glm import fit_logistic, logistic_sums
from shared.grid_noise import noise_for
from shared.models import fusion_design
from shared.noised_rows import opened_rows
from shared.noised_sums import shortened_design
from shared.privacy import FUSION, epsilon
from shared.stages.embed import NoisedRowsRequest, RowsRequest
from shared.stages.fuse import LayersRequest, NoisedRequest
from simulation.local import LocalFederation
from simulation.simulate import verify_folder
from tests.conftest import changed, flat_branch
from tests.finished_runs import TINY, recorded_questions, results_of, run_without_report

TRAINING = ("site_a", "site_b", "site_c")
MUCH = {"epsilon": 100.0, "delta": 0.01, "steps": 8}


def study_with(**dp):
    fusion = {"exchange": "statistics+dp", "penalties": [3.0], "budget": "report", "dp": dp}
    return changed(load_study(TINY), fusion=fusion, branches=flat_branch(), explain=None)


def run(study, out, hospitals):
    with recorded_questions() as asked:
        run_without_report(study, out, hospitals)
    return results_of(out), StudyFolder(out / "study").load(), {name for name, _ in asked}


@pytest.fixture(scope="module")
def hospitals(finished_run, tmp_path_factory):
    """Hospitals of their own to spend in, which have extracted."""
    folder = tmp_path_factory.mktemp("noise") / "cohort"
    shutil.copytree(finished_run.out / "cohort", folder)
    return sorted(folder.glob("*/site.yaml"))


@pytest.fixture(scope="module")
def plain(hospitals, tmp_path_factory):
    """A run at the default epsilon: its folder, results and record."""
    out = tmp_path_factory.mktemp("plain") / "run"
    return out, *run(study_with(), out, hospitals)


def ledgers(hospitals):
    training = [path for path in hospitals if load_site_settings(path).role == "training"]
    return {site: parse((path.parent / NAME).read_bytes(), site)
            for site, path in zip(TRAINING, training, strict=True)}  # fmt: skip


def request_of(record, step=1, shift=0.0):
    rows = RowsRequest(record.embed.parts, record.clinical_model.model)
    model = record.fuse.model
    beta = np.zeros((1, 1 + len(model.mean))) + shift
    layer = Layers(np.array([NO_FOLD]), model.mean[None], model.sd[None], beta)
    return NoisedRequest(step, rows, layer)


def test_a_run_says_its_mode_and_epsilon_and_is_booked(plain, hospitals, tmp_path):
    out, results, _, asked = plain
    assert "fusion_noised" in asked
    assert not asked & {"embed_rows", "fusion_moments", "fusion_steps", "fusion_scores"}
    fusion = results["fusion"]
    assert fusion["exchange"] == "statistics+dp"
    assert (fusion["n_questions"], fusion["held_out_auc"], fusion["cv_log_loss"]) == (3, None, [])
    assert tuple(fusion["privacy"]) == TRAINING
    for site, booked in ledgers(hospitals).items():
        ours = [entry for entry in booked if entry.study == booked[0].study]
        assert [(entry.network, entry.round) for entry in ours[:3]] == [
            (FUSION, 1), (FUSION, 2), (FUSION, 3),
        ]  # fmt: skip
        told = fusion["privacy"][site]
        assert told["epsilon"] == pytest.approx(epsilon(ours[:3], 1e-5))
        assert 2.5 < told["epsilon"] <= 3.0
    disclosed = {entry["stage"]: entry["what"] for entry in results["disclosed"]}
    assert "with noise (epsilon 3, delta 1e-05" in disclosed["fuse"]
    assert disclosed["embed"] == "nothing"
    assert verify_folder(out).passed
    write_report(results, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "mode statistics+dp" in text


def asked_of_all(study, hospitals, record):
    """What a server of this study makes of the hospitals, whose earlier stages are done."""
    training = dict(zip(TRAINING, hospitals, strict=False))
    federation = LocalFederation(training, study, threads=1)
    coordinator = SimpleNamespace(settings=study, federation=federation, training=TRAINING)
    return fitted_with_noise(record, coordinator)


def test_a_second_fit_is_told_the_same_and_spends_nothing(plain, hospitals):
    before = ledgers(hospitals)
    again = asked_of_all(study_with(), hospitals, plain[2])
    assert ledgers(hospitals) == before
    assert again.model.coefficients.tolist() == plain[2].fuse.model.coefficients.tolist()
    assert again.spent == plain[2].fuse.spent


def test_with_little_noise_it_is_the_fit_of_all_rows_in_one_table(plain, hospitals):
    study, (_, _, record, _) = study_with(**MUCH), plain
    model = asked_of_all(study, hospitals, record).model
    request = RowsRequest(record.embed.parts, record.clinical_model.model)
    parts = []
    for path in hospitals[:3]:
        _, rows, labels = fusion_rows(request, SiteService.open(path, study, threads=1).bench)
        parts.append((rows, labels))
    rows, labels = (np.concatenate(part) for part in zip(*parts, strict=True))
    design = shortened_design(fusion_design(model.mean, model.sd, rows), study.fusion.dp.clip_norm)
    names = [str(i) for i in range(design.shape[1])]
    penalty = np.array([0.0, *[3.0] * (len(names) - 1)])
    pooled = fit_logistic(lambda b: logistic_sums(design, labels, b), names, penalty=penalty)
    assert len(model.coefficients) == len(names)
    # A dozen patients have an information of 3, and the noise of each step is that of one patient.
    np.testing.assert_allclose(model.coefficients, pooled.coefficients, atol=0.6)
    assert np.linalg.norm(model.coefficients - pooled.coefficients) < 1.0


@pytest.fixture
def bench(plain, hospitals):
    assert plain[0].exists()
    return SiteService.open(hospitals[0], study_with(), threads=1).bench


def test_nothing_but_what_the_mode_tells_is_told(bench, plain):
    request = request_of(plain[2])
    with pytest.raises(PolicyError, match="under which none leave"):
        answer_rows(request.rows, bench)
    with pytest.raises(PolicyError, match="does not ask for sums"):
        answer_steps(LayersRequest(request.rows, request.layer), bench)


@pytest.mark.parametrize("step", [0, 4, -1, 10**9])
def test_a_step_that_the_study_does_not_have_is_refused(bench, plain, step):
    with pytest.raises(PolicyError, match=r"fusion\.dp\.steps of the study is 3"):
        answer_noised(request_of(plain[2], step=step), bench)


def test_a_layer_without_a_fold_or_of_other_columns_is_refused(bench, plain):
    request = request_of(plain[2])
    layer = request.layer
    fold = Layers(np.array([0]), layer.mean, layer.sd, layer.coefficients)
    narrow = Layers(layer.fold, layer.mean[:, 1:], layer.sd[:, 1:], layer.coefficients[:, 1:])
    for other in (fold, narrow):
        with pytest.raises(CodecError):
            answer_noised(NoisedRequest(1, request.rows, other), bench)


def test_a_server_that_asks_another_question_once_more_is_refused(bench, plain):
    with pytest.raises(BudgetError, match=r"fusion\.dp\.epsilon of the study is 3"):
        answer_noised(request_of(plain[2], shift=0.25), bench)


def test_folds_several_penalties_and_rows_of_folds_do_not_go_with_noise():
    for change, words in (
        ({"fit_on": "out_of_fold"}, "needs fit_on: tune"),
        ({"penalties": [1.0, 3.0]}, "takes one penalty"),
    ):
        fusion = {"exchange": "statistics+dp", "penalties": [3.0]} | change
        with pytest.raises(ValueError, match=words):
            changed(load_study(TINY), fusion=fusion)


ROWS = {"exchange": "embeddings+dp", "budget": "report"}


def study_of_rows(**dp):
    parts = {"branches": flat_branch(), "embedding": {"reduce": "logit", "dimension": 1}}
    return changed(load_study(TINY), fusion=ROWS | {"dp": dp}, explain=None, **parts)


@pytest.fixture(scope="module")
def rows_run(hospitals, tmp_path_factory):
    """A run whose rows have noise."""
    out = tmp_path_factory.mktemp("rows") / "run"
    return out, *run(study_of_rows(), out, hospitals)


def test_rows_with_noise_are_told_once_and_booked(rows_run, hospitals):
    out, results, record, asked = rows_run
    assert "embed_noised" in asked
    assert not asked & {"embed_rows", "fusion_noised", "fusion_steps"}
    assert tuple(results["fusion"]["privacy"]) == TRAINING
    for told in results["fusion"]["privacy"].values():
        assert 2.5 < told["epsilon"] <= 3.0
        assert len(told["history"]) == 1
    assert len(record.embed.labels) == results["fusion"]["n_cases"]
    study = study_of_rows()
    for booked in ledgers(hospitals).values():
        assert sum(entry.study == digest(study) for entry in booked) == 1
    disclosed = {entry["stage"]: entry["what"] for entry in results["disclosed"]}
    assert "with noise in every number (epsilon 3" in disclosed["embed"]
    assert verify_folder(out).passed


def test_under_noise_no_plain_row_and_no_sum_of_embeddings_is_told(rows_run, hospitals):
    record = rows_run[2]
    bench = SiteService.open(hospitals[0], study_of_rows(), threads=1).bench
    request = RowsRequest(record.embed.parts, record.clinical_model.model)
    with pytest.raises(PolicyError, match="under which none leave"):
        answer_rows(request, bench)
    with pytest.raises(PolicyError, match="nothing of embeddings leaves"):
        demand_sums(bench)
    scale = np.ones(len(record.embed.columns))
    with pytest.raises(BudgetError):
        answer_noised_rows(NoisedRowsRequest(request, 0 * scale, 2 * scale), bench)
    plain = SiteService.open(hospitals[0], study_with(), threads=1).bench
    with pytest.raises(PolicyError, match="does not ask for rows with noise"):
        answer_noised_rows(NoisedRowsRequest(request, 0 * scale, scale), plain)


def test_with_little_noise_the_rows_are_the_patients(rows_run, hospitals):
    """With an epsilon that protects nobody the numbers come back: the noise is all that hides."""
    record, study = rows_run[2], study_of_rows(**MUCH)
    bench = SiteService.open(hospitals[0], study, threads=1).bench
    request = RowsRequest(record.embed.parts, record.clinical_model.model)
    _, rows, labels = fusion_rows(request, bench)
    scale = 10 * (1 + np.abs(np.nan_to_num(rows)).max(axis=0))
    reply = answer_noised_rows(NoisedRowsRequest(request, 0 * scale, scale), bench)
    found, told = opened_rows(reply.numbers, study.fusion.dp.clip_norm)
    assert sorted(told.tolist()) == sorted(labels.tolist())
    assert found.shape == rows.shape
    noise = noise_for(MUCH["epsilon"], MUCH["delta"], 1) * study.fusion.dp.clip_norm * np.sqrt(2)
    mean = np.nan_to_num(rows / scale).mean(axis=0)
    np.testing.assert_allclose(found.mean(axis=0), mean, atol=5 * noise / np.sqrt(len(rows)))


def test_sums_for_principal_components_do_not_go_with_noise():
    with pytest.raises(ValueError, match="told without noise"):
        changed(load_study(TINY), fusion=ROWS, embedding={"reduce": "pca"})
