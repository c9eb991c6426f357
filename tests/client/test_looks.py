"""An external cohort is shown a bundle once."""

import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from client import book as book_module
from client.looks import NAME, Looks
from client.service import SiteService
from client.stages import external_evaluate
from shared.codec import content_hash
from shared.config import digest
from shared.errors import CodecError, LooksError, PolicyError, TrifedError
from shared.models import FusionModel
from shared.stages.evaluate import ScoresRequest
from tests.made_bundle import bundle_without_networks
from tests.site_policies import changed_policy, made_policy


@pytest.fixture
def made(study):
    return bundle_without_networks(study)


@pytest.fixture
def hospital(tmp_path, make_site):
    return make_site(tmp_path / "site", name="site_d", role="external")


@pytest.fixture
def evaluate(made, hospital):
    """Ask a hospital, as a new process of it answers."""

    def ask(bundle=made.bundle, site_file=hospital, level="binned", **limits):
        service = SiteService.open(site_file, made.study, threads=1)
        site = service.bench.site
        site.policy = changed_policy(site.policy, release={"external": level, **limits})
        return service.answer("external_scores", ScoresRequest(bundle))

    return ask


@pytest.fixture
def other(made):
    """Other bundles of the same study, by another threshold."""
    return lambda k: replace(made.bundle, thresholds=made.bundle.thresholds | {"fusion": k / 1000})


@pytest.fixture
def no_computing(monkeypatch):
    """Let any computing of scores fail."""

    def fail(*_):
        raise AssertionError("computed again")

    monkeypatch.setattr(external_evaluate, "evaluate_bundle", fail)


def looks_in(site_file):
    return Looks("site_d", folder=site_file.parent, cache=site_file.parent / "cache").entries()


def test_the_second_look_is_the_first_answer_bit_for_bit_and_nothing_is_computed(
    evaluate, request, hospital
):
    first = evaluate()
    request.getfixturevalue("no_computing")
    assert content_hash(evaluate()) == content_hash(first)
    assert len(looks_in(hospital)) == 1


def test_that_it_is_the_first_answer_is_said(evaluate, caplog):
    caplog.set_level("INFO", logger="trifed")
    first = evaluate()
    evaluate()
    assert f"evaluated on {first.date}; the first answer is told again" in caplog.text


def test_each_other_bundle_is_allowed_and_counted(evaluate, other):
    assert [evaluate(other(k)).looks for k in (100, 200, 300)] == [1, 2, 3]
    assert evaluate(other(200)).looks == 2
    assert len({evaluate(other(k)).cohort for k in (100, 200, 300)}) == 1


def edit_label(site_file):
    table = site_file.parent / "clinical.csv"
    table.write_text(table.read_text().replace("P004,0,", "P004,1+,").replace("P005,2+", "P005,0"))


def test_a_changed_cohort_is_another_look_at_the_same_patients(evaluate, hospital):
    before = evaluate()
    edit_label(hospital)
    after = evaluate()
    assert (before.looks, after.looks) == (1, 2)
    assert after.cohort != before.cohort
    assert after.summaries["fusion"].n_positive == before.summaries["fusion"].n_positive - 1


def test_a_cohort_of_other_patients_begins_to_count_anew(evaluate, hospital):
    evaluate()
    for table in ("manifest.csv", "clinical.csv"):
        path = hospital.parent / table
        path.write_text(path.read_text().replace("\nP", "\nQ"))
    assert evaluate().looks == 1
    assert len(looks_in(hospital)) == 2


def test_the_book_names_no_patient(evaluate, hospital):
    evaluate(level="scores")
    text = (hospital.parent / NAME).read_text()
    assert text == (hospital.parent / "cache" / NAME).read_text()
    assert not any(f"P00{k}" in text for k in range(8))
    assert json.loads(text)["entries"][0]["look"]["level"] == "scores"


def test_a_hospital_that_tells_less_today_does_not_tell_the_old_answer_again(evaluate):
    evaluate(level="binned")
    with pytest.raises(PolicyError, match=r"at the level binned; release.external is summary now"):
        evaluate(level="summary")
    assert evaluate(level="scores").level == "binned"


@pytest.mark.parametrize(
    ("limits", "key"),
    [
        ({"min_cell": 3}, "min_cell"),
        ({"min_tail": 2}, "min_tail"),
        ({"max_score_bins": 100}, "max_score_bins"),
    ],
    ids=["patients", "ends", "bins"],
)
def test_nor_does_one_whose_limits_are_narrower_today(evaluate, limits, key):
    evaluate(min_cell=1, min_tail=1, max_score_bins=2000)
    with pytest.raises(PolicyError, match=rf"release.{key} is \d+ now.*may not leave again"):
        evaluate(**{"min_cell": 1, "min_tail": 1} | limits)
    evaluate(min_cell=1, min_tail=1, max_score_bins=1000)


