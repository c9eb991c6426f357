"""Each simulated hospital's release ledger, and the server's signatures under their heads.

A simulation writes what a deployment writes, in the same folders: the ledger beside each site file,
small answers in its cache, and the countersigned heads on both sides. So its rows can be held
against a deployment's, and its answers audited.
"""

import logging
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from client.answers import Answers
from client.recorded import Recorded
from client.releases.heads import HeadBook, HeadTelling
from client.releases.ledger import ledger_of
from client.service import SiteService
from client.settings import load_site_settings
from server.clock import Clock
from server.heads.notary import Notary
from shared.config import digest
from shared.invitation import server_key_of
from shared.job import Job
from shared.ledger_head import handing_on
from shared.letter import Letter

TO = "the simulation's server"


class Ledgers:
    """The ledgers of a simulated run; a context that lets no other run write there meanwhile.

    Raises:
        LedgerError: If what is there of an earlier run is damaged.
    """

    def __init__(self, job: Job) -> None:
        self._job, self._study_hash = job, digest(job.study())
        self._run, key = job.run(), job.signing_key()
        self._key = server_key_of(key)
        self._notary = Notary(job.out, key, run=self._run, clock=Clock())
        self._heads: dict[str, HeadTelling] = {}
        self._ledgers = {
            site: ledger_of(file, self._study_hash, to=TO) for site, file in job.site_files.items()
        }
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def recorded(self, site: str, service: SiteService) -> Recorded:
        """A site's service, whose answers stand in its ledger."""
        file, log = self._job.site_files[site], logging.getLogger(f"trifed.site.{site}")
        folder = file.parent / load_site_settings(file).cache / "answers"
        answers = self._stack.enter_context(Answers(folder, self._study_hash, log))
        ledger, book = self._ledgers[site], HeadBook(file.parent, site)
        self._heads[site] = HeadTelling(ledger, book, log, run=self._run, key=self._key)
        return Recorded(service, ledger, run=self._run, answers=answers)

    def ask(self, site: str) -> None:
        """Hand the site what the server countersigned last, as a question does.

        Raises:
            LedgerError: If a row that was countersigned is not in its ledger (any more).
        """
        self._heads[site].heard(handing_on(Letter({}, {}), self._notary.lines(self._ledgers)))

    def heard(self, site: str) -> None:
        """Countersign the head that the site tells with its answer."""
        self._notary.hear(site, self._ledgers[site].kept_head())

    def end(self) -> None:
        """Hand out the last heads, as a server does when the study is done."""
        for site in self._heads:
            self.ask(site)
