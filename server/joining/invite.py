"""`trifed server invite`: one file for each hospital, to be sent by any way."""

from collections.abc import Sequence
from pathlib import Path

from server.joining.folder import ServerFolder
from shared.branches import PUBLISHED
from shared.config import digest
from shared.errors import ConfigError
from shared.files import write_atomically
from shared.identity import code_hash
from shared.invitation import (
    Invitation,
    flwr_version,
    is_site_name,
    render_invitation,
    server_key_of,
)
from shared.strict_yaml import dump_settings


def invite(
    folder: ServerFolder, sites: Sequence[str] = (), *, guests: Sequence[str] = ()
) -> list[Path]:
    """Write the invitations of some sites, or of all; the same again gives the same files.

    Args:
        guests: External sites that the study does not name, to test its finished models.

    Raises:
        ConfigError: If the study does not name a site, or names a guest.
    """
    for guest in guests:
        _check_guest(folder, guest)
    folder.add_guests(guests)
    everybody = folder.everybody
    strange = [site for site in sites if site not in everybody]
    if strange:
        raise ConfigError(
            f"{strange[0]}: is not a site of the study; it names {', '.join(folder.roles)}. "
            "A hospital that is to test the finished models only is invited with --guest."
        )
    files = []
    for site in dict.fromkeys((*sites, *guests) or everybody):
        files.append(folder.invitation_file(site))
        write_atomically(files[-1], invitation_of(folder, site))
    return files


def _check_guest(folder: ServerFolder, guest: str) -> None:
    if not is_site_name(guest):
        raise ConfigError(
            f"--guest {guest}: a site's name is up to 32 small letters, digits and underscores, "
            "and begins with a letter."
        )
    if guest in folder.roles:
        raise ConfigError(
            f"--guest {guest}: the study names this site already ({folder.roles[guest]}). Invite "
            f"it with: trifed server invite {folder.path} {guest}"
        )


def invitation_of(folder: ServerFolder, site: str) -> bytes:
    """The content of a site's invitation: the same to the byte while nothing in it changes."""
    key = folder.signing_key()
    invitation = Invitation(
        version=1,
        site=site,
        role=folder.everybody[site],
        address=folder.settings.address,
        certificate=folder.authority(),
        study=dump_settings(folder.study, context=PUBLISHED),
        study_hash=digest(folder.study),
        code_hash=code_hash(),
        flwr=flwr_version(),
        run=folder.settings.run,
        server_key=server_key_of(key),
    )
    return render_invitation(invitation, key)
