"""Reading policy.yaml. Any doubt means that nothing runs: without a policy nothing is allowed."""

import errno
import hashlib
import os
import stat
from datetime import date
from functools import lru_cache
from pathlib import Path

from client.policy.packs import filled
from client.policy.settings import Policy
from client.settings import SiteSettings
from shared.errors import ConfigError, PolicyError
from shared.strict_yaml import MAX_BYTES, parse_settings

NAME = "policy.yaml"
NOTHING = "Nothing runs at this site until that is done."
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def policy_beside(site_file: Path) -> Path:
    """Where the policy of a site file stands."""
    return site_file.parent / NAME


def policy_hash(site_file: Path) -> str:
    """SHA-256 of the file, as `sha256sum` tells it; empty where it cannot be read."""
    try:
        return hashlib.sha256(policy_beside(site_file).read_bytes()).hexdigest()
    except OSError:
        return ""


def load_policy(site_file: Path, settings: SiteSettings, *, today: date | None = None) -> Policy:
    """The policy of a site, if it is in force.

    Args:
        today: The date; None asks the clock.

    Raises:
        PolicyError: If there is none, others may write it, it is no policy, it has expired, or is
            of made-up patients where the site's are not.
    """
    path = policy_beside(site_file)
    policy = read_policy(site_file)
    refuse_expired(policy, today=today)
    if policy.pack == "simulation" and not settings.synthetic:
        raise PolicyError(
            f"{path}: pack: simulation lets everything leave, and is for made-up patients alone; "
            f"{site_file.name} does not say synthetic: true. Take pack: standard or strict: trifed "
            f"site policy write {site_file} --force. {NOTHING}"
        )
    return policy


def read_policy(site_file: Path) -> Policy:
    """The policy beside a site file, filled from its pack, whether it is in force or not.

    Raises:
        PolicyError: If there is none, others may write it, or it is no policy.
    """
    path = policy_beside(site_file)
    text = _content(path, _write_it(site_file))
    if not text.strip():
        raise PolicyError(
            f"{path}: is empty, which allows nothing. {_write_it(site_file)} --force. {NOTHING}"
        )
    try:
        return _parsed(text, str(path))
    except ConfigError as error:
        raise PolicyError(f"{error}\nCorrect the policy. {NOTHING}") from None


@lru_cache(maxsize=64)
def _parsed(text: str, name: str) -> Policy:
    """What a text says; the file is read at each question, and says the same at nearly all."""
    return filled(parse_settings(text, Policy, name=name))


def refuse_expired(policy: Policy, *, today: date | None = None) -> None:
    """Refuse a policy whose last day is past.

    Raises:
        PolicyError: If it is.
    """
    now = date.today() if today is None else today
    if policy.valid_until is not None and policy.valid_until < now:
        raise PolicyError(
            f"{NAME}: valid_until is {policy.valid_until}, and today is {now}: the policy has "
            "expired. Whoever decides what leaves your hospital reads it again and sets another "
            f"day. {NOTHING}"
        )


def refuse_changed(site_file: Path, settings: SiteSettings, opened_with: Policy) -> None:
    """Refuse to go on if the file no longer says what it did when the site was opened.

    Raises:
        PolicyError: If it says something else, or one of the reasons of `load_policy` is there now.
    """
    if load_policy(site_file, settings) != opened_with:
        raise PolicyError(
            f"{policy_beside(site_file)}: was changed after the service was started. Start the "
            "service again, which then keeps to what stands there now; nothing is answered before."
        )


def _content(path: Path, remedy: str) -> str:
    """The file's text, if nobody but its owner can have written it.

    Args:
        remedy: What to do where it cannot be mended.

    Raises:
        PolicyError: If there is no such file, or it is not one that can be trusted.
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        if path.is_symlink():
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        with os.fdopen(os.open(path, flags), "rb") as file:
            _refuse_untrusted(path, os.fstat(file.fileno()))
            return file.read(MAX_BYTES).decode("utf-8")
    except FileNotFoundError:
        raise PolicyError(
            f"{path}: there is no policy, and without one nothing may leave. {remedy}. {NOTHING}"
        ) from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise PolicyError(
                f"{path}: is a symbolic link, which somebody could turn elsewhere. Put the file "
                f"itself there. {NOTHING}"
            ) from None
        raise PolicyError(
            f"{path}: cannot be read ({error.strerror}). Let the service's user read it. {NOTHING}"
        ) from None
    except UnicodeDecodeError:
        raise PolicyError(f"{path}: is not UTF-8 text. {remedy} --force. {NOTHING}") from None


def _refuse_untrusted(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise PolicyError(f"{path}: is no file. Put the policy there. {NOTHING}")
    if os.name == "posix" and found.st_mode & OTHERS_WRITE:
        raise PolicyError(
            f"{path}: has mode {stat.S_IMODE(found.st_mode):04o}, so that others than its owner "
            f"can change it. Read it again, then: chmod 640 {path}. {NOTHING}"
        )
    if found.st_size > MAX_BYTES:
        raise PolicyError(
            f"{path}: is {found.st_size:,} bytes; a policy has at most {MAX_BYTES:,}. {NOTHING}"
        )


def _write_it(site_file: Path) -> str:
    return f"Write one with: trifed site policy write {site_file}"
