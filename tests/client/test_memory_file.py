import fcntl
import gc
import io
import os
import socket
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from client import memory_file
from client.line import ANNOUNCED, BrokenLineError, Line
from client.memory_file import LEAST_BYTES, MemoryFile, hand_over, laid_down, lies_in
from shared.errors import CodecError
from shared.letter import Letter, digest_of, own, read, write_head, written
from shared.networks import Layout, Weights
from shared.sealed import MAX_BYTES, open_all, sealed_in_place

pytestmark = pytest.mark.skipif(not memory_file.POSSIBLE, reason="this system has no memory files")
SOON_S = 5.0
N = 300_000
SEAL_EXEC = 0x20


def letter_of(**arrays):
    return own(Letter({"a": {"b": 1}}, {n: sealed_in_place(array) for n, array in arrays.items()}))


@pytest.fixture
def large():
    rng = np.random.default_rng(0)
    counts = np.arange(7, dtype=np.int64)
    return letter_of(weights=rng.normal(size=N).astype(np.float32), counts=counts, none=counts[:0])


@pytest.fixture
def ends():
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with Line(here) as one, Line(there) as other:
        yield one, other


def passed(ends, letter):
    """A letter that went from one end to the other."""
    one, other = ends
    found = []
    hearing = threading.Thread(target=lambda: found.append(other.receive(within_s=SOON_S)))
    hearing.start()
    one.send(letter, within_s=SOON_S)
    hearing.join(SOON_S)
    return found[0]


def n_open():
    """How many descriptors of memory files this process has; other files are other tests'."""
    gc.collect()
    found = 0
    for path in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            found += str(path.readlink()).startswith("/memfd:letter")
    return found


@contextmanager
def counted(monkeypatch):
    """How many bytes are read from sockets."""
    sizes = []
    read_some = Line.read

    def read(line, n):
        part = read_some(line, n)
        sizes.append(len(part))
        return part

    monkeypatch.setattr(Line, "read", read)
    yield sizes


def test_the_arrays_of_a_large_letter_are_handed_over_in_memory(ends, large, monkeypatch):
    with counted(monkeypatch) as sizes:
        found = passed(ends, large)
    assert digest_of(found) == digest_of(large)
    assert isinstance(lies_in(found), MemoryFile)
    assert sum(sizes) < 1_000


def test_a_small_letter_goes_through_the_socket(ends, monkeypatch):
    small = letter_of(a=np.zeros(LEAST_BYTES - 200, np.uint8))
    with counted(monkeypatch) as sizes:
        found = passed(ends, small)
    assert digest_of(found) == digest_of(small)
    assert lies_in(found) is None
    assert sum(sizes) > LEAST_BYTES - 200


@pytest.mark.parametrize("lacking", ["the call", "room", "the other system's leave"])
def test_where_no_memory_can_be_handed_over_the_socket_carries_all(
    ends, large, monkeypatch, lacking
):
    def full(*_):
        raise OSError(28, "No space left on device")

    if lacking == "the call":
        monkeypatch.setattr(memory_file, "POSSIBLE", False)
    elif lacking == "room":
        monkeypatch.setattr(os, "write", full)
    else:  # as SELinux does: the bytes come, and what came with them does not
        kept_back = socket.recv_fds

        def without(connection, most, n):
            begun, descriptors, *rest = kept_back(connection, most, n)
            for descriptor in descriptors:
                os.close(descriptor)
            return begun, [], *rest

        monkeypatch.setattr(socket, "recv_fds", without)
    found = passed(ends, large)
    assert digest_of(found) == digest_of(large)
    assert lies_in(found) is None


def test_nobody_can_change_what_was_handed_over(ends, large):
    laid = laid_down(large)
    file = lies_in(passed(ends, laid))
    for descriptor in (file.descriptor, lies_in(laid).descriptor):
        with pytest.raises(PermissionError):
            os.pwrite(descriptor, b"x", 0)
        with pytest.raises(PermissionError):
            os.ftruncate(descriptor, 1)
        with pytest.raises(PermissionError):
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, 0)


def test_nobody_can_run_it_where_the_system_knows_how_to_prevent_that(large, monkeypatch):
    laid = laid_down(large)
    descriptor = lies_in(laid).descriptor
    if fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & SEAL_EXEC:
        assert not os.fstat(descriptor).st_mode & 0o111
        with pytest.raises(PermissionError):
            os.fchmod(descriptor, 0o700)
    create = os.memfd_create

    def of_an_older_system(name, flags):
        if flags & memory_file.NOT_TO_RUN:
            raise OSError(22, "Invalid argument")
        return create(name, flags)

    monkeypatch.setattr(os, "memfd_create", of_an_older_system)
    assert digest_of(laid_down(large)) == digest_of(large)
    assert lies_in(laid_down(large)) is not None


def test_who_changes_it_in_his_memory_changes_it_for_nobody_else(ends, large):
    laid = laid_down(large)
    found = passed(ends, laid)
    memoryview(lies_in(found))[:] = bytes(len(lies_in(found)))
    assert digest_of(laid) == digest_of(large) != digest_of(found)
    with pytest.raises(TypeError):
        laid.arrays["weights"].data[200] = 0


