"""The draw of train, tune and internal_test."""

import random
from collections import Counter
from pathlib import Path

import pytest

from client.cohort.manifest import Case
from client.cohort.splits import assign_splits
from shared.config import Study


def cases(n_negative: int, n_positive: int) -> list[Case]:
    labels = [0] * n_negative + [1] * n_positive
    return [Case(f"P{i}", i + 2, None, label, {}, {}, {}) for i, label in enumerate(labels)]


def drawn(given: list[Case], study: Study, site: str = "site_a") -> dict[str, str | None]:
    return {case.patient_id: case.split for case in assign_splits(given, study, site)}


@pytest.mark.parametrize("sizes", [(16, 8), (13, 7), (3, 2), (1, 0)])
def test_each_label_is_divided_by_the_shares(study: Study, sizes: tuple[int, int]) -> None:
    shares = {"train": 0.5, "tune": 0.25, "internal_test": 0.25}
    counts = Counter((c.label, c.split) for c in assign_splits(cases(*sizes), study, "site_a"))
    for label, n in enumerate(sizes):
        for split, share in shares.items():
            assert abs(counts[label, split] - n * share) < 1


def test_rounding_does_not_favour_the_same_split_for_both_labels(study: Study) -> None:
    counts = Counter(drawn(cases(2, 2), study).values())
    assert counts == {"train": 2, "tune": 1, "internal_test": 1}


def test_the_draw_does_not_depend_on_the_manifests_order(study: Study) -> None:
    given = cases(11, 9)
    shuffled = random.Random(1).sample(given, len(given))
    assert drawn(given, study) == drawn(shuffled, study)


def test_seed_and_site_change_the_draw(study: Study) -> None:
    given = cases(20, 20)
    other_seed = study.model_copy(update={"seed": 2})
    assert drawn(given, study) != drawn(given, other_seed)
    assert drawn(given, study) != drawn(given, study, "site_b")


def test_an_external_site_only_tests(study: Study) -> None:
    assert set(drawn(cases(3, 3), study, "site_d").values()) == {"external_test"}


def test_a_split_that_the_manifest_gives_is_kept(study: Study) -> None:
    given = [Case("P1", 2, "tune", 0, {"excretory": Path()}, {}, {})]
    assert drawn(given, study) == {"P1": "tune"}
