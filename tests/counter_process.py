"""A counter in a process of its own, that test_counter.py kills; it counts what it computes.

    python -m tests.counter_process FOLDER

Each answer is random by intent, and is told in FOLDER/computed before it is given.
"""

import logging
import secrets
import sys
from pathlib import Path

from client.answers import Answers
from client.counter import Counter, Limits
from client.desk import Desk
from client.releases.ledger import ReleaseLedger
from shared.letter import read, written
from shared.stages.roll_call import SiteName


class Random:
    """Answers with a word that nobody can guess."""

    def __init__(self, folder):
        self.folder = folder

    def open(self, _name, letter):
        return read(SiteName, letter)

    def answer(self, _name, request):
        word = secrets.token_hex(16)
        with (self.folder / "computed").open("a") as file:
            file.write(f"{request.name} {word}\n")
        return written(SiteName(word))


def main(folder):
    log = logging.getLogger("trifed.site.test")
    with Answers(folder / "answers", "5" * 64, log) as answers:
        desk = Desk(answers, ReleaseLedger(folder, folder), log)
        with Counter(folder / "s", desk, "site_a", log=log, limits=Limits(patience_s=5)):
            desk.work(Random(folder))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
