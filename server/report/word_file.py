"""Tables as a Word document: captions above, notes beneath, cells that can be edited."""

import io
import zipfile
from collections.abc import Sequence
from datetime import datetime

import docx
from docx.document import Document
from docx.enum.section import WD_ORIENT, WD_SECTION
from docx.enum.text import WD_ALIGN_PARAGRAPH
from docx.oxml import OxmlElement
from docx.oxml.ns import qn
from docx.section import Section
from docx.shared import Mm, Pt, RGBColor
from docx.table import Table as WordTable
from docx.table import _Cell as WordCell
from docx.text.paragraph import Paragraph

from server.report.picture import MADE_UP, MARK
from server.report.table import Cell, Table

NO_DATE = datetime(1980, 1, 1)
"""The date of the document and of its parts, so that the same tables give the same bytes."""

SHORT_MM, LONG_MM, MARGIN_MM = 210, 297, 20
UPRIGHT_SIGNS = 88
"""How many signs of the tables' size fit a line of an upright page."""

MOST_SIGNS, LONG_CELL, MOST_OF_LONG = 34, 150, 68
"""The most signs counted for a cell; from how many on more are counted, and how many then."""

LEAST_SIGNS = 4
"""What the narrowest column has room for."""

SIZE, SMALL = Pt(8), Pt(7)


def to_docx(tables: Sequence[tuple[str, Table]], *, title: str, synthetic: bool) -> bytes:
    """The content of a Word file with a caption, a table and its notes for each entry.

    A table too wide for an upright page stands on a page on its side. The first row is repeated
    on each page, and no row is torn. The same tables give the same bytes on one installation.

    Args:
        tables: Each with its number in words, such as ``Table 3``.
        title: What the document is, in its properties and at the head of each page.
        synthetic: Whether captions and the head of each page say that patients were made up.
    """
    document = docx.Document()
    _begin(document, f"{title} ({MARK})" if synthetic else title)
    wide = [_signs(table) > UPRIGHT_SIGNS for _, table in tables]
    for place, (number, table) in enumerate(tables):
        if place == 0:
            section = document.sections[0]
            _turn(section, wide=wide[0])
        elif wide[place] != wide[place - 1]:
            section = document.add_section(WD_SECTION.NEW_PAGE)
            _turn(section, wide=wide[place])
        _caption(document, f"{number}. ", table.title, synthetic=synthetic)
        _add(document, table, wide=wide[place])
        for note in table.notes:
            _small(document.add_paragraph(), note).paragraph_format.space_after = Pt(2)
        document.add_paragraph()
    stream = io.BytesIO()
    document.save(stream)
    return _without_dates(stream.getvalue())


def _begin(document: Document, title: str) -> None:
    properties = document.core_properties
    properties.title, properties.author, properties.comments = title, "", ""
    properties.created = properties.modified = NO_DATE
    normal = document.styles["Normal"]
    normal.font.name, normal.font.size = "Arial", Pt(9)
    caption = document.styles["Caption"]
    caption.font.color.rgb = RGBColor(0, 0, 0)
    _small(document.sections[0].header.paragraphs[0], title)


def _turn(section: Section, *, wide: bool) -> None:
    """Lay a section's pages upright, or on their side."""
    width, height = (LONG_MM, SHORT_MM) if wide else (SHORT_MM, LONG_MM)
    section.orientation = WD_ORIENT.LANDSCAPE if wide else WD_ORIENT.PORTRAIT
    section.page_width, section.page_height = Mm(width), Mm(height)
    section.left_margin = section.right_margin = Mm(MARGIN_MM)
    section.top_margin = section.bottom_margin = Mm(MARGIN_MM)


def _caption(document: Document, number: str, title: str, *, synthetic: bool) -> None:
    paragraph = document.add_paragraph(style="Caption")
    paragraph.paragraph_format.keep_with_next = True
    paragraph.add_run(number)
    words = f"{title}."
    if synthetic:
        words += f" {MADE_UP[:1].upper()}{MADE_UP[1:]}."
    paragraph.add_run(words).bold = False


