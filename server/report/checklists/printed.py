"""A filled checklist as a table, for CSV and Word."""

from server.report.checklists.filled import MISSING, Filled, FilledItem
from server.report.table import Cell, Table, row

COLUMNS = ("Item", "Section", "What it asks", "State", "Answer", "Where")
NOTE = (
    "Item numbers are the published ones; what an item asks is worded by trifed and is no "
    "substitute for the published text. An item is filled only if everything it needs is known; "
    "MISSING stands for what only people can say, in study_facts.yaml."
)


def checklist_table(filled: Filled) -> Table:
    """One line for each item, under its official number, with its source in the notes."""
    checklist = filled.checklist
    weighted = any(item.item.weight is not None for item in filled.items)
    rows = tuple(_row(item, weighted=weighted) for item in filled.items)
    columns = (COLUMNS[0], "Weight", *COLUMNS[1:]) if weighted else COLUMNS
    notes = (f"{filled.line()}.", f"{checklist.citation} doi:{checklist.doi}", NOTE)
    title = f"{checklist.name} ({checklist.numbered})"
    return Table(filled.file, title, columns, rows, notes, texts=len(columns))


def _row(filled: FilledItem, *, weighted: bool) -> tuple[Cell, ...]:
    item, missing = filled.item, [f"{MISSING}: {what}" for what in filled.missing]
    weight = [Cell(f"{item.weight:.4f}", values={"": item.weight})] if weighted else []
    told = " ".join(_sentence(text) for text in (*filled.told, *missing))
    where = "; ".join(filled.where)
    return row(item.item, *weight, item.section, item.asks, filled.status, told, where)


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."
