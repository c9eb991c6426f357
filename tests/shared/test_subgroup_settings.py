"""Subgroups in the study file: what may stand there, and what they are called."""

import pytest

from shared.config import Study
from shared.errors import ConfigError
from shared.strict_yaml import parse_settings
from shared.subgroup_settings import Subgroup, plain
from shared.subgroups import subgroup_names
from tests.conftest import STUDY


def study_of(entry, text=STUDY):
    added = f"evaluation:\n  subgroups:\n    - {entry}\n"
    return parse_settings(text + added, Study, name="study.yaml")


NAMES = {
    "{column: sessile}": ("yes", "no"),
    "{column: age, cuts: [65]}": ("below 65", "65 or more"),
    "{column: d, cuts: [20.5, 30]}": ("below 20.5", "20.5 to below 30", "30 or more"),
    '{column: sex, values: {men: ["M"], women: ["F", "f2"]}}': ("men", "women"),
    "{column: her2_ihc}": ("2+", "3+"),
}


@pytest.mark.parametrize(("entry", "names"), NAMES.items(), ids=NAMES)
def test_subgroups_have_the_names_that_the_report_prints(entry, names):
    study = study_of(entry)
    assert subgroup_names(study) == {study.evaluation.subgroups[0].column: names}


BAD = {
    "{column: age, cuts: [65, 50]}": "subgroups: age: cuts must rise.*sort them",
    "{column: age, cuts: [65, 65]}": "subgroups: age: cuts must rise",
    '{column: age, cuts: [65], values: {a: ["1"], b: ["2"]}}': "has cuts and values; keep one",
    '{column: sex, values: {men: ["1"]}}': "makes one subgroup; name at least two",
    '{column: sex, values: {men: ["1"], women: []}}': "each subgroup of values needs a value",
    '{column: sex, values: {men: ["yes"], women: ["1"]}}': "'1' stands twice in values; keep one",
    "{column: her2_ihc, cuts: [2]}": "her2_ihc is the endpoint's column.*drop cuts and values",
    "{column: age, cut: [65]}": "did you mean 'cuts'",
    "{column: age}\n    - {column: age, cuts: [65]}": "the column age stands twice; keep one",
}


@pytest.mark.parametrize(("entry", "words"), BAD.items(), ids=range(len(BAD)))
def test_what_cannot_be_meant_is_refused_with_key_and_remedy(entry, words):
    with pytest.raises(ConfigError, match=words):
        study_of(entry)


def test_one_positive_value_is_no_subgroup():
    text = STUDY.replace('positive: ["2+", "3+"]', 'positive: ["3+"]')
    with pytest.raises(ConfigError, match=r"her2_ihc has one positive value.*drop the entry"):
        study_of("{column: her2_ihc}", text)


def test_a_study_without_the_key_divides_nothing(study):
    assert subgroup_names(study) == {}


def test_cells_are_compared_as_numbers_where_they_are_numbers():
    assert {plain(cell) for cell in ("1", "1.0", " yes ", "TRUE")} == {"1"}
    assert (plain("T2a"), plain("2+")) == ("t2a", "2+")


def test_names_do_not_hang_on_how_a_cut_is_written():
    assert (
        Subgroup(column="age", cuts=(65.0,)).names() == Subgroup(column="age", cuts=(65,)).names()
    )
