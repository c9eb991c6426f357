"""The report's tables and figures as files, for a paper."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from server.report.checklists import Filled, checklist_table, fill_all
from server.report.csv_table import to_csv
from server.report.draft import draft_file
from server.report.numbers import numbers_file
from server.report.picture import MADE_UP, Picture, to_files
from server.report.sections import blocks_of
from server.report.table import Table
from server.report.word_file import to_docx
from server.report.words import Results
from shared.files import write_atomically

DPI = 300
"""Dots per inch of a PNG: what most journals ask for."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written where.

    Attributes:
        checklists: What is known of each checklist's items.
        left: Tables and figures in the folder that are not of these results.
    """

    folder: Path
    tables: tuple[Path, ...]
    figures: tuple[Path, ...]
    others: tuple[Path, ...]
    checklists: tuple[Filled, ...]
    left: tuple[Path, ...]

    def lines(self) -> Iterator[str]:
        """A summary, one line for each kind of file."""
        yield f"tables: {len(self.tables)} in {self.folder / 'tables'} (csv)"
        n_figures = len({path.stem for path in self.figures})
        yield f"figures: {n_figures} in {self.folder / 'figures'} (svg, pdf, png)"
        for path in self.others:
            yield f"{path.name}: {path}"
        yield f"checklists: {len(self.checklists)} in {self.folder / 'checklists'} (csv)"
        for filled in self.checklists:
            yield f"  {filled.line()}"
        if self.left:
            names = ", ".join(path.name for path in self.left)
            yield f"NOT of this run, left there from before: {names}"


def write_export(
    results: Results,
    folder: Path,
    tell: Callable[[str], object],
    *,
    facts: Mapping[str, str] | None = None,
    dpi: int = DPI,
) -> Exported:
    """Write every table, figure and number of the report into a folder, and the checklists.

    The same results give the same bytes on one installation. Files that are there under other
    names are left alone, and named.

    Args:
        results: A finished study, as for the report.
        folder: Is made where it does not exist.
        tell: Hears what is being written.
        facts: What people know of the study, by the keys of `study_facts.yaml`.
        dpi: Dots per inch of the PNG files.
    """
    blocks = blocks_of(results)
    tables: list[Path] = []
    figures: list[Path] = []
    for done, block in enumerate(blocks, start=1):
        tell(f"{block.kind} {block.name} ({done} of {len(blocks)})")
        if isinstance(block, Table):
            tables.append(_written(folder / "tables" / f"{block.name}.csv", to_csv(block)))
        else:
            for form, content in _drawn(block, results, dpi).items():
                figures.append(_written(folder / "figures" / f"{block.name}.{form}", content))
    tell("captions, numbers and checklists")
    filled = fill_all(results, facts or {})
    for each in filled:
        _written(folder / "checklists" / f"{each.file}.csv", to_csv(checklist_table(each)))
    others = (
        _written(folder / "captions.txt", _captions(blocks, results).encode()),
        _written(folder / "numbers.json", numbers_file(results)),
        _written(folder / "tables.docx", tables_file(results)),
        _written(folder / "checklists.docx", checklists_file(filled, results)),
        _written(folder / "draft.md", draft_file(results)),
    )
    left = (*_left(folder / "tables", tables), *_left(folder / "figures", figures))
    return Exported(folder, tuple(tables), tuple(figures), others, tuple(filled), left)


def tables_file(results: Results) -> bytes:
    """The content of `tables.docx`: every table with its caption and notes, as the report's."""
    found = [block for block in blocks_of(results) if isinstance(block, Table)]
    numbered = [(f"Table {place}", table) for place, table in enumerate(found, start=1)]
    title = f"{results.get('title') or 'Report'}: tables"
    return to_docx(numbered, title=title, synthetic=bool(results.get("synthetic")))


def checklists_file(filled: Sequence[Filled], results: Results) -> bytes:
    """The content of `checklists.docx`: every checklist as a table, with its source beneath."""
    numbered = [(f"Checklist {n}", checklist_table(each)) for n, each in enumerate(filled, start=1)]
    title = f"{results.get('title') or 'Report'}: reporting checklists"
    return to_docx(numbered, title=title, synthetic=bool(results.get("synthetic")))


def _drawn(picture: Picture, results: Results, dpi: int) -> dict[str, bytes]:
    return to_files(picture, synthetic=bool(results.get("synthetic")), dpi=dpi)


def _written(path: Path, content: bytes) -> Path:
    write_atomically(path, content)
    return path


def _left(folder: Path, written: Sequence[Path]) -> list[Path]:
    return sorted(set(folder.glob("*")) - set(written))


def _captions(blocks: Sequence[Table | Picture], results: Results) -> str:
    """Titles, captions and notes, numbered as in the report."""
    found = [MADE_UP] if results.get("synthetic") else []
    numbers = {"table": 0, "figure": 0}
    for block in blocks:
        numbers[block.kind] += 1
        words = block.notes if isinstance(block, Table) else (block.caption,)
        head = f"{block.kind.capitalize()} {numbers[block.kind]} ({block.name}). {block.title}."
        found.append("\n".join([head, *words]))
    return "\n\n".join(found) + "\n"