def _small(paragraph: Paragraph, text: str) -> Paragraph:
    paragraph.add_run(text).font.size = SMALL
    return paragraph


def _add(document: Document, table: Table, *, wide: bool) -> None:
    """One table with lines above, beneath its first row, and at its end."""
    drawn = document.add_table(rows=1 + len(table.rows), cols=len(table.columns))
    drawn.autofit = False
    _rule(drawn)
    widths = _widths(table, (LONG_MM if wide else SHORT_MM) - 2 * MARGIN_MM)
    for place, width in enumerate(widths):
        drawn.columns[place].width = Mm(width)
    lines = [tuple(Cell(title) for title in table.columns), *table.rows]
    for place, (row, cells) in enumerate(zip(drawn.rows, lines, strict=True)):
        properties = row._tr.get_or_add_trPr()
        properties.append(OxmlElement("w:cantSplit"))
        if place == 0:
            properties.append(OxmlElement("w:tblHeader"))
        bold = place == 0 or (table.strong is not None and place - 1 == table.strong)
        for column, (cell, content) in enumerate(zip(row.cells, cells, strict=True)):
            cell.width = Mm(widths[column])
            _fill(cell, content, bold=bold, words=column < table.texts)
            if place == 0:
                _line(cell)


def _fill(cell: WordCell, content: Cell, *, bold: bool, words: bool) -> None:
    paragraph = cell.paragraphs[0]
    paragraph.alignment = WD_ALIGN_PARAGRAPH.LEFT if words else WD_ALIGN_PARAGRAPH.RIGHT
    paragraph.paragraph_format.space_after = Pt(1)
    run = paragraph.add_run(content.text)
    run.font.size, run.bold = SIZE, bold
    if content.small:
        run.add_break()
        _small(paragraph, content.small)


def _rule(table: WordTable) -> None:
    """Lines above and beneath a table."""
    borders = OxmlElement("w:tblBorders")
    for side in ("top", "bottom"):
        borders.append(_border(side, eighths=8))
    properties = table._tbl.tblPr
    properties.insert_element_before(borders, "w:shd", "w:tblLayout", "w:tblCellMar", "w:tblLook")


def _line(cell: WordCell) -> None:
    """A line beneath a cell of the first row."""
    borders = OxmlElement("w:tcBorders")
    borders.append(_border("bottom", eighths=4))
    cell._tc.get_or_add_tcPr().append(borders)


def _border(side: str, *, eighths: int) -> object:
    """A black line, as thick as so many eighths of a point."""
    border = OxmlElement(f"w:{side}")
    for key, value in (
        ("val", "single"),
        ("sz", str(eighths)),
        ("space", "0"),
        ("color", "000000"),
    ):
        border.set(qn(f"w:{key}"), value)
    return border


def _column_signs(table: Table) -> list[int]:
    """How many signs each column needs: of its cells up to a limit, and its title's words."""
    found = []
    for place, title in enumerate(table.columns):
        longest_cell = max((len(row[place].text) for row in table.rows), default=1)
        most = MOST_OF_LONG if longest_cell > LONG_CELL else MOST_SIGNS
        smaller = [word for row in table.rows for word in row[place].small.split()]
        words = [*title.split(), *(word[:MOST_SIGNS] for word in smaller)]
        found.append(max(min(longest_cell, most), *map(len, words), LEAST_SIGNS) + 2)
    return found


def _signs(table: Table) -> int:
    return sum(_column_signs(table))


def _widths(table: Table, whole_mm: float) -> list[float]:
    """The columns' widths in mm, shared out by what each needs."""
    signs = _column_signs(table)
    return [whole_mm * n / sum(signs) for n in signs]


def _without_dates(content: bytes) -> bytes:
    """The same archive with one date on all its parts."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(stream, "w") as new:
        for part in old.infolist():
            entry = zipfile.ZipInfo(part.filename, NO_DATE.timetuple()[:6])
            entry.compress_type = zipfile.ZIP_DEFLATED
            new.writestr(entry, old.read(part))
    return stream.getvalue()
