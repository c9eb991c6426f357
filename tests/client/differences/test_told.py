"""Cohorts of one statistic differ by nobody or by enough patients, over all that was ever told."""

import itertools
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from client.differences.cohorts import FOLDER
from client.differences.divisions import Division
from client.differences.told import NAME, ToldCohorts, compared, too_close
from client.folds import deal
from client.seeds import generator_for
from client.stages.select_features import folds
from shared.errors import DifferenceError, StateError
from tests.site_policies import made_policy


def case(number, label=None):
    return SimpleNamespace(
        patient_id=f"P{number:03d}", label=number % 2 if label is None else label
    )


def cohort(*numbers):
    return tuple(case(number) for number in numbers)


def opened(folder, *, least=4, everyone=(), differing=()):
    """What a site whose policy asks for `least` has told of; its files are in `folder`."""
    site = SimpleNamespace(
        folder=Path(folder),
        cache_folder=Path(folder) / "cache",
        policy=made_policy(cohort={"min_delta": least, "differing": tuple(differing)}),
        everyone=SimpleNamespace(cases=tuple(everyone)),
        labels=lambda cases: np.array([each.label for each in cases], dtype=np.int64),
    )
    return ToldCohorts(site)


def tell(told, *wholes, family="clinical", parts=()):
    told.note(told.begin((Division(family, tuple(wholes), tuple(parts)),)))


@pytest.fixture
def folder(tmp_path):
    return tmp_path


def test_the_same_cohort_is_told_of_again_whoever_asks_and_after_a_restart(folder):
    tell(opened(folder), cohort(*range(20)))
    tell(opened(folder), cohort(*range(20)))
    assert len((folder / NAME).read_text().split('"cohort":')) == 2


@pytest.mark.parametrize(
    "numbers",
    [range(19), range(21), [*range(19), 30], [*range(17), 31, 32, 33]],
    ids=["one less", "one more", "one for another", "three others"],
)
def test_a_cohort_that_differs_by_few_is_refused_after_a_restart_too(folder, numbers):
    tell(opened(folder), cohort(*range(20)))
    with pytest.raises(DifferenceError, match=r"cohort\.min_delta") as refusal:
        tell(opened(folder), cohort(*numbers))
    assert refusal.value.code == "E_DIFF"


def test_a_cohort_that_differs_by_enough_of_either_label_is_told_of(folder):
    tell(opened(folder), cohort(*range(20)))
    tell(opened(folder), cohort(*range(28)))


def test_enough_patients_of_whom_few_have_one_label_are_refused(folder):
    tell(opened(folder), cohort(*range(20)))
    with pytest.raises(DifferenceError, match="differs from it by 1,"):
        tell(opened(folder), cohort(*range(20), 20, 22, 24, 26, 27))


def test_a_patient_whose_label_is_another_is_refused(folder):
    tell(opened(folder), cohort(*range(20)))
    with pytest.raises(DifferenceError):
        tell(opened(folder), (*cohort(*range(19)), case(19, label=0)))


def test_another_family_is_not_compared(folder):
    tell(opened(folder), cohort(*range(20)))
    tell(opened(folder), cohort(*range(19)), family="features")


def test_what_was_refused_is_not_written_down(folder):
    told = opened(folder)
    asked = told.begin((Division("clinical", (cohort(*range(20)),)),))
    assert asked
    assert not (folder / NAME).exists()
    assert not (folder / FOLDER).exists()
    tell(opened(folder), cohort(*range(19)))


def test_for_made_up_patients_nothing_is_compared_or_written(folder):
    for numbers in (range(20), range(19)):
        tell(opened(folder, least=1), cohort(*numbers))
    assert not list(folder.iterdir())


def test_folds_of_one_deal_are_told_of_and_the_whole_with_them(folder):
    whole, told = cohort(*range(20)), opened(folder, least=6)
    tell(told, whole)
    tell(told, whole, parts=[whole[k::5] for k in range(5)])
    tell(opened(folder, least=6), whole, parts=[whole[k::5] for k in range(5)])


def test_folds_that_another_seed_deals_nearly_alike_are_refused(folder):
    whole = cohort(*range(20))
    tell(opened(folder), whole, parts=[whole[:10], whole[10:]])
    swapped = (*whole[:9], whole[10])
    with pytest.raises(DifferenceError, match="differs from it by 2,"):
        tell(opened(folder), whole, parts=[swapped, (whole[9], *whole[11:])])


def test_an_exception_holds_for_the_cohort_that_it_names_alone(folder):
    before, now, later = cohort(*range(20)), cohort(*range(19)), cohort(*range(18))
    tell(opened(folder), before)
    with pytest.raises(DifferenceError) as refusal:
        tell(opened(folder, everyone=now), now)
    name = opened(folder, everyone=now).state()
    assert f"cohort.differing: ['{name}']" in str(refusal.value)
    tell(opened(folder, everyone=now, differing=[name]), now)
    with pytest.raises(DifferenceError):
        tell(opened(folder, everyone=later, differing=[name]), later)