def test_all_descriptors_are_closed_with_the_last_letter(large):
    before = n_open()
    for _ in range(3):
        here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with Line(here) as one, Line(there) as other:
            found = passed((one, other), large)
        weights = found.arrays["weights"].data
        del found
        assert bytes(weights) == bytes(large.arrays["weights"].data)
        assert n_open() > before
        del weights
        assert n_open() == before


def test_a_letter_that_lies_in_memory_is_not_copied_again(large):
    laid = laid_down(large)
    assert laid_down(laid) is laid
    with_head = Letter({**laid.records, "head": {"head": "7"}}, laid.arrays)
    assert lies_in(with_head) is lies_in(laid)
    part = Letter(laid.records, {"weights": laid.arrays["weights"]})
    assert lies_in(part) is None
    assert digest_of(laid_down(part)) == digest_of(part)


def unsealed(size):
    descriptor = os.memfd_create("letter", os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, size)
    return descriptor


def half_sealed(size):
    descriptor = unsealed(size)
    seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    return descriptor


def whole(size):
    descriptor = unsealed(size)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, memory_file.SEALS)
    return descriptor


def end_of_pipe():
    descriptor, other = os.pipe()
    os.close(other)
    return descriptor


BAD = {
    "memory that can be changed": (lambda _: unsealed(10), "could still be changed"),
    "memory that can be written": (lambda _: half_sealed(10), "could still be changed"),
    "an empty one": (lambda _: whole(0), "whose size"),
    "one that is too large": (lambda _: whole(MAX_BYTES + 1), "whose size"),
    "a file": (lambda folder: os.open(folder / "x", os.O_CREAT | os.O_RDWR), "no sealed memory"),
    "a folder": (lambda folder: os.open(folder, os.O_RDONLY), "no sealed memory"),
    "a pipe": (lambda _: end_of_pipe(), "no sealed memory"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_sealed_memory_is_refused_and_let_go(kind, tmp_path):
    made, why = BAD[kind]
    descriptor = made(tmp_path)
    with pytest.raises(CodecError, match=why):
        MemoryFile.of(descriptor)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


@pytest.mark.parametrize("off", [-1, 1])
def test_memory_of_another_size_than_the_letter_declares_is_refused(large, off):
    parts = b"".join(bytes(large.arrays[name].data) for name in sorted(large.arrays))
    descriptor = os.memfd_create("letter", os.MFD_ALLOW_SEALING)
    os.write(descriptor, parts[:off] if off < 0 else parts + b"x")
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, memory_file.SEALS)
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with here, Line(there) as line:
        hand_over(here, MemoryFile.of(descriptor), ANNOUNCED)
        here.sendall(head_of(large))
        with pytest.raises(CodecError, match=r"size|more bytes"):
            line.receive(within_s=SOON_S)


def head_of(letter):
    stream = io.BytesIO()
    write_head(stream, letter)
    return stream.getvalue()


def test_descriptors_that_nobody_announced_are_let_go():
    before = n_open()
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with here, Line(there) as line:
        files = [whole(10) for _ in range(3)]
        socket.send_fds(here, [b"trifed letter 1\n"], files)
        here.shutdown(socket.SHUT_WR)
        with suppress(BrokenLineError, CodecError):
            line.receive(within_s=SOON_S)
    for descriptor in files:
        os.close(descriptor)
    assert n_open() == before


def test_who_announces_memory_and_goes_away_is_waited_for_no_longer_than_any_other(large):
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with Line(there) as line:
        with here:
            hand_over(here, lies_in(laid_down(large)), ANNOUNCED)
        with pytest.raises((BrokenLineError, CodecError)):
            line.receive(within_s=SOON_S)


def test_what_a_letter_in_memory_holds_is_read_without_a_copy_by_who_gives_it_up(ends):
    layout = Layout(("a",), ((N,),))
    weights = Weights(layout, np.linspace(0, 1, N, dtype=np.float32))
    found = passed(ends, written(weights))
    kept, given_up = read(Weights, found), read(Weights, found, copy=False)
    assert given_up.vector.flags.writeable
    given_up.vector[:] = -1
    assert np.array_equal(kept.vector, weights.vector)
    assert not np.array_equal(read(Weights, found).vector, weights.vector)


def test_an_array_that_lies_askew_is_copied(ends):
    odd, floats = np.zeros(4 * N + 1, np.uint8), np.arange(N, dtype=np.float32)
    found = passed(ends, letter_of(a=odd, b=floats))
    assert not np.frombuffer(found.arrays["b"].data, np.float32, offset=128).flags.aligned
    opened = open_all(found.arrays, copy=False)
    assert opened["b"].flags.aligned
    assert np.array_equal(opened["b"], floats)


def test_an_answer_in_place_is_copied_before_it_is_told():
    array = np.ones(10)
    letter = Letter({}, {"a": sealed_in_place(array)})
    kept = own(letter)
    array[:] = 0
    assert np.array_equal(open_all(kept.arrays, copy=True)["a"], np.ones(10))
