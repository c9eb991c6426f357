"""`trifed server renew`: the server's next certificate, by the CA that hospitals know."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from server.joining.certificates import MAX_BYTES, Issuer, OwnFiles, read_own
from server.joining.folder import ServerFolder
from shared.errors import ConfigError, StateError
from shared.files import read_at_most, write_atomically
from shared.secret_files import write_secret

SOON = timedelta(days=60)


def renew(
    folder: ServerFolder, own: tuple[Path, Path] | None = None, *, now: datetime | None = None
) -> datetime:
    """Write the server's next certificate; hospitals, who know the CA, need do nothing.

    The key stays, so that one file changes and there is no instant without a pair that fits.

    Args:
        own: The next certificate and key of your own, where the first was.

    Returns:
        When it ends.

    Raises:
        ConfigError: If there is no CA here to sign with and none of your own was given, or no
            hospital would accept yours.
        StateError: If a file of the folder is damaged.
    """
    if own is not None:
        _take_own(folder, own)
    else:
        now = now or datetime.now(UTC)
        issuer = _issuer(folder)
        public = _key(folder.key_file).public_key()
        address = folder.settings.reached_at
        certificate = issuer.certify(folder.study.name, address, public, now)
        write_atomically(folder.certificate_file, certificate)
    return ends(folder)


def ends(folder: ServerFolder) -> datetime:
    """When the server's certificate ends.

    Raises:
        StateError: If its file is damaged.
    """
    return _certificate(folder.certificate_file).not_valid_after_utc


def still_valid(folder: ServerFolder, *, now: datetime | None = None) -> str:
    """A warning if the certificate ends soon; empty if not.

    Raises:
        ConfigError: If it has ended: no hospital would connect.
    """
    end, now = ends(folder), now or datetime.now(UTC)
    how = f"Renew it with: trifed server renew {folder.path}"
    if now >= end:
        raise ConfigError(
            f"{folder.certificate_file}: the certificate ended on {end:%Y-%m-%d}, and no hospital "
            f"connects to it. {how}"
        )
    if end - now < SOON:
        return f"the server's certificate ends on {end:%Y-%m-%d}. {how}"
    return ""


def _take_own(folder: ServerFolder, own: tuple[Path, Path]) -> None:
    """Let a given certificate take the place, if hospitals accept it by the CA that they have."""
    files = OwnFiles(*own, folder.authority_file)
    found = read_own(files, folder.settings.reached_at)
    write_secret(folder.key_file, found.key)
    write_atomically(folder.certificate_file, found.certificate)


def _issuer(folder: ServerFolder) -> Issuer:
    if not folder.authority_key_file.exists():
        raise ConfigError(
            f"{folder.keys}: there is no CA's key; the certificate is one of your own. Give the "
            "next one with --cert and --key, from the CA that hospitals know."
        )
    authority = _certificate(folder.authority_file)
    return Issuer(authority.subject, _key(folder.authority_key_file))


def _certificate(file: Path) -> x509.Certificate:
    content = read_at_most(file, MAX_BYTES, "a certificate", StateError)
    try:
        return x509.load_pem_x509_certificate(content)
    except ValueError:
        raise StateError(f"{file}: is damaged. Restore it from a backup.") from None


def _key(file: Path) -> ec.EllipticCurvePrivateKey:
    content = read_at_most(file, MAX_BYTES, "a key", StateError)
    try:
        key = load_pem_private_key(content, None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise StateError(f"{file}: is damaged. Restore it from a backup.")
    return key
