"""How far a network's weights move: those that come from round to round, and those that leave.

A server may put weights in the place of an honest aggregate, at which a round of training tells
more of single patients than it should: ten times as large, so that nothing but a few patients'
mistakes move them, or with a layer that is dead, so that one patient's row of another stands in the
update. So weights that come are compared with those of the round before. What one round of training
changed, as one number, stands in the release ledger beside the answer.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from client.policy.settings import Policy
from client.releases.row import Change
from shared.errors import PolicyError
from shared.files import write_atomically
from shared.networks import Weights

DEAD = 0.01
"""Of its norm of the round before: a layer with less is dead."""
ROUNDS_KEPT = 3
AT_ONCE = 2**20
Norms = dict[str, float]


def norm_of(vector: np.ndarray) -> float:
    """The Euclidean norm, in double precision, of few numbers at a time."""
    parts = (vector[at : at + AT_ONCE].astype(np.float64) for at in range(0, len(vector), AT_ONCE))
    return float(np.sqrt(sum(float(part @ part) for part in parts)))


def change_of(network: str, start: Weights, trained: Weights) -> Change:
    """By how much a round of training changed a network's weights."""
    total = 0.0
    for at in range(0, len(start.vector), AT_ONCE):
        before, after = (w.vector[at : at + AT_ONCE].astype(np.float64) for w in (start, trained))
        total += float(np.sum((after - before) ** 2))
    return Change(network, float(np.sqrt(total)), norm_of(start.vector))


def layer_norms(weights: Weights) -> Norms:
    """The norm of each layer's matrix, and under the empty name that of all weights."""
    matrices = {name: part for name, part in weights.tensors().items() if part.ndim >= 2}
    return {"": norm_of(weights.vector)} | {
        name: norm_of(part.reshape(-1)) for name, part in matrices.items()
    }


@dataclass(frozen=True, slots=True)
class Incoming:
    """The norms of the weights that came in the last rounds of a network, in a file.

    The first round has nothing to be compared with. Rounds that come again are compared with what
    came before them.
    """

    file: Path

    def check(self, policy: Policy, *, network: str, number: int, weights: Weights) -> None:
        """Note the weights of a round, or refuse to train from them.

        Raises:
            PolicyError: If they grew or shrank by more than `train.max_growth` since the round
                before, or a layer is dead.
        """
        limit = policy.train.max_growth
        if limit is None:
            return
        before = {at: norms for at, norms in self._read().items() if at < number}
        now = layer_norms(weights)
        if before:
            last = max(before)
            _refuse_strange(network, number, now, before[last], limit)
        kept = dict(sorted((before | {number: now}).items())[-ROUNDS_KEPT:])
        write_atomically(self.file, json.dumps(kept).encode())

    def _read(self) -> dict[int, Norms]:
        if not self.file.exists():
            return {}
        try:
            found = json.loads(self.file.read_text(encoding="ascii"))
            return {
                int(number): {str(name): float(norm) for name, norm in norms.items()}
                for number, norms in found.items()
            }
        except (OSError, ValueError, AttributeError, TypeError):
            raise PolicyError(
                f"{self.file}: does not say how large the weights of earlier rounds were. Remove "
                "it, and the next round is compared with nothing."
            ) from None


def _refuse_strange(network: str, number: int, now: Norms, before: Norms, limit: float) -> None:
    ratio = now[""] / before[""] if before[""] else 1.0
    if not 1 / limit <= ratio <= limit:
        raise PolicyError(
            f"{network}: the weights of round {number} have {ratio:.3g} times the norm of those "
            f"before, and train.max_growth of policy.yaml is {limit:g}. They are not trained from. "
            "If whoever runs the study explains it, let whoever decides that in your hospital "
            "raise it."
        )
    dead = [n for n, norm in now.items() if not norm >= DEAD * before.get(n, 0.0)]
    if dead:
        raise PolicyError(
            f"{network}: in the weights of round {number} the layer {dead[0]} is all but zero, "
            "and was not in those before: a round from there would tell of single patients. Talk "
            "to whoever runs the study; without train.max_growth in policy.yaml (null) nothing is "
            "compared."
        )
