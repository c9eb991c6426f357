"""The site service: takes a question, checks who may be asked, and answers it.

Whatever goes wrong inside is an error of ours with a closed code; its text stays in the
hospital's log.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from client.differences.asking import run_that_asks
from client.differences.divisions import divisions_of
from client.differences.terms import Terms, terms_of
from client.differences.told import ToldCohorts
from client.policy.load import refuse_changed, refuse_expired
from client.secagg.answers import EVERY_ANSWER, refuse_plain
from client.site import Site, open_site
from client.stages import Answer
from client.workbench import Workbench
from shared.config import Study
from shared.errors import CodecError, PolicyError, TrifedError
from shared.stages.secure_sums import PREFIX

Report = Callable[[str, int, int], None]


class SiteService:
    """One hospital's answers; it lives as long as its process."""

    def __init__(self, site: Site, *, threads: int, site_file: Path | None = None) -> None:
        self.bench = Workbench(site, threads=threads)
        self._site_file, self._opened_with = site_file, site.policy
        self._told = ToldCohorts(site)
        self._terms = Terms(site.cache_folder / "terms")
        self.log = logging.getLogger(f"trifed.site.{site.name}")

    @classmethod
    def open(
        cls,
        site_file: Path,
        study: Study,
        *,
        threads: int,
        report: Report | None = None,
        guest: bool = False,
    ) -> Self:
        """Open the hospital of a site file, and its service; see `client.site.open_site`."""
        site = open_site(site_file, study, threads=threads, progress=report, guest=guest)
        return cls(site, threads=threads, site_file=site_file)

    def answer(self, name: str, request: Any) -> Any:
        """Answer a question.

        Raises:
            PolicyError: If the policy has expired, or its file was changed since.
            SecureSumError: If it demands a secure sum, and the site's own numbers are asked for.
            TrifedError: Of the class that fits; any other failure is turned into one.
        """
        self._check_policy()
        if name not in EVERY_ANSWER:
            raise CodecError(f"{name} is not a question of this release")
        question, answer = EVERY_ANSWER[name]
        if question.of != self.bench.site.role:
            raise PolicyError(f"{name} is for {question.of} sites, this site is not one")
        if not isinstance(request, question.request):
            raise CodecError(f"{name}: the request is not what the contract declares")
        refuse_plain(self.bench.site.policy, name)
        try:
            reply = self._answered(name, request, answer)
        except TrifedError:
            raise
        except Exception as error:
            self.log.exception("%s failed", name)
            raise TrifedError(f"{name} failed: {type(error).__name__}: {error}") from error
        if not isinstance(reply, question.reply):
            raise TrifedError(f"{name}: the answer is not what the contract lets leave")
        return reply

    def _answered(self, name: str, request: Any, answer: Answer) -> Any:
        """The answer, if beside what was told before it tells of no few patients; noted.

        Under masks it is of the same patients in the same terms as without.
        """
        masked = name.startswith(PREFIX)
        asked = (name.removeprefix(PREFIX), request.request) if masked else (name, request)
        terms = terms_of(*asked, self.bench)
        self._terms.check(run_that_asks(), terms)
        told = self._told.begin(divisions_of(*asked, self.bench))
        reply = answer(request, self.bench)
        self._told.note(told)
        self._terms.note(run_that_asks(), terms)
        return reply

    def _check_policy(self) -> None:
        """Make sure that the policy is still in force; a service may run for weeks.

        Raises:
            PolicyError: If it is not.
        """
        site = self.bench.site
        refuse_expired(site.policy)
        if self._site_file is not None:
            refuse_changed(self._site_file, site.settings, self._opened_with)
