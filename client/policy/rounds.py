"""How often a network of a study was trained here: a server may ask for one round again and again.

The count stands in the cache folder, on disk before a round begins. A question that is asked again
is told its first answer and is not counted again.
"""

from pathlib import Path

from client.policy.settings import Policy
from shared.errors import PolicyError
from shared.files import write_atomically


def count_round(folder: Path, policy: Policy, *, study: str, network: str) -> None:
    """Count one round of a network, or refuse it.

    Args:
        folder: The cache folder.
        study: Its hash.

    Raises:
        PolicyError: If the network was trained as often as the policy allows, or the count cannot
            be read.
    """
    file = folder / "trained" / study[:16] / f"{network}.txt"
    trained = _read(file)
    if trained >= policy.train.max_rounds:
        raise PolicyError(
            f"{network}: was trained for {trained} rounds of this study here, over all its runs, "
            f"and train.max_rounds of the policy is {policy.train.max_rounds}. Let whoever decides "
            "that in your hospital raise it, if this is right."
        )
    write_atomically(file, f"{trained + 1}\n".encode())


def _read(file: Path) -> int:
    try:
        text = file.read_text(encoding="ascii").strip() if file.exists() else "0"
    except (OSError, UnicodeDecodeError):
        text = ""
    if not text.isdigit() or len(text) > 9:
        raise PolicyError(
            f"{file}: does not say how often the network was trained. Restore it from a backup; "
            "without one remove it, and the count begins anew."
        )
    return int(text)