def test_a_fusion_layer_of_other_columns_is_refused(evaluate, made):
    layer = made.bundle.fusion
    fewer = FusionModel(layer.columns[:2], layer.mean[:2], layer.sd[:2], layer.coefficients[:3])
    with pytest.raises(CodecError, match="fusion columns are not the study's"):
        evaluate(replace(made.bundle, fusion=fewer))


def test_a_refused_evaluation_is_no_look(evaluate, hospital, other):
    with pytest.raises(TrifedError, match="nowhere"):
        evaluate(replace(other(1), radiomics=unknown_feature(other(1).radiomics)))
    assert looks_in(hospital) == ()
    assert not list(hospital.parent.rglob(NAME))


def unknown_feature(radiomics):
    return replace(radiomics, scale=replace(radiomics.scale, names=("nowhere", "to_be_found")))


def test_what_cannot_be_written_down_is_not_told(evaluate, hospital, monkeypatch):
    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(book_module, "write_atomically", full)
    with pytest.raises(LooksError, match=r"looks.json cannot be written.*nothing is told"):
        evaluate()
    assert not list(hospital.parent.rglob(NAME))


def test_a_damaged_book_is_mended_from_its_copy_and_without_one_nothing_is_told(
    evaluate, hospital, other
):
    first = evaluate()
    book, copy = hospital.parent / NAME, hospital.parent / "cache" / NAME
    book.write_text(book.read_text().replace('"level": "binned"', '"level": "summary"'))
    assert content_hash(evaluate()) == content_hash(first)
    assert book.read_bytes() == copy.read_bytes()
    for path in (book, copy):
        path.write_text(path.read_text()[:-40])
    with pytest.raises(LooksError, match=r"cannot be believed.*backup"):
        evaluate(other(5))


@pytest.mark.parametrize("spot", ["before the first file", "between the two copies"])
def test_a_kill_between_computing_and_telling_leaves_a_whole_look_or_none(evaluate, hospital, spot):
    n_writes = 0 if spot == "before the first file" else 1
    child = os.fork()
    if child == 0:
        try:
            killed_after(n_writes)
            evaluate()
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert len(looks_in(hospital)) == n_writes
    left = [path.name for path in hospital.parent.rglob("*looks*") if not path.is_dir()]
    assert set(left) <= {NAME, f".tmp-{child}-{NAME}"}
    told = evaluate()
    assert (told.looks, len(looks_in(hospital))) == (1, 1)


def killed_after(n_writes):
    """End this process where it would rename the book's file into place after n others."""
    real, done = os.replace, []

    def rename(path, target):
        if target.name == NAME:
            if len(done) == n_writes:
                os.kill(os.getpid(), signal.SIGKILL)
            done.append(target)
        real(path, target)

    Path.replace = rename


def test_two_evaluations_at_once_are_not_mixed(evaluate, other, monkeypatch):
    compute = external_evaluate.evaluate_bundle

    def slow(*arguments):
        found = compute(*arguments)
        monkeypatch.setattr(external_evaluate, "evaluate_bundle", compute)
        evaluate(other(7))
        return found

    monkeypatch.setattr(external_evaluate, "evaluate_bundle", slow)
    with pytest.raises(LooksError, match=r"written to .*looks.json meanwhile.*Evaluate again"):
        evaluate()
    assert [evaluate().looks, evaluate(other(7)).looks] == [2, 1]


def test_a_copied_hospital_without_its_book_gives_the_same_numbers(evaluate, hospital, tmp_path):
    first = evaluate()
    kept = shutil.ignore_patterns(NAME, "cache")
    shutil.copytree(hospital.parent, tmp_path / "copy", ignore=kept)
    again = evaluate(site_file=tmp_path / "copy" / "site.yaml")
    assert again.cohort != first.cohort
    same = replace(again, cohort=first.cohort, date=first.date)
    assert content_hash(same) == content_hash(first)


def test_the_least_is_told_unless_the_hospital_says_otherwise():
    assert made_policy("strict").release.external == "summary"
    assert made_policy("standard").release.external == "summary"


def test_the_made_bundle_is_of_its_study(made):
    assert made.bundle.study_hash == digest(made.study)
    assert np.isfinite(made.bundle.radiomics.coefficients).all()
