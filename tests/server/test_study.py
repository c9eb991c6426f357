import json
import os
import typing
from dataclasses import fields, replace

import numpy as np
import pytest

from server import study_folder as study_module
from server.study import (
    BranchesRecord,
    ClinicalRecord,
    CohortRecord,
    DiscretiseRecord,
    EmbeddingRecord,
    EvaluationRecord,
    ExplainRecord,
    ExternalRecord,
    FusionRecord,
    Greetings,
    Identity,
    NetworkHeat,
    NetworkRecord,
    RoundRecord,
    ScaleRecord,
    SelectionRecord,
    StabilityRecord,
    Study,
)
from server.study_folder import StudyFolder
from shared.codec import content_hash
from shared.combat import Combat
from shared.comparison import Comparison
from shared.contributions import fusion_contributions
from shared.decisions import DecisionCounts
from shared.delong import CorrelatedAucs
from shared.errors import StateError
from shared.files import BESIDE
from shared.glm import LogisticFit
from shared.heat import heat_sums
from shared.icc import icc, icc_sums
from shared.initial_weights import Origin
from shared.lasso import LassoFit
from shared.models import (
    Bundle,
    ClinicalModel,
    Extraction,
    FusionModel,
    Projection,
    RadiomicsModel,
    Scale,
    SiteScale,
)
from shared.moments import class_moments
from shared.networks import Layout, Weights
from shared.paired import PairedSums
from shared.quartiles import Quartiles
from shared.regressions import Regression, Terms
from shared.scores import score_sums
from shared.site_signal import SiteAnova, SiteConfusion
from shared.stages.describe_cohort import Description, SplitCount
from shared.stages.external_evaluate import ExternalReply, ScoreTable
from shared.stages.hello import Reply as Hello
from shared.summary import summarise

