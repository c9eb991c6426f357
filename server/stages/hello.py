"""The server's half of `hello`."""

from collections.abc import Iterable

from server.coordinator import Coordinator
from server.study import Greetings, Study
from shared.config import digest
from shared.errors import HandshakeError
from shared.identity import code_hash, differing_versions, versions
from shared.stages import Question
from shared.stages.hello import HELLO, Reply, Request


def run(study: Study, coordinator: Coordinator) -> Study:
    """Make sure that every training site runs this code on this study in this role."""
    replies = greet(coordinator, HELLO, coordinator.training)
    return coordinator.save(study, hello=Greetings(replies))


def greet(
    coordinator: Coordinator, question: Question[Request, Reply], sites: Iterable[str]
) -> dict[str, Reply]:
    """Exchange hashes and versions with sites.

    Raises:
        HandshakeError: If a site is not who, or does not run what, the study expects.
    """
    mine = Request(code_hash(), digest(coordinator.settings), versions())
    replies = coordinator.federation.ask(question, mine, sites)
    for site, reply in replies.items():
        check_greeting(site, question.of, mine, reply)
    return replies


def check_greeting(site: str, role: str, mine: Request, reply: Reply) -> None:
    """Refuse a site whose answer differs from what this server runs."""
    if reply.site != site or reply.role != role:
        raise HandshakeError(
            f"{site} should be a {role} site, but says that it is {reply.site}, {reply.role}."
        )
    if reply.code_hash != mine.code_hash:
        raise HandshakeError(f"{site} runs other code of trifed; install the same release.")
    if reply.study_hash != mine.study_hash:
        raise HandshakeError(f"{site} has another study file; compare the two files.")
    differing = differing_versions(reply.versions, mine.versions)
    if differing:
        raise HandshakeError(f"{site} has other libraries: {differing}.")
