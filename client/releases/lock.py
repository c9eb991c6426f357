"""The refusal lock: a run that was refused too often is told nothing more, until a person says so.

Whoever tries what a hospital may be made to tell learns something from each refusal, so there are
only `refusals.most` of the policy in a run. They are counted by the rows of the release ledger, and
so across restarts, from the last row that lifted the lock (`trifed site unlock`).

What counts is what the policy or disclosure control refused, or what no question of the contract
looks like: `COUNTED`. What does not count says nothing of what was asked: that the study is not
approved, that the site is busy or stopped, that a ticket is unknown, that a file is missing or a
computation broke off, that the two sides run other code, and the lock itself.

The server asks a question that was refused no second time: only `E_SERVICE` and `E_TICKET` are
asked again. Yet two honest refusals come more than once in a run, and are spared as often as an
honest server can meet them. Where some of the clinical regressions are withheld (`E_LEVERAGE`),
each is asked for alone, and once more with Firth's penalty. A site with too few patients for a
network's weights (`E_SMALL_CELL`) is asked for them in every round, since the others' quorum may do
without it.
"""

import threading
from collections import Counter
from collections.abc import Iterable, Mapping

from client.releases.ledger import ReleaseLedger
from client.releases.row import Row
from shared.config import Study, all_networks
from shared.errors import (
    ApprovalError,
    CodecError,
    LedgerError,
    LeverageError,
    LockedError,
    PolicyError,
    SmallCellError,
    codes_of,
)
from shared.regressions import reported_terms
from shared.stages.clinical_model import CLINICAL_HATS, CLINICAL_STEP
from shared.stages.secure_sums import PREFIX
from shared.stages.train_branches import TRAIN_BRANCH

COUNTED = (codes_of(PolicyError) - {ApprovalError.code}) | {CodecError.code}
ASKED_TOGETHER_ALONE_AND_BY_FIRTH = 3
Kind = tuple[str, str]
"""A question's name, and the code that it was refused with."""


class RefusalLock:
    """One site's lock; any thread may ask it.

    Args:
        releases: The ledger.
        spared: How many refusals of a kind do not count in a run.
        most: How many others there may be.
    """

    def __init__(
        self, releases: ReleaseLedger, spared: Mapping[Kind, int] | None = None, *, most: int = 10
    ) -> None:
        self._releases, self._spared, self._most = releases, dict(spared or {}), most
        self._lock = threading.Lock()
        self._found: dict[str, Counter[Kind]] = {}
        self._size = -1

    def check(self, run: str, question: str) -> None:
        """Go on only if the run is not locked.

        Raises:
            LockedError: If it is.
            LedgerError: If the ledger is not whole.
        """
        with self._lock:
            n = counted(self._refusals_of(run), self._spared)
        if n >= self._most:
            raise LockedError(
                f"{question}: {n} questions of run {run} were refused, and nothing more of it is "
                f"answered. See which: trifed site ledger show SITE.yaml --run {run[:8]}. Talk to "
                "whoever runs the study. If all is explained, lift the lock: "
                f"trifed site unlock SITE.yaml {run[:8]}"
            )

    def note(self, run: str, question: str, code: str) -> None:
        """Hear of a refusal that now stands in the ledger."""
        with self._lock:
            if run in self._found:
                self._found[run][question, code] += 1

    def _refusals_of(self, run: str) -> Counter[Kind]:
        """The run's refusals; where it is locked, somebody may have lifted that meanwhile."""
        found = self._found.get(run)
        locked = found is not None and counted(found, self._spared) >= self._most
        if found is None or (locked and self._size_now() != self._size):
            self._size = self._size_now()
            found = self._found[run] = refusals_of(run, self._releases.rows())
        return found

    def _size_now(self) -> int:
        path = self._releases.path
        return path.stat().st_size if path.exists() else 0


def refusals_of(run: str, rows: Iterable[Row]) -> Counter[Kind]:
    """How often each question of a run was refused, and by which code, since the last unlocking."""
    found = Counter[Kind]()
    for row in rows:
        if row.run == run and row.verdict == "unlocked":
            found.clear()
        elif row.run == run and row.verdict == "refused":
            found[row.question, row.code] += 1
    return found


def counted(refusals: Mapping[Kind, int], spared: Mapping[Kind, int]) -> int:
    """How many of some refusals count."""
    return sum(
        max(0, n - spared.get(kind, 0)) for kind, n in refusals.items() if kind[1] in COUNTED
    )


def spared_in(study: Study) -> dict[Kind, int]:
    """The refusals that an honest run of a study can meet though nothing is wrong with it."""
    n = len(reported_terms(study.clinical.predictors, study.sites.training))
    n_rounds = sum(1 + network.branch.training.rounds for network in all_networks(study))
    found = {
        (CLINICAL_STEP.name, LeverageError.code): ASKED_TOGETHER_ALONE_AND_BY_FIRTH * n,
        (CLINICAL_HATS.name, LeverageError.code): n,
        (TRAIN_BRANCH.name, SmallCellError.code): n_rounds,
    }
    return found | {(PREFIX + name, code): most for (name, code), most in found.items()}


def run_in(rows: Iterable[Row], beginning: str) -> tuple[str, str]:
    """The run that begins with these letters, and the hash of its study.

    Raises:
        LedgerError: If the ledger knows none, or several.
    """
    known = {row.run: row.study for row in rows if row.run}
    found = [run for run in known if run.startswith(beginning.lower())]
    if len(found) != 1:
        listed = ", ".join(run[:12] for run in found or known) or "none"
        raise LedgerError(
            f"'{beginning[:40]}' is {'no run' if not found else 'several runs'} of the ledger; "
            f"name one of: {listed}"
        )
    return found[0], known[found[0]]