ONE, TWO = np.array([0.1]), np.array([0.1, -2.5])
PAIRED = PairedSums(
    DecisionCounts(
        ("fusion", "flat"), np.array([0.5, np.nan]), 4, 5, np.diag([3, 0]), np.diag([1, 0])
    ),
    np.ones((2, 2)),
    np.ones((2, 2, 2)),
)
AUCS = np.array([0.8, 0.6])
SCALE = Scale(
    Extraction({"log_2mm": 7.5}), ("f",), -ONE, ONE, ONE, np.array([2.0]),
    {"site_a": SiteScale(ONE, ONE)},
)  # fmt: skip
ANOVA = SiteAnova(("f",), ONE, ONE, ONE, np.array([True]))
COMBAT = Combat(("f",), ONE, ONE, {"site_a": ONE}, {"site_a": ONE})
ICC_SUMS = icc_sums(("f",), np.array([[[1.0], [1.5]], [[2.0], [2.5]], [[4.0], [3.0]]]))
FIT = LogisticFit(("intercept", "x"), TWO, np.eye(2), -3.5, 9, 4, True)
ALONE = Regression(Terms(("x",)), FIT, "firth", -3.5, -4.0, ONE)
RADIOMICS = RadiomicsModel(SCALE, ONE, 0.2, TWO)
CLINICAL = ClinicalModel(("age",), ONE, TWO)
PROJECTION = Projection("flat", "flat", TWO, np.eye(2), TWO)
FUSION = FusionModel(("x",), ONE, ONE, TWO)
BUNDLE = Bundle("s", CLINICAL, RADIOMICS, {"flat": "h"}, (PROJECTION,), FUSION, {"fusion": 0.5})
SUMS = score_sums(
    np.array([0.2, 0.9, np.nan]), np.array([0, 1, 1]), bins=20, calibration_bins=2,
    threshold=float("nan"),
)  # fmt: skip
SUMMARY = summarise(
    np.array([0.2, 0.9, np.nan]), np.array([0, 1, 1]), threshold=float("nan")
)  # fmt: skip
SCORES = ScoreTable(("fusion",), np.array([[0.2], [0.9], [np.nan]]), np.array([0, 1, 1]))
COHORT = Description(
    n_cases=3,
    splits={"train": SplitCount(3, 1)},
    missing_phases={"excretory": 0},
    exclusions={"image": 1},
    variables=class_moments(("age",), np.array([[60.0], [np.nan], [70]]), np.array([0, 1, 0])),
)
ROUNDS = (
    RoundRecord(0, {}, 0.5, None, 0, 0),
    RoundRecord(1, {"site_a": (5, 0.7), "site_b": (4, 0.6)}, None, None, 99, 33),
)
ORIGIN = Origin("torchvision", "a" * 64, 265, ("last layer (2)",), None)
ADDED = fusion_contributions(
    FUSION,
    np.array([[0.3], [np.nan]]),
    known=np.array([[True], [False]]),
    labels=np.array([0, 1]),
    sources=("flat",),
)
HEAT = heat_sums(np.eye(3), np.eye(3), np.ones((3, 2, 2)), n_without=1)
SLOTS = {
    "hello": Greetings({"site_a": Hello("site_a", "training", True, "c", "s", {"numpy": "2"})}),
    "describe_cohort": CohortRecord(
        {"site_a": COHORT}, Quartiles(("age",), *[np.array([[1.0, 2.0, np.nan]])] * 4)
    ),
    "discretise": DiscretiseRecord(SCALE.extraction, ONE),
    "stability": StabilityRecord(ICC_SUMS, icc(ICC_SUMS, "1,1"), ("f",)),
    "standardise": ScaleRecord(SCALE, ANOVA, COMBAT, ANOVA),
    "select_features": SelectionRecord(
        screened=("f", "g"),
        p_values=np.array([0.01, 0.2]),
        edges=np.array([[-0.5, 0.7], [0.0, 0.0]]),
        looks=SiteConfusion(("site_a", "site_b"), np.array([[3, 1], [0, 2]]), 0.875, None),
        pruned=("f",),
        frequency=ONE,
        frequency_alpha=0.1,
        candidates=("f",),
        lasso=LassoFit(("f",), ONE, 0.5, 0.1, ONE, ONE, ONE, ("f",), np.ones((1, 1)), "log_loss"),
        calibration=FIT,
        model=RADIOMICS,
        without_fold=(RADIOMICS,),
    ),
    "clinical_model": ClinicalRecord(CLINICAL, FIT, (ALONE,), ALONE, None),
    "train_branches": BranchesRecord({"flat": NetworkRecord(ROUNDS, 1, False, 5, ORIGIN)}),
    "embed": EmbeddingRecord(
        (PROJECTION,), {"flat": "h"}, ("x", "y"), np.array([[1, np.nan]]), np.array([1]), ("a",)
    ),
    "fuse": FusionRecord(FUSION, 3.0, ONE, ONE, float("nan"), 9, SUMS),
    "evaluate": EvaluationRecord(
        BUNDLE,
        {"fusion": {"tune": {"site_a": SUMS}}},
        Comparison(("fusion", "flat"), 1, CorrelatedAucs(AUCS, np.eye(2) / 9, 4, 5), PAIRED),
        ("site_b",),
        contributions={"site_a": ADDED},
    ),
    "explain": ExplainRecord({"flat": NetworkHeat(HEAT, None, ("site_a",), ("site_b",))}),
    "external_evaluate": ExternalRecord(
        "h",
        {
            "site_d": ExternalReply(
                "scores",
                "c",
                2,
                "2026-01-01",
                COHORT,
                {"fusion": SUMMARY},
                {"fusion": SUMS},
                SCORES,
                contributions=ADDED,
            )
        },
        True,
    ),
}
FULL = Study(**SLOTS)
LAYOUT = Layout(("conv.weight", "fc.bias"), ((2, 3), (1,)))


def weights(value=0.0):
    return Weights(LAYOUT, np.arange(7, dtype=np.float32) + np.float32(value))


@pytest.fixture
def folder(tmp_path):
    return StudyFolder(tmp_path / "study")


@pytest.fixture
def full(folder):
    folder.save(Study(), FULL)
    return folder


def files_of(folder):
    return {p: p.read_bytes() for p in sorted(folder.path.rglob("*")) if p.is_file()}


