"""Differential privacy that would protect nobody: refused, or counted for what it is."""

import shutil

import numpy as np
import pytest
import torch

from shared.branches import Branch3D, Branch25D, Network
from shared.config import networks
from shared.errors import ConfigError
from shared.letter import read
from shared.models import Extraction
from shared.networks import build_network, get_weights
from shared.stages.standardise import Request as Moments
from shared.stages.train_branches import BudgetRequest, Reply, Request
from tests.adversarial.hospital import asks, build, refuses, row, served, small_study
from tests.broken_hospitals import Hospital
from tests.client.test_private_training import PRIVATE, batch_of, flat, plain, summed

FLAT = {"name": "flat", "kind": "2.5d", "network": "resnet10", "size": [16, 16]}
FLAT["training"] = {"rounds": 3, "batch_size": 2}
NOISE = {"noise_multiplier": 2.0, "epsilon": 6.0}
EMBEDDED = {"inputs": ["embeddings", "clinical"]}
BATCH_NORM = torch.nn.modules.batchnorm._BatchNorm


def record_times(scale):
    """Six patients, of whom the first is so many times as large, and not what the network says."""
    module, (inputs, labels) = plain(), batch_of("2.5d")
    inputs[0] *= scale
    labels[0] = float(module(inputs[:1]) < 0)
    return module, inputs, labels


@pytest.mark.row("T51")
@pytest.mark.parametrize("scale", [1.0, 100.0, 1e4])
def test_one_record_however_large_adds_no_more_than_the_clipping_norm(scale):
    module, inputs, labels = record_times(scale)
    found = summed(module, inputs, labels)
    assert float(found.norm()) <= len(labels) * PRIVATE.clip_norm * (1 + 1e-5)
    others = summed(module, inputs[1:], labels[1:])
    assert float((found - others).norm()) <= PRIVATE.clip_norm * (1 + 1e-5)


@pytest.mark.row("T51")
def test_without_clipping_the_record_would_rule_the_sum():
    module, inputs, labels = record_times(1e4)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(
        module(inputs).squeeze(1), labels, reduction="sum"
    )
    gradient = flat(torch.autograd.grad(loss, list(module.parameters())))
    assert float(gradient.norm()) > 100 * len(labels) * PRIVATE.clip_norm


KEYS = [
    row("T51", "ghost clipping", "grad_sample_mode", "ghost"),
    row("T54", "a loader that shuffles", "poisson_sampling", False),
    row("T54", "an epsilon of another sampler", "sample_rate", 0.1),
    row("T55", "a seed for the noise", "seed", 1),
    row("T56", "an accountant's file", "accountant_file", "x.json"),
    row("T57", "an epsilon without delta", "delta", None),
    row("T57", "a delta of a tenth", "delta", 0.1),
]


@pytest.mark.parametrize(("key", "value"), KEYS)
def test_a_study_cannot_ask_for_weaker_noise_than_it_prints(key, value):
    with pytest.raises((ConfigError, ValueError), match=key):
        small_study(branches=[FLAT], fusion=EMBEDDED, dp={"cnn": NOISE | {key: value}})


@pytest.mark.row("T52")
@pytest.mark.parametrize("kind", ["2.5d", "3d"])
def test_no_batch_norm_is_left_in_a_network(kind):
    branch = {
        "2.5d": Branch25D(name="b", kind="2.5d", network="resnet50", size=(32, 32)),
        "3d": Branch3D(name="b", kind="3d", network="resnet50", size=(8, 32, 32)),
    }[kind]
    with torch.device("meta"):
        module = build_network(Network(name="b", branch=branch, phases=("excretory",)), seed=1)
    parts = list(module.modules())
    assert sum(isinstance(part, BATCH_NORM) for part in parts) == 0
    assert sum(isinstance(part, torch.nn.GroupNorm) for part in parts) == 53
    assert list(module.buffers()) == []


@pytest.mark.row("T58")
def test_several_stacks_of_a_patient_are_refused_under_noise():
    stacks = FLAT | {"stack_offsets_mm": [-6.0, 0.0, 6.0]}
    small_study(branches=[stacks], fusion=EMBEDDED)
    with pytest.raises((ConfigError, ValueError), match="not clipped as one"):
        small_study(branches=[stacks], fusion=EMBEDDED, dp={"cnn": NOISE})


@pytest.mark.row("T58")
@pytest.mark.row("T39")
def test_one_patients_images_under_two_names_are_refused(tmp_path, study):
    folder = Hospital(build(tmp_path / "a", n=6).parent)
    for kind in ("nephrographic", "mask"):
        source = folder.folder / "images" / f"P001_{kind}.nii.gz"
        shutil.copy(source, folder.folder / "images" / f"P004_{kind}.nii.gz")
    with served(folder.folder / "site.yaml", study) as hospital:
        refuses(hospital, asks("standardise", Moments(Extraction({}))), "E_IMAGE")


def private(**noise):
    return small_study(branches=[FLAT], fusion=EMBEDDED, dp={"cnn": NOISE | noise})


@pytest.mark.row("T56")
@pytest.mark.row("T20")
def test_rounds_that_do_not_fit_the_budget_are_refused_before_and_while_they_are_asked(tmp_path):
    study = private(noise_multiplier=0.5, epsilon=0.5)
    weights = get_weights(build_network(networks(study)[0], seed=1))
    with served(build(tmp_path / "a", n=8, split=True), study) as hospital:
        refuses(hospital, asks("agree_budget", BudgetRequest({"flat": 3}, ())), "E_BUDGET")
        refuses(hospital, asks("train_branch", Request("flat", 1, weights, True, 0.0)), "E_BUDGET")


@pytest.mark.row("T55")
def test_the_same_seed_noises_the_same_hospital_differently(tmp_path):
    study = private()
    weights = get_weights(build_network(networks(study)[0], seed=1))
    question = asks("train_branch", Request("flat", 1, weights, True, 0.0))
    found = []
    for place in "ab":
        with served(build(tmp_path / place, n=8, split=True), study) as hospital:
            found.append(read(Reply, hospital.hand_in(question)).weights.vector)
    assert np.mean(found[0] != found[1]) > 0.9
