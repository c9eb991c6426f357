"""The site's half of `stability`: who is read again, under which masks, and what is told of it."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from client.check.doctor import check_site
from client.cohort.manifest import read_manifest
from client.settings import load_site_settings
from client.site import Site, open_site
from client.stages.stability import answer, with_enough
from client.workbench import Workbench
from shared.config import Study
from shared.errors import ConfigError, ImageError, ManifestError
from shared.icc import icc_sums
from shared.models import Extraction
from shared.stages.stability import Request
from tests.conftest import PHASES, write_csv, write_image
from tests.site_policies import write_policy

MakeSite = Callable[..., Path]
Change = Callable[..., Study]
WIDTHS = Extraction({})
READER = {"by": "reader", "cases_per_site": 5}


@pytest.fixture
def again(study: Study, change: Change) -> Study:
    """The study, with two redrawn masks of five cases."""
    deltas = [["excretory", "corticomedullary"]]
    stability = {"perturbations": 2, "cases_per_site": 5}
    return change(study, stability=stability, radiomics={"deltas": deltas})


def rows_of(site_file: Path) -> list[dict[str, str]]:
    with (site_file.parent / "manifest.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def shifted(site_file: Path, patient: str, *, by: int = 1) -> str:
    """A second mask: the first one, moved along x."""
    name = f"images/{patient}_mask2.nii.gz"
    first = sitk.ReadImage(str(site_file.parent / f"images/{patient}_mask.nii.gz"))
    values = np.roll(sitk.GetArrayFromImage(first), by, axis=2)
    write_image(site_file.parent / name, values)
    return name


def with_second(site_file: Path, *patients: str, by: int = 1) -> Path:
    """Give these patients a second reader's mask; the others' cells are blank."""
    rows = rows_of(site_file)
    for row in rows:
        mine = row["patient_id"] in patients
        row["mask2"] = shifted(site_file, row["patient_id"], by=by) if mine else ""
    write_csv(site_file.parent / "manifest.csv", rows)
    return site_file


def everyone(site_file: Path, *, by: int = 1) -> Path:
    return with_second(site_file, *(row["patient_id"] for row in rows_of(site_file)), by=by)


def ids(site: Site, n: int) -> list[str]:
    return [case.patient_id for case in site.training][:n]


def test_the_first_training_cases_by_hash_are_read_and_their_first_reading_is_their_row(
    tmp_path: Path, make_site: MakeSite, again: Study
) -> None:
    site = open_site(make_site(tmp_path, n=16), again)
    names, readings = site.readings(site.training, WIDTHS)
    known, table = site.features(site.training, WIDTHS)
    assert names == known
    assert readings.shape == (5, 3, len(names))
    np.testing.assert_array_equal(readings[:, 0], table[:5])
    assert np.isfinite(readings).all()


def test_deltas_are_taken_in_each_reading(
    tmp_path: Path, make_site: MakeSite, again: Study
) -> None:
    site = open_site(make_site(tmp_path, n=16), again)
    names, readings = site.readings(site.training, WIDTHS)
    late, early, delta = (
        names.index(f"{word}__original__firstorder__Mean")
        for word in ("excretory", "corticomedullary", "excretory_minus_corticomedullary")
    )
    difference = readings[..., late] - readings[..., early]
    np.testing.assert_array_equal(readings[..., delta], difference)
    assert np.ptp(difference, axis=1).max() > 0


def test_readings_are_kept_and_hang_on_the_patients_id_and_the_seed(
    tmp_path: Path,
    make_site: MakeSite,
    again: Study,
    change: Change,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site_file = make_site(tmp_path, n=16)
    first = open_site(site_file, again)
    expected = first.readings(first.training, WIDTHS)[1]
    other = open_site(site_file, change(again, seed=2))
    both = set(ids(first, 5)) & set(ids(other, 5))
    monkeypatch.setattr("client.prepare._work", lambda _: pytest.fail("computed again"))
    once_more = open_site(site_file, again)
    np.testing.assert_array_equal(once_more.readings(once_more.training, WIDTHS)[1], expected)
    assert both
    with pytest.raises(pytest.fail.Exception, match="computed again"):
        other.readings(other.training, WIDTHS)


def test_worker_processes_read_the_same_numbers(
    tmp_path: Path, make_site: MakeSite, again: Study
) -> None:
    tables = []
    for threads in (1, 2):
        site = open_site(make_site(tmp_path / str(threads), n=16), again, threads=threads)
        tables.append(site.readings(site.training, WIDTHS)[1])
    np.testing.assert_array_equal(*tables)


def test_a_study_without_the_section_reads_nobody_again(
    tmp_path: Path, make_site: MakeSite, study: Study
) -> None:
    site = open_site(make_site(tmp_path, n=8), study)
    with pytest.raises(ConfigError, match="no section 'stability'"):
        site.readings(site.training, WIDTHS)


def test_a_second_reader_gives_the_features_of_the_second_mask(
    tmp_path: Path, make_site: MakeSite, again: Study, change: Change
) -> None:
    """The same hospital with the second masks as its first has the second readings as its rows."""
    site = open_site(everyone(make_site(tmp_path / "one", n=16)), change(again, stability=READER))
    _, readings = site.readings(site.training, WIDTHS)
    swapped = everyone(make_site(tmp_path / "two", n=16))
    rows = [row | {"mask": row["mask2"], "mask2": ""} for row in rows_of(swapped)]
    write_csv(tmp_path / "two" / "manifest.csv", rows)
    other = open_site(swapped, again)
    assert ids(site, 5) == ids(other, 5)
    np.testing.assert_array_equal(readings[:, 1], other.features(other.training, WIDTHS)[1][:5])
    assert not np.array_equal(readings[:, 0], readings[:, 1])


@pytest.mark.parametrize(("least", "n_told"), [(2, 2), (3, 0)])
def test_only_patients_with_a_second_mask_are_read_again_and_told_of_if_they_are_enough(
    tmp_path: Path, make_site: MakeSite, again: Study, change: Change, least: int, n_told: int
) -> None:
    study = change(again, stability=READER)
    site_file = make_site(tmp_path, n=16)
    write_policy(site_file, f"release: {{min_cell: {least}}}\n")
    patients = ids(open_site(site_file, again), 8)
    site = open_site(with_second(site_file, patients[1], patients[6]), study)
    names, readings = site.readings(site.training, WIDTHS)
    table = site.features(site.training, WIDTHS)[1]
    np.testing.assert_array_equal(readings[:, 0], table[[1, 6]])
    sums = answer(Request(WIDTHS), Workbench(site, threads=1))
    assert (sums.names, sums.k, sums.n.max()) == (names, 2, n_told)


def test_a_site_where_nobody_can_be_read_answers_with_empty_sums(
    tmp_path: Path, make_site: MakeSite, again: Study, change: Change
) -> None:
    site = open_site(make_site(tmp_path, n=8), change(again, stability=READER))
    sums = answer(Request(WIDTHS), Workbench(site, threads=1))
    assert (sums.k, int(sums.n.sum())) == (2, 0)


def test_a_changed_second_mask_is_read_anew(
    tmp_path: Path, make_site: MakeSite, again: Study, change: Change
) -> None:
    study = change(again, stability=READER)
    site_file = everyone(make_site(tmp_path, n=16))
    site = open_site(site_file, study)
    before = site.readings(site.training, WIDTHS)[1]
    shifted(site_file, ids(site, 1)[0], by=2)
    fresh = open_site(site_file, study)
    after = fresh.readings(fresh.training, WIDTHS)[1]
    assert not np.array_equal(before[0, 1], after[0, 1])
    np.testing.assert_array_equal(before[:, 0], after[:, 0])
    np.testing.assert_array_equal(before[1:], after[1:])


@pytest.mark.parametrize("on_bad_case", ["stop", "exclude"])
def test_a_bad_second_mask_stops_the_study_or_costs_the_second_reading_alone(
    tmp_path: Path, make_site: MakeSite, again: Study, change: Change, on_bad_case: str
) -> None:
    study = change(again, stability=READER, cohort={"on_bad_case": on_bad_case})
    site_file = everyone(make_site(tmp_path, n=16))
    patient = ids(open_site(site_file, study), 1)[0]
    (tmp_path / f"images/{patient}_mask2.nii.gz").write_bytes(b"no image")
    site = open_site(site_file, study)
    if on_bad_case == "stop":
        with pytest.raises(ImageError, match=f"second reader's mask of {patient}, .*_mask2"):
            site.readings(site.training, WIDTHS)
        return
    _, readings = site.readings(site.training, WIDTHS)
    np.testing.assert_array_equal(readings[:, 0], site.features(site.training, WIDTHS)[1][1:5])
    assert site.exclusions == ()


def test_of_a_feature_that_too_few_have_nothing_is_told() -> None:
    rng = np.random.default_rng(0)
    readings = rng.normal(size=(7, 3, 2))
    readings[:3, 2, 0] = np.nan
    readings[:2, 1, 1] = np.nan
    told = icc_sums(("four", "five"), with_enough(readings, 5))
    assert told.n.tolist() == [0, 5]
    assert (told.mean[0], told.between[0], np.abs(told.effect[:, 0]).max()) == (0, 0, 0)
    expected = icc_sums(("five",), readings[2:, :, 1:])
    np.testing.assert_array_equal(told.between[1:], expected.between)


def second_columns(site_file: Path, study: Study, row: dict[str, str]) -> object:
    rows = [entry | row for entry in rows_of(site_file)]
    write_csv(site_file.parent / "manifest.csv", rows)
    return read_manifest(load_site_settings(site_file), site_file, study).cases[0]


def test_the_manifest_gives_second_masks_for_all_phases_or_for_one(
    tmp_path: Path, make_site: MakeSite, study: Study, change: Change
) -> None:
    site_file = make_site(tmp_path, n=4)
    common, own = shifted(site_file, "P000"), shifted(site_file, "P001")
    row = {"mask2": common, "mask2_urographic": own, "roi": "GTV", "roi2": ""}
    case = second_columns(site_file, change(study, stability=READER), row)
    expected = {phase: tmp_path / (own if phase == "excretory" else common) for phase in PHASES}
    assert case.second_masks == expected
    assert case.by_second_reader.masks == expected
    assert case.by_second_reader.roi == "GTV"
    case = second_columns(site_file, change(study, stability=READER), {"mask2": "", "roi2": "T"})
    assert set(case.by_second_reader.images) == {"excretory"}
    assert case.by_second_reader.roi == "T"


def test_without_a_second_reader_in_the_study_his_columns_are_not_looked_at(
    tmp_path: Path, make_site: MakeSite, study: Study, change: Change
) -> None:
    site_file = make_site(tmp_path, n=4)
    assert second_columns(site_file, study, {"mask2": "gone.nii.gz"}).second_masks == {}
    with pytest.raises(ManifestError, match=r"'mask2' the path 'gone\.nii\.gz', but there is no"):
        second_columns(site_file, change(study, stability=READER), {})


def test_a_misspelt_second_column_gets_a_hint(
    tmp_path: Path, make_site: MakeSite, study: Study
) -> None:
    with pytest.raises(ManifestError, match="did you mean 'mask2_excretory'"):
        second_columns(make_site(tmp_path, n=4), study, {"mask2_excretry": ""})


def test_the_check_opens_second_masks_and_names_their_problems(
    tmp_path: Path, make_site: MakeSite, study: Study, change: Change
) -> None:
    reader = change(study, stability=READER)
    site_file = with_second(make_site(tmp_path, n=8), "P001", "P002", "P003")
    shifted(site_file, "P002", by=0)
    shifted(site_file, "P003", by=7)
    (tmp_path / "images/P001_mask2.nii.gz").write_bytes(b"no image")
    report = check_site(site_file, reader)
    told = {v.patient_id: v for v in report.verdicts}
    assert "the second reader's mask of P001, corticomedullary: P001_mask2" in told["P001"].problem
    assert any("A copy?" in text for text in told["P002"].warnings)
    assert any("overlaps the first by a Dice of" in text for text in told["P003"].warnings)
    assert not report.ready
    assert any("2 of 7 patients have a second reader's mask" in note for note in report.notes)

    lenient = check_site(site_file, change(reader, cohort={"on_bad_case": "exclude"}))
    told = {v.patient_id: v for v in lenient.verdicts}
    assert told["P001"].ready
    assert any("not read a second time" in text for text in told["P001"].warnings)
    assert check_site(site_file, study).ready
