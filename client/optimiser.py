"""The local optimiser: its step size in a round, and its moments between rounds."""

import hashlib
import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from shared.branches import Training
from shared.files import replace_atomically

KEPT_BEFORE = 2
"""A server that is killed while it saves a round asks for the round before it once more."""
log = logging.getLogger("trifed.site")


def trainable(module: torch.nn.Module) -> list[torch.nn.Parameter]:
    """The parameters that training changes."""
    return [p for p in module.parameters() if p.requires_grad]


def build_optimiser(
    parameters: list[torch.nn.Parameter], settings: Training, round_number: int
) -> torch.optim.Optimizer:
    """A fresh optimiser with this round's learning rate."""
    rate = learning_rate(settings, round_number)
    if settings.optimiser == "adamw":
        return torch.optim.AdamW(
            parameters, lr=rate, weight_decay=settings.weight_decay, fused=True
        )
    return torch.optim.SGD(
        parameters,
        lr=rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        fused=True,
    )


def learning_rate(settings: Training, round_number: int) -> float:
    """The rate of a round, counted from 1: constant, or a cosine over the rounds.

    During `warmup_rounds` it is lower, and climbs in equal steps.
    """
    climbed = min(1.0, round_number / (settings.warmup_rounds + 1))
    if settings.schedule == "constant":
        return climbed * settings.learning_rate
    done = (round_number - 1) / settings.rounds
    return climbed * settings.learning_rate * (1 + math.cos(math.pi * done)) / 2


@dataclass(frozen=True, slots=True)
class Moments:
    """Where a site keeps one network's optimiser between rounds; nothing of it leaves.

    One file a round: what the optimiser was after it. The last rounds' stay, so that a round asked
    again finds what the first time found.
    """

    folder: Path
    key: str

    def take_up(self, optimiser: torch.optim.Optimizer, round_number: int) -> bool:
        """Go on from the round before; False, said in the log, if that cannot be.

        Round 1 begins afresh and removes what an earlier run of the study left.
        """
        if round_number == 1:
            self._remove(self.folder.glob(f"{self.key}-*"))
            return False
        before = self._path(round_number - 1)
        try:
            states = _states(optimiser, load_file(before))
        except (OSError, SafetensorError):
            states = None
        if states is None:
            log.warning("round %d begins with a fresh optimiser: no %s", round_number, before.name)
            return False
        for parameter, state in states.items():
            optimiser.state[parameter] = state
        return True

    def keep(self, optimiser: torch.optim.Optimizer, round_number: int) -> None:
        """Keep what the optimiser is after a round."""
        tensors = {
            f"{index}/{name}": value.detach().cpu().contiguous()
            for index, parameter in enumerate(_parameters(optimiser))
            for name, value in optimiser.state[parameter].items()
            if isinstance(value, torch.Tensor)
        }
        replace_atomically(self._path(round_number), lambda beside: save_file(tensors, beside))
        oldest = self._path(max(round_number - KEPT_BEFORE, 0))
        self._remove(path for path in self.folder.glob(f"{self.key}-*") if path < oldest)

    def _path(self, round_number: int) -> Path:
        return self.folder / f"{self.key}-r{round_number:04d}.safetensors"

    @staticmethod
    def _remove(paths: Iterable[Path]) -> None:
        for path in paths:
            path.unlink(missing_ok=True)


def moments_key(*parts: str) -> str:
    """A file name for what belongs to a study, site and network."""
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:32]


def _parameters(optimiser: torch.optim.Optimizer) -> list[torch.nn.Parameter]:
    return [p for group in optimiser.param_groups for p in group["params"]]


def _states(
    optimiser: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]
) -> dict[torch.nn.Parameter, dict[str, torch.Tensor]] | None:
    """Each parameter's part of a file; None if the file is of other parameters."""
    parameters = _parameters(optimiser)
    found: dict[torch.nn.Parameter, dict[str, torch.Tensor]] = {p: {} for p in parameters}
    for key, value in tensors.items():
        index, _, name = key.partition("/")
        if not index.isdecimal() or int(index) >= len(parameters):
            return None
        parameter = parameters[int(index)]
        if value.shape not in (parameter.shape, ()):
            return None
        found[parameter][name] = _like(value, parameter)
    return found


def _like(value: torch.Tensor, parameter: torch.nn.Parameter) -> torch.Tensor:
    """On the parameter's device and, if of its shape, in its memory format."""
    if value.shape == parameter.shape:
        return torch.empty_like(parameter, requires_grad=False).copy_(value)
    return value.to(parameter.device)
