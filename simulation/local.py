"""The federation in one process: every site in turn, no Flower processes, no Ray."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from client.service import SiteService
from server.federation import settle
from shared.config import Study
from shared.errors import FederationError, TrifedError
from shared.stages import Question

RequestT = TypeVar("RequestT")
ReplyT = TypeVar("ReplyT")
SiteReport = Callable[[str, str, int, int], None]


class LocalFederation:
    """Sites as objects in this process; the oracle that every other federation must equal."""

    def __init__(
        self,
        site_files: Mapping[str, Path],
        study: Study,
        *,
        threads: int,
        report: SiteReport | None = None,
    ) -> None:
        self._site_files = dict(site_files)
        self._study = study
        self._threads = threads
        self._report = report or (lambda _site, _what, _done, _total: None)
        self._services: dict[str, SiteService] = {}

    def service(self, site: str) -> SiteService:
        """A site's service, opened when it is first asked something."""
        if site not in self._services:
            self._services[site] = self.open(site)
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
                reply = self.service(site).answer(question.name, request)
            except TrifedError as error:
                errors[site] = error
            else:
                replies[site] = reply if keep is None else keep(site, reply)
        codes = {site: error.code for site, error in errors.items()}
        try:
            return settle(question.name, replies, codes, quorum)
        except FederationError as failure:
            told = "\n".join(f"{site}: {errors[site]}" for site in sorted(errors))
            raise type(failure)(f"{failure}\n{told}") from next(iter(errors.values()), None)
