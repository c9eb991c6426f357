"""The table is whole, says nothing that is not so, and every row that is met has its tests."""

import ast
import functools
import re
from pathlib import Path

import pytest

from shared.errors import CODES
from tests.adversarial.table import rows

ROWS = rows()
HERE = Path(__file__).parent
ROOT = HERE.parents[1]
MARKED = re.compile(r'\brow\(\s*"(T\d\d)"')


@functools.cache
def marked():
    """The numbers of all rows that a test beside this one is marked with."""
    sources = (path.read_text(encoding="utf-8") for path in HERE.glob("test_*.py"))
    return {number for source in sources for number in MARKED.findall(source)}


@functools.cache
def found_in(file):
    """The tests of a file, and its whole text, in which the ids of parameters stand."""
    source = (ROOT / file).read_text(encoding="utf-8")
    functions = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef))
    return {node.name for node in functions if node.name.startswith("test_")}, source


def test_the_table_has_eighty_rows_in_their_order():
    assert [found.number for found in ROWS] == [f"T{number:02d}" for number in range(1, 81)]


@pytest.mark.parametrize("found", ROWS, ids=lambda found: found.number)
def test_a_row_is_tested_or_says_why_it_is_not(found):
    assert found.bad
    assert found.expected
    assert set(found.codes) <= CODES
    if found.state == "not yet":
        assert len(found.why.split()) > 3
        assert not found.lacking
        assert not found.tests
        assert found.number not in marked(), "there is a test of it: the table must say so"
        return
    assert found.state == "tested"
    assert not found.why
    assert found.tests or found.number in marked()
    for node in found.tests:
        file, _, name = node.partition("::")
        function, _, case = name.partition("[")
        names, source = found_in(file)
        assert function in names, f"{node}: there is no such test"
        assert not case or f'"{case[:-1]}"' in source, f"{node}: there is no such case"


def test_no_test_is_of_a_row_that_there_is_not():
    assert marked() <= {found.number for found in ROWS}
