"""The training sites as one: what is only ever added comes as the sum over all of them.

Any federation may be behind it. Nothing of a single site is known here but what is asked of it in
clear; see `shared.stages.secure_sums`.
"""

import logging
import secrets
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar

from server.coordinator import Coordinator
from server.federation import Federation
from server.masked_sums import added, sum_of_rounds
from server.study import Study
from shared.codec import from_text, to_text
from shared.config import Study as Settings
from shared.errors import (
    CodecError,
    ConfigError,
    FederationError,
    SecureSumError,
    StateError,
    WithheldError,
)
from shared.files import write_atomically
from shared.secagg.additive import summed
from shared.secure_study import hindrances
from shared.stages import Question
from shared.stages.secure_sums import (
    SECURE_KEY,
    SECURE_PEERS,
    SUM_OF_ROUNDS,
    SUMMED_NAMES,
    KeyRequest,
    PeersRequest,
    masked_question,
)
from shared.stages.train_branches import TRAIN_BRANCH

RequestT = TypeVar("RequestT")
ReplyT = TypeVar("ReplyT")
ALL_SITES: Final = "all sites"
"""The name under which a sum stands where a site's reply would; no site has such a one."""
log = logging.getLogger("trifed.federation")


class SecureFederation:
    """Sites whose sums are known, and whose own numbers are not.

    Args:
        federation: How they are reached.
        sites: Whose numbers are added: all training sites.
        file: Where the keys that all sites believed are kept, so that a run that is resumed asks
            as it asked before, and sites tell what they have answered already.
    """

    def __init__(self, federation: Federation, sites: Iterable[str], file: Path) -> None:
        self._federation = federation
        self._sites = tuple(sorted(sites))
        self._file = file
        self._keying: str | None = None

    def ask(
        self,
        question: Question[RequestT, ReplyT],
        request: RequestT,
        sites: Iterable[str],
        *,
        quorum: int | None = None,
        keep: Callable[[str, ReplyT], ReplyT] | None = None,
    ) -> dict[str, ReplyT]:
        """Ask as `server.federation.Federation.ask` does.

        Of a question whose answers are only ever added there is one reply, under the name
        `ALL_SITES`: that of a single site with the patients of all.

        Raises:
            FederationError: If a site does not answer, or the answers cannot be added.
        """
        if question.name not in SUMMED_NAMES:
            return self._federation.ask(question, request, sites, quorum=quorum, keep=keep)
        if tuple(sorted(sites)) != self._sites:
            raise FederationError(f"{question.name}: a secure sum is of all training sites.")
        of_rounds = question.name == TRAIN_BRANCH.name
        masked: Question[Any, Any] = SUM_OF_ROUNDS if of_rounds else masked_question(question)
        replies = self._masked(masked, request)
        try:
            found: Any = (
                sum_of_rounds(request, replies)
                if of_rounds
                else summed(question.reply, added(replies))
            )
        except (CodecError, SecureSumError) as error:
            raise FederationError(f"{question.name}: the answers make no sum: {error}") from None
        return {ALL_SITES: found if keep is None else keep(ALL_SITES, found)}

    def _masked(self, question: Question[Any, Any], request: object) -> dict[str, Any]:
        """The sites' masked replies; once more with new keys where the old ones are lost."""
        try:
            return self._ask(question, request, self._keyed())
        except WithheldError:
            raise
        except FederationError as failure:
            if SecureSumError.code not in failure.codes:
                raise
            log.warning("%s: keys are made anew: %s", question.name, failure)
            return self._ask(question, request, self._key_anew())

    def _ask(self, question: Question[Any, Any], request: object, keying: str) -> dict[str, Any]:
        return self._federation.ask(question, question.request(keying, request), self._sites)

    def _keyed(self) -> str:
        """The number of the keys in use; made where there are none.

        Raises:
            StateError: If the file that holds it is damaged.
        """
        if self._keying is None and self._file.exists():
            try:
                self._keying = from_text(KeyRequest, self._file.read_text("utf-8")).keying
            except (OSError, ValueError, CodecError):
                raise StateError(f"{self._file} is damaged; remove it, and go on.") from None
        return self._keying or self._key_anew()

    def _key_anew(self) -> str:
        """Let every site make a key, and have all others'."""
        request = KeyRequest(secrets.token_hex(16))
        keys = self._federation.ask(SECURE_KEY, request, self._sites)
        self._federation.ask(SECURE_PEERS, PeersRequest(request.keying, keys), self._sites)
        write_atomically(self._file, to_text(request).encode())
        self._keying = request.keying
        return request.keying


def wants_secure_sums(study: Study, settings: Settings) -> bool:
    """Whether a run's sums are secure: the study says so, or a hospital demands it.

    Raises:
        ConfigError: If they must be, and the study needs a hospital's own numbers.
    """
    greetings = {} if study.hello is None else study.hello.sites
    demanding = sorted(site for site, reply in greetings.items() if reply.secure_sums)
    if settings.secagg == "off" or not (settings.secagg == "required" or demanding):
        return False
    found = hindrances(settings)
    if found:
        raise ConfigError(
            f"secagg.required is true in the policy of {', '.join(demanding) or 'no hospital'}, "
            f"and {'; '.join(found)}."
        )
    return True


def with_secure_sums(study: Study, coordinator: Coordinator) -> Coordinator:
    """The coordinator whose sites are asked for secure sums, once all have said who they are.

    Raises:
        ConfigError: As in `wants_secure_sums`.
    """
    behind = coordinator.federation
    known = study.hello is not None and not isinstance(behind, SecureFederation)
    if not known or not wants_secure_sums(study, coordinator.settings):
        return coordinator
    file = coordinator.out / "secure-sums.json"
    federation = SecureFederation(behind, coordinator.training, file)
    return replace(coordinator, federation=federation)
