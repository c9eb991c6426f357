"""Answers with noise: drawn once for a question, paid before they leave, told again for nothing.

A noised answer is kept under the question's own hash before it is booked, and booked before anybody
hears of it. Whatever breaks down in between, it is told again as it stands and paid for once. What
it is kept under must not hang on the patients: were a changed cohort's answer drawn anew, to hear
the same again would say that nobody came or went. So a question has one answer, also after the
cohort has changed.

    noised/HASH.json in the cache folder: the booking's id, and the whole numbers that were told
"""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from client.budget import pay_for_fusion
from client.workbench import Workbench
from shared.checks import Ints
from shared.codec import content_hash, from_text, to_text
from shared.config import digest
from shared.errors import CodecError, StateError
from shared.files import flush_folder, write_atomically
from shared.privacy import FUSION, Spending, Spent, of_network

FOLDER = "noised"


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """An answer that was drawn: its booking's id, and its numbers."""

    id: str
    numbers: np.ndarray


def told_once(
    bench: Workbench, request: Any, *, step: int, noise: float, draw: Callable[[], Ints]
) -> tuple[Ints, Spent]:
    """The one noised answer to a question of the fusion layer, paid for.

    Args:
        request: The question's; equal ones have one answer.
        step: Which of the study's answers it is, from 1; those after it must fit the budget too.
        noise: The noise's standard deviation over the longest that a patient can add.
        draw: Makes the answer, noise and all.

    Returns:
        The answer, and all that the fusion layer has spent here in this study.

    Raises:
        BudgetError: If it does not fit the study's budget or the hospital's limits.
        LedgerError: If it cannot be booked.
        StateError: If it cannot be kept.
    """
    study = digest(bench.study)
    path = _path(bench, study, request)
    drawn = _read(path)
    if drawn is None:
        drawn = Drawn(secrets.token_hex(12), draw())
        _write(path, drawn)
    settings = bench.study.fusion.dp
    entry = Spending(
        id=drawn.id, study=study, network=FUSION, round=step, noise_multiplier=noise,
        sample_rate=1.0, steps=1, delta=settings.delta, budget=settings.epsilon,
    )  # fmt: skip
    spent = pay_for_fusion(bench, entry, ahead=bench.study.fusion.answers_with_noise - step)
    return drawn.numbers, of_network(spent, study, FUSION)


def _path(bench: Workbench, study: str, request: Any) -> Path:
    asked = f"{study}|{type(request).__qualname__}|{content_hash(request)}"
    name = hashlib.sha256(asked.encode()).hexdigest()
    return bench.site.cache_folder / FOLDER / f"{name}.json"


def _read(path: Path) -> Drawn | None:
    """What was drawn; None where nothing was, or the file is damaged and the answer is lost."""
    try:
        return from_text(Drawn, path.read_text(encoding="utf-8"))
    except (OSError, ValueError, CodecError):
        return None


def _write(path: Path, drawn: Drawn) -> None:
    try:
        write_atomically(path, to_text(drawn).encode())
        flush_folder(path.parent)
    except OSError as error:
        raise StateError(
            f"{path}: cannot be written ({error.strerror}); an answer with noise that is not kept "
            "does not leave. Make room on the disk, or let the service's user write there."
        ) from None
