"""Acquisition by site, from a run to the report, against the headers of the phantom's files."""

import csv
import gzip
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from server.report.acquisition import acquisition_tables
from server.report.checklists import fill_all
from server.report.csv_table import to_csv
from simulation.phantom_geometry import FIELDS
from simulation.phantom_scanner import SCANNERS

SITES = {"site_a": "a", "site_b": "b", "site_c": "c", "site_d": "d"}


def spacings(site_file: Path, phase: str) -> Any:
    """Spacing in the plane and between slices of each image, from the bytes of its header."""
    with (site_file.parent / "manifest.csv").open() as file:
        paths = [row[f"image_{phase}"] for row in csv.DictReader(file)]
    found = []
    for path in filter(None, paths):
        with gzip.open(site_file.parent / path) as image:
            x, y, z = struct.unpack("<8f", image.read(108)[76:])[1:4]
        found.append([(x + y) / 2, z])
    return np.array(found)


@pytest.fixture
def results(finished_run: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((finished_run.out / "results.json").read_text())
    return found


def test_every_sites_spacings_are_those_of_its_files(finished_run, results):
    sites = results["cohort"]["sites"]
    for site_file in finished_run.hospitals:
        told = sites[site_file.parent.name]["acquisition"]
        assert list(told) == results["phases"]
        for phase, found in told.items():
            table = spacings(site_file, phase)
            assert found["n_images"] == len(table)
            for i, of in enumerate(("in_plane_mm", "slice_mm")):
                assert found[of]["n"] == len(table)
                assert found[of]["mean"] == pytest.approx(table[:, i].mean(), rel=1e-6)
                assert found[of]["sd"] == pytest.approx(table[:, i].std(ddof=1), abs=1e-6)
            assert found["kvp"] == {"not stated": len(table)}


def test_the_table_shows_that_scanners_have_spacings_of_their_own(finished_run, results):
    (table,) = acquisition_tables(results["cohort"])
    lines = list(csv.DictReader(to_csv(table).decode().splitlines()))
    assert len(lines) == 4 * len(results["phases"])
    for place, column in enumerate(("In plane (mm)", "Slices (mm)")):
        shown = {line["Site"]: float(line[column]) for line in lines}
        means = {
            file.parent.name: spacings(file, "nephrographic")[:, place].mean()
            for file in finished_run.hospitals
        }
        assert shown == pytest.approx(means, rel=1e-6)
    in_plane = {line["Site"]: round(float(line["In plane (mm)"]), 3) for line in lines}
    coarsen = FIELDS["tiny"].coarsen
    assert in_plane == {s: round(SCANNERS[c].pixel_mm * coarsen, 3) for s, c in SITES.items()}
    assert "Acquisition by site" in (finished_run.out / "report.html").read_text()


def test_the_checklists_are_told_and_still_ask_what_headers_do_not_say(results):
    items = [item for filled in fill_all(results, {}) for item in filled.items]
    asking = [i for i in items if "run:acquisition | imaging_protocol" in i.item.needs]
    assert len(asking) == 3
    for item in asking:
        assert item.status == "MISSING in part"
        assert any("from slice to slice" in text for text in item.told)
        assert "tables/acquisition.csv" in item.where
        assert item.lacks == ("imaging_protocol",)


def test_dicom_words_are_counts_in_a_cell_and_runs_of_older_releases_have_no_table():
    told = {"n": 9, "mean": 2.0, "sd": 0.5}
    phase = {
        "n_images": 10,
        "in_plane_mm": told,
        "slice_mm": {"n": 0, "mean": None, "sd": None},
        "kvp": {"120": 6, "other or too few": 4},
        "manufacturer": {"Siemens": 10},
        "kernel": {"not stated": 10},
    }
    sites = {"a": {"acquisition": {"excretory": phase}}, "b": {"acquisition": {}}}
    (table,) = acquisition_tables({"sites": sites})
    ((site, name, n, plane, between, *words),) = table.rows
    assert (site.text, name.text, n.text) == ("a", "excretory", "10")
    assert (plane.text, plane.small, between.text) == ("2.00 (0.50)", "n = 9", "–")
    assert [cell.text for cell in words] == ["120: 6; other or too few: 4", "Siemens: 10", "–"]
    assert table.notes[-1] == "No images, but a table of features: b."
    assert acquisition_tables({"sites": {"a": {"n_cases": 5}}}) == []
