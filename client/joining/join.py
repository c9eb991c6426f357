"""`trifed site join`: from an invitation to a key of the hospital's own and an answer."""

from dataclasses import dataclass
from pathlib import Path

from client.joining.folder import FederationFolder, folder_beside
from client.joining.settings import SOCKET, federation_yaml
from client.policy.load import load_policy
from client.policy.settings import Policy
from client.settings import SiteSettings, load_site_settings
from shared.config import Study
from shared.errors import ConfigError, StateError
from shared.files import write_atomically
from shared.fingerprints import grouped
from shared.identity import code_hash
from shared.invitation import Invitation, read_invitation
from shared.join_answer import SUFFIX, JoinAnswer, node_fingerprint, public_text, render_answer
from shared.secret_files import make_private


@dataclass(frozen=True, slots=True)
class Joined:
    """What joining found and wrote.

    Attributes:
        answer_file: The file for the coordinator.
        key_fingerprint: Of this site's key, for the coordinator by telephone.
        again: Whether the site had joined this run before; its key is the same then.
    """

    invitation: Invitation
    study: Study
    settings: SiteSettings
    policy: Policy
    folder: FederationFolder
    answer_file: Path
    key_fingerprint: str
    again: bool


def join(invitation_file: Path, site_file: Path, *, told: str | None = None) -> Joined:
    """Check an invitation against the site file, and write `federation/` and the answer.

    Args:
        told: The fingerprint of the server's key as the coordinator told it.

    Raises:
        InvitationError: If the invitation is damaged, or not from the key that was told.
        HandshakeError: If the server runs other code.
        ConfigError: If the site file is missing, or is another site's; nothing is joined then.
        PolicyError: If the site has no policy in force; nothing is joined then.
        StateError: If the site joined another study or run here.
    """
    invitation, study = read_invitation(invitation_file, told=told)
    folder = folder_beside(site_file)
    again = _joined_this(folder, invitation)
    if not site_file.exists():
        if not again:
            _write_study(folder, invitation)
        raise ConfigError(_how_to_begin(invitation, folder, site_file))
    settings = load_site_settings(site_file)
    _refuse_other_site(site_file, settings, invitation)
    policy = load_policy(site_file, settings)
    if not again:
        _write_study(folder, invitation)
    write_atomically(folder.authority_file, invitation.certificate.encode())
    key = folder.key()
    public = public_text(key.public_key())
    write_atomically(folder.public_key_file, f"{public} {invitation.site}\n".encode())
    socket = folder.settings().socket if again else SOCKET
    text = federation_yaml(invitation, socket=socket)
    write_atomically(folder.settings_file, text.encode())
    answer = JoinAnswer(
        version=1,
        site=invitation.site,
        role=invitation.role,
        public_key=public,
        study_hash=invitation.study_hash,
        code_hash=code_hash(),
        run=invitation.run,
    )
    answer_file = site_file.parent / f"{invitation.site}{SUFFIX}"
    write_atomically(answer_file, render_answer(answer, key))
    fingerprint = node_fingerprint(public)
    return Joined(invitation, study, settings, policy, folder, answer_file, fingerprint, again)


def _joined_this(folder: FederationFolder, invitation: Invitation) -> bool:
    """Whether the site joined this run before.

    Raises:
        StateError: If it joined another one, or the same at a server with another key.
    """
    if not folder.is_joined:
        return False
    found = folder.settings()
    same = (found.study_hash, found.run, found.site, found.role) == (
        invitation.study_hash,
        invitation.run,
        invitation.site,
        invitation.role,
    )
    if not same:
        raise StateError(
            f"{folder.path}: this site joined another study or run already (study "
            f"{found.study_hash[:16]}, run {found.run[:8]}; the invitation is to study "
            f"{invitation.study_hash[:16]}, run {invitation.run[:8]}). One folder is for one run: "
            f"when the other has ended, move {folder.path} away and join again; or join with a "
            "site file in another folder."
        )
    if found.server_key != invitation.server_key:
        raise StateError(
            f"{folder.path}: this site joined a server whose key is "
            f"{grouped(found.fingerprint)}, and the invitation is signed by "
            f"{grouped(invitation.fingerprint)}. Ask the coordinator by telephone why; if it is "
            f"right, move {folder.path} away and join again."
        )
    return True


def _write_study(folder: FederationFolder, invitation: Invitation) -> None:
    make_private(folder.path)
    write_atomically(folder.study_file, invitation.study.encode())


def _how_to_begin(invitation: Invitation, folder: FederationFolder, site_file: Path) -> str:
    """What to do before there is a site file; the study of the invitation is there by now."""
    return (
        f"{site_file}: there is no such file, and it says what your hospital has. The study "
        f"of the invitation is now in {folder.study_file}; draft a site file from the folder "
        f"of your images with:\n"
        f"  trifed site init IMAGES --study {folder.study_file} --out {site_file.parent} "
        f"--name {invitation.site} --role {invitation.role}\n"
        "Then check it, and join again."
    )


def _refuse_other_site(site_file: Path, settings: SiteSettings, invitation: Invitation) -> None:
    if settings.name != invitation.site:
        raise ConfigError(
            f"{site_file}: name is {settings.name}, but the invitation is for {invitation.site}. "
            "Correct the name, or ask the coordinator for your own invitation."
        )
    if settings.role != invitation.role:
        raise ConfigError(
            f"{site_file}: role is {settings.role}, but {invitation.site} is invited as "
            f"{invitation.role}. Correct the role if your hospital agrees to that."
        )
