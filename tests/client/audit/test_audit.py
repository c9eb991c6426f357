"""The audit of whole runs: rows are found again, sums are not, and what is missing is said."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import trifed
from client.answers import PIN, QUESTION
from client.audit import audit
from client.audit.attacks import Linked, Told
from client.audit.audit import ROWS, WEIGHTS, audit_run
from client.audit.findings import linked, not_measured, reconstructed, told
from client.audit.noised import NOISED_ROWS, on_noised_rows
from client.audit.released import Released, read_released
from client.audit.sums import MASKED, SUMS, on_sums
from client.audit.words import lines
from client.releases.ledger import ledger_of
from client.releases.row import Row, file_content
from client.stages.embed import fusion_rows
from shared.config import load_study
from shared.errors import AuditError, LedgerError
from shared.ledger_head import FIRST
from shared.noised_rows import row_vectors
from tests.conftest import changed
from tests.finished_runs import run_without_report

SMALL = Path(__file__).parents[2] / "deployment" / "soak.yaml"
EXCHANGES = ("embeddings", "scores", "statistics")
WITH_NOISE = ("embeddings+dp", "statistics+dp")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of each way in which the fusion layer is fitted, each with hospitals of its own."""
    base, found = load_study(SMALL), {}
    branch = base.branches[0].model_dump(mode="json")
    branch["training"]["rounds"] = 1
    sites = {site: {"n_cases": 24, "scanner": site[-1]} for site in base.sites.training}
    phantom = {"preset": "easy", "size": "tiny", "sites": sites}
    for exchange in (*EXCHANGES, *WITH_NOISE):
        fusion = {"exchange": exchange, "fit_on": "in_sample", "accept_in_sample": True}
        fusion |= {"budget": "report"} | ({"penalties": [3.0]} if exchange in WITH_NOISE else {})
        study = changed(base, fusion=fusion, branches=[branch], phantom=phantom,
                        embedding={"reduce": "pooled"})  # fmt: skip
        out = tmp_path_factory.mktemp(exchange) / "run"
        made = next(iter(found.values()), None)
        if made is not None:
            shutil.copytree(made / "cohort", out / "cohort")
        run_without_report(study, out, sorted(out.glob("cohort/*/site.yaml")))
        found[exchange] = out
    return found


def site_of(out, name="site_a"):
    return out / "cohort" / name / "site.yaml"


def run_id(out):
    return (out / "run.id").read_text()


@pytest.fixture(scope="module")
def audits(runs):
    return {
        exchange: audit_run(site_of(out), out / "study.yaml", run_id(out)[:8], threads=1)
        for exchange, out in runs.items()
    }


def finding(audit, release, attack):
    (found,) = [
        each
        for each in audit.findings
        if each.release.startswith(release) and each.attack == attack
    ]
    return found


def test_rows_that_left_are_found_again_and_give_values_away(audits):
    rows = finding(audits["embeddings"], ROWS, "linkage")
    assert rows.value > rows.chance
    assert rows.verdict in ("weak", "strong")
    told = finding(audits["embeddings"], ROWS, "reconstruction")
    assert told.value > 0.5
    assert finding(audits["scores"], ROWS, "linkage").n == rows.n


def test_no_row_left_where_sums_are_asked_and_they_are_attacked_instead(audits):
    found = audits["statistics"]
    assert not [each for each in found.findings if each.release == ROWS]
    linkage = finding(found, SUMS, "linkage")
    assert linkage.times_chance <= 5
    assert "numbers were told of" in linkage.words
    assert 0 <= finding(found, SUMS, "membership").value <= 1


@pytest.mark.parametrize(
    ("exchange", "release"), [("embeddings+dp", NOISED_ROWS), ("statistics+dp", SUMS)]
)
def test_what_left_with_noise_is_attacked_as_if_there_were_none_and_gives_nobody_away(
    audits, exchange, release
):
    found = finding(audits[exchange], release, "linkage")
    assert found.verdict in ("not told from chance", "weak")
    assert found.times_chance <= 5
    assert finding(audits[exchange], release, "reconstruction").value is not None
    assert 0 <= finding(audits[exchange], release, "membership").value <= 1


def test_without_their_noise_the_same_rows_are_found(runs, monkeypatch):
    out = runs["embeddings+dp"]
    site_file, run = site_of(out), run_id(out)
    (kept,) = read_released(site_file, run).of("embed_noised")
    plain = audit_run(site_file, out / "study.yaml", run, threads=1)

    def bare(_released, _bench):
        _, rows, labels = fusion_rows(kept.request.rows, _bench)
        columns = np.nan_to_num((rows - kept.request.mean) / kept.request.sd)
        numbers = row_vectors(columns, labels, 3.0)
        reply = replace(kept.reply, numbers=numbers)
        again = replace(_released, kept=(replace(kept, reply=reply),))
        return on_noised_rows(again, _bench)

    monkeypatch.setattr(audit, "on_noised_rows", bare)
    found = audit_run(site_file, out / "study.yaml", run, threads=1)
    told, noised = (finding(each, NOISED_ROWS, "reconstruction") for each in (found, plain))
    assert told.value > 0.5
    assert told.value > noised.value


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_pooled_weights_are_attacked_by_loss(audits, exchange):
    found = finding(audits[exchange], WEIGHTS, "membership")
    assert found.value is not None
    assert found.low <= found.value <= found.high


