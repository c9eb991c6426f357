"""The Flower ClientApp: a courier that carries a message to the site service and back.

Whatever happens at the site, what travels is an answer or a closed code: Flower would send the
text of an exception to the server, and a file name is a patient's name often enough.
"""

import functools
import logging
from pathlib import Path

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from client.recorded import Recorded
from client.releases.heads import HeadBook, HeadTelling
from client.releases.ledger import ledger_of
from client.secagg.answers import EVERY_ANSWER
from client.service import SiteService
from shared.config import digest, load_study
from shared.errors import ConfigError, TrifedError
from shared.invitation import server_key_of
from shared.job import read_job
from shared.letter import read, written
from shared.stages.roll_call import SiteName
from shared.wire import error_record, letter_of, record_of, to_record

log = logging.getLogger("trifed.site")
app = ClientApp()


@functools.lru_cache(maxsize=16)
def service(site_file: Path, study_file: Path, threads: int) -> SiteService:
    """The site's service, opened once in each process."""
    return SiteService.open(site_file, load_study(study_file), threads=threads)


def open_service(context: Context) -> SiteService | Recorded:
    """The service of the site that this node is.

    Raises:
        ConfigError: If the node's configuration does not say which site that is.
    """
    settings = context.node_config
    if "site-file" in settings and "study-file" in settings:
        threads = int(settings.get("threads", 0))
        site_file, study_file = (Path(str(settings[key])) for key in ("site-file", "study-file"))
        return service(site_file, study_file, threads)
    return simulated_service(int(settings.get("partition-id", -1)))


def simulated_service(node: int) -> Recorded:
    """In a simulation, nodes are the sites of the job in the order of their names.

    What they answer stands in their hospitals' ledgers, as in life.
    """
    job = read_job()
    names = sorted(job.site_files)
    if not 0 <= node < len(names):
        raise ConfigError(f"the job has {len(names)} sites and no node {node}.")
    name = names[node]
    found = service(job.site_files[name], job.study_file, job.threads)
    ledger = ledger_of(job.site_files[name], digest(job.study()), to="the simulation's server")
    book, key = HeadBook(ledger.path.parent, name), server_key_of(job.signing_key())
    heads = HeadTelling(ledger, book, log, run=job.run(), key=key)
    return Recorded(found, ledger, run=job.run(), answers=None, heads=heads)


def carry(name: str, message: Message, context: Context) -> Message:
    """Ask the service and reply with its answer, or with nothing but the error's code."""
    try:
        site = open_service(context)
        question, _ = EVERY_ANSWER[name]
        heads = site.heads if isinstance(site, Recorded) else None
        letter = letter_of(message.content)
        if heads is not None:
            letter = heads.heard(letter)
        reply = written(site.answer(name, read(question.request, letter)))
        content = record_of(reply if heads is None else heads.told(reply))
    except TrifedError as error:
        log.error("%s: %s", name, error)
        content = error_record(error.code)
    except Exception:
        log.exception("%s", name)
        content = error_record("E_INTERNAL")
    return Message(content, reply_to=message)


@app.query("roll_call")
def roll_call(message: Message, context: Context) -> Message:
    """Say which site this is."""
    try:
        content = to_record(SiteName(open_service(context).bench.site.name))
    except TrifedError as error:
        log.error("roll_call: %s", error)
        content = error_record(error.code)
    except Exception:
        log.exception("roll_call")
        content = error_record("E_INTERNAL")
    return Message(content, reply_to=message)


def _register() -> None:
    verbs = {"query": app.query, "train": app.train, "evaluate": app.evaluate}
    for name, (question, _) in EVERY_ANSWER.items():
        verbs[question.verb](name)(functools.partial(carry, name))


_register()
