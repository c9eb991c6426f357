"""A simulation writes what a deployment writes: each hospital's ledger, answers, signed heads."""

import shutil
from types import SimpleNamespace

import pytest

import trifed
from client.differences.asking import run_that_asks
from client.recorded import Recorded
from client.releases.cells import note_cell, note_change
from client.releases.heads import HeadBook
from client.releases.ledger import ReleaseLedger, ledger_of
from client.releases.row import Change, hash_of
from server.heads.notary import NAME, read_heads
from shared.config import load_study
from shared.errors import LedgerError, StateError
from shared.job import read_job
from shared.ledger_head import Head
from shared.stages.roll_call import SiteName
from simulation.ledgers import Ledgers
from tests.conftest import changed
from tests.finished_runs import TINY, run_without_report


def run_of(run):
    return (run.out / "run.id").read_text()


def rows_of(site_file, run):
    return [row for row in ledger_of(site_file, "").rows() if row.run == run]


def test_each_hospital_has_a_row_for_each_answer_with_the_hash_of_its_bytes(finished_run):
    for site_file in finished_run.hospitals:
        site, rows = site_file.parent.name, rows_of(site_file, run_of(finished_run))
        told = [(row.question, row.content.sha256) for row in rows if row.content]
        expected = [
            (each["question"], each["sha256"])
            for each in finished_run.released
            if each["site"] == site
        ]
        assert told == expected
        assert all(row.policy for row in rows)


def test_a_row_has_the_cell_the_change_and_the_run_as_a_site_service_writes_them(tmp_path):
    change, runs = Change("branch", 0.5, 2.0), []

    def answer(_name, _request):
        note_cell(7)
        note_change(change)
        runs.append(run_that_asks())
        return SiteName("site_a")

    ledger = ReleaseLedger(tmp_path, tmp_path)
    told = Recorded(SimpleNamespace(answer=answer), ledger, run="ab" * 16, answers=None)
    assert told.answer("roll_call", None) == SiteName("site_a")
    (row,) = ledger.rows()
    assert (row.least_cell, row.content.change, runs) == (7, change, ["ab" * 16])


def test_the_last_head_of_each_is_countersigned_on_both_sides(finished_run, capsys):
    last = read_heads(finished_run.out / NAME).last()
    for site_file in finished_run.hospitals:
        book = HeadBook(site_file.parent, site_file.parent.name)
        (*_, line) = (each for each in book.own() if each.run == run_of(finished_run))
        (*_, row) = rows_of(site_file, run_of(finished_run))
        assert line == last[book.site]
        assert line.head == Head(row.number, hash_of(row.line()))
        assert trifed.main(["site", "ledger", "verify", str(site_file)]) == 0
        assert "Countersigned up to row" in capsys.readouterr().out
    assert trifed.main(["server", "heads", str(finished_run.out)]) == 0


@pytest.fixture
def job(finished_run, tmp_path):
    """A short run at copies of the hospitals."""
    fusion = {"inputs": ["radiomics_score", "clinical"], "budget": "report"}
    study = changed(load_study(TINY), branches=[], explain=None, fusion=fusion)
    shutil.copytree(finished_run.out / "cohort", tmp_path / "cohort")
    sites = sorted(tmp_path.glob("cohort/*/site.yaml"))
    return read_job(run_without_report(study, tmp_path / "run", sites) / "job.json")


def test_a_ledger_that_lost_rows_stops_a_run_that_goes_on(job):
    site = sorted(job.site_files)[0]
    ledger = ledger_of(job.site_files[site], "")
    lines = ledger.path.read_bytes().splitlines(keepends=True)
    with Ledgers(job) as ledgers:
        ledgers.recorded(site, object())
        ledgers.ask(site)
        ledger.path.write_bytes(b"".join(lines[:-2]))
        for head in ledger.path.parent.glob("*/release-ledger.head"):
            head.unlink()
        with pytest.raises(LedgerError, match="rows were lost or removed"):
            ledgers.ask(site)


def test_two_runs_at_once_do_not_mix_at_one_hospital(job):
    site = sorted(job.site_files)[0]
    with Ledgers(job) as one, Ledgers(job) as other:
        one.recorded(site, object())
        with pytest.raises(StateError, match="another service of this site"):
            other.recorded(site, object())