def test_the_examples_are_one_for_each_slot():
    assert list(SLOTS) == [field.name for field in fields(Study)]
    for name, hint in typing.get_type_hints(Study).items():
        assert type(SLOTS[name]) is typing.get_args(hint)[0]


@pytest.mark.parametrize("slot", SLOTS)
def test_each_slot_is_loaded_as_it_was_saved(folder, slot):
    folder.save(Study(), Study(**{slot: SLOTS[slot]}))
    loaded = StudyFolder(folder.path).load()
    assert content_hash(getattr(loaded, slot)) == content_hash(SLOTS[slot])
    assert [f.name for f in fields(Study) if getattr(loaded, f.name) is not None] == [slot]


def test_an_empty_folder_is_an_empty_study(folder):
    assert content_hash(folder.load()) == content_hash(Study())


def test_a_whole_study_is_loaded_as_it_was_saved(full):
    assert content_hash(full.load()) == content_hash(FULL)


def test_arrays_of_any_form_in_memory_are_saved_as_what_they_hold(folder):
    rows = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    record = replace(SLOTS["embed"], rows=rows, labels=np.arange(4)[::2])
    folder.save(Study(), Study(embed=record))
    np.testing.assert_array_equal(folder.load().embed.rows, rows)
    np.testing.assert_array_equal(folder.load().embed.labels, [0, 2])


def test_only_a_changed_slot_is_written_again(full):
    before = files_of(full)
    full.save(FULL, replace(FULL, fuse=replace(FULL.fuse, penalty=1.0)))
    changed = [p.name for p, content in files_of(full).items() if before.get(p) != content]
    assert [name.split("-")[0].removesuffix(".json") for name in changed] == ["fuse", "fuse"]


def test_a_slot_keeps_only_its_newest_arrays(full):
    full.save(FULL, replace(FULL, fuse=replace(FULL.fuse, penalty=1.0)))
    assert len(list(full.path.glob("fuse-*.safetensors"))) == 1
    assert full.load().fuse.penalty == 1.0


@pytest.mark.parametrize("nth", [1, 2], ids=["of the arrays", "of the text"])
def test_a_write_interrupted_before_the_rename_leaves_the_old_slot(full, monkeypatch, nth):
    newer = replace(FULL, fuse=replace(FULL.fuse, model=replace(FUSION, mean=TWO)))
    syncs, fsync = [], os.fsync

    def power_cut(handle):
        syncs.append(handle)
        if len(syncs) == nth:
            raise KeyboardInterrupt
        fsync(handle)

    monkeypatch.setattr(os, "fsync", power_cut)
    with pytest.raises(KeyboardInterrupt):
        full.save(FULL, newer)
    assert content_hash(StudyFolder(full.path).load()) == content_hash(FULL)


def test_an_interrupted_write_of_weights_leaves_the_round_before(folder, monkeypatch):
    folder.put_weights("flat", 1, weights(), {})

    def power_cut(path, _):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(study_module, "write_tensors", power_cut)
    with pytest.raises(KeyboardInterrupt):
        folder.put_weights("flat", 1, weights(5), {})
    found = folder.get_weights("flat", 1, LAYOUT)
    np.testing.assert_array_equal(found.vector, weights().vector)


def test_what_a_killed_process_left_behind_is_removed(full):
    full.put_weights("flat", 1, weights(), {})
    leftovers = [full.path / f"{BESIDE}77-fuse.json", full.path / "weights" / f"{BESIDE}77-flat"]
    for leftover in leftovers:
        leftover.write_bytes(b"half")
    kept = set(files_of(full)) - set(leftovers)
    assert set(files_of(StudyFolder(full.path))) == kept


