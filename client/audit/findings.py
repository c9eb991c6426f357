"""What an audit finds: one number for each attack on each thing that was released."""

from dataclasses import dataclass
from typing import Literal

from client.audit.attacks import Linked, Told

Attack = Literal["linkage", "reconstruction", "membership"]
Verdict = Literal["not told from chance", "weak", "strong", "not measured"]
MOST_TIMES_CHANCE = 5.0
WEAK_AUC = 0.7
LITTLE, MUCH = 0.1, 0.5
EXPLAINED: dict[Attack, str] = {
    "linkage": "Somebody knows all that the hospital's tables say of a patient and looks for what "
    "was released of that patient: how often is the nearest the right one? The attacker has "
    "learnt from half of the patients.",
    "reconstruction": "Somebody holds what was released of a patient: how much of the patient's "
    "radiomics and clinical values can be computed from it? R squared of the value that is told "
    "best, of patients whom the attacker has not learnt from; 0 is what the mean tells, 1 all.",
    "membership": "Somebody suspects that a patient took part: how well are patients whose data "
    "were used told from patients of the same hospital whose were not? The area under the ROC "
    "curve; 0.5 is a coin.",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One attack on one thing that was released.

    Attributes:
        release: What was released, in words.
        value: A rate, an R squared, or an AUC; None if it was not measured.
        low: Of the 95 % interval, where there is one.
        chance: The value of whoever has nothing of what was released.
        n: Patients that were attacked.
        words: What was done, or why nothing was.
    """

    release: str
    attack: Attack
    verdict: Verdict
    words: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    chance: float | None = None
    n: int = 0

    @property
    def times_chance(self) -> float | None:
        """How many times chance a linkage is."""
        if self.value is None or not self.chance or self.attack != "linkage":
            return None
        return self.value / self.chance


def linked(release: str, found: Linked, words: str, *, chance: float | None = None) -> Finding:
    """A linkage.

    Args:
        chance: Instead of guessing among the candidates.
    """
    base = found.chance if chance is None else chance
    verdict: Verdict = "strong"
    if found.low <= base:
        verdict = "not told from chance"
    elif found.rate <= MOST_TIMES_CHANCE * base:
        verdict = "weak"
    return Finding(
        release, "linkage", verdict, words, found.rate, found.low, found.high, base, found.n
    )


def reconstructed(release: str, best: float, words: str, *, n: int, chance: float = 0.0) -> Finding:
    """A reconstruction, by the value that is told best."""
    gain = best - max(chance, 0.0)
    verdict: Verdict = "strong" if gain >= MUCH else "weak"
    if gain < LITTLE:
        verdict = "not told from chance"
    return Finding(release, "reconstruction", verdict, words, best, None, None, chance, n)


def told(release: str, found: Told, words: str) -> Finding:
    """A membership."""
    verdict: Verdict = "weak" if found.auc < WEAK_AUC else "strong"
    if found.low <= 0.5:
        verdict = "not told from chance"
    n = found.n_members + found.n_others
    return Finding(release, "membership", verdict, words, found.auc, found.low, found.high, 0.5, n)


def not_measured(release: str, attack: Attack, why: str) -> Finding:
    """An attack that could not be made."""
    return Finding(release, attack, "not measured", why)
