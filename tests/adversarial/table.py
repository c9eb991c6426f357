"""The table of bad inputs, `table.toml`, as checked rows."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, slots=True)
class Row:
    """One bad input; `table.toml` says what each field is."""

    number: str
    bad: str
    expected: str
    codes: tuple[str, ...]
    state: Literal["tested", "not yet"]
    why: str = ""
    lacking: str = ""
    tests: tuple[str, ...] = ()


def rows() -> tuple[Row, ...]:
    """The table's rows in their order; a field that there is not is an error."""
    content = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    lists = ("codes", "tests")
    return tuple(
        Row(number, **{k: tuple(v) if k in lists else v for k, v in fields.items()})
        for number, fields in content.items()
    )
