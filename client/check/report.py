"""What the check found, and how it is told on a terminal."""

from collections import Counter
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Column, Table

from client.check.measures import Measures
from shared.config import SPLITS

MOST_WORDS = 700


@dataclass(frozen=True, slots=True)
class Verdict:
    """One patient: ready with a split and label, or excluded, why, and what to do.

    Attributes:
        warnings: What is worth a second look; it excludes nobody.
        measures: What was measured on the images; empty where they could not be read.
    """

    patient_id: str
    line: int
    split: str
    label: int | None
    problem: str
    warnings: tuple[str, ...] = ()
    measures: Measures = field(default_factory=dict)

    @property
    def ready(self) -> bool:
        """Whether the patient can take part."""
        return not self.problem


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What the check found.

    Attributes:
        problems: What must be put right before the site can join; empty where it is ready.
        notes: What is worth knowing.
        machine: Cores, memory, disk, GPU, versions and hashes, as text by name.
        features: The table that features are brought in, and its origin; empty for images.
    """

    site: str
    role: str
    verdicts: tuple[Verdict, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    machine: dict[str, str]
    features: str = ""

    @property
    def ready(self) -> bool:
        """Whether the site can join the study as it stands."""
        return not self.problems

    def counts(self) -> dict[str, tuple[int, int]]:
        """Negative and positive patients of each split that has any."""
        found = Counter((v.split, v.label) for v in self.verdicts if v.ready)
        return {
            split: (found[split, 0], found[split, 1])
            for split in SPLITS
            if found[split, 0] or found[split, 1]
        }

    def summary(self) -> str:
        """The verdict on the site in one line."""
        n_ready = sum(verdict.ready for verdict in self.verdicts)
        n_doubtful = sum(verdict.ready and bool(verdict.warnings) for verdict in self.verdicts)
        look = f"; {n_doubtful} worth a second look" if n_doubtful else ""
        return (
            f"{self.site}: {n_ready} patients usable, {len(self.verdicts) - n_ready} not; "
            + ("ready" if self.ready else "NOT ready")
            + look
            + (f"; {self.features}" if self.features else "")
        )


def print_report(report: CheckReport, console: Console) -> None:
    """Show a report: unusable patients, warnings, counts, the machine, and the verdict last."""
    unusable = [verdict for verdict in report.verdicts if not verdict.ready]
    if unusable:
        table = Table("line", "patient", "why, and what to do", title="Patients not usable")
        for verdict in unusable:
            table.add_row(str(verdict.line), _safe(verdict.patient_id), _safe(verdict.problem))
        console.print(table)
    doubtful = [verdict for verdict in report.verdicts if verdict.ready and verdict.warnings]
    if doubtful:
        table = Table("line", "patient", "worth a second look", title="Warnings; still usable")
        for verdict in doubtful:
            text = "\n".join(_safe(warning) for warning in verdict.warnings)
            table.add_row(str(verdict.line), _safe(verdict.patient_id), text)
        console.print(table)
    table = Table("split", "negative", "positive", title=f"{report.site} ({report.role})")
    for split, (negative, positive) in report.counts().items():
        table.add_row(split, str(negative), str(positive))
    console.print(table)
    table = Table("machine", Column(overflow="fold"), show_header=False)
    for name, value in report.machine.items():
        table.add_row(name, _safe(value))
    console.print(table)
    for note in report.notes:
        console.print(f"note: {shown(note)}", markup=False)
    for problem in report.problems:
        console.print(shown(problem), style="red", markup=False)
    console.print(report.summary(), markup=False)


def shown(text: str) -> str:
    """Text that a terminal can show: no control characters, and no more than can be read."""
    if len(text) > 10 * MOST_WORDS:
        text = f"{text[: 5 * MOST_WORDS]} ... {text[-MOST_WORDS:]}"
    lines = text.split("\n")
    clear = (
        "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in x) for x in lines
    )
    return "\n".join(clear)


def clipped(text: str) -> str:
    """A patient's text, its middle left out where it is too long to be read."""
    if len(text) <= MOST_WORDS:
        return text
    return f"{text[: MOST_WORDS // 2]} ... {text[-MOST_WORDS // 2 :]}"


def _safe(text: str) -> str:
    """Text in which rich sees no markup."""
    return shown(clipped(text)).replace("[", r"\[")
