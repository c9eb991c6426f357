"""The check as one HTML page that needs no script, no font and no network; it stays at home."""

from pathlib import Path

from client.check.findings import same_grid
from client.check.measures import PhaseMeasures
from client.check.report import CheckReport, Verdict, shown
from shared.files import write_atomically
from shared.pages import page_environment

Row = tuple[str, ...]
COLUMNS = (
    "patient", "phase", "size", "spacing (mm)", "mask (ml)", "width (mm)", "parts",
    "mask (HU)", "around (HU)", "brightest (HU)", "air", "lowest value", "stored as",
)  # fmt: skip


def write_page(report: CheckReport, path: Path) -> None:
    """Write a report as a page that only its owner can read, where the system knows owners."""
    environment = page_environment(Path(__file__).parent)
    environment.filters["shown"] = shown
    text = environment.get_template("page.html.j2").render(
        report=report,
        grades={verdict.line: _grade(verdict) for verdict in report.verdicts},
        columns=COLUMNS,
        rows=[row for verdict in report.verdicts for row in _rows(verdict)],
        bars=_bars(report),
    )
    write_atomically(path, text.encode())
    path.chmod(0o600)


def _grade(verdict: Verdict) -> str:
    if not verdict.ready:
        return "problem"
    return "warning" if verdict.warnings else "ready"


def _rows(verdict: Verdict) -> list[Row]:
    """The numbers of each phase of a patient."""
    apart = "" if same_grid(verdict.measures) else " (own grid)"
    return [
        (verdict.patient_id, phase + apart, *_numbers(measures))
        for phase, measures in verdict.measures.items()
    ]


def _numbers(m: PhaseMeasures) -> Row:
    return (
        " × ".join(str(length) for length in m.shape),
        " × ".join(f"{step:.3g}" for step in m.spacing_mm),
        f"{m.volume_ml:.1f}",
        f"{m.diameter_mm:.0f}",
        str(m.n_parts),
        f"{m.roi_hu:.0f}",
        "–" if m.ring_hu != m.ring_hu else f"{m.ring_hu:.0f}",
        "–" if m.bright_hu != m.bright_hu else f"{m.bright_hu:.0f}",
        f"{m.air_share:.0%}",
        f"{m.lowest_share:.0%}",
        m.stored,
    )


def _bars(report: CheckReport) -> list[tuple[str, int, int, float, float]]:
    """For each split: name, negative, positive, and their lengths in hundredths of the longest."""
    counts = report.counts()
    longest = max((negative + positive for negative, positive in counts.values()), default=1)
    return [
        (split, negative, positive, 100 * negative / longest, 100 * positive / longest)
        for split, (negative, positive) in counts.items()
    ]
