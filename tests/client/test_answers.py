import errno
import io
import logging
import os
import threading
import time

import numpy as np
import pytest

from client import answers as module
from client.answers import LARGE_BYTES, LARGE_KEPT, PIN, RUN_KEPT_S, RUNS_KEPT, Answers
from shared.errors import HandshakeError, StateError
from shared.files import BESIDE
from shared.letter import Letter, digest_of, write_letter
from shared.sealed import Sealed

RUN, OTHER, TICKET = "0a" * 16, "0b" * 16, "ab" * 32
LOG = logging.getLogger("trifed.site.test")


@pytest.fixture
def opened(tmp_path):
    """Open the answers of one site, of the study with this hash."""

    def open_(study="5" * 64):
        return Answers(tmp_path / "answers", study, LOG)

    return open_


def letter(n_bytes=10, *, seed=1):
    data = np.random.default_rng(seed).bytes(n_bytes)
    return Letter({"body": {"json": '{"x": "ü"}'}}, {"x": Sealed("uint8", (n_bytes,), data)})


def as_bytes(letter):
    stream = io.BytesIO()
    write_letter(stream, letter)
    return stream.getvalue()


def ticket(number):
    return f"{number:064x}"


def keep(answers, run, ticket, name, answer):
    """Keep an answer, and wait until it is on disk."""
    answers.put(run, ticket, name, answer, digest_of(answer))
    answers.settle()


def files(folder):
    return sorted(each for each in folder.rglob("*") if each.is_file() and each.name != PIN)


@pytest.mark.parametrize("size", [0, 10, LARGE_BYTES, 3 * LARGE_BYTES + 1])
def test_an_answer_is_read_back_to_the_same_bytes_also_after_a_restart(opened, size):
    with opened() as answers:
        answers.admit(RUN)
        keep(answers, RUN, TICKET, "hello", letter(size))
        assert as_bytes(answers.get(RUN, TICKET)) == as_bytes(letter(size))
    with opened() as answers:
        assert as_bytes(answers.get(RUN, TICKET)) == as_bytes(letter(size))


def test_what_was_not_answered_is_absent(opened):
    with opened() as answers:
        assert answers.get(RUN, TICKET) is None
        keep(answers, RUN, TICKET, "hello", letter())
        assert answers.get(RUN, ticket(1)) is None
        assert answers.get(OTHER, TICKET) is None


@pytest.mark.parametrize("size", [10, LARGE_BYTES])
@pytest.mark.parametrize("place", [0, 0.1, 0.5, 0.99, 1])
def test_a_file_with_one_changed_byte_counts_as_absent(opened, tmp_path, caplog, size, place):
    with opened() as answers:
        keep(answers, RUN, TICKET, "hello", letter(size))
        (file,) = files(tmp_path)
        content = bytearray(file.read_bytes())
        content[int(place * (len(content) - 1))] ^= 1
        file.write_bytes(content)
        assert answers.get(RUN, TICKET) is None
        assert "damaged" in caplog.text
        keep(answers, RUN, TICKET, "hello", letter(size))
        assert as_bytes(answers.get(RUN, TICKET)) == as_bytes(letter(size))


@pytest.mark.parametrize("share", [0, 0.3, 0.999])
def test_a_file_that_breaks_off_counts_as_absent(opened, tmp_path, share):
    with opened() as answers:
        keep(answers, RUN, TICKET, "hello", letter())
        (file,) = files(tmp_path)
        file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
        assert answers.get(RUN, TICKET) is None


def test_of_large_answers_the_newest_of_each_question_are_kept(opened):
    with opened() as answers:
        for number in range(6):
            for offset, name in ((0, "train_branch"), (100, "embed")):
                keep(answers, RUN, ticket(offset + number), name, letter(LARGE_BYTES, seed=number))
        kept = [n for n in (*range(6), *range(100, 106)) if answers.get(RUN, ticket(n))]
    assert LARGE_KEPT == 3
    assert kept == [3, 4, 5, 103, 104, 105]


def test_small_answers_are_kept_for_the_whole_run(opened):
    with opened() as answers:
        for number in range(50):
            keep(answers, RUN, ticket(number), "clinical_step", letter(seed=number))
        assert all(answers.get(RUN, ticket(number)) for number in range(50))


def test_small_answers_do_not_fill_the_disk(opened, monkeypatch):
    monkeypatch.setattr(module, "SMALL_BYTES_KEPT", 10_000)
    monkeypatch.setattr(module, "LOOK_EVERY_BYTES", 1_000)
    with opened() as answers:
        for number in range(30):
            keep(answers, RUN, ticket(number), "hello", letter(1_000, seed=number))
        kept = [number for number in range(30) if answers.get(RUN, ticket(number))]
    assert 5 <= len(kept) <= 10
    assert kept == list(range(30))[-len(kept) :]


