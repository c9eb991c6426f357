"""Several fits by Newton's method in step: one question to the sites carries the steps of all."""

from collections.abc import Callable, Generator, Sequence
from typing import TypeVar

import numpy as np

from shared.errors import WithheldError
from shared.glm import LogisticSums

FoundT = TypeVar("FoundT")


def fit_together(
    ask: Callable[[list[int], list[np.ndarray]], Sequence[LogisticSums | WithheldError]],
    fits: Sequence[Generator[np.ndarray, LogisticSums, FoundT]],
) -> list[FoundT]:
    """Several fits by Newton's method whose questions are asked at once.

    Args:
        ask: Gives the sums of some of the fits, by their places, at coefficients. An error in
            their place is raised within the fit.
        fits: Dialogues such as `shared.glm.newton`, not begun; each ends with what it found.
    """
    found: dict[int, FoundT] = {}
    waiting = {i: next(fit) for i, fit in enumerate(fits)}
    while waiting:
        sums = ask(list(waiting), list(waiting.values()))
        for i, part in zip(list(waiting), sums, strict=True):
            try:
                told = fits[i].throw if isinstance(part, WithheldError) else fits[i].send
                waiting[i] = told(part)  # type: ignore[arg-type]
            except StopIteration as done:
                found[i] = done.value
                del waiting[i]
    return [found[i] for i in range(len(fits))]
