"""What a draft of a manifest says to the person who asked for it: counts, no names and no paths."""

import logging
import time
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.table import Table

from client.draft.draft import Draft
from client.draft.files import MANIFEST, SITE, WHY
from client.draft.guesses import SURE
from client.policy.load import NAME as POLICY
from client.progress import EVERY_S

log = logging.getLogger("trifed.site")


class FilesSeen:
    """How many files were seen: in place on a terminal, a line every ten seconds elsewhere."""

    def __init__(self, console: Console) -> None:
        self._status = console.status("0 files seen") if console.is_terminal else None
        self._said = time.monotonic()

    def __enter__(self) -> "FilesSeen":
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._status is not None:
            self._status.stop()

    def __call__(self, n_files: int) -> None:
        """Hear that so many files were seen."""
        if self._status is not None and n_files % 100 == 0:
            self._status.update(f"{n_files} files seen")
        elif self._status is None and time.monotonic() - self._said >= EVERY_S:
            self._said = time.monotonic()
            log.info("%d files seen", n_files)


def print_draft(draft: Draft, out: Path, study_file: Path, console: Console) -> None:
    """Print how much was found, how sure it is, and what to do next."""
    counts = draft.counts()
    table = Table(title=f"{len(draft.lines)} patients in {draft.n_files} files")
    table.add_column("")
    for sure in SURE:
        table.add_column(sure, justify="right")
    for name, found in counts.items():
        table.add_row(name, *(str(found[sure]) for sure in SURE))
    console.print(table)
    n_left = len(draft.left_out) + sum(len(line.left_out) for line in draft.lines)
    n_rois = sum(bool(line.roi_why) and not line.roi for line in draft.lines)
    lines = [f"{draft.n_blank()} cells are blank, for a person to fill in."]
    if n_rois:
        lines.append(f"{n_rois} patients have a mask whose ROI must be named in column 'roi'.")
    if n_left:
        lines.append(f"Left out (files, folders or series): {n_left}; {WHY} says why.")
    lines += [
        "This is a draft. Next:",
        f"  1. open {out / MANIFEST}; confirm or correct every line ({WHY} says why it is so)",
        f"  2. read {out / SITE}, and write clinical.csv with the same patient_id",
        f"  3. let whoever decides what leaves your hospital read {out / POLICY}",
        f"  4. trifed site check {out / SITE} --study {study_file}",
    ]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
