"""Who this site is to the other hospitals, and who they are to it.

    identity.key   beside the site file: the private half of the site's Ed25519 identity
    peers.json     beside it: the public half of each other site's, as it was first seen

What the server passes on the first time may be the server's own. So people compare fingerprints
(`trifed site peers`); from then on another identity under the same name is refused.
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from shared.errors import SecureSumError, StateError
from shared.files import write_atomically
from shared.fingerprints import fingerprint
from shared.invitation import is_site_name
from shared.secret_files import write_secret

NAME, PEERS = "identity.key", "peers.json"
KEY = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class SiteIdentity:
    """The identities beside a site file; every call reads the files anew."""

    folder: Path

    def key(self) -> Ed25519PrivateKey:
        """This site's; made when it is first needed.

        Raises:
            StateError: If the file is damaged, or cannot be made or read.
        """
        path = self.folder / NAME
        try:
            if not path.exists():
                _make(path)
            text = path.read_text("ascii")
        except (OSError, ValueError) as error:
            raise StateError(
                f"{path}: the site's identity cannot be made or read ({error}). Let the site's "
                "user write there, or restore it from a backup."
            ) from None
        if not KEY.fullmatch(text):
            raise StateError(
                f"{path}: is damaged. Restore it from a backup; with another identity the other "
                f"hospitals must forget the old one ({PEERS} of each)."
            )
        return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(text))

    def public(self) -> str:
        """The public half, 64 hexadecimal digits."""
        return self.key().public_key().public_bytes_raw().hex()

    def peers(self) -> dict[str, str]:
        """The other sites' public identities by name.

        Raises:
            StateError: If the file is damaged or cannot be read.
        """
        path = self.folder / PEERS
        try:
            found = json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError):
            found = None
        if not isinstance(found, dict) or not all(
            is_site_name(name) and isinstance(key, str) and KEY.fullmatch(key)
            for name, key in found.items()
        ):
            raise StateError(
                f"{path}: cannot be read as the identities of other hospitals. Restore it from a "
                "backup, or remove it and compare fingerprints anew."
            )
        return dict(found)

    def meet(self, told: Mapping[str, str]) -> dict[str, Ed25519PublicKey]:
        """The identities of these sites, each the one that was first seen; new ones are kept.

        Args:
            told: As the server passed them on.

        Raises:
            SecureSumError: If one is another than before, or no key; nothing is kept then.
            StateError: If the file cannot be read or written.
        """
        known = self.peers()
        for site, key in sorted(told.items()):
            if known.get(site, key) != key:
                raise SecureSumError(
                    f"{site} has another identity than before: {fingerprint(bytes.fromhex(key))} "
                    f"in the place of {fingerprint(bytes.fromhex(known[site]))}. Ask that hospital "
                    f"by telephone. If it is right, take {site} out of {self.folder / PEERS}; if "
                    "not, the server may be lying, and nothing should be told to it."
                )
        found = {
            site: Ed25519PublicKey.from_public_bytes(bytes.fromhex(told[site])) for site in told
        }
        if not told.keys() <= known.keys():
            content = json.dumps(known | dict(told), indent=1, sort_keys=True)
            try:
                write_atomically(self.folder / PEERS, content.encode())
            except OSError as error:
                raise StateError(
                    f"{self.folder / PEERS}: cannot be written ({error.strerror}). Let the site's "
                    "user write there."
                ) from None
        return found


def _public(key: str) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(bytes.fromhex(key))


def _make(path: Path) -> None:
    """Make an identity whole or not at all; another process may be quicker."""
    made = path.with_name(f"{path.name}.{os.getpid()}")
    write_secret(made, Ed25519PrivateKey.generate().private_bytes_raw().hex().encode())
    try:
        os.link(made, path)
    except FileExistsError:
        pass
    finally:
        made.unlink()
