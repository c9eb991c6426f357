"""A bundle's file at a hospital without a server: the numbers of the online stage."""

import json
import shutil
from dataclasses import replace

import pytest

import trifed
from client import evaluate as evaluate_module
from client.approvals.approvals import Approvals
from client.evaluate import evaluate_file
from client.looks import NAME
from server.bundle_export import export_bundle
from server.study_folder import StudyFolder
from shared.bundle_file import read_bundle, write_bundle
from shared.codec import content_hash
from shared.config import digest, load_study
from shared.errors import ApprovalError, BundleError, ConfigError, HandshakeError, ResultError
from shared.external_result import FORMAT, parse, read_result, render, write_result
from tests.site_policies import write_policy, write_whole_policy


@pytest.fixture(scope="module")
def bundle_file(finished_run, tmp_path_factory):
    path = tmp_path_factory.mktemp("bundle") / "tiny.bundle"
    export_bundle(finished_run.out, path)
    return path


@pytest.fixture
def hospital(finished_run, tmp_path):
    """The finished run's external hospital, copied without cache and book, under another name."""

    def copied(name="site_d", role="external", **edits):
        source, folder = finished_run.out / "cohort" / "site_d", tmp_path / name
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns("cache", NAME))
        site_file = folder / "site.yaml"
        text = site_file.read_text().replace("name: site_d", f"name: {name}")
        text = text.replace("role: external", f"role: {role}")
        site_file.write_text(text)
        release = ", ".join(f"{key}: {value}" for key, value in edits.items())
        write_policy(site_file, f"release: {{min_cell: 1, {release}}}\n")
        return site_file

    return copied


@pytest.fixture(scope="module")
def online(finished_run):
    """What the hospital told the server of the finished run."""
    return StudyFolder(finished_run.out / "study").load().external_evaluate.sites["site_d"]


def test_the_numbers_are_those_of_the_online_stage_to_the_bit(bundle_file, hospital, online):
    offline = evaluate_file(bundle_file, hospital(), threads=1).result.reply
    assert (offline.level, offline.looks, online.looks) == ("binned", 1, 1)
    assert offline.contributions is not None
    same = replace(offline, cohort=online.cohort, date=online.date)
    assert content_hash(same) == content_hash(online)


def test_the_hospital_of_the_run_is_told_what_it_told_the_server(
    finished_run, bundle_file, online, monkeypatch
):
    monkeypatch.setattr(evaluate_module, "ask", lambda *_: pytest.fail("computed again"))
    site_file = finished_run.out / "cohort" / "site_d" / "site.yaml"
    found = evaluate_file(bundle_file, site_file, threads=1)
    assert found.told_before
    assert content_hash(found.result.reply) == content_hash(online)


def test_a_hospital_that_the_study_never_heard_of_gives_the_same_numbers(
    bundle_file, hospital, online
):
    site_file = hospital("faraway", external="summary")
    result = evaluate_file(bundle_file, site_file, threads=1).result
    assert (result.site, result.reply.level, result.reply.sums) == ("faraway", "summary", {})
    assert result.reply.summaries == online.summaries


def test_real_patients_are_shown_no_bundle_whose_study_nobody_approved(bundle_file, hospital):
    site_file = hospital()
    text = site_file.read_text().replace("synthetic: true", "synthetic: false")
    site_file.write_text(text)
    write_whole_policy(site_file, "version: 1\npack: standard\nvalid_until: 2999-12-31\n")
    with pytest.raises(ApprovalError, match="trifed site approve"):
        evaluate_file(bundle_file, site_file, threads=1)
    assert not (site_file.parent / NAME).exists()
    study_hash = digest(read_bundle(bundle_file).study)
    approve = ["site", "approve", str(site_file), str(bundle_file), "--hash", study_hash]
    assert trifed.main(approve) == 0
    assert Approvals(site_file.parent).are_for(study_hash)


