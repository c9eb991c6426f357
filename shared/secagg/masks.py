"""Pairwise masks: each two sites share a stream of the ring that one adds and the other subtracts.

In the sum over all sites of the round the masks vanish; in anything else at least one remains, and
what it hides is uniform. So a site that drops out spoils the round, which is asked anew under
another number, and the masks of a round are used for one upload.

References:
    Bonawitz et al. (2017). Practical Secure Aggregation for Privacy-Preserving Machine Learning.
    CCS, https://doi.org/10.1145/3133956.3133982 (its pairwise masks; no shares of the keys of those
    who drop out, which three hospitals could not use safely).
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from shared.errors import SecureSumError
from shared.secagg.ring import WORD, Ring, Words

CHUNK: Final = 1 << 18
"""Numbers masked at once: memory is bounded however large a network is."""


@dataclass(frozen=True, slots=True)
class Occasion:
    """The one occasion that masks are for: they are others if anything of it is another.

    Attributes:
        run: Which run of the study.
        question: What the sites were asked.
        number: Counts the occasions of a run; one that failed is never used again.
        sites: All that add to the sum, in the order of their names.
        length: How many numbers each adds.
        ring: In which ring.
    """

    run: str
    question: str
    number: int
    sites: tuple[str, ...]
    length: int
    ring: Ring

    def __post_init__(self) -> None:
        if list(self.sites) != sorted(set(self.sites)):
            raise SecureSumError("the sites of a secure sum must be in order, each once.")

    def context(self) -> bytes:
        """What makes the masks of this occasion its own."""
        ring = (self.ring.n_words, self.ring.fraction, self.ring.magnitude, self.ring.sites)
        parts = (self.run, self.question, self.number, self.sites, self.length, ring)
        return b"trifed secure sum, mask, 1\0" + json.dumps(parts).encode()


def masked(
    elements: Words,
    occasion: Occasion,
    *,
    site: str,
    key: X25519PrivateKey,
    peers: Mapping[str, X25519PublicKey],
) -> Words:
    """A site's elements ``(n, words)`` under the masks that it shares with every other site.

    Args:
        site: This site.
        key: Its key of this run.
        peers: The believed key of each site of the occasion; see `shared.secagg.keys.peer_keys`.

    Raises:
        SecureSumError: If the peers are not the occasion's sites, or the length is another.
    """
    if tuple(sorted(peers)) != occasion.sites or site not in peers:
        raise SecureSumError("the keys at hand are not those of the secure sum's sites.")
    if elements.shape != (occasion.length, occasion.ring.n_words):
        raise SecureSumError("a secure sum must be of as many numbers as was announced.")
    hidden = elements.copy()
    for peer in occasion.sites:
        if peer != site:
            seed = _seed(key, peers[peer], occasion)
            _cover(hidden, seed, occasion.ring, adds=site < peer)
    return hidden


def total(parts: Mapping[str, Words], occasion: Occasion) -> Words:
    """The sum of what every site uploaded, in which the masks have vanished.

    Raises:
        SecureSumError: If an upload is missing, or one is of another form; the sum would be noise.
    """
    if tuple(sorted(parts)) != occasion.sites:
        raise SecureSumError("a secure sum needs the upload of each of its sites; ask anew.")
    found = np.zeros((occasion.length, occasion.ring.n_words), dtype=np.uint64)
    for site in occasion.sites:
        part = parts[site]
        if part.dtype != np.uint64 or part.shape != found.shape:
            raise SecureSumError(f"{site}'s upload has another form than the secure sum.")
        found = occasion.ring.add(found, part)
    return found


def _seed(key: X25519PrivateKey, peer: X25519PublicKey, occasion: Occasion) -> bytes:
    """What two sites alone know on this occasion, 32 bytes."""
    try:
        shared = key.exchange(peer)
    except ValueError:
        raise SecureSumError("a site's key for secure sums is none.") from None
    derive = HKDF(SHA256(), 32, salt=bytes.fromhex(occasion.run), info=occasion.context())
    return derive.derive(shared)


def _cover(hidden: Words, seed: bytes, ring: Ring, *, adds: bool) -> None:
    """Add the pair's stream to the elements, or take it away."""
    start = 0
    for stream in _stream(seed, len(hidden), ring):
        part = hidden[start : start + len(stream)]
        part[:] = ring.add(part, stream if adds else ring.negative(stream))
        start += len(stream)


def _stream(seed: bytes, length: int, ring: Ring) -> Iterator[Words]:
    """A pair's stream of ring elements, chunk by chunk: ChaCha20 under a key used for it alone."""
    cipher = Cipher(ChaCha20(seed, bytes(16)), mode=None).encryptor()
    for start in range(0, length, CHUNK):
        n = min(CHUNK, length - start)
        content = cipher.update(bytes(n * ring.n_words * WORD // 8))
        yield np.frombuffer(content, dtype="<u8").astype(np.uint64).reshape(n, ring.n_words)
