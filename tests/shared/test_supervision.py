"""Programs that die are started again, ever more slowly; their logs are bounded; all end."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shared.supervision import BoundedLog, Program, Supervisor, ending, last_lines, pause_s

DIES = "print('here', flush=True); raise SystemExit(3)"
LIVES = "import time\nprint('here', flush=True)\ntime.sleep(60)"
HAS_A_CHILD = (
    "import subprocess, sys, time\n"
    "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    "print(p.pid, flush=True)\ntime.sleep(60)"
)
DEAF = (
    "import signal, time\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "print('here', flush=True)\ntime.sleep(60)"
)
SIGNS_OFF = (
    "import signal, sys, time\n"
    "def sign_off(*_):\n"
    "    open(r'{}', 'a').write('{}')\n"
    "    sys.exit()\n"
    "signal.signal(signal.SIGTERM, sign_off)\n"
    "print('here', flush=True)\ntime.sleep(60)"
)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def program(tmp_path: Path, code: str, name: str = "one") -> Program:
    log = tmp_path / f"{name}.log"
    return Program(name, (sys.executable, "-c", code), dict(os.environ), log)


def until(found, limit_s: float = 20.0):
    deadline = time.monotonic() + limit_s
    while not (result := found()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
    return result


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.parametrize(
    ("deaths", "pause"), [(0, 2), (1, 2), (2, 4), (3, 8), (4, 16), (5, 30), (99, 30)]
)
def test_the_pause_doubles_up_to_half_a_minute(deaths, pause):
    assert pause_s(deaths) == pause


def test_what_dies_is_started_again_after_its_pause(tmp_path):
    clock = Clock()
    supervisor = Supervisor([program(tmp_path, DIES)], clock=clock)
    supervisor.start()
    assert until(supervisor.tend) == ["one"]
    assert not supervisor.runs("one")
    clock.now += 1.9
    supervisor.tend()
    assert not supervisor.runs("one")
    clock.now += 0.2
    assert until(supervisor.tend) == ["one"]
    assert supervisor.deaths("one") == 2
    until(lambda: (tmp_path / "one.log").read_text() == "here\nhere\n")


def test_a_program_that_lived_long_is_not_counted_as_one_that_cannot_start(tmp_path):
    clock = Clock()
    supervisor = Supervisor([program(tmp_path, DIES)], clock=clock)
    for _ in range(3):
        clock.now += 40
        supervisor.start()
        until(supervisor.tend)
    clock.now += 40
    supervisor.start()
    clock.now += 61
    until(supervisor.tend)
    assert supervisor.deaths("one") == 1


def test_stopping_ends_the_programs_and_what_they_started(tmp_path):
    supervisor = Supervisor([program(tmp_path, HAS_A_CHILD)])
    supervisor.start()
    child = int(until(lambda: (tmp_path / "one.log").read_text()))
    assert alive(child)
    supervisor.stop()
    until(lambda: not alive(child))
    assert supervisor.tend() == []
    assert not supervisor.runs("one")


def test_what_does_not_listen_to_a_signal_is_killed(tmp_path):
    supervisor = Supervisor([program(tmp_path, DEAF)])
    supervisor.start()
    until(lambda: (tmp_path / "one.log").read_text())
    supervisor.stop(grace_s=0.2)
    assert not supervisor.runs("one")


def test_the_last_started_ends_first(tmp_path):
    order = tmp_path / "order"
    programs = [program(tmp_path, SIGNS_OFF.format(order, name), name) for name in "ab"]
    supervisor = Supervisor(programs)
    supervisor.start()
    until(lambda: all((tmp_path / f"{name}.log").read_text() for name in "ab"))
    supervisor.stop()
    assert order.read_text() == "ba"


def test_a_log_is_set_aside_when_it_is_full_and_the_oldest_goes(tmp_path):
    log = BoundedLog(tmp_path / "a.log", most=10, kept=2)
    for line in (b"1 first\n", b"2 second\n", b"3 third\n", b"4 fourth\n"):
        log.write(line)
    log.close()
    found = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert found == {"a.log": "4 fourth\n", "a.log.1": "3 third\n", "a.log.2": "2 second\n"}


def test_a_log_goes_on_where_it_was(tmp_path):
    for line in (b"1\n", b"2\n"):
        log = BoundedLog(tmp_path / "a.log")
        log.write(line)
        log.close()
    assert last_lines(tmp_path / "a.log", 1) == "2"
    assert last_lines(tmp_path / "b.log") == "(there is no log)"


@pytest.mark.parametrize(
    ("status", "words"), [(1, "exit code 1"), (-9, "by SIGKILL"), (-250, "by signal 250")]
)
def test_an_ending_is_told_in_words(status, words):
    assert ending(status) == words


def test_a_program_ends_with_the_one_that_started_it():
    child = (
        "from shared.supervision import end_with_parent\nimport os, time\n"
        "end_with_parent(look_every_s=0.05)\nprint(os.getpid(), flush=True)\ntime.sleep(60)"
    )
    parent = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {child!r}])"
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert alive(pid)
        process.send_signal(signal.SIGKILL)
        until(lambda: not alive(pid))
