"""The refusal lock: ten refusals close a run, a person opens it, and honest runs stay open."""

import logging
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

import trifed
from client.answers import Answers
from client.counter import Counter, Limits
from client.courier import deliver
from client.desk import Desk
from client.gate import Gate
from client.person import user_name
from client.releases.ledger import ReleaseLedger
from client.releases.lock import RefusalLock, counted, refusals_of, spared_in
from shared.errors import (
    CohortError,
    HandshakeError,
    ImageError,
    LedgerError,
    LeverageError,
    LockedError,
    PolicyError,
    ServiceError,
    SmallCellError,
    TicketError,
)
from shared.letter import read, ticket_of, written
from shared.stages.roll_call import SiteName
from shared.talk import Ticket, question, refused, wait_for

RUN, OTHER = "0a" * 16, "0b" * 16
MOST = 10
LOG = logging.getLogger("trifed.site.test")
ERRORS = (CohortError, ImageError, LeverageError, PolicyError, ServiceError, TicketError)


@pytest.fixture
def ledger(tmp_path):
    return ReleaseLedger(tmp_path, tmp_path / "cache", study="5" * 64)


def refuse(ledger, lock, n, code="E_POLICY", *, run=RUN, name="embed_rows"):
    for _ in range(n):
        ledger.refuse(code, run=run, question=name)
        lock.note(run, name, code)


@pytest.mark.parametrize("code", ["E_POLICY", "E_SMALL_CELL", "E_LEVERAGE", "E_BUDGET", "E_CODEC"])
def test_the_tenth_refusal_by_policy_or_disclosure_control_closes_the_run_alone(ledger, code):
    lock = RefusalLock(ledger)
    lock.check(RUN, "hello")
    refuse(ledger, lock, MOST - 1, code)
    lock.check(RUN, "hello")
    refuse(ledger, lock, 1, code)
    with pytest.raises(LockedError, match=f"trifed site unlock SITE.yaml {RUN[:8]}"):
        lock.check(RUN, "hello")
    lock.check(OTHER, "hello")


def test_it_survives_a_restart_and_counts_anew_once_a_person_lifts_it(ledger):
    refuse(ledger, RefusalLock(ledger), MOST)
    lock = RefusalLock(ledger)
    with pytest.raises(LockedError):
        lock.check(RUN, "hello")
    ledger.unlock(run=RUN, by="officer")
    lock.check(RUN, "hello")
    refuse(ledger, lock, MOST - 1)
    lock.check(RUN, "hello")
    RefusalLock(ledger).check(RUN, "hello")
    refuse(ledger, lock, 1)
    with pytest.raises(LockedError):
        lock.check(RUN, "hello")


@pytest.mark.parametrize(
    "code",
    ["E_SERVICE", "E_TICKET", "E_COHORT", "E_IMAGE", "E_INTERNAL", "E_HANDSHAKE", "E_LEDGER",
     "E_TRAINING", "E_STATE", "E_LOCKED"],
)  # fmt: skip
def test_what_says_nothing_of_the_question_never_closes_a_run(ledger, code):
    lock = RefusalLock(ledger)
    refuse(ledger, lock, 5 * MOST, code)
    lock.check(RUN, "hello")
    RefusalLock(ledger).check(RUN, "hello")


def test_an_honest_run_of_the_study_is_spared_and_a_prying_one_is_not(study):
    spared = spared_in(study)
    n_rounds = sum(branch.training.rounds for branch in study.branches)
    honest = {("train_branch", "E_SMALL_CELL"): n_rounds, ("clinical_step", "E_LEVERAGE"): 12}
    assert counted(honest, spared) == 0
    prying = {("clinical_step", "E_LEVERAGE"): 12 + MOST}
    assert counted(prying, spared) == MOST
    other = {("fusion_steps", "E_LEVERAGE"): 10, ("train_branch", "E_POLICY"): 10}
    assert counted(other, spared) == 20


def test_a_ledger_that_is_not_whole_opens_no_run(ledger):
    ledger.refuse("E_POLICY", run=RUN, question="embed_rows")
    ledger.path.write_bytes(b"")
    with pytest.raises(LedgerError):
        RefusalLock(ledger).check(RUN, "hello")


def test_a_closed_gate_makes_one_row_and_another_when_it_closes_again(ledger):
    lock = RefusalLock(ledger)
    gate = Gate(ledger, lock)
    for _ in range(2):
        refuse(ledger, lock, MOST)
        for _ in range(5):
            with pytest.raises(LockedError):
                gate.admit(RUN, "standardise")
        ledger.unlock(run=RUN, by="officer")
        gate.admit(RUN, "standardise")
    codes = [row.code for row in ledger.rows()]
    assert codes == 2 * [*["E_POLICY"] * MOST, "E_LOCKED", ""]


