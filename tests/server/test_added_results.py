"""An external hospital's result file joins the run that its bundle came from."""

import json
import shutil
from dataclasses import replace

import pytest

import trifed
from client.evaluate import evaluate_file
from client.looks import NAME
from server.added_results import add_result, with_added
from server.bundle_export import export_bundle
from server.report import read_results
from server.report.sections import sections
from shared.errors import ResultError, StateError
from shared.external_result import write_result
from tests.site_policies import write_policy


@pytest.fixture(scope="module")
def result(finished_run, tmp_path_factory):
    """The summary of a hospital that the study does not name, with the patients of its own."""
    folder = tmp_path_factory.mktemp("faraway")
    export_bundle(finished_run.out, folder / "tiny.bundle")
    ignore = shutil.ignore_patterns("cache", NAME)
    shutil.copytree(finished_run.out / "cohort" / "site_d", folder / "site", ignore=ignore)
    site_file = folder / "site" / "site.yaml"
    text = site_file.read_text().replace("name: site_d", "name: faraway")
    site_file.write_text(text)
    write_policy(site_file, "release: {min_cell: 1, external: summary}\n")
    return evaluate_file(folder / "tiny.bundle", site_file, threads=1).result


@pytest.fixture
def run(finished_run, tmp_path):
    """A copy of the finished run's results."""
    shutil.copy(finished_run.out / "results.json", tmp_path / "results.json")
    return tmp_path


@pytest.fixture
def file(result, tmp_path_factory):
    path = tmp_path_factory.mktemp("sent") / "result.json"
    write_result(path, result)
    return path


def test_an_added_result_is_another_external_row_and_changes_no_other(run, file, result):
    before = json.loads((run / "results.json").read_text())
    add_result(run, file)
    after = json.loads((run / "results.json").read_text())
    told = after["external_sites"].pop("faraway")
    assert told["fusion"]["auc"] == result.reply.summaries["fusion"].auc
    assert told == before["external_sites"]["site_d"]
    looks = after["external_looks"].pop("faraway")
    assert looks == {
        "level": "summary", "looks": 1, "by": "file", "date": result.reply.date,
        "cohort_hash": result.reply.cohort, "trifed": result.trifed,
    }  # fmt: skip
    assert after["cohort"]["sites"].pop("faraway")["n_cases"] == 16
    tables = after["cohort"]["external"]
    assert tables.pop("faraway") == tables["site_d"]
    compared = after["comparisons"]["external_sites"]
    assert compared.pop("faraway") == compared["site_d"]
    drives = after["contributions"]["external_sites"]
    assert drives.pop("faraway") == drives["site_d"]
    assert after == before


def test_adding_it_again_changes_nothing_and_writing_results_again_keeps_it(run, file):
    add_result(run, file)
    once = (run / "results.json").read_bytes()
    add_result(run, file)
    assert (run / "results.json").read_bytes() == once
    results = json.loads(once)
    assert with_added(results, run) == results


def test_the_report_shows_the_row_and_how_often_the_patients_were_looked_at(run, file, capsys):
    assert trifed.main(["bundle", "add-result", str(run), str(file)]) == 0
    assert "faraway: 16 patients added" in capsys.readouterr().out
    page = (run / "report.html").read_text()
    assert "The external patients of faraway were looked at once" in page
    assert "faraway: external patients" in page
    assert "Not part of the pooled numbers" in page


def test_several_looks_are_told_with_a_warning(run, file, result):
    write_result(file, replace(result, reply=replace(result.reply, looks=4)))
    add_result(run, file)
    (performance,) = (s for s in sections(read_results(run)) if s.key == "performance")
    line = performance.lines[-1]
    assert "faraway were looked at 4 times" in line
    assert "are not tested by them" in line


def test_a_result_of_another_bundle_is_refused(run, file, result):
    write_result(file, replace(result, bundle_hash="0" * 64))
    before = (run / "results.json").read_bytes()
    with pytest.raises(ResultError, match=r"is of bundle 0000.*exported from"):
        add_result(run, file)
    assert (run / "results.json").read_bytes() == before
    assert not (run / "external-results").exists()


def test_a_site_that_the_run_has_numbers_of_is_not_told_of_twice(run, file, result):
    write_result(file, replace(result, site="site_d"))
    with pytest.raises(ResultError, match="other numbers of 'site_d' already"):
        add_result(run, file)


def test_another_cohort_of_an_added_site_does_not_replace_the_first(run, file, result):
    add_result(run, file)
    write_result(file, replace(result, reply=replace(result.reply, cohort="1" * 64)))
    with pytest.raises(ResultError, match="'faraway' already"):
        add_result(run, file)


def test_a_folder_without_a_run_takes_nothing(tmp_path, file):
    with pytest.raises(StateError, match="no finished run"):
        add_result(tmp_path / "nowhere", file)
