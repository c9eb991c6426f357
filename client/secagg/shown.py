"""Whom this hospital adds its numbers with, in words that people compare by telephone."""

from pathlib import Path

from client.secagg.identity import NAME, SiteIdentity
from shared.fingerprints import fingerprint, grouped

COMPARE = (
    "Compare each by telephone with what that hospital's own trifed site peers shows: whoever runs "
    "the server could have put an identity of its own in its place the first time. A wrong one is "
    "taken out of peers.json, and nothing is told until it is found out whose it was."
)


def peer_lines(folder: Path) -> list[str]:
    """The fingerprints of the identities beside a site file.

    Raises:
        StateError: If a file of them is damaged.
    """
    identity = SiteIdentity(folder)
    own = "none yet; the service makes one when it first adds to a secure sum"
    if (folder / NAME).exists():
        own = _shown(identity.public())
    lines = [f"This hospital's identity in secure sums: {own}"]
    peers = identity.peers()
    if not peers:
        return [*lines, "No other hospital's was seen yet."]
    width = max(map(len, peers))
    lines += [f"  {site:<{width}}  {_shown(key)}" for site, key in sorted(peers.items())]
    return [*lines, COMPARE]


def _shown(key: str) -> str:
    return grouped(fingerprint(bytes.fromhex(key)))
