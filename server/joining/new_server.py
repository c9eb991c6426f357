"""`trifed server init`: a study's server from its study file and an address."""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from server.joining.certificates import Certificates, OwnFiles, make_certificates, read_own
from server.joining.folder import ServerFolder
from server.joining.settings import server_yaml
from shared.address import Address
from shared.config import load_study, networks
from shared.errors import StateError
from shared.files import write_atomically
from shared.initial_weights import check_initial_weights
from shared.secret_files import make_private, write_secret
from shared.strict_yaml import dump_settings


def make_server(
    study_file: Path,
    out: Path,
    address: Address,
    *,
    listen: Address | None = None,
    own: OwnFiles | None = None,
) -> ServerFolder:
    """Make the folder of a study's server; server.yaml comes last.

    Args:
        listen: Where the server listens; by default the port of `address` on this machine alone.
        own: The user's own certificate; without it a CA and a certificate are made.

    Raises:
        StateError: If `out` is not a new or empty folder.
        ConfigError: If the study or the own certificate cannot be used; nothing is written then.
    """
    _refuse_existing(out)
    study = load_study(study_file)
    check_initial_weights(networks(study))
    made = read_own(own, address) if own else make_certificates(study.name, address)
    folder = ServerFolder(out)
    _write_keys(folder, made)
    write_atomically(folder.study_file, dump_settings(study).encode())
    write_atomically(folder.settings_file, server_yaml(address, listen).encode())
    return folder


def _refuse_existing(out: Path) -> None:
    if (out / "server.yaml").exists():
        raise StateError(
            f"{out}: holds a study's server already, and its keys are never overwritten. Choose "
            f"another --out, or go on with it: trifed server invite {out}"
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise StateError(f"{out}: is not an empty folder. Choose another --out, or empty it.")


def _write_keys(folder: ServerFolder, made: Certificates) -> None:
    make_private(folder.keys)
    if made.authority_key is not None:
        write_secret(folder.authority_key_file, made.authority_key)
    write_secret(folder.key_file, made.key)
    signing = Ed25519PrivateKey.generate()
    pem = signing.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_secret(folder.signing_key_file, pem)
    write_atomically(folder.authority_file, made.authority)
    write_atomically(folder.certificate_file, made.certificate)
