import json

import pytest
from pydantic import ValidationError

from shared.config import Study, digest, load_study, networks
from shared.errors import ConfigError
from shared.phantom_settings import Phantom
from shared.strict_yaml import dump_settings, parse_settings

FLAT = {"name": "flat", "kind": "2.5d"}
DEEP = {"name": "deep", "kind": "3d"}
PHANTOM = {"sites": {"site_a": {"n_cases": 4, "scanner": "a"}}}
REFUSED = {
    "one site in two roles": ({"sites": {"external": ["site_a"]}}, "site has one role"),
    "no training site": ({"sites": {"training": []}}, "sites.training"),
    "site name with a space": ({"sites": {"training": ["St Mary"]}}, "sites.training"),
    "value both positive and negative": ({"endpoint": {"positive": ["0", "3+"]}}, "in both: 0"),
    "splits above one": ({"cohort": {"splits": {"train": 0.9}}}, "must sum to 1, not 1.4"),
    "nothing to train on": (
        {"cohort": {"splits": {"train": 0, "tune": 0.5, "internal_test": 0.5}}},
        "train must be above 0",
    ),
    "closed window": ({"preprocess": {"window_hu": [240, 240]}}, "low below high"),
    "closed range": ({"radiomics": {"resegment_hu": [3, -3]}}, "low below high"),
    "no radiomics": ({"radiomics": {"original": False}}, "nothing to compute"),
    "no feature class": ({"radiomics": {"classes": []}}, "at least one feature class"),
    "a phase twice": ({"phases": ["excretory", "excretory"]}, "each phase may stand once"),
    "an unknown phase": ({"phases": ["late"]}, "phases"),
    "two branches of one name": ({"branches": [FLAT, FLAT]}, "must differ"),
    "a branch named as a model": ({"branches": [FLAT | {"name": "fusion"}]}, "none of"),
    "a branch of an unknown kind": ({"branches": [{"name": "x", "kind": "4d"}]}, "branches"),
    "a depth for a flat branch": ({"branches": [FLAT | {"size": [8, 16, 16]}]}, "size"),
    "two networks of one name": (
        {"branches": [FLAT | {"name": "a" * 32, "phases": "separate"}]},
        "two networks would be named",
    ),
    "a branch named as another's part": (
        {"branches": [FLAT | {"phases": "separate"}, DEEP | {"name": "flat_excretory"}]},
        "named flat_excretory",
    ),
    "batches of one": ({"branches": [FLAT | {"training": {"batch_size": 1}}]}, "batch_size"),
    "negative rate": ({"branches": [FLAT | {"training": {"learning_rate": -1}}]}, "learning_rate"),
    "quorum above the sites": ({"aggregation": {"quorum": 3}}, "quorum is 3, but only 2 sites"),
    "quorum of none": ({"aggregation": {"quorum": 0}}, "quorum"),
    "share above one": ({"aggregation": {"max_site_share": 1.1}}, "max_site_share"),
    "logit of two numbers": ({"embedding": {"reduce": "logit"}}, "set dimension: 1"),
    "phantom of other sites": ({"phantom": PHANTOM}, "exactly the sites: site_a, site_b, site_d"),
    "in sample unasked": ({"fusion": {"fit_on": "in_sample"}}, "trusts whatever overfits most"),
    "embeddings out of fold": ({"fusion": {"fit_on": "out_of_fold"}}, "cannot be compared"),
    "a decision range upside down": (
        {"evaluation": {"decision_thresholds": {"low": 0.6, "high": 0.2}}},
        "must be a whole number of steps",
    ),
    "a decision range that misses its end": (
        {"evaluation": {"decision_thresholds": {"low": 0.2, "high": 0.6, "step": 0.03}}},
        "from low 0.2 to high 0.6 must be a whole number of steps of 0.03",
    ),
    "decision thresholds within bins": (
        {"evaluation": {"score_bins": 50, "decision_thresholds": {"low": 0.2, "high": 0.6}}},
        "multiples of the width of a score bin, 1/50",
    ),
    "a decision threshold without odds": (
        {"evaluation": {"decision_thresholds": {"low": 0.5, "high": 1.0}}},
        "decision_thresholds.high",
    ),
    "an unknown version": ({"version": 2}, "version"),
    "a negative seed": ({"seed": -1}, "seed"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_study_that_cannot_be_is_refused(study, change, what):
    changes, reason = REFUSED[what]
    with pytest.raises(ValidationError) as refusal:
        change(study, **changes)
    assert reason in str(refusal.value).replace("\n  ", " ")


def test_the_refusal_of_a_file_names_line_and_key(study):
    text = dump_settings(study).replace("kind: 3d", "kind: 4d")
    line = text.splitlines().index("- name: branch_3d") + 1
    with pytest.raises(ConfigError, match=r"branches\[1\]") as refusal:
        parse_settings(text, Study, name="study.yaml")
    assert str(refusal.value).startswith(f"study.yaml line {line}: ")


def test_a_study_written_and_read_is_the_same(study, tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text(dump_settings(study))
    assert load_study(path) == study


def test_a_branch_on_all_phases_is_one_network(study):
    assert [(n.name, n.phases) for n in networks(study)] == [
        ("branch_2_5d", study.phases),
        ("branch_3d", study.phases),
    ]


def test_a_branch_with_separate_phases_is_one_network_for_each(study, change):
    separate = change(study, branches=[FLAT | {"phases": "separate"}])
    assert [(n.name, n.phases) for n in networks(separate)] == [
        ("flat_corticomedullary", ("corticomedullary",)),
        ("flat_nephrographic", ("nephrographic",)),
        ("flat_excretory", ("excretory",)),
    ]


def test_the_models_are_named_in_the_order_of_the_report(study):
    assert study.model_names == ("clinical", "radiomics", "branch_2_5d", "branch_3d", "fusion")


def test_the_decision_thresholds_are_edges_of_the_score_bins(study, change):
    named = change(study, evaluation={"decision_thresholds": {"low": 0.2, "high": 0.6}})
    assert study.evaluation.decision_edges == ()
    assert named.evaluation.decision_edges == tuple(range(200, 601, 10))


def test_the_digest_does_not_depend_on_the_look_of_the_file(study):
    content = study.model_dump(mode="json")
    backwards = json.dumps(dict(reversed(content.items())), indent=4)
    assert digest(Study.model_validate_json(backwards)) == digest(study)


@pytest.mark.parametrize(
    "changes",
    [{"seed": 2}, {"cohort": {"min_cases": 5}}, {"phases": ["excretory", "nephrographic"]},
     {"sites": {"training": ["site_b", "site_a"]}}],
    ids=str,
)  # fmt: skip
def test_any_other_setting_gives_another_digest(study, change, changes):
    assert digest(change(study, **changes)) != digest(study)


def test_the_preset_null_may_stand_without_quotes():
    phantom = {"preset": None, "sites": {"site_a": {"n_cases": 3, "scanner": "a"}}}
    assert Phantom.model_validate_json(json.dumps(phantom)).preset == "null"
