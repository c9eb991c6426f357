"""Writing policy.yaml, so that its owner alone can change it."""

from datetime import date, timedelta
from pathlib import Path

from client.policy.load import policy_beside
from client.policy.settings import Pack
from client.settings import load_site_settings
from shared.errors import ConfigError
from shared.files import replace_atomically

MODE = 0o640


def write_policy(path: Path, text: str) -> None:
    """Write a policy's file whole, with mode 0640 whatever the process's umask."""

    def write(beside: Path) -> None:
        beside.touch(mode=MODE)
        beside.chmod(MODE)
        beside.write_text(text, encoding="utf-8")

    replace_atomically(path, write)


def check_free(site_file: Path, pack: Pack, *, force: bool) -> None:
    """Refuse to write a policy where one stands, where no site file does, or of a wrong pack.

    Raises:
        ConfigError: Saying which.
    """
    path = policy_beside(site_file)
    if not site_file.exists():
        raise ConfigError(f"{site_file}: there is no such file. Name the site file.")
    if not force and (path.exists() or path.is_symlink()):
        raise ConfigError(
            f"{path}: exists already and is not overwritten; it belongs to whoever decides what "
            "leaves your hospital. With --force it is replaced."
        )
    if pack == "simulation" and not load_site_settings(site_file).synthetic:
        raise ConfigError(
            f"--pack simulation lets everything leave, and is for made-up patients alone; "
            f"{site_file} does not say synthetic: true. Take standard or strict."
        )


def a_year_from(today: date) -> date:
    """The last day of a policy that is written today."""
    return today + timedelta(days=365)
