"""The federation in one process: every site in turn, no Flower processes, no Ray."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from client.recorded import Recorded
from client.service import SiteService
from server.federation import settle
from shared.config import Study
from shared.errors import FederationError, TrifedError
from shared.stages import Question
from simulation.ledgers import Ledgers

RequestT = TypeVar("RequestT")
ReplyT = TypeVar("ReplyT")
SiteReport = Callable[[str, str, int, int], None]


class LocalFederation:
    """Sites as objects in this process; the oracle that every other federation must equal.

    Args:
        ledgers: Where what they answer is written down; None: nowhere.
    """

    def __init__(
        self,
        site_files: Mapping[str, Path],
        study: Study,
        *,
        threads: int,
        report: SiteReport | None = None,
        ledgers: Ledgers | None = None,
    ) -> None:
        self._site_files = dict(site_files)
        self._study = study
        self._threads = threads
        self._report = report or (lambda _site, _what, _done, _total: None)
        self._ledgers = ledgers
        self._services: dict[str, SiteService | Recorded] = {}

    def service(self, site: str) -> SiteService | Recorded:
        """A site's service, opened when it is first asked something."""
        if site not in self._services:
            service = self.open(site)
            recorded = None if self._ledgers is None else self._ledgers.recorded(site, service)
            self._services[site] = recorded or service
        return self._services[site]

    def open(self, site: str) -> SiteService:
        """Open a site's service."""
        return SiteService.open(
            self._site_files[site],
            self._study,
            threads=self._threads,
            report=lambda what, done, total: self._report(site, what, done, total),
        )

    def ask(
        self,
        question: Question[RequestT, ReplyT],
        request: RequestT,
        sites: Iterable[str],
        *,
        quorum: int | None = None,
        keep: Callable[[str, ReplyT], ReplyT] | None = None,
    ) -> dict[str, ReplyT]:
        """Ask every site in the order of names; see `server.federation.Federation.ask`.

        A failed site's own error is the cause of the one raised: on one machine, whoever runs
        the study is inside every hospital.
        """
        replies: dict[str, ReplyT] = {}
        errors: dict[str, TrifedError] = {}
        for site in sorted(sites):
            try:
                reply = self._answer(site, question.name, request)
            except TrifedError as error:
                errors[site] = error
            else:
                replies[site] = reply if keep is None else keep(site, reply)
        codes = {site: error.code for site, error in errors.items()}
        try:
            return settle(question.name, replies, codes, quorum)
        except FederationError as failure:
            told = "\n".join(f"{site}: {errors[site]}" for site in sorted(errors))
            cause = next(iter(errors.values()), None)
            raise type(failure)(f"{failure}\n{told}", failure.codes) from cause

    def _answer(self, site: str, name: str, request: object) -> Any:
        service = self.service(site)
        if self._ledgers is None:
            return service.answer(name, request)
        self._ledgers.ask(site)
        try:
            return service.answer(name, request)
        finally:
            self._ledgers.heard(site)
