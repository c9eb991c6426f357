"""A hospital, opened: splits, tables, tensors and the patients set aside."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client.products import Tensor
from client.site import Site, TestCases, TrainingCases, TuneCases, open_site
from client.workers import n_threads
from shared.branches import InitialWeights
from shared.config import Study, networks
from shared.errors import CohortError, ConfigError, ImageError
from shared.models import Extraction

MakeSite = Callable[..., Path]
Change = Callable[..., Study]
NO_FILTERS = Extraction({})


def ids(cases: Any) -> list[str]:
    return [case.patient_id for case in cases]


def spoil(site_file: Path, *patients: str) -> None:
    for patient in patients:
        (site_file.parent / "images" / f"{patient}_excretory.nii.gz").write_bytes(b"no image")


def shuffle(site_file: Path) -> None:
    """Turn the manifest upside down."""
    path = site_file.parent / "manifest.csv"
    header, *rows = path.read_text().splitlines()
    path.write_text("\n".join([header, *reversed(rows)]) + "\n")


@pytest.fixture
def site(tmp_path: Path, make_site: MakeSite, study: Study) -> Site:
    return open_site(make_site(tmp_path, n=8), study)


def test_the_splits_divide_the_patients(site: Site) -> None:
    handles = [site.training, site.tuning, site.internal_test, site.external_test]
    assert [len(handle) for handle in handles] == [4, 2, 2, 0]
    everyone = sorted(patient for handle in handles for patient in ids(handle))
    assert everyone == [f"P{i:03d}" for i in range(8)]


def test_a_split_is_a_type(site: Site) -> None:
    assert type(site.training) is type(site.handle("train")) is TrainingCases
    assert type(site.tuning) is type(site.handle("tune")) is TuneCases
    assert type(site.internal_test) is type(site.handle("external_test")) is TestCases


def test_an_external_site_has_test_cases_only(
    tmp_path: Path, make_site: MakeSite, study: Study
) -> None:
    site = open_site(make_site(tmp_path, n=5, name="site_d", role="external"), study)
    assert (len(site.external_test), len(site.training), len(site.internal_test)) == (5, 0, 0)


def test_labels_and_clinical_data_follow_the_handles_order(site: Site) -> None:
    numbers = np.array([int(patient[1:]) for patient in ids(site.training)])
    np.testing.assert_array_equal(site.labels(site.training), numbers % 2)
    clinical = site.clinical(site.training, ("age", "sessile"))
    np.testing.assert_array_equal(clinical[:, 0], 60 + numbers)
    np.testing.assert_array_equal(clinical[:, 1], 1 - numbers // 2 % 2)


def test_an_unknown_clinical_column_is_named(site: Site) -> None:
    with pytest.raises(CohortError, match="'psa'"):
        site.clinical(site.training, ("psa",))


def test_features_and_tensors_have_a_row_for_each_case(site: Site) -> None:
    names, table = site.features(site.training, NO_FILTERS)
    assert table.shape == (4, len(names))
    assert np.isfinite(table).all()
    for network in networks(site.study):
        tensor, present = site.tensors(site.training, network)
        assert (tensor.shape[0], tensor.dtype) == (4, np.dtype(np.float32))
        assert present.all()


def test_brighter_tumours_have_brighter_features(site: Site) -> None:
    names, table = site.features(site.everyone, NO_FILTERS)
    mean = table[:, names.index("nephrographic__original__firstorder__Mean")]
    labels = site.labels(site.everyone)
    assert mean[labels == 1].min() > mean[labels == 0].max()


def test_the_manifests_order_changes_nothing(
    tmp_path: Path, make_site: MakeSite, study: Study
) -> None:
    site_file = make_site(tmp_path, n=8)
    before = open_site(site_file, study)
    shuffle(site_file)
    after = open_site(site_file, study)
    assert ids(before.training) == ids(after.training)
    for part in ("training", "tuning"):
        first, second = getattr(before, part), getattr(after, part)
        np.testing.assert_array_equal(
            before.features(first, NO_FILTERS)[1], after.features(second, NO_FILTERS)[1]
        )


def test_two_sites_have_the_same_columns(tmp_path: Path, make_site: MakeSite, study: Study) -> None:
    sites = [open_site(make_site(tmp_path / n, n=4, name=n), study) for n in ("site_a", "site_b")]
    first, second = (site.features(site.training, NO_FILTERS)[0] for site in sites)
    assert first == second


def test_the_second_opening_computes_nothing(
    tmp_path: Path, make_site: MakeSite, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    site_file = make_site(tmp_path, n=4)
    first = open_site(site_file, study)
    expected = first.features(first.training, NO_FILTERS)[1]
    monkeypatch.setattr("client.prepare._work", lambda _: pytest.fail("computed again"))
    again = open_site(site_file, study)
    np.testing.assert_array_equal(again.features(again.training, NO_FILTERS)[1], expected)


def test_the_cache_holds_no_patients_id(tmp_path: Path, make_site: MakeSite, study: Study) -> None:
    site = open_site(make_site(tmp_path, n=4), study)
    site.prepare()
    names = [path.name for path in site.cache_folder.rglob("*.npy")]
    assert len(names) == 4 * 3
    assert not any("P00" in name for name in names)


def test_progress_counts_the_cases(tmp_path: Path, make_site: MakeSite, study: Study) -> None:
    seen: list[tuple[str, int, int]] = []
    site = open_site(make_site(tmp_path, n=4), study, progress=lambda *at: seen.append(at))
    site.prepare()
    assert seen == [("images", done, 4) for done in range(5)]


def test_worker_processes_give_the_same_numbers(
    tmp_path: Path, make_site: MakeSite, study: Study
) -> None:
    tables = []
    for threads in (1, 2):
        site_file = make_site(tmp_path / str(threads), n=5)
        site = open_site(site_file, study, threads=threads)
        tables.append(site.features(site.everyone, NO_FILTERS)[1])
        tables.append(site.tensors(site.everyone, networks(study)[0])[0])
    np.testing.assert_array_equal(tables[0], tables[2])
    np.testing.assert_array_equal(tables[1], tables[3])


def test_a_missing_phase_is_nan_in_the_table_and_absent_in_tensors(
    tmp_path: Path, make_site: MakeSite, study: Study, change: Change
) -> None:
    site_file = make_site(tmp_path, n=4)
    path = tmp_path / "manifest.csv"
    path.write_text(path.read_text().replace("images/P002_excretory.nii.gz", ""))
    site = open_site(site_file, change(study, cohort={"missing_phase": "allow"}))
    row = ids(site.everyone).index("P002")
    names, table = site.features(site.everyone, NO_FILTERS)
    missing = {name for name, value in zip(names, table[row], strict=True) if np.isnan(value)}
    assert missing == {name for name in names if name.startswith("excretory")}
    tensor, present = site.tensors(site.everyone, networks(study)[0])
    assert np.flatnonzero(~present).tolist() == [row]
    assert not tensor[row].any()


def test_bad_images_stop_naming_each(tmp_path: Path, make_site: MakeSite, study: Study) -> None:
    site_file = make_site(tmp_path, n=6)
    spoil(site_file, "P001", "P004")
    site = open_site(site_file, study)
    with pytest.raises(ImageError) as caught:
        site.features(site.training, NO_FILTERS)
    for patient in ("P001", "P004"):
        assert f"{patient}, excretory: {patient}_excretory.nii.gz" in str(caught.value)


def test_bad_images_are_set_aside_before_the_splits_are_drawn(
    tmp_path: Path, make_site: MakeSite, study: Study, change: Change
) -> None:
    site_file = make_site(tmp_path, n=10)
    spoil(site_file, "P001", "P004")
    site = open_site(site_file, change(study, cohort={"on_bad_case": "exclude"}))
    assert sorted((e.patient_id, e.kind) for e in site.exclusions) == [
        ("P001", "image"),
        ("P004", "image"),
    ]
    assert [len(handle) for handle in (site.training, site.tuning, site.internal_test)] == [4, 2, 2]
    assert site.features(site.everyone, NO_FILTERS)[1].shape[0] == 8


def test_too_few_patients_stop(
    tmp_path: Path, make_site: MakeSite, study: Study, change: Change
) -> None:
    site_file = make_site(tmp_path, n=4)
    spoil(site_file, "P001")
    with pytest.raises(CohortError, match=r"has 3 usable patients \(1 excluded\)"):
        open_site(site_file, change(study, cohort={"on_bad_case": "exclude"}))


@pytest.mark.parametrize(
    ("name", "role"), [("site_z", "training"), ("site_d", "training"), ("site_a", "external")]
)
def test_a_site_that_the_study_does_not_know_in_its_role_is_refused(
    tmp_path: Path, make_site: MakeSite, study: Study, name: str, role: str
) -> None:
    with pytest.raises(ConfigError, match=rf"'{name}' with role {role}"):
        open_site(make_site(tmp_path, n=4, name=name, role=role), study)


def test_a_handles_key_follows_its_patients_and_files(
    tmp_path: Path, make_site: MakeSite, study: Study
) -> None:
    site_file = make_site(tmp_path, n=8)
    before = open_site(site_file, study)
    key = before.training.key()
    assert key == open_site(site_file, study).training.key()
    assert key != before.tuning.key()
    spoil(site_file, ids(before.training)[0])
    assert key != open_site(site_file, study).training.key()


def test_opening_a_site_imports_no_deep_learning_library() -> None:
    code = "import sys, client.site, client.prepare; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert not {"torch", "monai", "flwr"} & set(loaded.split())


def test_zero_threads_mean_all_cores() -> None:
    assert n_threads(0) >= 1
    assert n_threads(3) == 3


def test_other_weights_and_frozen_stages_need_no_other_tensors(study: Study) -> None:
    network = networks(study)[0]
    begins = InitialWeights(file=Path("w.pth"), format="torchvision", sha256="a" * 64)
    changes = {"initial_weights": begins, "norm": "frozen_batch", "freeze": ("stem",)}
    other = network.branch.model_copy(update=changes | {"network": "resnet18"})
    moved = network.branch.model_copy(update={"size": (32, 32)})
    ways = [
        Tensor(study, network.model_copy(update={"branch": branch})).depends_on
        for branch in (network.branch, other, moved)
    ]
    assert ways[0] == ways[1] != ways[2]
