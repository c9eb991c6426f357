"""A tiny made-up hospital behind its own counter, and what must hold of whatever it is asked.

The hospital is the product's own: site file, tables and images on disk, the site service, its desk,
its ledger, and the socket at which letters are handed in. A bad input comes in by one of these
doors, as it would at a real hospital.
"""

import io
import logging
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from client.answers import Answers
from client.counter import Counter, Limits
from client.courier import connect, deliver
from client.desk import Desk
from client.gate import Gate
from client.line import Line
from client.releases.ledger import ReleaseLedger
from client.releases.lock import RefusalLock
from client.releases.row import Row
from client.serve import LetterService
from client.service import SiteService
from client.settings import load_site_settings
from shared.config import Study, digest
from shared.letter import Letter, write_letter, written
from shared.sealed import Sealed
from shared.strict_yaml import parse_settings
from shared.talk import question, refused
from tests.conftest import STUDY, changed, write_site
from tests.site_policies import write_policy

RUN = "0a" * 16
CANARIES = ("DOE^JOHN", "MRN0012345")
"""What would name a patient: it is planted in a hospital, and looked for in all that leaves it."""
PHASE = "nephrographic"
MANY = 1_000_000


def row(number: str, what: str, *values: Any) -> Any:
    """One bad input of a row of the table, as a parameter: `-k T05` runs all of that row."""
    return pytest.param(*values, id=f"{number} {what}", marks=pytest.mark.row(number))


def small_study(**changes: Any) -> Study:
    """One phase, few features, no network: it opens and answers in a moment."""
    plain = {
        "phases": [PHASE],
        "branches": [],
        "radiomics": {"classes": ["firstorder"]},
        "fusion": {"inputs": ["radiomics_score", "clinical"]},
    }
    return changed(parse_settings(STUDY, Study, name="study.yaml"), **plain | changes)


def write_site_file(folder: Path, *, name: str = "site_a", role: str = "training",
                    min_cell: int = 1, **release: Any) -> Path:  # fmt: skip
    """A hospital's site file, and its policy; the one place where they are written.

    Args:
        release: Further keys of the policy's section, for instance `rows`.
    """
    content = {"version": 1, "name": name, "role": role, "synthetic": True}
    content |= {"device": {"kind": "cpu", "threads": 1}}
    path = folder / "site.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
    write_policy(path, yaml.safe_dump({"release": {"min_cell": min_cell, **release}}))
    return path


def build(folder: Path, *, n: int = 6, split: bool = False, **keys: Any) -> Path:
    """A hospital of `n` patients of one phase on disk; its site file."""
    write_site(folder, n=n, phases=(PHASE,), split=split, role=keys.get("role", "training"))
    return write_site_file(folder, **keys)


@dataclass(frozen=True, slots=True)
class Hospital:
    """A hospital that answers."""

    site_file: Path
    socket: Path
    ledger: ReleaseLedger
    service: SiteService

    @property
    def folder(self) -> Path:
        """Where all of its files are."""
        return self.site_file.parent

    def hand_in(self, letter: Letter) -> Letter:
        """The reply to a letter."""
        return deliver(self.socket, letter)

    def hand_in_bytes(self, content: bytes) -> Letter:
        """The reply to whatever bytes come in the place of a letter."""
        with Line(connect(self.socket)) as line:
            line._until = float("inf")
            line._connection.settimeout(10)
            line._connection.sendall(content)
            return line.receive(within_s=10)

    def rows(self) -> list[Row]:
        """The ledger's rows."""
        return self.ledger.rows()


@contextmanager
def served(site_file: Path, study: Study) -> Iterator[Hospital]:
    """A hospital's service, answering as `trifed site serve` lets it, however much it refused."""
    settings = load_site_settings(site_file)
    cache = site_file.parent / settings.cache
    log = logging.getLogger(f"trifed.site.{settings.name}")
    ledger = ReleaseLedger(site_file.parent, cache, study=digest(study), to="the server")
    ledger.rows()
    service = SiteService.open(site_file, study, threads=1)
    with (
        tempfile.TemporaryDirectory(prefix="tri") as sockets,
        Answers(cache / "answers", digest(study), log) as answers,
    ):
        desk = Desk(answers, ledger, log, Gate(ledger, RefusalLock(ledger, most=MANY)))
        worker = threading.Thread(target=desk.work, args=(LetterService(service),))
        path, limits = Path(sockets) / "s", Limits(patience_s=30, letter_s=10)
        with Counter(path, desk, settings.name, log=log, limits=limits):
            worker.start()
            try:
                yield Hospital(site_file, path, ledger, service)
            finally:
                desk.close()
                worker.join(20)


def asks(name: str, request: object, *, run: str = RUN) -> Letter:
    """A question's letter."""
    return question(name, run, request)


def asks_with(name: str, request: object, arrays: Mapping[str, Sealed]) -> Letter:
    """A question's letter in which some arrays are other ones than its text says."""
    letter = asks(name, request)
    assert set(arrays) <= set(letter.arrays), sorted(letter.arrays)
    return Letter(letter.records, {**letter.arrays, **arrays})


def as_bytes(letter: Letter) -> bytes:
    """A letter as it goes over a line."""
    stream = io.BytesIO()
    write_letter(stream, letter)
    return stream.getvalue()


def saved(array: np.ndarray, **options: Any) -> bytes:
    """The bytes of a .npy file."""
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def claiming(shape: tuple[int, ...], dtype: str = "<f4") -> bytes:
    """The header of a .npy file that claims a shape, with eight bytes behind."""
    stream = io.BytesIO()
    header = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)  # type: ignore[arg-type]
    return stream.getvalue() + bytes(8)


def names_nobody(*outputs: object) -> None:
    """Nothing that left, or that says what left, holds a planted word in any usual form."""
    for output in outputs:
        content = output if isinstance(output, bytes) else str(output).encode()
        for word in CANARIES:
            plain = word.encode()
            for form in (plain, plain.lower(), word.encode("utf-16-le"), plain.hex().encode()):
                assert form not in content, f"{word} stands in what left"


def refuses(hospital: Hospital, letter: Letter, code: str) -> None:
    """A question is refused: the code and nothing else leaves, and one row says so."""
    before = len(hospital.rows())
    reply = hospital.hand_in(letter)
    assert refused(reply) == code
    assert as_bytes(reply) == as_bytes(Letter({"error": {"code": code}}, {}))
    (added,) = hospital.rows()[before:]
    assert (added.verdict, added.code, added.content) == ("refused", code, None)
    assert added.question == letter.records["ask"]["name"]
    names_nobody(as_bytes(reply), hospital.ledger.path.read_bytes())


def turns_away(hospital: Hospital, letter: Letter | bytes, code: str) -> None:
    """What is no question is turned away with a code before anybody looks at a patient."""
    before = hospital.rows()
    whole = isinstance(letter, Letter)
    reply = hospital.hand_in(letter) if whole else hospital.hand_in_bytes(letter)
    assert as_bytes(reply) == as_bytes(Letter({"error": {"code": code}}, {}))
    assert hospital.rows() == before


def answers(hospital: Hospital, letter: Letter) -> Letter:
    """A good question is still answered, and its answer is a row."""
    before = len(hospital.rows())
    reply = hospital.hand_in(letter)
    assert refused(reply) is None
    assert [found.verdict for found in hospital.rows()[before:]] == ["released"]
    names_nobody(as_bytes(reply), hospital.ledger.path.read_bytes())
    return reply


def copy_of(value: object) -> Letter:
    """A contract's value as the letter that would carry it."""
    return written(value)
