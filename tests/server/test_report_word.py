"""The tables as a Word document: all of them, word for word, and fit to be printed and edited."""

import io
import json
import zipfile
from typing import Any

import docx
import pytest
from docx.document import Document
from docx.enum.section import WD_ORIENT
from docx.oxml.ns import qn

from server.report.export import tables_file
from server.report.sections import blocks_of
from server.report.table import Cell, Table, row
from server.report.word_file import to_docx
from tests.server.test_report import full_results

NARROW = Table("a", "A narrow one", ("Who", "n"), (row("x", "1"), row("y", "2")), strong=1)
WIDE = Table("b", "A wide one", tuple(f"Confidence_{i}" for i in range(12)), ())


def opened(content: bytes) -> Document:
    return docx.Document(io.BytesIO(content))


def written(*tables: Table, synthetic: bool = False) -> Document:
    numbered = [(f"Table {place}", table) for place, table in enumerate(tables, start=1)]
    return opened(to_docx(numbered, title="A study: tables", synthetic=synthetic))


def words(cell: Cell) -> str:
    return "\n".join(filter(None, (cell.text, cell.small)))


def texts(document: Document) -> list[str]:
    return [paragraph.text for paragraph in document.paragraphs]


@pytest.fixture
def results(finished_run: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((finished_run.out / "results.json").read_text())
    return found


def test_every_table_of_a_run_stands_in_the_document_word_for_word(results):
    tables = [block for block in blocks_of(results) if isinstance(block, Table)]
    document = opened(tables_file(results))
    assert len(document.tables) == len(tables) > 10
    for drawn, table in zip(document.tables, tables, strict=True):
        found = [[cell.text for cell in line.cells] for line in drawn.rows]
        assert found == [list(table.columns), *([words(c) for c in line] for line in table.rows)]


def test_captions_and_notes_are_those_of_the_report(results):
    tables = [block for block in blocks_of(results) if isinstance(block, Table)]
    found = texts(opened(tables_file(results)))
    for place, table in enumerate(tables, start=1):
        assert any(text.startswith(f"Table {place}. {table.title}.") for text in found)
        assert set(table.notes) <= set(found)


def test_made_up_patients_are_called_so_in_each_caption_and_at_the_head_of_each_page(results):
    document = opened(tables_file(results))
    captions = [text for text in texts(document) if text.startswith("Table ")]
    assert len(captions) == len(document.tables)
    assert all("Synthetic data: every patient was made up" in text for text in captions)
    heads = [section.header.paragraphs[0].text for section in document.sections]
    assert all("synthetic data" in head for head in heads)


def test_patients_are_called_synthetic_nowhere():
    with zipfile.ZipFile(io.BytesIO(tables_file(full_results(synthetic=False)))) as archive:
        parts = b"".join(archive.read(name) for name in archive.namelist())
    assert b"ynthetic" not in parts


def test_a_wide_table_stands_on_a_page_on_its_side_and_only_that_one():
    sections = written(NARROW, WIDE, NARROW).sections
    assert [section.orientation for section in sections] == [
        WD_ORIENT.PORTRAIT,
        WD_ORIENT.LANDSCAPE,
        WD_ORIENT.PORTRAIT,
    ]
    for section in sections:
        across = (section.page_width or 0) > (section.page_height or 0)
        assert across == (section.orientation == WD_ORIENT.LANDSCAPE)


def test_a_table_fills_the_line_and_no_more():
    document = written(NARROW)
    section = document.sections[0]
    line = (section.page_width or 0) - (section.left_margin or 0) - (section.right_margin or 0)
    width = sum(column.width or 0 for column in document.tables[0].columns)
    assert width == pytest.approx(line, rel=1e-3)


def test_the_first_row_is_repeated_on_each_page_and_the_chosen_row_is_bold():
    table = written(NARROW).tables[0]
    heads = [line._tr.find(f"{qn('w:trPr')}/{qn('w:tblHeader')}") for line in table.rows]
    assert [head is not None for head in heads] == [True, False, False]
    bold = [line.cells[0].paragraphs[0].runs[0].bold for line in table.rows]
    assert bold == [True, False, True]


def test_what_describes_a_table_stands_in_the_order_that_word_asks():
    order = ["tblStyle", "tblW", "jc", "tblBorders", "tblLayout", "tblLook"]
    found = [child.tag.split("}")[1] for child in written(NARROW).tables[0]._tbl.tblPr]
    assert "tblBorders" in found
    assert found == sorted(found, key=order.index)


def test_the_same_tables_give_the_same_bytes_with_no_date_of_today(results, monkeypatch):
    first = tables_file(results)
    monkeypatch.setattr("time.time", lambda: 2e9)
    assert tables_file(results) == first
    with zipfile.ZipFile(io.BytesIO(first)) as archive:
        assert {part.date_time for part in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert opened(first).core_properties.modified.year == 1980
