"""How a study ended, in a file: what the ServerApp tells its supervisor across processes."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from shared.files import write_atomically


@dataclass(frozen=True, slots=True)
class Outcome:
    """`completed`, or the error that ended the study: its closed code and its words."""

    completed: bool
    code: str = ""
    words: str = ""

    def write(self, path: Path) -> None:
        """Leave it for the supervisor."""
        write_atomically(path, json.dumps(asdict(self), indent=1).encode())


def read_outcome(path: Path) -> Outcome | None:
    """What was left; None while the study goes on, or if its process died without a word."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Outcome(bool(content["completed"]), str(content["code"]), str(content["words"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