def test_a_second_evaluation_writes_the_same_file_and_says_so(bundle_file, hospital, capsys):
    site_file = hospital()
    arguments = ["evaluate", str(bundle_file), "--site", str(site_file), "--threads", "1"]
    for name in ("one.json", "two.json"):
        assert trifed.main([*arguments, "--out", str(site_file.parent / name)]) == 0
    first, second = capsys.readouterr().out.split(f"{site_file.parent / 'one.json'}: written")
    assert "nothing was computed" in second
    assert "nothing was computed" not in first
    assert "looked at once" in first
    one, two = (site_file.parent / name for name in ("one.json", "two.json"))
    assert one.read_bytes() == two.read_bytes()


def test_the_result_names_no_patient_and_says_what_it_is(bundle_file, hospital, finished_run):
    site_file = hospital(external="scores")
    result = evaluate_file(bundle_file, site_file, threads=1).result
    text = render(result).decode()
    lines = (site_file.parent / "clinical.csv").read_text().splitlines()[1:]
    assert len(lines) == 16
    assert not [line for line in lines if line.split(",")[0] in text]
    body = json.loads(text)
    assert body["bundle_hash"] == finished_run.results["study"]["bundle_hash"]
    assert (body["level"], body["looks"], len(body["cohort_hash"])) == ("scores", 1, 64)


def test_another_bundle_than_the_one_that_is_meant_is_refused(bundle_file, hospital):
    site_file = hospital()
    with pytest.raises(BundleError, match=r"is bundle .*, not 00000000"):
        evaluate_file(bundle_file, site_file, bundle_hash="00000000")
    assert not list(site_file.parent.rglob(NAME))


def test_a_bundle_of_other_code_or_libraries_is_refused(bundle_file, hospital, tmp_path):
    found, site_file = read_bundle(bundle_file), hospital()
    other_code = replace(found.maker, code_hash="0" * 64, trifed="9.9")
    libraries = found.maker.versions | {"torch": "1.0"}
    other_torch = replace(found.maker, versions=libraries)
    for maker, words in ((other_code, "release 9.9"), (other_torch, "torch 1.0 there")):
        write_bundle(tmp_path / "other.bundle", replace(found, maker=maker))
        with pytest.raises(HandshakeError, match=words):
            evaluate_file(tmp_path / "other.bundle", site_file)


def test_a_training_site_is_no_external_cohort(bundle_file, hospital):
    with pytest.raises(ConfigError, match="was trained at 'site_a'"):
        evaluate_file(bundle_file, hospital("site_a"))
    with pytest.raises(ConfigError, match="has the role training"):
        evaluate_file(bundle_file, hospital("elsewhere", role="training"))


@pytest.fixture(scope="module")
def result(finished_run, bundle_file):
    site_file = finished_run.out / "cohort" / "site_d" / "site.yaml"
    return evaluate_file(bundle_file, site_file, threads=1).result


def test_a_result_comes_back_to_the_bit(result, tmp_path):
    write_result(tmp_path / "r.json", result)
    assert content_hash(read_result(tmp_path / "r.json")) == content_hash(result)


EDITS = {
    "another level": lambda text: text.replace('"level": "binned"', '"level": "summary"', 1),
    "fewer looks": lambda text: text.replace('"looks": 1', '"looks": 0', 1),
    "a better AUC": lambda text: text.replace('"auc": 0.', '"auc": 0.9', 1),
    "a blank": lambda text: text + " ",
    "a newer form": lambda text: text.replace(f'"format": {FORMAT}', f'"format": {FORMAT + 1}', 1),
    "an older form": lambda text: text.replace(f'"format": {FORMAT}', f'"format": {FORMAT - 1}', 1),
    "no JSON": lambda text: text[:-5],
    "a list": lambda _: "[]",
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_a_changed_result_is_refused(result, edit):
    text = render(result).decode()
    assert edit(text) != text
    with pytest.raises(ResultError):
        parse(edit(text).encode())


def test_the_numbers_in_the_results_file_of_the_run_are_the_hospitals(finished_run, result):
    settings = load_study(finished_run.out / "study.yaml")
    for model in settings.model_names:
        told = finished_run.results["external_sites"]["site_d"][model]
        summary = result.reply.summaries[model]
        assert (told["auc"], told["n"]) == (summary.auc, summary.n)