DAMAGES = {
    "half a text": lambda text: text[: len(text) // 2],
    "empty": lambda _: "",
    "a list": lambda _: "[]",
    "a number": lambda _: "5",
    "no value": lambda _: '{"arrays": null}',
    "a field missing": lambda text: text.replace('"penalty"', '"penalti"'),
    "a field of another type": lambda text: text.replace('"n_cases":9', '"n_cases":"9"'),
    "arrays not named": lambda text: json.dumps(json.loads(text) | {"arrays": None}),
    "nested 10^5 deep": lambda _: "[" * 100_000,
}


@pytest.mark.parametrize("what", DAMAGES)
def test_a_damaged_slot_is_refused_by_name(full, what):
    path = full.path / "fuse.json"
    path.write_text(DAMAGES[what](path.read_text()))
    with pytest.raises(StateError, match=r"fuse\.json is damaged"):
        full.load()


def test_a_slot_that_is_not_text_is_refused(full):
    (full.path / "fuse.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(StateError, match="damaged"):
        full.load()


@pytest.mark.parametrize("damage", ["missing", "truncated", "empty"])
def test_missing_or_damaged_arrays_are_refused_by_name(full, damage):
    (path,) = full.path.glob("fuse-*.safetensors")
    content = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(content[:-1] if damage == "truncated" else b"")
    with pytest.raises(StateError, match=path.name):
        full.load()


def test_arrays_of_another_slot_are_refused(full):
    path = full.path / "fuse.json"
    (other,) = full.path.glob("evaluate-*.safetensors")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"arrays": other.name}))
    with pytest.raises(StateError, match="damaged"):
        full.load()


def test_a_folder_is_begun_once_and_taken_up_again(folder):
    folder.begin(Identity("s", "c"))
    StudyFolder(folder.path).begin(Identity("s", "c"))


@pytest.mark.parametrize(
    ("identity", "reason"),
    [(Identity("other", "c"), "another study's run"), (Identity("s", "other"), "another release")],
)
def test_a_folder_of_another_study_or_code_is_refused_and_stays(folder, identity, reason):
    folder.begin(Identity("s", "c"))
    before = files_of(folder)
    with pytest.raises(StateError, match=f"{reason}.*--out"):
        folder.begin(identity)
    assert files_of(folder) == before


def test_a_damaged_identity_is_refused(folder):
    (folder.path / "identity.json").write_text("{}")
    with pytest.raises(StateError, match=r"identity\.json is damaged"):
        folder.begin(Identity("s", "c"))


def test_weights_and_the_strategys_memory_come_back_in_every_bit(folder):
    memory = {"m_t/weights": np.array([np.pi, -0.0], np.float32), "momentum_vector/0": TWO}
    folder.put_weights("flat", 3, weights(np.pi), memory)
    vector = folder.get_weights("flat", 3, LAYOUT).vector
    assert vector.tobytes() == weights(np.pi).vector.tobytes()
    found = folder.get_strategy("flat", 3)
    assert {name: array.tobytes() for name, array in found.items()} == {
        name: array.tobytes() for name, array in memory.items()
    }


@pytest.mark.parametrize(
    "layout",
    [
        Layout(("other.weight", "fc.bias"), LAYOUT.shapes),
        Layout(LAYOUT.names, ((3, 2), (1,))),
        Layout((*LAYOUT.names, "more"), (*LAYOUT.shapes, (1,))),
    ],
    ids=["name", "shape", "more"],
)
def test_weights_of_another_network_are_refused(folder, layout):
    folder.put_weights("flat", 1, weights(), {})
    with pytest.raises(StateError, match="flat-r0001"):
        folder.get_weights("flat", 1, layout)


def test_a_round_that_is_not_kept_is_refused(folder):
    with pytest.raises(StateError, match="flat-r0007"):
        folder.get_weights("flat", 7, LAYOUT)
    with pytest.raises(StateError, match="flat-r0007"):
        folder.get_strategy("flat", 7)


def test_only_the_rounds_asked_for_are_kept_and_no_other_network_is_touched(folder):
    for network in ("flat", "flat_excretory"):
        for number in (0, 1, 2, 10):
            folder.put_weights(network, number, weights(number), {})
    folder.keep_only("flat", {1, 10, 99})
    kept = sorted(path.name for path in (folder.path / "weights").glob("flat-*"))
    assert kept == ["flat-r0001.safetensors", "flat-r0010.safetensors"]
    assert len(list((folder.path / "weights").glob("flat_excretory-*"))) == 4