def test_an_audit_of_a_run_is_the_same_each_time(runs, audits):
    out = runs["statistics"]
    again = audit_run(site_of(out), out / "study.yaml", run_id(out), threads=1)
    assert again == audits["statistics"]


def leak_audit(out, *more):
    study = ("--study", str(out / "study.yaml"), "--threads", "1")
    return trifed.main(["site", "leak-audit", str(site_of(out)), run_id(out)[:8], *study, *more])


def test_the_command_prints_a_table_json_and_a_page_without_a_patients_name(
    runs, audits, tmp_path, capsys
):
    out = runs["embeddings"]
    assert leak_audit(out) == 0
    said = capsys.readouterr().out
    assert "linkage" in said
    assert "verdict" in said
    assert leak_audit(out, "--json") == 0
    body = json.loads(capsys.readouterr().out)
    assert len(body["findings"]) == len(audits["embeddings"].findings)
    page = tmp_path / "audit.html"
    assert leak_audit(out, "--html", str(page)) == 0
    text = page.read_text()
    assert "Leak audit" in text
    assert "http:" not in text
    assert "https:" not in text
    patients = {line.split(",")[0] for line in (out / "cohort/site_a/manifest.csv").open()}
    assert not [p for p in patients if p in text or p in said]


def test_a_run_that_nobody_knows_is_named(runs, capsys):
    out = runs["scores"]
    code = trifed.main(["site", "leak-audit", str(site_of(out)), "00ff00ff"])
    assert code != 0
    assert "no run of the ledger" in capsys.readouterr().err
    with pytest.raises(LedgerError, match="no run"):
        read_released(site_of(out), "00ff00ff")


def test_a_run_of_which_all_was_refused_has_nothing_to_attack(runs, tmp_path):
    shutil.copytree(runs["scores"] / "cohort/site_a", tmp_path / "site_a")
    site_file = tmp_path / "site_a" / "site.yaml"
    ledger_of(site_file, "5" * 64).refuse("E_POLICY", run="ab" * 16, question="embed_rows")
    with pytest.raises(AuditError, match="released nothing here: every question was refused"):
        read_released(site_file, "abab")


def test_answers_that_were_deleted_are_missed_and_the_remedy_is_said(runs, tmp_path):
    out = runs["scores"]
    shutil.copytree(out / "cohort/site_a", tmp_path / "site_a")
    site_file = tmp_path / "site_a" / "site.yaml"
    answers = tmp_path / "site_a" / "cache" / "answers" / run_id(out)
    for path in answers.rglob("*"):
        if path.is_file() and path.name != PIN and path.suffix != QUESTION:
            path.unlink()
    with pytest.raises(AuditError, match="none of them is kept"):
        read_released(site_file, run_id(out))


def test_the_study_must_be_the_runs(runs):
    out = runs["scores"]
    with pytest.raises(AuditError, match="--study"):
        audit_run(site_of(out), runs["statistics"] / "study.yaml", run_id(out), threads=1)


def test_each_kept_answer_is_the_one_that_the_ledger_has_the_hash_of(runs):
    out = runs["embeddings"]
    released = read_released(site_of(out), run_id(out))
    assert {row.run for row in released.rows} == {run_id(out)}
    (rows,) = released.of("embed_rows")
    assert rows.request is not None
    assert rows.reply.rows.shape[0] == len(rows.reply.labels)


def verdicts():
    yield linked("x", Linked(50, 0.04, 0.005, 0.14, 0.04), ""), "not told from chance"
    yield linked("x", Linked(50, 0.14, 0.06, 0.27, 0.04), ""), "weak"
    yield linked("x", Linked(50, 0.5, 0.35, 0.64, 0.04), ""), "strong"
    yield reconstructed("x", 0.05, "", n=9), "not told from chance"
    yield reconstructed("x", 0.3, "", n=9), "weak"
    yield reconstructed("x", 0.9, "", n=9), "strong"
    yield reconstructed("x", 0.9, "", n=9, chance=0.85), "not told from chance"
    yield told("x", Told(20, 20, 0.6, 0.45, 0.75), ""), "not told from chance"
    yield told("x", Told(20, 20, 0.65, 0.55, 0.75), ""), "weak"
    yield told("x", Told(20, 20, 0.9, 0.8, 1.0), ""), "strong"
    yield not_measured("x", "linkage", "why"), "not measured"


@pytest.mark.parametrize(("found", "verdict"), list(verdicts()))
def test_a_verdict_follows_from_the_number_and_chance(found, verdict):
    assert found.verdict == verdict


def test_what_left_under_masks_is_said_to_be_out_of_reach():
    content = file_content(b"abc")
    row = Row(1, FIRST, "2026-11-29", "released", "", "", "", MASKED, None, "", content)
    found = on_sums(Released("0f" * 16, "5" * 64, (row,), ()), None)
    assert [each.verdict for each in found] == ["not measured"] * 3
    assert all("under masks" in each.words for each in found)


def test_what_was_not_measured_says_why(audits):
    found = replace(audits["scores"], findings=(not_measured(ROWS, "linkage", "no answer kept"),))
    assert any("no answer kept" in line for line in lines(found))
    none = " ".join(lines(replace(found, findings=())))
    assert "counts and statistics of the whole cohort" in none
