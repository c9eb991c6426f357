"""Files and folders that only their owner may open."""

import os
from pathlib import Path

from shared.errors import StateError
from shared.files import replace_atomically

FILE_MODE, FOLDER_MODE = 0o600, 0o700


def make_private(folder: Path) -> None:
    """Make a folder, or close one that is there, for everybody but its owner.

    Raises:
        StateError: If that cannot be done.
    """
    try:
        folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        folder.chmod(FOLDER_MODE)
    except OSError as error:
        raise StateError(
            f"{folder}: cannot be made a folder for its owner alone ({error.strerror}). "
            "Name another place, or remove what is there."
        ) from None


def write_secret(path: Path, content: bytes) -> None:
    """Write a file that its owner alone may read; at no instant may anybody else."""

    def write(beside: Path) -> None:
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
        with os.fdopen(handle, "wb") as file:
            file.write(content)

    replace_atomically(path, write)


def is_private(path: Path) -> bool:
    """Whether nobody but the owner may open it."""
    return os.name != "posix" or not path.stat().st_mode & 0o077
