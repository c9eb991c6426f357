"""The tables and figures of a paper: whole, exact, and the same whenever they are written."""

import csv
import re
import zlib
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest

from server.report import write_export
from server.report.csv_table import to_csv
from server.report.export import Exported
from server.report.sections import blocks_of
from server.report.table import Cell, Table, estimate, row
from tests.server.test_report import few_results, full_results

ORANGE_ON_WHITE = np.array([243, 220, 209])
"""The words on every picture of made-up patients, as they look where nothing else is drawn."""


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return written(few_results(), tmp_path_factory.mktemp("paper"))


def written(results: dict[str, Any], folder: Path) -> Exported:
    return write_export(results, folder, lambda _: None, dpi=60)


def read(table: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(table.decode().splitlines()))


def tables(results: dict[str, Any]) -> dict[str, Table]:
    return {block.name: block for block in blocks_of(results) if isinstance(block, Table)}


def words_of_pdf(content: bytes) -> str:
    """The text of a PDF's pages without its spaces."""
    streams = re.findall(rb"stream\r?\n(.*?)endstream", content, flags=re.DOTALL)
    # What stands between the last byte and the word is not part of the stream.
    pages = [zlib.decompressobj().decompress(s) for s in streams if s[:1] == b"\x78"]
    drawn = b"".join(page for page in pages if b" Tf" in page)
    return (
        b"".join(re.findall(rb"\(((?:\\.|[^()\\])*)\)", drawn))
        .decode("latin-1")
        .replace("\0", "")
        .replace(" ", "")
    )


def orange(png: Path) -> int:
    """How many pixels have the colour of the words on a white ground."""
    pixels = matplotlib.image.imread(png)[..., :3] * 255
    return int((np.abs(pixels - ORANGE_ON_WHITE).max(axis=-1) < 4).sum())


def test_every_table_and_figure_of_the_report_has_its_files(paper):
    blocks = blocks_of(few_results())
    names = [block.name for block in blocks]
    assert len(names) == len(set(names))
    found = {path.relative_to(paper.folder).as_posix() for path in paper.folder.rglob("*.*")}
    expected = {f"tables/{b.name}.csv" for b in blocks if isinstance(b, Table)}
    pictures = [b.name for b in blocks if not isinstance(b, Table)]
    expected |= {f"figures/{name}.{form}" for name in pictures for form in ("svg", "pdf", "png")}
    assert expected <= found
    assert {path.parent.name for path in paper.others} == {paper.folder.name}


def test_a_table_holds_every_digit_and_the_ends_of_its_intervals():
    results = full_results()
    rows = read(to_csv(tables(results)["performance-external_test"]))
    assert [line["Model"] for line in rows][-1] == "Fusion"
    for line, models in zip(rows, results["models"].values(), strict=True):
        value = models["external_test"]
        assert float(line["AUC"]) == value["auc"]
        assert [float(line["AUC low"]), float(line["AUC high"])] == value["auc_ci"]
        assert float(line["Brier"]) == value["brier"]
        assert (line["n"], line["n positive"]) == (str(value["n"]), str(value["n_positive"]))


def test_every_table_has_one_header_row_of_different_names():
    found = tables(full_results())
    assert len(found) > 10
    for name, table in found.items():
        header, *rows = csv.reader(to_csv(table).decode().splitlines())
        assert len(header) == len(set(header)), name
        assert all(header), name
        assert {len(line) for line in rows} == {len(header)}, name


def test_what_is_not_defined_is_an_empty_cell_and_a_comma_stays_in_its_cell():
    cells = row("a, b", estimate(None, None)), row("c", estimate(0.1, [0.05, float("nan")]))
    lines = read(to_csv(Table("t", "T", ("Who", "AUC\u00a0is"), cells)))
    assert lines[0] == {"Who": "a, b", "AUC is": "", "AUC is low": "", "AUC is high": ""}
    assert lines[1] == {"Who": "c", "AUC is": "0.1", "AUC is low": "0.05", "AUC is high": ""}


def test_a_count_that_a_hospital_hides_stays_hidden():
    cells = (row(Cell("<5", values={"": "<5"})),)
    assert to_csv(Table("t", "T", ("n",), cells)) == b"n\n<5\n"


def test_synthetic_data_stands_in_each_picture_of_each_format(paper):
    for path in paper.figures:
        if path.suffix == ".svg":
            assert "synthetic data" in path.read_text()
        elif path.suffix == ".pdf":
            assert "syntheticdata" in words_of_pdf(path.read_bytes())
        else:
            assert orange(path) > 100


def test_a_study_of_patients_is_called_synthetic_nowhere(tmp_path):
    few = few_results(synthetic=False, branches={}, cohort={})
    found = written(few, tmp_path)
    assert found.figures
    for path in found.figures:
        if path.suffix == ".pdf":
            assert "synthetic" not in words_of_pdf(path.read_bytes())
        elif path.suffix == ".svg":
            assert "synthetic" not in path.read_text()
        else:
            assert orange(path) < 10


def test_a_pdf_has_its_fonts_and_no_date_in_it(paper):
    files = [path.read_bytes() for path in paper.figures if path.suffix == ".pdf"]
    assert all(b"/FontFile2" in content and b"/Type3" not in content for content in files)
    assert all(b"Date" not in content for content in files)


def test_the_same_results_give_the_same_files(paper, tmp_path):
    again = written(few_results(), tmp_path)
    for one, other in zip(paper.figures + paper.tables, again.figures + again.tables, strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_a_table_of_an_earlier_run_is_named_and_left_alone(tmp_path):
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables/external-site_z.csv").write_text("of another day")
    found = written(full_results(models={}, branches={}, radiomics={}, clinical={}), tmp_path)
    assert [path.name for path in found.left] == ["external-site_z.csv"]
    assert "external-site_z.csv" in list(found.lines())[-1]


def test_captions_are_numbered_as_in_the_report(paper):
    text = (paper.folder / "captions.txt").read_text(encoding="utf-8")
    assert text.startswith("synthetic data")
    assert "Table 1 (characteristics). Characteristics of each cohort." in text
    assert "\nFigure 2 (roc). Discrimination on the test splits." in text
