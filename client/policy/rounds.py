"""How often a network of a study was trained here: a server may ask for one round again and again.

What was trained stands in the cache folder, a line for each round, on disk before it begins. The
same round from the same weights is the same question: where its answer was lost on the way it is
trained again, and not counted again.
"""

import hashlib
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from client.policy.settings import Policy
from shared.errors import PolicyError
from shared.files import write_atomically

Floats32 = NDArray[np.float32]
LINE = re.compile(r"[0-9]{1,9} [0-9a-f]{64}")


def count_round(
    folder: Path, policy: Policy, *, study: str, network: str, number: int, begins: Floats32,
    ways: tuple[float, ...] = (),
) -> None:  # fmt: skip
    """Count one round of a network, or refuse it.

    Args:
        folder: The cache folder.
        study: Its hash.
        number: Of the round.
        begins: The weights that it begins with.
        ways: What else the server says of how it is trained.

    Raises:
        PolicyError: If the network was trained as often as the policy allows, or the count cannot
            be read.
    """
    file = folder / "trained" / study[:16] / f"{network}.txt"
    trained = _read(file)
    content = hashlib.sha256(repr(ways).encode() + b"\0")
    content.update(np.ascontiguousarray(begins).data)
    asked = f"{number} {content.hexdigest()}"
    if asked in trained:
        return
    if len(trained) >= policy.train.max_rounds:
        raise PolicyError(
            f"{network}: was trained for {len(trained)} rounds of this study here, over its runs, "
            f"and train.max_rounds of the policy is {policy.train.max_rounds}. Let whoever decides "
            "that in your hospital raise it, if this is right."
        )
    write_atomically(file, "".join(f"{line}\n" for line in (*trained, asked)).encode())


def _read(file: Path) -> list[str]:
    try:
        lines = file.read_text(encoding="ascii").splitlines() if file.exists() else []
    except (OSError, UnicodeDecodeError):
        lines = [""]
    if not all(LINE.fullmatch(line) for line in lines):
        raise PolicyError(
            f"{file}: does not say how often the network was trained. Restore it from a backup; "
            "without one remove it, and the count begins anew."
        )
    return lines
