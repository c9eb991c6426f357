"""The release ledger in words and as a table, for whoever asks what left."""

import csv
import io
import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from client.releases.row import Row

SHORT = 12
COLUMNS = (
    "row", "utc", "verdict", "code", "to", "study", "run", "question", "bytes", "arrays",
    "smallest cell", "sha256", "policy", "approval", "change of weights",
)  # fmt: skip


def array_words(row: Row) -> str:
    """The arrays of a row: name, type and shape of each."""
    items = row.content.items if row.content else []
    return "; ".join(
        f"{item.name} {item.dtype}[{' x '.join(map(str, item.shape))}]" for item in items
    )


def row_lines(row: Row) -> list[str]:
    """A row for a terminal."""
    of = f" of run {row.run[:8]}" if row.run else ""
    head = f"{row.number:>6}  {row.at[:19]}Z  {row.question}{of}: "
    if row.verdict == "unlocked":
        return [f"{head}by {row.to}; refusals are counted anew"]
    if row.content is None:
        return [f"{head}refused, {row.code}", *grounds_lines(row)]
    cell = "no count" if row.least_cell is None else f"smallest cell {row.least_cell}"
    lines = [f"{head}{row.content.n_bytes:,} bytes, {cell}, to {row.to}"]
    if row.content.change:
        lines.append(f"        {change_words(row)}")
    if row.content.items:
        lines.append(f"        {array_words(row)}")
    return lines + grounds_lines(row)


def grounds_lines(row: Row) -> list[str]:
    """Under which policy and approval a row was written; nothing of a row that does not say."""
    if row.policy is None:
        return []
    policy = f"policy {row.policy[:SHORT]}" if row.policy else "no policy that could be read"
    approval = f", approval {row.approval[:SHORT]}" if row.approval else ""
    return [f"        under {policy}{approval}"]


def policy_lines(rows: Sequence[Row], now: str) -> list[str]:
    """Which rows stand under which policy, in their order.

    Args:
        now: The hash of the policy as it is now.
    """
    lines = []
    for policy, of in itertools.groupby(rows, key=lambda row: row.policy):
        numbers = [row.number for row in of]
        which = f"rows {numbers[0]} to {numbers[-1]}" if len(numbers) > 1 else f"row {numbers[0]}"
        if policy is None:
            what = "do not say under which policy; an earlier release wrote them"
        elif not policy:
            what = "were written while no policy could be read"
        else:
            still = ", which policy.yaml still is" if policy == now else ""
            what = f"under the policy {policy}{still}"
        lines.append(f"{which}: {what}")
    return lines


def change_words(row: Row) -> str:
    """By how much a row's weights differ from those that they were trained from."""
    change = row.content.change if row.content else None
    if change is None:
        return ""
    share = f", {change.norm / change.of:.2%} of its weights' norm" if change.of else ""
    return f"{change.network}: changed by {change.norm:.4g}{share}"


@dataclass(frozen=True, slots=True)
class Left:
    """What has left by one question; `least_cell` as in a row, the smallest of all."""

    question: str
    n_answers: int
    n_bytes: int
    least_cell: int | None
    n_refused: int


def left_by(rows: Sequence[Row]) -> tuple[Left, ...]:
    """What left by each question, in the order in which they were first asked."""
    refused = Counter(row.question for row in rows if row.verdict == "refused")
    found = []
    for question in dict.fromkeys(row.question for row in rows if row.verdict != "unlocked"):
        told = [row for row in rows if row.question == question and row.content is not None]
        sizes = [row.content.n_bytes for row in told if row.content is not None]
        cells = [row.least_cell for row in told if row.least_cell is not None]
        least = min(cells, default=None)
        found.append(Left(question, len(told), sum(sizes), least, refused[question]))
    return tuple(found)


def summary_lines(rows: list[Row]) -> list[str]:
    """How much left by each question, and how often one was refused."""
    if not rows:
        return ["Nothing left this hospital, and nothing was asked."]
    lines = [f"{'question':<28} {'answers':>8} {'bytes':>16} {'smallest cell':>14} {'refused':>8}"]
    for one in left_by(rows):
        least = "-" if one.least_cell is None else str(one.least_cell)
        lines.append(
            f"{one.question:<28} {one.n_answers:>8} {one.n_bytes:>16,} {least:>14} "
            f"{one.n_refused:>8}"
        )
    return lines


def as_csv(rows: list[Row]) -> str:
    """All rows as a table; a cell that a spreadsheet would compute begins with an apostrophe."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for row in rows:
        content = row.content
        cells = (
            row.number, row.at, row.verdict, row.code, row.to, row.study, row.run, row.question,
            content.n_bytes if content else 0, array_words(row),
            "" if row.least_cell is None else row.least_cell, content.sha256 if content else "",
            row.policy or "", row.approval or "", change_words(row),
        )  # fmt: skip
        writer.writerow([_harmless(str(cell)) for cell in cells])
    return out.getvalue()


def _harmless(cell: str) -> str:
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell
