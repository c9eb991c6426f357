"""Subgroups at a site: who is in them, what is told of them, and what is not."""

from dataclasses import replace
from itertools import chain, combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.check.doctor import check_site
from client.evaluate import evaluate_file
from client.looks import NAME
from client.service import SiteService
from client.site import open_site
from client.subgroups import may_be_told, too_close
from shared.bundle_file import write_bundle
from shared.codec import content_hash
from shared.errors import ManifestError
from shared.identity import code_hash, versions
from shared.metrics import delong
from shared.stages.evaluate import ScoresRequest
from tests.conftest import changed
from tests.made_bundle import bundle_without_networks
from tests.site_policies import changed_policy

N = 24
EVERYONE = np.ones(N, dtype=np.int64)
ALL = (EVERYONE == 1,)
HALVES = np.arange(N) % 2
DIVIDED = (
    {"column": "sessile"},
    {"column": "age", "cuts": [63.0, 66.0]},
    {"column": "her2_ihc"},
)


def test_a_planted_subgroup_of_two_patients_keeps_its_column_at_home():
    places = np.repeat([0, 1], N // 2)
    places[[0, 1]] = 2
    assert may_be_told({"sex": places}, HALVES * 0, least=3) == []
    assert may_be_told({"sex": places}, HALVES * 0, least=2) == ["sex"]


def test_patients_without_a_value_are_a_difference_from_the_whole():
    places = np.repeat([0, 1], N // 2)
    places[:4] = -1
    labels = HALVES
    assert may_be_told({"sex": places}, labels, least=2) == ["sex"]
    assert may_be_told({"sex": places}, labels, least=3) == []


def test_the_labels_are_counted_apart():
    places = np.where((np.arange(N) < 6) & (HALVES == 1), 0, 1)
    assert may_be_told({"sex": places}, HALVES, least=3) == ["sex"]
    places[1] = 1
    assert may_be_told({"sex": places}, HALVES, least=3) == []


def test_two_columns_that_differ_by_two_patients_are_not_both_told():
    first = np.repeat([0, 1], N // 2)
    second = first.copy()
    second[[10, 11]] = 1
    divided = {"age": first, "size": second}
    assert may_be_told(divided, EVERYONE, least=3) == ["age"]
    assert may_be_told(divided, EVERYONE, least=2) == ["age", "size"]
    second[20] = 0  # Neither lies within the other any more.
    assert may_be_told(divided, EVERYONE, least=3) == ["age", "size"]


def test_patients_whom_one_model_does_not_score_are_left_out_of_its_cells():
    places = np.repeat([0, 1], N // 2)
    scored = places == 1
    scored[:4] = True
    assert may_be_told({"sex": places}, EVERYONE, least=5, counted=[scored]) == []
    assert may_be_told({"sex": places}, EVERYONE, least=4, counted=[scored]) == ["sex"]


def subsets(groups):
    return chain.from_iterable(combinations(groups, k) for k in range(len(groups) + 1))


def told_by_subtraction(places, other, least):
    """The same from sets of patients: one union inside of another, with few between."""
    sets = [
        [frozenset().union(*chosen) for chosen in subsets(parts)]
        for parts in (
            [frozenset(np.flatnonzero(p == g).tolist()) for g in sorted(set(p.tolist()))]
            for p in (places, other)
        )
    ]
    return any(a <= b and 0 < len(b - a) < least for a in sets[0] for b in sets[1])


@given(
    places=st.lists(st.integers(-1, 2), min_size=12, max_size=12),
    other=st.lists(st.integers(0, 2), min_size=12, max_size=12),
    least=st.integers(1, 5),
)
@settings(max_examples=200, deadline=None)
def test_the_rule_is_that_of_sets_of_patients(places, other, least):
    places, other = np.array(places), np.array(other)
    labels, counted = np.zeros(12, dtype=np.int64), (np.ones(12, dtype=bool),)
    expected = told_by_subtraction(places, other, least)
    assert too_close(places, other, labels, counted, least) == expected
    assert too_close(other, places, labels, counted, least) == expected


@pytest.fixture
def divided(study):
    return changed(study, evaluation={"subgroups": [dict(each) for each in DIVIDED]})


@pytest.fixture
def hospital(tmp_path, make_site):
    return make_site(tmp_path / "site", n=12, name="site_d", role="external")


def edit(site_file, old, new, table="clinical.csv"):
    path = site_file.parent / table
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_cells_put_patients_where_the_study_says(hospital, divided):
    edit(hospital, "P003,3+,no,63", "P003,3+,,63.0")
    site = open_site(hospital, divided, threads=1)
    places = {
        column: dict(
            zip(
                (case.patient_id for case in site.external_test),
                site.subgroup_places(site.external_test, column).tolist(),
                strict=True,
            )
        )
        for column in ("sessile", "age", "her2_ihc")
    }
    patients = ("P000", "P001", "P002", "P003", "P005", "P006")
    assert [places["sessile"][p] for p in patients] == [0, 0, 1, -1, 0, 1]
    assert [places["age"][p] for p in patients] == [0, 0, 0, 1, 1, 2]
    assert [places["her2_ihc"][p] for p in patients] == [-1, 0, -1, 1, 0, -1]


BAD_CELLS = {
    "a word for yes or no": ("P003,3+,no,63", "P003,3+,perhaps,63", "as sessile.*must be .*yes or"),
    "a word for a number": ("P003,3+,no,63", "P003,3+,no,old", "'old' as age"),
}


@pytest.mark.parametrize(("old", "new", "words"), BAD_CELLS.values(), ids=BAD_CELLS)
def test_a_cell_that_fits_no_subgroup_names_line_patient_and_remedy(
    hospital, divided, old, new, words
):
    edit(hospital, old, new)
    with pytest.raises(ManifestError, match=f"case P003 has .*{words}"):
        open_site(hospital, divided, threads=1)


def by_words(study):
    entry = {"column": "t_stage", "values": {"low": ["Ta", "T1"], "high": ["T2", "T3"]}}
    return changed(study, evaluation={"subgroups": [entry]})


def test_a_value_that_the_study_does_not_know_is_refused(hospital, study):
    edit(hospital, "age\n", "age,t_stage\n")
    path = hospital.parent / "clinical.csv"
    head, *rows = path.read_text().splitlines()
    path.write_text("\n".join([head, *(f"{row},Ta" for row in rows[:-1]), f"{rows[-1]},T4"]))
    with pytest.raises(ManifestError, match=r"P011 has 'T4' as t_stage .*evaluation.subgroups.*T3"):
        open_site(hospital, by_words(study), threads=1)


def test_a_hospital_without_the_column_is_told_so_before_anything_is_asked(hospital, study):
    with pytest.raises(ManifestError, match=r"'t_stage' is missing; evaluation.subgroups"):
        open_site(hospital, by_words(study), threads=1)
    report = check_site(hospital, by_words(study), threads=1)
    assert any("evaluation.subgroups of the study asks for it" in text for text in report.problems)


def test_the_check_says_of_which_subgroups_nothing_will_be_told(hospital, divided):
    edit(hospital, "P003,3+,no,63", "P003,3+,,63.0")
    edit(hospital, "min_cell: 1", "min_cell: 2", table="policy.yaml")
    notes = check_site(hospital, divided, threads=1).notes
    found = [note for note in notes if note.startswith("subgroups of")]
    assert len(found) == 2
    assert "subgroups of sessile: nothing will be told" in found[0]
    assert "subgroups of age: nothing will be told" in found[1]


def test_the_check_names_a_subgroup_that_nobody_is_in(hospital, divided):
    entry = {"column": "age", "cuts": [20.0, 66.0]}
    notes = check_site(
        hospital, changed(divided, evaluation={"subgroups": [entry]}), threads=1
    ).notes
    assert [note for note in notes if "no patient is in the subgroup 'below 20' of age" in note]


@pytest.fixture
def made(divided):
    return bundle_without_networks(divided)


@pytest.fixture
def ask(made, hospital):
    """Ask a hospital as the server does."""

    def answer(min_cell=1, level="binned", question="external_scores"):
        service = SiteService.open(hospital, made.study, threads=1)
        site = service.bench.site
        site.policy = changed_policy(site.policy, release={"min_cell": min_cell, "external": level})
        return service.answer(question, ScoresRequest(made.bundle))

    return answer


def test_a_subgroup_is_told_of_as_if_it_were_the_whole_cohort(ask, hospital, made):
    told = ask().subgroups
    assert set(told) == {"sessile", "age", "her2_ihc"}
    site = open_site(hospital, made.study, threads=1)
    ages = np.array([case.clinical["age"] for case in site.external_test])
    labels = site.labels(site.external_test)
    for model in made.study.model_names:
        whole = ask().summaries[model]
        parts = told["age"].summaries[model]
        for part, rows in zip(
            parts, (ages < 63, (ages >= 63) & (ages < 66), ages >= 66), strict=True
        ):
            assert (part.n, part.n_positive) == (rows.sum(), labels[rows].sum())
        assert sum(part.tp for part in parts) == whole.tp
        values = told["her2_ihc"].summaries[model]
        assert {part.n_negative for part in values} == {whole.n_negative}
        assert sum(part.n_positive for part in values) == whole.n_positive
        np.testing.assert_array_equal(
            sum(part.negatives for part in told["age"].sums[model]), ask().sums[model].negatives
        )


def test_a_column_with_a_cell_that_is_too_small_stays_and_the_others_are_told(ask, caplog):
    assert set(ask(min_cell=2).subgroups) == {"sessile", "her2_ihc"}
    assert "nothing is told of the subgroups of age" in caplog.text
    assert ask(min_cell=2).summaries


@pytest.mark.parametrize("level", ["summary", "binned", "scores"])
def test_a_summary_alone_holds_no_counts_in_bins(ask, level):
    told = ask(level=level).subgroups.values()
    assert all(part.summaries for part in told)
    assert {bool(part.sums) for part in told} == {level != "summary"}


def test_a_file_at_the_hospital_gives_the_subgroups_of_the_online_stage(
    ask, made, hospital, tmp_path
):
    edit(hospital, "min_cell: 1", "min_cell: 1, external: binned", table="policy.yaml")
    online = ask()
    for book in hospital.parent.rglob(NAME):
        book.unlink()
    maker = replace(made.maker, code_hash=code_hash(), versions=versions())
    write_bundle(tmp_path / "b.bundle", replace(made, maker=maker))
    offline = evaluate_file(tmp_path / "b.bundle", hospital, threads=1).result.reply
    assert set(offline.subgroups) == {"sessile", "age", "her2_ihc"}
    assert content_hash(replace(offline, cohort=online.cohort, date=online.date)) == content_hash(
        online
    )
    again = evaluate_file(tmp_path / "b.bundle", hospital, threads=1)
    assert again.told_before
    assert content_hash(again.result.reply) == content_hash(offline)


def test_another_value_of_a_subgroup_is_another_cohort(ask, hospital):
    before = ask()
    edit(hospital, "P001,2+", "P001,3+")
    after = ask()
    assert (after.looks, before.cohort == after.cohort) == (2, False)


def test_a_training_site_tells_of_its_internal_test_patients(tmp_path, make_site, made):
    site_file = make_site(tmp_path / "a", n=24, split=True)
    service = SiteService.open(site_file, made.study, threads=1)
    reply = service.answer("evaluate_scores", ScoresRequest(made.bundle))
    site = service.bench.site
    for model in made.study.model_names:
        whole = reply.models[model]["internal_test"]
        yes, no = reply.subgroups["sessile"].sums[model]
        assert yes.n + no.n == whole.n == len(site.internal_test)
        assert not reply.subgroups["sessile"].summaries
        assert np.isfinite(delong(whole)[0])
