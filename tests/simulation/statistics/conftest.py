"""Tables on disk, and `trifed stats` as its users call it."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import trifed

REFERENCES = Path(__file__).parents[2] / "references"
EXPECTED = json.loads((REFERENCES / "statistics.json").read_text("utf-8"))


def write_table(path, columns):
    """A CSV file of columns by name."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


@pytest.fixture
def ask(capsys):
    """The JSON that `trifed stats` prints."""

    def answer(*arguments):
        code = trifed.main(["stats", *map(str, arguments)])
        shown = capsys.readouterr()
        assert code == 0, shown.err
        return json.loads(shown.out)

    return answer


@pytest.fixture
def refused(capsys):
    """What `trifed stats` says when it refuses."""

    def says(*arguments):
        assert trifed.main(["stats", *map(str, arguments)]) == 1
        shown = capsys.readouterr()
        assert not shown.out
        return shown.err

    return says


@pytest.fixture
def made_up(tmp_path):
    """90 patients of four hospitals, one of which has a single patient."""
    rng = np.random.default_rng(6)
    y = rng.integers(0, 2, 90)
    first = np.round(1 / (1 + np.exp(-rng.normal(1.2 * y - 0.6))), 3)
    second = np.round(1 / (1 + np.exp(-rng.normal(0.8 * y))), 3)
    hospital = np.array(["a", "b", "c", "d"])[np.minimum(np.arange(90) // 30, 2)]
    hospital[-1] = "d"
    columns = {
        "her2": y,
        "fusion": first,
        "clinical": second,
        "age": rng.integers(40, 85, 90),
        "stage": np.array(["T1", "T2", "T3"])[rng.integers(0, 3, 90)],
        "hospital": rng.permutation(hospital),
    }
    return write_table(tmp_path / "made_up.csv", columns)


@pytest.fixture(scope="module")
def cancers(tmp_path_factory):
    """The 750 patients of dcurves' df_binary as a table."""
    lines = (REFERENCES / "dcurves_df_binary.csv").read_text("utf-8").splitlines()
    path = tmp_path_factory.mktemp("dcurves") / "df_binary.csv"
    path.write_text("\n".join(line for line in lines if not line.startswith("#")), "utf-8")
    return path


def numbers_in(value, path=""):
    """Every number of an answer by its path; None counts as NaN."""
    if isinstance(value, dict):
        value = value.items()
    elif isinstance(value, list):
        value = enumerate(value)
    else:
        is_number = value is None or isinstance(value, int | float)
        return {path: np.nan if value is None else value} if is_number else {}
    return {k: v for key, item in value for k, v in numbers_in(item, f"{path}/{key}").items()}


def without_sites(answer):
    """An answer's numbers but the account of sites."""
    return {k: v for k, v in numbers_in(answer).items() if not k.startswith("/table/sites")}