def test_a_run_that_the_site_did_not_join_is_not_counted_afresh_but_sent_away(ledger):
    gate = Gate(ledger, RefusalLock(ledger), run=RUN)
    gate.admit(RUN, "hello")
    for other in (OTHER, "0c" * 16, "0d" * 16):
        with pytest.raises(HandshakeError, match="needs a new invitation"):
            gate.admit(other, "hello")
    assert [row.code for row in ledger.rows()] == ["E_HANDSHAKE"]


class Service:
    """Refuses whatever it is asked, with the error of which the question has the name."""

    def open(self, _name, letter):
        return read(SiteName, letter)

    def answer(self, name, request):
        for error in ERRORS:
            if error.__name__.lower() == name:
                raise error("of 3 patients: DOE^JOHN")
        return written(request)


@contextmanager
def served(folder, answers_of="answers"):
    with Answers(folder / answers_of, "5" * 64, LOG) as answers:
        releases = ReleaseLedger(folder, folder, study="5" * 64)
        desk = Desk(answers, releases, LOG)
        worker = threading.Thread(target=desk.work, args=(Service(),))
        limits = Limits(patience_s=5, letter_s=5)
        with Counter(folder / "s", desk, "site_a", log=LOG, limits=limits):
            worker.start()
            try:
                yield folder / "s"
            finally:
                desk.close()
                worker.join(10)


@pytest.fixture
def folder():
    """A folder whose sockets have short paths."""
    with tempfile.TemporaryDirectory(prefix="tri") as found:
        yield Path(found)


def ask(name, word="one"):
    return question(name, RUN, SiteName(word))


def test_a_served_run_is_locked_after_ten_refusals_and_told_nothing_more(folder, caplog):
    with served(folder) as path:
        assert refused(deliver(path, ask("hello"))) is None
        for n in range(MOST):
            assert refused(deliver(path, ask("policyerror", str(n)))) == "E_POLICY"
        for letter in (
            ask("hello"), ask("hello", "two"), ask("policyerror", "0"),
            wait_for(Ticket(RUN, ticket_of(ask("hello")))),
        ):  # fmt: skip
            assert refused(deliver(path, letter)) == "E_LOCKED"
    with served(folder) as path:
        assert refused(deliver(path, ask("hello", "two"))) == "E_LOCKED"
    rows = ReleaseLedger(folder, folder).rows()
    locked = [row.code for row in rows].index("E_LOCKED")
    assert locked == 1 + MOST
    assert not any(row.content for row in rows[locked:])
    assert "trifed site unlock" in caplog.text
    assert "DOE" not in (folder / "release-ledger.jsonl").read_text()


def test_a_site_that_fails_and_is_asked_again_stays_open(folder):
    with served(folder) as path:
        for n in range(2 * MOST):
            for name in ("cohorterror", "imageerror", "serviceerror", "ticketerror"):
                assert refused(deliver(path, ask(name, str(n)))) is not None
        assert refused(deliver(path, ask("hello"))) is None


def test_a_person_unlocks_a_run_and_the_ledger_says_who(tmp_path, make_site, capsys):
    site_file = make_site(tmp_path)
    ledger = ReleaseLedger(tmp_path, tmp_path / "cache", study="5" * 64)
    refuse(ledger, RefusalLock(ledger), MOST)
    assert trifed.main(["site", "unlock", str(site_file), RUN[:8]]) == 0
    assert f"unlocked by {user_name()}" in capsys.readouterr().out
    row = ledger.rows()[-1]
    assert (row.verdict, row.run, row.to, row.study) == ("unlocked", RUN, user_name(), "5" * 64)
    assert not refusals_of(RUN, ledger.rows())
    assert trifed.main(["site", "ledger", "show", str(site_file)]) == 0
    shown = capsys.readouterr().out
    assert f"by {user_name()}; refusals are counted anew" in shown
    assert shown.splitlines()[-1].split() == ["embed_rows", "0", "0", "-", "10"]


@pytest.mark.parametrize("beginning", ["", "0", "ff", "0a0"])
def test_only_a_run_that_the_ledger_knows_is_unlocked(tmp_path, make_site, capsys, beginning):
    site_file = make_site(tmp_path)
    ledger = ReleaseLedger(tmp_path, tmp_path / "cache")
    for run in (RUN, OTHER):
        ledger.refuse("E_POLICY", run=run, question="embed_rows")
    found = trifed.main(["site", "unlock", str(site_file), beginning])
    assert found == (0 if beginning == "0a0" else 1)
    assert len(ledger.rows()) == 2 + (beginning == "0a0")
    assert beginning == "0a0" or f"name one of: {RUN[:12]}" in capsys.readouterr().err


def test_the_small_cell_of_one_question_is_not_spared_for_another(study):
    spared = spared_in(study)
    assert counted({("standardise", SmallCellError.code): 3}, spared) == 3


def test_each_run_is_noted_once_before_it_is_first_answered(ledger):
    gate, noted = Gate(ledger, RefusalLock(ledger)), []
    gate.when_asked(noted.append)
    gate.admit(RUN, "hello")
    assert noted == []
    for run in (RUN, RUN, OTHER):
        gate.enter(run, "hello")
    assert noted == [RUN, OTHER]
