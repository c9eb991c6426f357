"""What becomes of a run: taken up, submitted anew when its process was lost, or ended."""

import pytest

from server.deploy.outcome import Outcome, read_outcome
from server.deploy.supervise import ASK_S, ATTEMPTS, GONE_S, STEADY_S, RunState, Study, supervise
from shared.errors import FederationError


class Link:
    """A SuperLink that remembers what it was told."""

    def __init__(self, *runs: RunState) -> None:
        self.known = {run.run_id: run for run in runs}
        self.stopped: list[int] = []
        self.down = False

    def runs(self):
        self._answer()
        return list(self.known.values())

    def state(self, run_id):
        self._answer()
        return self.known[run_id]

    def submit(self):
        self._answer()
        run_id = 100 + len(self.known)
        self.known[run_id] = RunState(run_id, "pending", "", "")
        return run_id

    def stop(self, run_id):
        self.stopped.append(run_id)

    def end(self, run_id, how="failed", details=""):
        self.known[run_id] = RunState(run_id, "finished", how, details)

    def _answer(self):
        if self.down:
            raise FederationError("the SuperLink does not answer")


class Desk:
    """The clock, the study's process and the word that it leaves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.outcome: Outcome | None = None
        self.works = False

    def study(self, link: Link) -> Study:
        return Study(
            link, lambda: self.outcome, self.forget, lambda: self.works, clock=lambda: self.now
        )

    def forget(self) -> None:
        self.outcome = None

    def look(self, study: Study) -> Outcome | None:
        self.now += ASK_S
        return study.look()


def test_a_run_is_submitted_where_there_is_none():
    link, desk = Link(), Desk()
    study = desk.study(link)
    study.begin()
    assert list(link.known) == [study.run_id]


def test_a_run_that_waits_is_taken_up():
    link = Link(RunState(7, "pending", "", ""))
    study = Desk().study(link)
    study.begin()
    assert (study.run_id, list(link.known), link.stopped) == (7, [7], [])


@pytest.mark.parametrize("status", ["starting", "running"])
def test_a_run_of_a_process_that_is_gone_is_ended_and_another_submitted(status):
    link = Link(RunState(7, status, "", ""))
    study = Desk().study(link)
    study.begin()
    assert link.stopped == [7]
    assert study.run_id == 101


def test_what_is_finished_is_left_alone():
    link = Link(RunState(7, "finished", "failed", ""))
    study = Desk().study(link)
    study.begin()
    assert (link.stopped, study.run_id) == ([], 101)


@pytest.mark.parametrize("outcome", [Outcome(True), Outcome(False, "E_AGGREGATION", "refused")])
def test_the_studys_own_word_is_its_end(outcome):
    link, desk = Link(), Desk()
    study = desk.study(link)
    study.begin()
    assert desk.look(study) is None
    desk.outcome = outcome
    assert desk.look(study) is None, "the process has not ended yet"
    link.end(study.run_id, "completed" if outcome.completed else "failed")
    assert desk.look(study) == outcome


def test_a_run_that_was_lost_without_a_word_is_submitted_again():
    link, desk = Link(), Desk()
    study = desk.study(link)
    study.begin()
    first = study.run_id
    link.end(first, "failed", "no heartbeat")
    assert desk.look(study) is None
    assert study.run_id != first
    assert study.lost == 1


def gone_after(desk: Desk, study: Study, seconds: float) -> None:
    """Look while the study's process works, and again when it is gone for so long."""
    desk.works = True
    study.look()
    desk.works = False
    desk.now += seconds
    study.look()


def test_a_process_that_is_gone_is_noticed_before_flower_does():
    link, desk = Link(), Desk()
    study = desk.study(link)
    study.begin()
    first = study.run_id
    gone_after(desk, study, GONE_S)
    assert link.stopped == [first]
    assert study.run_id != first
    assert study.lost == 1


def test_a_process_may_be_slow_to_come_and_to_leave_its_word():
    link, desk = Link(), Desk()
    study = desk.study(link)
    study.begin()
    desk.now += 100 * GONE_S
    study.look()
    gone_after(desk, study, GONE_S / 2)
    desk.outcome = Outcome(True)
    desk.now += GONE_S
    assert study.look() is None
    assert (link.stopped, study.lost) == ([], 0)


def test_the_word_of_an_earlier_attempt_does_not_count():
    link, desk = Link(), Desk()
    desk.outcome = Outcome(False, "E_STATE", "of yesterday")
    desk.study(link).begin()
    assert desk.outcome is None


def test_a_person_must_look_when_runs_are_lost_again_and_again():
    link, desk = Link(), Desk()
    study = desk.study(link)
    study.begin()
    for _ in range(ATTEMPTS - 1):
        link.end(study.run_id, "failed", "no heartbeat")
        desk.look(study)
    link.end(study.run_id, "failed", "no heartbeat")
    with pytest.raises(FederationError, match=f"lost {ATTEMPTS} times in a row.*no heartbeat"):
        desk.look(study)


def test_a_run_that_went_on_for_long_begins_the_count_anew():
    link, desk = Link(), Desk()
    study = desk.study(link)
    study.begin()
    for _ in range(3 * ATTEMPTS):
        desk.now += STEADY_S
        link.end(study.run_id)
        assert desk.look(study) is None
    assert study.lost == 1


def test_a_run_that_somebody_stopped_stays_stopped():
    link, desk = Link(), Desk()
    study = desk.study(link)
    study.begin()
    link.end(study.run_id, "stopped")
    found = desk.look(study)
    assert found is not None
    assert not found.completed


def test_the_superlink_is_not_asked_every_second():
    link, desk = Link(), Desk()
    study = desk.study(link)
    study.begin()
    desk.look(study)
    link.down = True
    desk.now += ASK_S / 2
    assert study.look() is None
    with pytest.raises(FederationError):
        desk.look(study)


class Programs:
    def __init__(self) -> None:
        self.tended = 0

    def tend(self):
        self.tended += 1
        return []


def test_a_superlink_that_is_being_started_again_is_waited_for():
    link, desk, programs = Link(), Desk(), Programs()
    study = desk.study(link)
    study.begin()

    def wait(seconds):
        desk.now += 10 * seconds
        link.down = desk.now < 60
        if desk.now > 90:
            desk.outcome = Outcome(True)
            link.end(study.run_id, "completed")

    found = supervise(programs, study, stopped=lambda: False, wait=wait)
    assert found == Outcome(True)
    assert programs.tended > 5


def test_a_supervisor_that_is_stopped_says_nothing_of_the_study():
    study = Desk().study(Link())
    study.begin()
    assert supervise(Programs(), study, stopped=lambda: True) is None


def test_an_outcome_survives_its_file(tmp_path):
    outcome = Outcome(False, "E_FEDERATION", "site_b is gone; “ask” there")
    outcome.write(tmp_path / "outcome.json")
    assert read_outcome(tmp_path / "outcome.json") == outcome


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"completed": true}'])
def test_a_damaged_outcome_is_none(tmp_path, text):
    (tmp_path / "outcome.json").write_text(text)
    assert read_outcome(tmp_path / "outcome.json") is None
    assert read_outcome(tmp_path / "missing.json") is None
