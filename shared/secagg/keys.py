"""Who takes part in a secure sum: a pinned identity signs a key that lasts for one run.

The server passes these announcements on, and so might change them. A site therefore takes a key
only with the signature of the identity that its own policy names for that site.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from shared.checks import require
from shared.errors import SecureSumError

LABEL: Final = b"trifed secure sum, key of a run, 1\0"
LEAST_SITES: Final = 3
"""Of two sites each learns the other's numbers from the sum."""
_HEX32, _HEX64 = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{128}")
_RUN = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Announcement:
    """A site's key for one run of one study, signed by its identity.

    Attributes:
        run: 32 hexadecimal digits.
        study_hash: Of the study that the site approved, 64 digits.
        key: The X25519 public key, 64 digits.
        signature: By the site's Ed25519 identity, 128 digits.
    """

    site: str
    run: str
    study_hash: str
    key: str
    signature: str

    def __post_init__(self) -> None:
        require(bool(_RUN.fullmatch(self.run)), "run must be 32 hexadecimal digits")
        for value in (self.study_hash, self.key):
            require(bool(_HEX32.fullmatch(value)), "hash and key must be 64 hexadecimal digits")
        require(bool(_HEX64.fullmatch(self.signature)), "signature must be 128 hexadecimal digits")


def announce(
    identity: Ed25519PrivateKey, key: X25519PrivateKey, *, site: str, run: str, study_hash: str
) -> Announcement:
    """Sign a run's key."""
    public = key.public_key().public_bytes_raw()
    signature = identity.sign(_signed(site, run, study_hash, public))
    return Announcement(site, run, study_hash, public.hex(), signature.hex())


def peer_keys(
    announcements: Sequence[Announcement],
    pinned: Mapping[str, Ed25519PublicKey],
    *,
    site: str,
    run: str,
    study_hash: str,
    least: int = LEAST_SITES,
) -> dict[str, X25519PublicKey]:
    """The keys of all sites of a secure sum, this one's among them, once each is believed.

    Args:
        announcements: As the server passed them on.
        pinned: The identity of each site, as this hospital's policy names it.
        site: This site, which must be among them.
        least: Fewer sites than that form no secure sum; never less than `LEAST_SITES`.

    Raises:
        SecureSumError: If a site stands twice, is not pinned, announced for another run or study,
            or has a signature that is not its own; if there are too few, or this site is missing.
    """
    found: dict[str, X25519PublicKey] = {}
    for told in announcements:
        if told.site in found:
            raise SecureSumError(f"{told.site} stands twice among the sites of a secure sum.")
        if told.site not in pinned:
            raise SecureSumError(f"{told.site} has no identity in this hospital's policy.")
        if (told.run, told.study_hash) != (run, study_hash):
            raise SecureSumError(f"{told.site}'s key was announced for another run or study.")
        public = bytes.fromhex(told.key)
        message = _signed(told.site, run, study_hash, public)
        try:
            pinned[told.site].verify(bytes.fromhex(told.signature), message)
        except InvalidSignature:
            raise SecureSumError(
                f"{told.site}'s key is not signed by the identity that this hospital's policy "
                "names. Ask that hospital by telephone; the server may have changed it."
            ) from None
        found[told.site] = X25519PublicKey.from_public_bytes(public)
    needed = max(least, LEAST_SITES)
    if len(found) < needed:
        raise SecureSumError(f"{len(found)} sites are too few for a secure sum of {needed}.")
    if site not in found:
        raise SecureSumError("this site is not among the sites of the secure sum.")
    return dict(sorted(found.items()))


def _signed(site: str, run: str, study_hash: str, key: bytes) -> bytes:
    return LABEL + b"\0".join((site.encode(), run.encode(), study_hash.encode(), key))
