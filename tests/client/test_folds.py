"""Outer folds of the training cases: who is in which, and when none are dealt."""

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from client.folds import deal, held_out_cases, outer_folds, training_without
from client.service import SiteService
from client.workbench import Workbench
from shared.config import Study, all_networks, networks
from shared.errors import CodecError, SmallCellError
from tests.site_policies import changed_policy

Change = Callable[..., Study]


@pytest.fixture
def out_of_fold(study: Study, change: Change) -> Study:
    return change(
        study,
        cohort={"splits": {"train": 0.6, "tune": 0.2, "internal_test": 0.2}},
        fusion={"fit_on": "out_of_fold", "outer_folds": 3},
        embedding={"reduce": "logit", "dimension": 1},
    )


@pytest.fixture
def bench(out_of_fold: Study, make_site: Callable[..., Path], tmp_path: Path) -> Workbench:
    site_file = make_site(tmp_path / "site", n=30)
    return SiteService.open(site_file, out_of_fold, threads=1).bench


def test_every_case_is_in_one_fold_and_labels_are_balanced() -> None:
    labels = np.array([0] * 11 + [1] * 8)
    fold = deal(labels, 3, np.random.default_rng(1))
    counts = np.array([[((fold == k) & (labels == y)).sum() for k in range(3)] for y in (0, 1)])
    assert np.ptp(counts, axis=1).tolist() == [1, 1]
    assert np.ptp(counts.sum(axis=0)) <= 1


def test_folds_part_the_training_cases(bench: Workbench) -> None:
    everyone = [case.patient_id for case in bench.site.training]
    inside = [[case.patient_id for case in held_out_cases(bench, k)] for k in range(3)]
    assert sorted(itertools.chain(*inside)) == sorted(everyone)
    for k in range(3):
        outside = [case.patient_id for case in training_without(bench, k)]
        assert outside == [patient for patient in everyone if patient not in inside[k]]
    assert training_without(bench, None) == bench.site.training


@pytest.mark.parametrize("k", [-1, 3])
def test_a_fold_that_the_study_does_not_have_is_refused(bench: Workbench, k: int) -> None:
    with pytest.raises(CodecError, match="a fold"):
        training_without(bench, k)


def test_a_fold_with_too_few_of_a_label_is_refused(bench: Workbench) -> None:
    """All cases and all but a fold give the fold's sums by their difference."""
    least = min(
        int((bench.site.labels(held_out_cases(bench, k)) == y).sum())
        for k in range(3)
        for y in (0, 1)
    )
    for limit in (least, least + 1):
        bench.site.policy = changed_policy(bench.site.policy, release={"min_cell": limit})
        if limit == least:
            assert len(outer_folds(bench)) == len(bench.site.training)
            continue
        with pytest.raises(SmallCellError, match=r"Lower fusion\.outer_folds"):
            outer_folds(bench)


def test_the_input_of_some_cases_is_theirs(bench: Workbench, out_of_fold: Study) -> None:
    (network, *_) = networks(out_of_fold)
    whole = bench.inputs(network, bench.site.training)
    part = bench.inputs(network, training_without(bench, 1))
    rows = np.flatnonzero(outer_folds(bench) != 1)
    np.testing.assert_array_equal(part.tensor, whole.tensor[rows])
    np.testing.assert_array_equal(part.labels, whole.labels[rows])
    assert part.present.tolist() == [True] * len(rows)


def test_each_network_is_followed_by_those_without_a_fold(out_of_fold: Study) -> None:
    found = [(network.name, network.fold) for network in all_networks(out_of_fold)]
    assert found[:4] == [
        ("branch_2_5d", None),
        ("branch_2_5d_fold1", 0),
        ("branch_2_5d_fold2", 1),
        ("branch_2_5d_fold3", 2),
    ]
    assert len(found) == 8
    assert all_networks(out_of_fold.model_copy(update={"branches": ()})) == ()
