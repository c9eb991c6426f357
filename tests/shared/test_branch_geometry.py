import json

import pytest
from pydantic import ValidationError

from shared.branches import Branch3D, Branch25D
from shared.config import Study
from shared.errors import ConfigError
from shared.strict_yaml import parse_settings
from tests.conftest import STUDY

FLAT = {"name": "flat", "kind": "2.5d"}


def read(**keys):
    return Branch25D.model_validate_json(json.dumps(FLAT | keys))


def test_a_margin_takes_the_place_of_the_spacing():
    assert (read().spacing_mm, read().roi_margin_mm) == ((1.0, 1.0), None)
    assert (read(roi_margin_mm=8).spacing_mm, read(roi_margin_mm=8).roi_margin_mm) == (None, 8.0)


@pytest.mark.parametrize(
    "keys",
    [{"roi_margin_mm": 8, "spacing_mm": [1.0, 1.0]}, {"spacing_mm": None}],
    ids=["both", "neither"],
)
def test_the_field_has_exactly_one_size(keys):
    with pytest.raises(ValidationError, match="either spacing_mm or roi_margin_mm"):
        read(**keys)


def test_the_error_names_the_line_and_the_branch():
    text = STUDY.replace("size: [16, 16]}", "size: [16, 16], spacing_mm: null}", 1)
    with pytest.raises(ConfigError, match=r"study.yaml line 13: branches\[0\]: either spacing_mm"):
        parse_settings(text, Study, name="study.yaml")


def test_a_margin_cannot_be_negative():
    with pytest.raises(ValidationError, match="roi_margin_mm"):
        read(roi_margin_mm=-1)


@pytest.mark.parametrize("keys", [{}, {"roi_margin_mm": 8.0}, {"spacing_mm": [2.0, 2.0]}])
def test_a_branch_written_out_in_full_is_read_back_as_it_was(keys):
    branch = read(**keys)
    assert Branch25D.model_validate_json(branch.model_dump_json()) == branch


def test_attention_over_one_stack_is_refused_with_a_remedy():
    with pytest.raises(ValidationError, match="add places to stack_offsets_mm"):
        read(pooling="attention")
    assert read(pooling="attention", stack_offsets_mm=[0.0, 5.0]).n_stacks == 2


@pytest.mark.parametrize("key", ["stack_offsets_mm", "pooling", "roi_margin_mm"])
def test_a_3d_branch_has_neither_stacks_nor_a_margin(key):
    with pytest.raises(ValidationError, match=key):
        Branch3D.model_validate({"name": "deep", "kind": "3d", key: 1.0})


@pytest.mark.parametrize("keys", [{"stack_offsets_mm": [0.0, 5.0]}, {"roi_margin_mm": 8.0}])
def test_heat_needs_one_grid_for_all_patients(study, change, keys):
    with pytest.raises(ValidationError, match="explain: flat looks at several stacks"):
        change(study, branches=[FLAT | keys], explain={})
