"""The appendix says what study, policy, approvals and ledger say, and leaves the rest to people."""

import re

import pytest

import trifed
from client.approvals.approvals import Approvals
from client.assessment.appendix import appendix, data_of
from client.assessment.words import BLANKS, MEASURES, OTHERS, SECURE_SUMS, SUMS, risks_of
from client.forecast.forecast import forecast
from client.joining.offered import Offered
from client.releases.ledger import ReleaseLedger
from client.releases.row import file_content
from client.releases.table import left_by
from client.settings import load_site_settings
from shared.config import digest
from shared.errors import LedgerError, PolicyError
from tests.finished_runs import TINY
from tests.site_policies import made_policy, write_whole_policy

RUN = "0a" * 16
STANDARD = "version: 1\npack: standard\nvalid_until: 2999-12-31\n"


@pytest.fixture
def site_file(tmp_path):
    """A hospital that does not say that its patients are made up; none of its files is there."""
    path = tmp_path / "site.yaml"
    path.write_text("version: 1\nname: site_a\nrole: training\n")
    write_whole_policy(path, f"{STANDARD}release: {{min_cell: 4}}\n")
    return path


def ledger_of(site_file, study):
    return ReleaseLedger(
        site_file.parent, site_file.parent / "cache", study=digest(study), to="the server"
    )


def test_it_counts_what_left_of_this_study_and_nothing_of_another(site_file, study, change):
    site_file.with_name("cache").mkdir()
    for of, n in ((study, 3), (change(study, seed=2), 1)):
        ledger = ledger_of(site_file, of)
        for size in range(n):
            content = file_content(bytes(size))
            ledger.release(content, run=RUN, question="hello", least_cell=7 + size)
        ledger.refuse("E_POLICY", run=RUN, question="embed_rows")
    found = appendix(site_file, Offered(study, None))
    told = [(e.question, e.n_answers, e.n_bytes, e.least_cell, e.n_refused) for e in found.left]
    assert told == [("hello", 3, 3, 7, 0), ("embed_rows", 0, 0, None, 1)]
    assert found.head == str(ledger.head())
    assert left_by([]) == ()


def test_it_holds_the_dry_run_the_policy_and_its_exceptions(site_file, study):
    found = appendix(site_file, Offered(study, None))
    assert found.foreseen == forecast(study, site_file)
    (cell,) = (row for row in found.policy if row[0] == "release.min_cell")
    assert cell[1:3] == ("4", "5")
    assert "fewer patients" in cell[3]
    assert [line for line in found.exceptions if "min_cell" in line]
    assert found.approvals == ()
    assert found.left == ()
    Approvals(site_file.parent).add("approved", digest(study), title="A study", by="officer")
    (line,) = appendix(site_file, Offered(study, None)).approvals
    assert "officer" in line


def test_a_ledger_that_is_not_whole_or_no_policy_gives_no_appendix(site_file, study):
    site_file.with_name("cache").mkdir()
    ledger = ledger_of(site_file, study)
    for _ in range(2):
        ledger.refuse("E_POLICY", run=RUN, question="hello")
    lines = ledger.path.read_bytes().splitlines(keepends=True)
    ledger.path.write_bytes(lines[1] + lines[0])
    with pytest.raises(LedgerError):
        appendix(site_file, Offered(study, None))
    site_file.with_name("policy.yaml").unlink()
    with pytest.raises(PolicyError):
        appendix(site_file, Offered(study, None))


def test_every_column_that_is_read_is_named(site_file, study, change):
    wide = change(
        study,
        cohort={"describe": ["weight"]},
        evaluation={"subgroups": [{"column": "male", "values": {"men": ["1"], "women": ["0"]}}]},
    )
    said = " ".join(data_of(wide, load_site_settings(site_file)))
    columns = (wide.endpoint.column, *wide.clinical.predictors, "weight", "male")
    assert all(column in said for column in columns)


NOISE = {"cnn": {"noise_multiplier": 1.0, "epsilon": 6.0, "delta": 1e-5}}


def test_what_remains_at_risk_is_of_this_study(site_file, study, change):
    settings, policy = load_site_settings(site_file), made_policy("standard")

    def risks(**changes):
        return " ".join(risks_of(change(study, **changes), settings, policy))

    fused = study.fusion.model_dump()
    assert "epsilon is infinite" in risks()
    assert "Rows about single" in risks()
    assert "epsilon at most 6 at delta 1e-05" in risks(dp=NOISE)
    sums = risks(fusion=fused | {"exchange": "statistics"})
    assert "Rows about single" not in sums
    assert SECURE_SUMS in sums
    assert SUMS not in sums
    assert "differs by fewer than 5 patients" in sums
    alike = made_policy("standard", cohort={"min_delta": 1})
    assert "two runs can tell of one patient" in " ".join(risks_of(study, settings, alike))
    shown = made_policy("standard", secagg={"required": False})
    assert SUMS in risks_of(study, settings, shown)
    assert SECURE_SUMS in risks_of(change(study, secagg="auto"), settings, policy)


@pytest.mark.parametrize("level", ["summary", "binned", "scores"])
def test_an_external_site_trains_nothing(site_file, study, level):
    text = site_file.read_text().replace("training", "external").replace("site_a", "site_d")
    site_file.write_text(text)
    policy = made_policy("standard", release={"external": level})
    first, last = risks_of(study, load_site_settings(site_file), policy)
    assert last == OTHERS
    assert ("without an id" in first) == (level == "scores")


def test_the_page_has_everything_and_loads_nothing(site_file, tmp_path, capsys):
    out = tmp_path / "page.html"
    assert trifed.main(["site", "dpia", str(site_file), str(TINY), "--out", str(out)]) == 0
    assert str(out) in capsys.readouterr().out
    text = out.read_text()
    assert "<script" not in text
    assert not re.search(r"(?:src|href)=\"(?!data:)", text)
    plain = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", text)).replace("&#39;", "'")
    for line in (*MEASURES, *BLANKS):
        assert line in plain
    assert "Nothing of this study has left the hospital" in plain
    assert "Nobody of this hospital has approved" in plain
    assert "made up" not in plain.partition("1. The processing")[0]


def test_the_page_says_in_its_head_that_patients_are_made_up(site_file, tmp_path):
    site_file.write_text(site_file.read_text() + "synthetic: true\n")
    out = tmp_path / "page.html"
    assert trifed.main(["site", "dpia", str(site_file), str(TINY), "--out", str(out)]) == 0
    assert "The patients of this site are made up." in out.read_text().partition("<main>")[0]
