"""Writing policy.yaml, so that its owner alone can change it."""

from pathlib import Path

from shared.files import replace_atomically

MODE = 0o640


def write_policy(path: Path, text: str) -> None:
    """Write a policy's file whole, with mode 0640 whatever the process's umask."""

    def write(beside: Path) -> None:
        beside.touch(mode=MODE)
        beside.chmod(MODE)
        beside.write_text(text, encoding="utf-8")

    replace_atomically(path, write)
