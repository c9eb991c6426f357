"""`trifed server accept`: a hospital's key is kept, once a person decided that it is theirs."""

from pathlib import Path

from server.joining.folder import AcceptedSite, ServerFolder
from shared.config import digest
from shared.errors import ConfigError, HandshakeError, StateError
from shared.fingerprints import grouped
from shared.identity import code_hash, release
from shared.join_answer import JoinAnswer, node_fingerprint, read_answer


def accept(folder: ServerFolder, file: Path, *, replace: bool = False) -> AcceptedSite:
    """Check an answer and keep its key; the same answer again changes nothing.

    Args:
        replace: Take the key in place of another that was accepted for the site before.

    Raises:
        InvitationError: If the file is damaged or its sender does not hold the key in it.
        HandshakeError: If the hospital runs other code.
        ConfigError: If it is another study, run, site or role.
        StateError: If another key was accepted for the site, or the key for another site.
    """
    answer = read_answer(file)
    _refuse_other_study(folder, file, answer)
    found = AcceptedSite(answer.site, answer.role, answer.public_key)
    for name in folder.everybody:
        other = folder.accepted(name) if name != found.name else None
        if other is not None and other.public_key == found.public_key:
            raise StateError(
                f"{file}: its key was accepted for {name} already, and a key is one site's. Let "
                f"{found.name} join in a folder of its own."
            )
    before = folder.accepted(found.name)
    if before is not None and before.public_key != found.public_key and not replace:
        raise StateError(
            f"{file}: another key was accepted for {found.name} before: "
            f"{grouped(node_fingerprint(before.public_key))}, and here is "
            f"{grouped(node_fingerprint(found.public_key))}. Ask the hospital by telephone whether "
            "it made a new one; if so, accept it with --replace."
        )
    folder.keep(found)
    return found


def _refuse_other_study(folder: ServerFolder, file: Path, answer: JoinAnswer) -> None:
    role = folder.everybody.get(answer.site)
    if role is None:
        raise ConfigError(
            f"{file}: is from {answer.site}, which is no site of this study; it names "
            f"{', '.join(folder.everybody)}."
        )
    if role != answer.role:
        raise ConfigError(
            f"{file}: {answer.site} answers with role {answer.role}, and the study gives it "
            f"{role}. Invite it again."
        )
    if answer.study_hash != digest(folder.study) or answer.run != folder.settings.run:
        raise ConfigError(
            f"{file}: {answer.site} joined another study, or another run of this one. Send it the "
            f"invitation {folder.invitation_file(answer.site)}, and let it join again."
        )
    if answer.code_hash != code_hash():
        raise HandshakeError(
            f"{file}: {answer.site} runs trifed with the code {answer.code_hash[:16]}, and here is "
            f"{code_hash()[:16]} (release {release()}). All sites of a study run the same code."
        )