def test_an_objection_is_named_as_the_reason(folder):
    tell(opened(folder), cohort(*range(20)))
    (folder / "objections.csv").write_text("patient_id\nP019\n")
    with pytest.raises(DifferenceError, match=r"One of them objects \(objections.csv\)"):
        tell(opened(folder), cohort(*range(19)))


def test_without_the_key_or_with_another_nothing_is_told(folder):
    tell(opened(folder), cohort(*range(20)))
    key = folder / "took-part.key"
    key.rename(folder / "kept")
    with pytest.raises(StateError, match="is gone"):
        tell(opened(folder), cohort(*range(19)))
    assert not key.exists()
    key.write_text("0" * 64)
    with pytest.raises(StateError, match="is not the key"):
        tell(opened(folder), cohort(*range(19)))


@pytest.mark.parametrize("how", ["removed", "shortened", "another"])
def test_a_cohorts_file_that_is_not_what_it_was_stops_everything(folder, how):
    tell(opened(folder), cohort(*range(20)))
    for file in (folder / FOLDER).iterdir():
        content = file.read_bytes()
        file.unlink() if how == "removed" else file.write_bytes(content[:-16] + content[-15:])
        if how == "another":
            file.write_bytes(bytes(16) + content[16:])
    with pytest.raises(StateError, match="told-cohorts"):
        tell(opened(folder), cohort(*range(19)))


def test_a_lost_book_is_had_back_from_the_cache(folder):
    tell(opened(folder), cohort(*range(20)))
    (folder / NAME).unlink()
    with pytest.raises(DifferenceError):
        tell(opened(folder), cohort(*range(19)))


def test_nobody_is_named_on_disk_and_a_cohort_stands_there_once(folder):
    for family in ("clinical", "features", "rows"):
        tell(opened(folder), cohort(*range(20)), family=family)
    files = sorted((folder / FOLDER).iterdir())
    assert sorted(file.stat().st_size for file in files) == [160, 160, 320]
    assert all(file.stat().st_mode & 0o077 == 0 for file in (*files, folder / NAME))
    for file in (*files, folder / NAME):
        assert not any(f"P{n:03d}".encode() in file.read_bytes() for n in range(20))


def test_somebody_elses_entry_of_meanwhile_is_seen_before_it_is_told(folder):
    slow, quick = opened(folder), opened(folder)
    asked = slow.begin((Division("clinical", (cohort(*range(20)),)),))
    tell(quick, cohort(*range(19)))
    with pytest.raises(DifferenceError):
        slow.note(asked)


STATES = st.lists(st.sets(st.integers(0, 14)), min_size=2, max_size=7)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(states=STATES, least=st.integers(2, 5))
def test_cohorts_of_any_two_releases_differ_by_nobody_or_by_enough(tmp_path_factory, states, least):
    folder = tmp_path_factory.mktemp("told")
    released = []
    for numbers in states:
        try:
            tell(opened(folder, least=least), cohort(*sorted(numbers)))
            released.append(numbers)
        except DifferenceError:
            assert any(few_between(numbers, other, least) for other in released)
    for one, two in itertools.combinations(released, 2):
        assert not few_between(one, two, least)
    shutil.rmtree(folder)


def few_between(one, two, least):
    """By the definition: of all, or of a label, some patients but too few lie between them."""
    groups = [lambda _: True, lambda n: n % 2 == 0, lambda n: n % 2 == 1]
    for group in groups:
        a, b = ({n for n in numbers if group(n)} for numbers in (one, two))
        if a and b and 0 < len((a | b) - (a & b)) < least:
            return True
    return False


@pytest.mark.parametrize("n", [60, 80])
def test_the_folds_of_honest_studies_out_of_fold_are_hardly_ever_too_close(n):
    """The fewest patients of whose folds the pack standard lets be told, and a few more."""
    bench, refused = SimpleNamespace(site=SimpleNamespace(name="site_a")), 0
    for seed in range(100):
        bench.study = SimpleNamespace(seed=seed)
        labels = np.arange(n) % 2
        outer = deal(labels, 5, generator_for(seed, "site_a", "outer_folds"))
        inner = []
        for k in range(5):
            rows = np.flatnonzero(outer != k)
            fold = folds(labels[rows], 5, bench, k)
            inner.append([frozenset(rows[fold == j].tolist()) for j in range(5)])
        refused += any(
            too_close(one, two, 5)
            for first, second in itertools.combinations(inner, 2)
            for one, two in itertools.product(first, second)
        )
    assert refused <= 1


def test_parts_of_one_division_are_not_compared():
    one = SimpleNamespace(labelled=("n", "p"), parts=("w", "a", "b"))
    two = SimpleNamespace(labelled=("n", "p"), parts=("w", "c"))
    assert not list(compared(one, one, [one, two]))
    assert list(compared(one, two, [one, two])) == [("a", "c"), ("b", "c")]
