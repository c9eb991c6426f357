"""The site service as a process: it holds the patients' data and answers until it is stopped."""

import logging
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from client.answers import Answers
from client.approvals.approvals import check_approved
from client.counter import Counter
from client.desk import Desk
from client.gate import Gate
from client.objections.listed import NAME as OBJECTIONS
from client.objections.listed import stamp_of
from client.objections.took_part import TookPart
from client.policy.beyond import policy_for
from client.policy.load import load_policy
from client.policy.settings import Policy
from client.progress import SpokenProgress
from client.releases.heads import heads_of
from client.releases.ledger import ReleaseLedger, ledger_of
from client.releases.lock import RefusalLock, spared_in
from client.secagg.answers import EVERY_ANSWER
from client.service import SiteService
from client.settings import check_role, load_site_settings
from client.site import Site
from client.workers import n_threads
from shared.config import Study, digest
from shared.errors import CodecError, CohortError, ConfigError
from shared.letter import Letter, read, written

LOG_BYTES, LOGS_KEPT = 10_000_000, 5


class Stopped(BaseException):
    """Somebody ended this process; no error, and nothing that work may answer."""


class LetterService:
    """The site service, asked by letter."""

    def __init__(self, service: SiteService) -> None:
        self._service = service

    def open(self, name: str, letter: Letter) -> Any:
        """The request that a letter holds.

        Raises:
            CodecError: If there is no such question, or the letter does not hold its request.
        """
        found = EVERY_ANSWER.get(name)
        if found is None:
            raise CodecError(f"{name} is not a question of this release")
        return read(found[0].request, letter, copy=False)

    def answer(self, name: str, request: Any) -> Letter:
        """The answer; its arrays are the site's own until a copy is made of it.

        Raises:
            TrifedError: Of the class that fits; see `SiteService.answer`.
        """
        return written(self._service.answer(name, request), copy=False)


def serve(
    site_file: Path,
    study: Study,
    socket: Path,
    *,
    to: str = "",
    run: str | None = None,
    server_key: str = "",
    threads: int | None = None,
    guest: bool = False,
) -> None:
    """Answer a study's questions until the process is stopped.

    The socket is open before the site is: whoever asks meanwhile is told how far that is.

    Args:
        to: Who is answered, in words, for the release ledger.
        run: The run that the site joined; no other is answered then.
        server_key: The server's key as the invitation told it; it countersigns the ledger's heads.
        threads: Cores; None takes `device.threads` of the site file, and 0 all.
        guest: Whether the study need not name the site, which was invited to evaluate only.

    Raises:
        ConfigError: If the site file is wrong, or the study does not know the site in its role.
        PolicyError: If no policy in force allows what the study asks, or nobody approved it.
        ManifestError: If the tables are wrong.
        CohortError: If too few patients can be used.
        StateError: If another service of the site, or on that socket, is at work.
        LedgerError: If the release ledger is not whole: nothing may leave then.
    """
    settings = load_site_settings(site_file)
    check_role(settings, study, guest=guest)
    study_hash = digest(study)
    check_approved(site_file, settings, study_hash)
    policy = policy_for(site_file, settings, study)
    log = logging.getLogger(f"trifed.site.{settings.name}")
    releases = ledger_of(site_file, study_hash, to=to or f"whoever reaches {socket}")
    gate = gate_of(site_file, study, policy, releases, run)
    heads = heads_of(releases, settings.name, log, run=run, key=server_key)
    log.info("the release ledger has %d rows", len(releases.rows()))
    with (
        suppress(Stopped, KeyboardInterrupt),
        stopped_by_signal(),
        Answers(site_file.parent / settings.cache / "answers", study_hash, log) as answers,
    ):
        desk = Desk(answers, releases, log, gate, heads)
        report = told_to(desk)
        with Counter(socket, desk, settings.name, log=log):
            log.info("%s opens for the study %s", settings.name, study.name)
            cores = n_threads(settings.device.threads if threads is None else threads)
            service = SiteService.open(site_file, study, threads=cores, report=report, guest=guest)
            gate.when_asked(partial(note_who_takes_part, service.bench.site, study_hash))
            log.info("answering on %s, a socket of this machine; stop with Ctrl-C", socket)
            desk.work(LetterService(service))
    log.info("stopped; what was answered is kept")


def told_to(desk: Desk) -> Callable[[str, int, int], None]:
    """Tells how far work is to whoever asks at the desk, and to whoever watches."""
    spoken = SpokenProgress()

    def report(what: str, done: int, total: int) -> None:
        desk.report(what, done, total)
        spoken(what, done, total)

    return report


def gate_of(
    site_file: Path, study: Study, policy: Policy, releases: ReleaseLedger, run: str | None
) -> Gate:
    """What a question must pass before it is answered."""
    lock = RefusalLock(releases, spared_in(study), most=policy.refusals.most)
    study_hash = digest(study)
    settings, as_read = load_site_settings(site_file), objections_as_they_are(site_file.parent)

    def allowed() -> None:
        check_approved(site_file, settings, study_hash)
        load_policy(site_file, settings)
        as_read()

    return Gate(releases, lock, run=run, allowed=allowed)


def note_who_takes_part(site: Site, study_hash: str, run: str) -> None:
    """Write down, for the hospital alone, whose data a run is answered with."""
    patients = [case.patient_id for case in site.everyone]
    table = TookPart(site.folder, site.cache_folder)
    table.note(patients, what="run", name=run, study=study_hash)


def objections_as_they_are(folder: Path) -> Callable[[], None]:
    """A check that the list of those who object is still the one that was read.

    Raises:
        CohortError: When it is called, if the list was changed since.
    """
    before = stamp_of(folder)

    def check() -> None:
        if stamp_of(folder) != before:
            raise CohortError(
                f"{folder / OBJECTIONS}: was changed since this service read it, and nothing more "
                "is answered. Stop the service; trifed site objections SITE.yaml removes what is "
                "kept of these patients; then start it again."
            )

    return check


@contextmanager
def stopped_by_signal() -> Iterator[None]:
    """Let SIGTERM end what this process is at as Ctrl-C does: cleaned up, and nothing half sent."""

    def stop(_number: int, _frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Stopped

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class PrivateLog(RotatingFileHandler):
    """A log of limited size that this user alone may read: texts in it may name patients."""

    def _open(self) -> Any:
        def opener(path: str, flags: int) -> int:
            return os.open(path, flags, 0o600)

        return open(self.baseFilename, self.mode, encoding="utf-8", opener=opener)


@contextmanager
def logged_to(path: Path) -> Iterator[None]:
    """Write what the product logs to a file as well.

    Raises:
        ConfigError: If the file cannot be written.
    """
    try:
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        handler = PrivateLog(path, maxBytes=LOG_BYTES, backupCount=LOGS_KEPT)
    except OSError as error:
        raise ConfigError(
            f"{path}: the log cannot be written ({error.strerror}). Let the service's user write "
            "there."
        ) from None
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log = logging.getLogger("trifed")
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        handler.close()
