"""Keys as people compare them: by telephone, in groups of four digits."""

import hashlib
import re

DIGITS = 32


def fingerprint(public_key: bytes) -> str:
    """The first 32 hexadecimal digits of a public key's SHA-256.

    Whoever wants another key with the same ones must try about 2^128.
    """
    return hashlib.sha256(public_key).hexdigest()[:DIGITS]


def grouped(found: str) -> str:
    """A fingerprint in groups of four, to be read aloud."""
    return " ".join(found[i : i + 4] for i in range(0, len(found), 4))


def parse_fingerprint(text: str) -> str:
    """A fingerprint as somebody wrote it down: blanks, colons and hyphens do not count.

    Raises:
        ValueError: If it has not exactly 32 hexadecimal digits.
    """
    digits = re.sub(r"[\s:-]", "", text).lower()
    if not re.fullmatch(f"[0-9a-f]{{{DIGITS}}}", digits):
        raise ValueError(
            f"must have all {DIGITS} digits 0-9 and a-f of the fingerprint, found '{text}'"
        )
    return digits
