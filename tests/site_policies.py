"""Policies for made-up hospitals in tests: in memory, or as the file beside a site file."""

from pathlib import Path
from typing import Any

from client.policy.packs import pack_policy
from client.policy.settings import Pack, Policy

EVERY_ROW = ("embeddings", "scores", "labels", "radiomics_score", "clinical")


def changed_policy(policy: Policy, **sections: dict[str, Any]) -> Policy:
    """A policy with some keys of some sections replaced, unchecked."""
    update = {
        name: getattr(policy, name).model_copy(update=keys) for name, keys in sections.items()
    }
    return policy.model_copy(update=update)


def made_policy(pack: Pack = "simulation", **sections: dict[str, Any]) -> Policy:
    """A pack in memory with some keys replaced: `made_policy(release={"min_cell": 1})`."""
    return changed_policy(pack_policy(pack), **sections)


def write_policy(site_file: Path, text: str = "release: {min_cell: 1}\n") -> Path:
    """Write policy.yaml beside a site file: the pack for made-up patients, and what `text` adds."""
    return write_whole_policy(site_file, f"version: 1\npack: simulation\n{text}")


def write_whole_policy(site_file: Path, text: str) -> Path:
    """Write policy.yaml beside a site file, as its owner alone may change it."""
    path = site_file.with_name("policy.yaml")
    path.write_text(text)
    path.chmod(0o640)
    return path
