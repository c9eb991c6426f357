"""A site's keys for secure sums, and what it has added under each: one upload for each occasion.

    secagg/KEYING.key    in the cache folder: the key made for one keying, for this user alone
    secagg/KEYING.peers  the keys of all sites that were believed for it; never replaced
    secagg/KEYING.sums   a line for each occasion: its hash, and that of what left

Masks hang on nothing but keys and occasion. So the same occasion with other numbers under it would
show how the two differ, and is refused. Where the folder is lost, so are its keys, and a new keying
has other masks.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from shared.codec import from_text, to_text
from shared.errors import CodecError, SecureSumError, StateError
from shared.files import append_flushed, write_atomically
from shared.secagg.masks import Occasion, masked
from shared.secagg.ring import Words
from shared.secret_files import make_private, write_secret
from shared.stages.secure_sums import PeersRequest

KEYINGS_KEPT: Final = 20
KEYING = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Keyring:
    """The keys of one site in one study."""

    folder: Path
    site: str

    def key(self, keying: str) -> X25519PrivateKey:
        """The key for a keying, the same whenever it is asked for; made where there is none.

        Raises:
            StateError: If it cannot be made or read.
        """
        path = self._path(keying, "key")
        try:
            if not path.exists():
                make_private(self.folder)
                self._forget()
                write_secret(path, X25519PrivateKey.generate().private_bytes_raw())
            return X25519PrivateKey.from_private_bytes(path.read_bytes())
        except (OSError, ValueError) as error:
            raise StateError(f"{path}: the key cannot be made or read ({error}).") from None

    def believe(self, request: PeersRequest) -> None:
        """Keep the keys that were believed for a keying.

        Raises:
            SecureSumError: If others were believed for it before.
        """
        path, content = self._path(request.keying, "peers"), to_text(request).encode()
        if path.exists() and path.read_bytes() != content:
            raise SecureSumError(
                "the keys of this round of secure sums were told before, and were others. After a "
                "drop-out all keys are made anew, under another number."
            )
        write_atomically(path, content)

    def peers(self, keying: str) -> dict[str, X25519PublicKey]:
        """The believed keys of all sites, this one's among them.

        Raises:
            SecureSumError: If none were told yet.
        """
        if not self._path(keying, "key").exists():
            raise SecureSumError("this site has no key of that number; make keys anew first.")
        try:
            text = self._path(keying, "peers").read_text("utf-8")
            found = from_text(PeersRequest, text)
        except (OSError, CodecError):
            raise SecureSumError(
                "the other sites' keys of that number were not told yet."
            ) from None
        return {
            site: X25519PublicKey.from_public_bytes(bytes.fromhex(reply.announcement.key))
            for site, reply in found.keys.items()
        }

    def hide(self, keying: str, occasion: Occasion, elements: Words) -> Words:
        """The elements under the masks of an occasion, which is written down first.

        Raises:
            SecureSumError: If other elements were hidden on that occasion before.
            StateError: If it cannot be written down.
        """
        peers = self.peers(keying)
        hidden = masked(elements, occasion, site=self.site, key=self.key(keying), peers=peers)
        when = hashlib.sha256(occasion.context()).hexdigest()
        what = hashlib.sha256(hidden.tobytes()).hexdigest()
        known = self._uploads(keying)
        if known.get(when, what) != what:
            raise SecureSumError(
                "on this occasion other numbers were added before; their difference would show "
                "under the same mask. Make keys anew."
            )
        if when not in known:
            _add_line(self._path(keying, "sums"), f"{when} {what}\n".encode())
        return hidden

    def _uploads(self, keying: str) -> Mapping[str, str]:
        path = self._path(keying, "sums")
        try:
            lines = path.read_text("ascii").splitlines() if path.exists() else []
            return dict(line.split(" ") for line in lines)
        except (OSError, ValueError):
            raise StateError(
                f"{path}: does not say what was added. Remove the folder {self.folder}; keys are "
                "then made anew."
            ) from None

    def _path(self, keying: str, ending: str) -> Path:
        if not KEYING.fullmatch(keying):
            raise CodecError("a keying is 32 hexadecimal digits")
        return self.folder / f"{keying}.{ending}"

    def _forget(self) -> None:
        """Forget the oldest keyings where there are too many; a key goes before what was added."""
        keys = sorted(self.folder.glob("*.key"), key=lambda path: path.stat().st_mtime_ns)
        for path in keys[: max(0, len(keys) - KEYINGS_KEPT + 1)]:
            for ending in (".key", ".peers", ".sums"):
                path.with_suffix(ending).unlink(missing_ok=True)


def _add_line(path: Path, line: bytes) -> None:
    """Add a line to a file, on disk before anything leaves."""
    try:
        append_flushed(path, line)
    except OSError as error:
        raise StateError(
            f"{path}: cannot be written ({error.strerror}), and without it nothing is added. Make "
            "room on the disk, or let the service's user write there."
        ) from None
