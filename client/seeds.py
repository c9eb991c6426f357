"""Chance at a site: one generator for each purpose, from the study's seed and nothing else."""

import hashlib

import numpy as np


def seed_for(*parts: str | int) -> int:
    """A 63-bit seed that depends on every part, in order."""
    digest = hashlib.sha256("|".join(str(part) for part in parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator_for(*parts: str | int) -> np.random.Generator:
    """A generator made from (seed, site, stage, round, ...)."""
    return np.random.default_rng(seed_for(*parts))