def test_nobody_else_may_look_into_the_folder(opened, tmp_path):
    (tmp_path / "answers").mkdir(mode=0o755)
    with opened():
        assert (tmp_path / "answers").stat().st_mode & 0o777 == 0o700


def test_a_second_service_of_the_site_is_refused_until_the_first_one_ends(opened):
    with opened(), pytest.raises(StateError, match="another service of this site"):
        opened()
    with opened():
        pass


def test_what_a_killed_service_left_half_written_is_removed(opened, tmp_path):
    (tmp_path / "answers" / RUN / "embed").mkdir(parents=True)
    (tmp_path / "answers" / RUN / "embed" / f"{BESIDE}7-{TICKET}").write_bytes(b"half")
    with opened() as answers:
        assert files(tmp_path) == []
        assert answers.get(RUN, TICKET) is None


def test_a_run_of_another_study_is_refused(opened):
    with opened("5" * 64) as answers:
        answers.admit(RUN)
    with opened("6" * 64) as answers:
        for way in (answers.admit, answers.knows):
            with pytest.raises(HandshakeError, match=r"5{16}.*6{16}"):
                way(RUN)
        answers.admit(OTHER)
        assert answers.knows(OTHER)


def test_a_study_may_be_run_twice_which_the_log_tells(opened, caplog):
    with caplog.at_level(logging.INFO, "trifed"), opened() as answers:
        answers.admit(RUN)
        answers.admit(RUN)
        answers.admit(OTHER)
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        f"run {RUN} of this study begins; 0 came before it here",
        f"run {OTHER} of this study begins; 1 came before it here",
    ]


def test_runs_long_past_are_forgotten_at_the_start(opened, tmp_path):
    with opened() as answers:
        for run in (RUN, OTHER):
            answers.admit(run)
            keep(answers, run, TICKET, "hello", letter())
    long_ago = time.time() - RUN_KEPT_S - 60
    os.utime(tmp_path / "answers" / RUN, (long_ago, long_ago))
    with opened() as answers:
        assert answers.get(RUN, TICKET) is None
        assert answers.get(OTHER, TICKET) is not None


def test_a_server_that_begins_ever_new_runs_does_not_fill_the_disk(opened, tmp_path):
    with opened() as answers:
        for number in range(RUNS_KEPT + 5):
            answers.admit(f"{number:032x}")
        assert answers.knows(f"{RUNS_KEPT + 4:032x}")
    assert len(list((tmp_path / "answers").iterdir())) <= RUNS_KEPT + 1


@pytest.fixture
def full(monkeypatch):
    """A disk without room."""

    def write(_path, _write, **_ways):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "replace_atomically", write)
    monkeypatch.setattr(module, "write_atomically", write)


@pytest.mark.usefixtures("full")
def test_a_small_answer_that_cannot_be_kept_is_an_error(tmp_path):
    with (
        Answers(tmp_path, "5" * 64, LOG) as answers,
        pytest.raises(StateError, match=r"No space.*does not leave"),
    ):
        keep(answers, RUN, TICKET, "hello", letter())


@pytest.mark.usefixtures("full")
def test_a_large_answer_that_cannot_be_kept_is_told_of_in_the_log(tmp_path, caplog):
    with Answers(tmp_path, "5" * 64, LOG) as answers:
        keep(answers, RUN, TICKET, "embed", letter(LARGE_BYTES))
        assert "No space left" in caplog.text
        assert answers.get(RUN, TICKET) is None


def test_a_large_answer_is_there_at_once_and_is_on_disk_when_the_service_has_ended(
    opened, tmp_path, monkeypatch
):
    may_write = threading.Event()
    write = module.replace_atomically

    def write_late(*what):
        assert may_write.wait(20)
        write(*what)

    monkeypatch.setattr(module, "replace_atomically", write_late)
    answer = letter(LARGE_BYTES)
    with opened() as answers:
        answers.put(RUN, TICKET, "embed", answer, digest_of(answer))
        assert answers.get(RUN, TICKET) is answer
        assert answers.get(OTHER, TICKET) is answers.get(RUN, ticket(1)) is None
        assert files(tmp_path) == []
        may_write.set()
    assert [file.name for file in files(tmp_path)] == [TICKET]
    with opened() as answers:
        assert as_bytes(answers.get(RUN, TICKET)) == as_bytes(answer)
