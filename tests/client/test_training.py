import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss
from torch.nn.functional import binary_cross_entropy_with_logits

from client import device
from client.augment import Frame
from client.device import Compute, compute_for
from client.optimiser import Moments, build_optimiser, trainable
from client.settings import Device
from client.tensors import IMAGE_OUTSIDE
from client.training import RoundPlan, batches, outputs, train_round
from client.workbench import Inputs
from shared.branches import Branch3D, Branch25D, Network, Training
from shared.errors import InstallError, TrainingError
from shared.networks import build_network, get_weights

FLAT = Branch25D(name="flat", kind="2.5d", network="resnet10", size=(32, 32))
SMALLEST = FLAT.model_copy(update={"size": (64, 16)})
DEEP = Branch3D(name="deep", kind="3d", network="resnet10", size=(8, 16, 16))
NETWORK = Network(name="flat", branch=FLAT, phases=("excretory",))
CPU = Compute(torch.device("cpu"), None, torch.channels_last)
PLAIN = {"batch_size": 4, "augment": False, "schedule": "constant"}


class Small(torch.nn.Module):
    """A network small enough to train in a blink, with a last layer named as a ResNet's."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 8, 3)
        self.norm = torch.nn.GroupNorm(2, 8)
        self.fc = torch.nn.Linear(8, 1)

    def forward(self, x):
        return self.fc(torch.relu(self.norm(self.conv(x))).mean(dim=(2, 3)))


def small():
    """Always the same small network."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return Small()


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def stripes():
    """Twelve cases: the positive ones have upright stripes, the others lying ones."""
    wave = torch.sin(torch.arange(16.0))
    labels = torch.arange(12) % 2
    noise = 0.1 * torch.randn(12, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    upright = labels.view(-1, 1, 1, 1).bool()
    return torch.where(upright, wave.view(1, 1, 1, -1), wave.view(1, 1, -1, 1)) + noise, (
        labels.float()
    )


def plan(*, round_number=1, mu=0.0, seed=7, weight=1.0, **training):
    return RoundPlan(Training(**(PLAIN | training)), round_number, mu, seed, weight)


def inputs_of(cases):
    """Images and labels as a site holds them."""
    tensor, labels = cases
    frame = Frame((IMAGE_OUTSIDE,) * tensor.shape[1], 2, (1.0, 1.0))
    everyone = np.arange(len(labels), dtype=np.uint64)
    return Inputs(tensor, labels, np.ones(len(labels), bool), everyone, frame)


def train(module, cases, the_plan, compute=CPU):
    """One round of training in place with a fresh optimiser; the mean loss."""
    optimiser = build_optimiser(trainable(module), the_plan.training, the_plan.round)
    return train_round(module, inputs_of(cases), the_plan, compute, optimiser)


def trained(stripes, the_plan, compute=CPU):
    """The network after one round from the same weights, and the mean loss."""
    module = small().to(memory_format=compute.memory_format)
    return module, train(module, stripes, the_plan, compute)


def bits(module):
    return get_weights(module).vector.tobytes()


def drift(module):
    return np.linalg.norm(get_weights(module).vector - initial())


def initial():
    return get_weights(small()).vector


def test_the_same_seed_gives_the_same_weights_and_loss(stripes):
    one, again = (trained(stripes, plan(augment=True)) for _ in range(2))
    assert bits(one[0]) == bits(again[0])
    assert one[1] == again[1]


def test_another_seed_gives_other_weights(stripes):
    assert bits(trained(stripes, plan())[0]) != bits(trained(stripes, plan(seed=8))[0])


def test_training_draws_nothing_from_the_global_generators(stripes):
    np.random.seed(0)
    torch.manual_seed(0)
    before = np.random.get_state()[1].copy(), torch.random.get_rng_state()
    trained(stripes, plan(augment=True))
    np.testing.assert_array_equal(np.random.get_state()[1], before[0])
    torch.testing.assert_close(torch.random.get_rng_state(), before[1])


@pytest.mark.parametrize(
    ("build", "training"),
    [
        (small, {"learning_rate": 0.02, "local_epochs": 30}),
        (small, {"optimiser": "sgd", "learning_rate": 0.1, "local_epochs": 60}),
        (lambda: build_network(NETWORK, seed=1), {"learning_rate": 1e-3, "local_epochs": 6}),
    ],
    ids=["adamw", "sgd", "resnet"],
)
def test_a_task_that_can_be_learnt_is_learnt(stripes, build, training):
    module = build()
    train(module, stripes, plan(**training))
    _, logits = outputs(module, stripes[0], CPU)
    assert log_loss(stripes[1], 1 / (1 + np.exp(-logits))) < 0.2
    assert ((logits > 0) == stripes[1].numpy()).all()


def test_the_loss_told_is_the_mean_over_cases_of_the_log_loss(stripes):
    inputs, labels = stripes[0][:7], stripes[1][:7]
    module, loss = trained((inputs, labels), plan(learning_rate=1e-12))
    _, logits = outputs(module, inputs, CPU)
    assert loss == pytest.approx(log_loss(labels, 1 / (1 + np.exp(-logits))), rel=1e-4)


@pytest.mark.parametrize("name", ["adamw", "sgd"])
@pytest.mark.parametrize("autocast", [None, torch.bfloat16], ids=["fp32", "bf16"])
def test_a_round_is_the_plain_loop_to_the_bit(stripes, name, autocast):
    inputs, labels = stripes
    kind = {"adamw": torch.optim.AdamW, "sgd": partial(torch.optim.SGD, momentum=0.9)}[name]
    bare = small().to(memory_format=torch.channels_last)
    optimiser = kind(bare.parameters(), lr=0.01, weight_decay=1e-4, fused=True)
    order = np.random.default_rng(7)
    for _ in range(2):
        for rows in np.split(order.permutation(12), [5, 10]):
            index = torch.from_numpy(rows)
            batch = inputs.index_select(0, index).contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", dtype=autocast or torch.bfloat16, enabled=bool(autocast)):
                logits = bare(batch).squeeze(1)
            loss = binary_cross_entropy_with_logits(logits.float(), labels[index])
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(bare.parameters(), 0.1)
            optimiser.step()
    settings = {"batch_size": 5, "local_epochs": 2, "learning_rate": 0.01, "optimiser": name}
    compute = Compute(torch.device("cpu"), autocast, torch.channels_last)
    ours, _ = trained(stripes, plan(clip_gradient_norm=0.1, **settings), compute)
    assert bits(ours) == bits(bare)


def test_two_rounds_with_a_kept_optimiser_are_one_of_twice_the_length(stripes, tmp_path):
    settings = plan().training
    whole, moments = small(), Moments(tmp_path, "key")
    optimiser = build_optimiser(trainable(whole), settings, 1)
    inputs = inputs_of(stripes)
    for seed in (1, 2):
        train_round(whole, inputs, plan(seed=seed), CPU, optimiser)
    parted = small()
    for number in (1, 2):
        optimiser = build_optimiser(trainable(parted), settings, number)
        moments.take_up(optimiser, number)
        train_round(parted, inputs, plan(seed=number, round_number=number), CPU, optimiser)
        moments.keep(optimiser, number)
    assert bits(parted) == bits(whole)


def test_training_on_positives_that_count_more_raises_the_probabilities(stripes):
    logits = [
        outputs(trained(stripes, plan(weight=w, learning_rate=0.01))[0], stripes[0], CPU)[1].mean()
        for w in (0.2, 1.0, 5.0)
    ]
    assert logits[0] < logits[1] < logits[2]


def test_a_positive_that_counts_three_times_is_three_positives_in_the_gradient(stripes):
    inputs, labels = stripes
    three = torch.cat([inputs, inputs[1::2], inputs[1::2]])
    repeated = (three, torch.cat([labels, torch.ones(12)]))
    one_step = {"batch_size": 24, "optimiser": "sgd", "momentum": 0.0, "weight_decay": 0.0}
    one_step |= {"clip_gradient_norm": 1e6}
    weighted, _ = trained(stripes, plan(weight=3.0, learning_rate=0.1, **one_step))
    # The mean over 12 cases against that over 24: half the rate makes up for it.
    many, _ = trained(repeated, plan(learning_rate=0.2, **one_step))
    np.testing.assert_allclose(get_weights(weighted).vector, get_weights(many).vector, atol=1e-6)


def test_the_loss_told_knows_no_class_weights(stripes):
    still = {"learning_rate": 1e-12}
    told = [trained(stripes, plan(weight=weight, **still))[1] for weight in (1.0, 4.0)]
    assert told[0] == pytest.approx(told[1], rel=1e-6)


def test_the_proximal_term_holds_the_weights_near_the_global_ones(stripes):
    far, near, nearest = (
        drift(trained(stripes, plan(mu=mu, optimiser="sgd", local_epochs=9, learning_rate=0.03))[0])
        for mu in (0.0, 1.0, 10.0)
    )
    assert nearest < 0.7 * near < 0.7 * far


def test_the_first_step_is_the_same_with_and_without_the_proximal_term(stripes):
    whole = plan(batch_size=12), plan(batch_size=12, mu=5.0)
    assert bits(trained(stripes, whole[0])[0]) == bits(trained(stripes, whole[1])[0])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_stops_the_round_before_it_spoils_a_weight(stripes, value):
    inputs = stripes[0].clone()
    inputs[:, 0, 0, 0] = value
    module = small()
    with pytest.raises(TrainingError, match="round 3: a gradient is not finite"):
        train(module, (inputs, stripes[1]), plan(round_number=3))
    assert bits(module) == initial().tobytes()


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_from_the_first_bad_gradient_on_no_step_is_taken(stripes, name):
    rows = np.random.default_rng(7).permutation(12)
    inputs = stripes[0].clone()
    inputs[rows[4], 0, 0, 0] = float("nan")
    module = small()
    with pytest.raises(TrainingError, match="round 1"):
        train(module, (inputs, stripes[1]), plan(optimiser=name))
    assert np.isfinite(get_weights(module).vector).all()
    first = torch.from_numpy(rows[:4].copy())
    bare = small()
    optimiser = build_optimiser(trainable(bare), plan(optimiser=name).training, 1)
    binary_cross_entropy_with_logits(
        bare(stripes[0][first].contiguous(memory_format=torch.channels_last)).squeeze(1),
        stripes[1][first],
    ).backward()
    torch.nn.utils.clip_grad_norm_(bare.parameters(), 1.0)
    optimiser.step()
    assert bits(module) == bits(bare)


def test_a_frozen_parameter_stays_and_the_rest_learns_with_the_proximal_term(stripes):
    module = small()
    module.conv.requires_grad_(False)
    module.norm.requires_grad_(False)
    train(module, stripes, plan(mu=0.5))
    assert torch.equal(module.conv.weight, small().conv.weight)
    assert not torch.equal(module.fc.weight, small().fc.weight)


def test_the_gradient_is_clipped(stripes):
    loose, tight = (
        trained(stripes, plan(batch_size=12, optimiser="sgd", momentum=0.0, weight_decay=0.0,
                              learning_rate=1.0, clip_gradient_norm=norm))[0]
        for norm in (1e6, 1e-3)
    )  # fmt: skip
    assert drift(tight) == pytest.approx(1e-3, rel=1e-2)
    assert drift(loose) > 1e-2


def test_a_single_case_can_be_trained_on(stripes):
    _, loss = trained((stripes[0][:1], stripes[1][:1]), plan())
    assert np.isfinite(loss)


@settings(max_examples=200, deadline=None)
@given(n=st.integers(1, 70), size=st.integers(2, 20), seed=st.integers(0, 99))
def test_batches_hold_every_case_once_and_never_one_alone(n, size, seed):
    parts = list(batches(n, size, np.random.default_rng(seed)))
    assert sorted(np.concatenate(parts)) == list(range(n))
    assert all(1 < len(part) <= size + 1 for part in parts) or n == 1


def test_batches_are_shuffled_anew_in_each_epoch():
    rng = np.random.default_rng(0)
    first, second = (np.concatenate(list(batches(30, 8, rng))) for _ in range(2))
    assert (first != second).any()


def test_outputs_do_not_depend_on_who_else_is_in_the_batch(stripes):
    module = build_network(NETWORK, seed=1)
    many = stripes[0].repeat(6, 1, 1, 1)
    embeddings, logits = outputs(module, many, CPU)
    one_embedding, one_logit = outputs(module, stripes[0][:1], CPU)
    np.testing.assert_allclose(embeddings[0], one_embedding[0], atol=1e-5)
    np.testing.assert_allclose(logits[::12], one_logit[0], atol=1e-5)


def test_outputs_are_the_networks_own_in_the_order_of_the_cases(stripes):
    module = build_network(NETWORK, seed=1).eval()
    embeddings, logits = outputs(module, stripes[0], CPU)
    with torch.inference_mode():
        expected = module(stripes[0]).squeeze(1).double().numpy()
    np.testing.assert_allclose(logits, expected, atol=1e-6)
    assert (embeddings.shape, embeddings.dtype, logits.dtype) == (
        (12, 512), np.float64, np.float64,
    )  # fmt: skip


def test_of_several_stacks_no_more_slices_are_scored_at_once_than_of_one():
    branch = FLAT.model_copy(update={"stack_offsets_mm": (-8.0, -4.0, 0.0, 4.0, 8.0)})
    module = build_network(NETWORK.model_copy(update={"branch": branch}), seed=1)
    inputs = torch.randn(26, 5, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    seen = []
    module.register_forward_pre_hook(lambda _, batch: seen.append(len(batch[0])))
    _, logits = outputs(module, inputs, CPU)
    assert seen == [12 * 5, 12 * 5, 2 * 5]
    with torch.inference_mode():
        np.testing.assert_allclose(logits, module(inputs).squeeze(1).numpy(), atol=1e-5)


def test_no_cases_give_no_outputs(stripes):
    embeddings, logits = outputs(build_network(NETWORK, seed=1), stripes[0][:0], CPU)
    assert (len(embeddings), len(logits)) == (0, 0)


def test_scoring_changes_no_weight(stripes):
    module = small()
    outputs(module, stripes[0], CPU)
    assert bits(module) == initial().tobytes()


def network_with(branch, precision):
    branch = branch.model_copy(update={"training": Training(precision=precision)})
    return Network(name=branch.name, branch=branch, phases=("excretory",))


@pytest.mark.parametrize("precision", ["auto", "fp32", "bf16"])
@pytest.mark.parametrize("branch", [DEEP, SMALLEST], ids=["3D", "2D of 16 pixels"])
def test_where_bfloat16_is_unsound_on_a_cpu_it_is_never_used(monkeypatch, precision, branch):
    monkeypatch.setattr(device, "cpu_has_bf16", lambda: True)
    assert compute_for(network_with(branch, precision), Device(kind="cpu")).autocast is None


@pytest.mark.parametrize(
    ("precision", "has_bf16", "expected"),
    [("auto", True, torch.bfloat16), ("auto", False, None), ("fp32", True, None),
     ("bf16", False, torch.bfloat16)],
)  # fmt: skip
def test_a_2d_network_on_a_cpu_uses_bfloat16_where_asked_or_native(
    monkeypatch, precision, has_bf16, expected
):
    monkeypatch.setattr(device, "cpu_has_bf16", lambda: has_bf16)
    assert compute_for(network_with(FLAT, precision), Device(kind="cpu")).autocast is expected


def test_asking_for_a_gpu_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch, "cuda", SimpleNamespace(is_available=lambda: False))
    with pytest.raises(InstallError, match="use auto or cpu"):
        compute_for(NETWORK, Device(kind="cuda"))
    assert compute_for(NETWORK, Device(kind="auto")).device.type == "cpu"


def test_a_gpu_is_used_where_there_is_one_unless_the_site_says_cpu(monkeypatch):
    monkeypatch.setattr(torch, "cuda", SimpleNamespace(is_available=lambda: True))
    found = [compute_for(network_with(DEEP, "auto"), Device(kind=k)) for k in ("auto", "cpu")]
    assert [(c.device.type, c.autocast) for c in found] == [
        ("cuda", torch.bfloat16), ("cpu", None),
    ]  # fmt: skip


def test_bfloat16_training_of_a_2d_network_stays_near_float32(stripes):
    half = Compute(torch.device("cpu"), torch.bfloat16, torch.channels_last)
    losses = [trained(stripes, plan(batch_size=12), compute)[1] for compute in (CPU, half)]
    assert losses[1] == pytest.approx(losses[0], abs=0.01)


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
def test_frozen_parameters_keep_every_bit_whatever_pulls_at_them(stripes, optimiser):
    frozen_branch = FLAT.model_copy(update={"freeze": ("stem", "layer2")})
    network = NETWORK.model_copy(update={"branch": frozen_branch})
    module = build_network(network, seed=1)
    before = get_weights(module).tensors()
    pulls = plan(optimiser=optimiser, weight_decay=0.5, mu=1.0, learning_rate=0.01, local_epochs=2)
    train(module, stripes, pulls)
    after = get_weights(module).tensors()
    for name, parameter in module.named_parameters():
        same = after[name].tobytes() == before[name].tobytes()
        assert same is not parameter.requires_grad, name


COMPILED = """
import sys
import numpy as np, torch
from client.device import Compute
from client.optimiser import build_optimiser, trainable
from client.training import RoundPlan, train_round
from tests.client.test_training import PLAIN, inputs_of, small
from shared.branches import Training
from shared.networks import get_weights

torch.set_num_threads(1)
images = torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(1))
cases = images, torch.tensor([0.0, 1.0] * 3)
found = []
for compile in (False, True):
    plan = RoundPlan(Training(**PLAIN, compile=compile), 1, 0.0, seed=3)
    module = small()
    optimiser = build_optimiser(trainable(module), plan.training, 1)
    compute = Compute(torch.device("cpu"), None, torch.contiguous_format)
    train_round(module, inputs_of(cases), plan, compute, optimiser)
    found.append(get_weights(module).vector)
print(float(np.abs(found[1] - found[0]).max()))
"""


@pytest.mark.slow
@pytest.mark.parametrize("compiler", ["", "/there/is/none"], ids=["as it is", "none"])
def test_a_compiled_network_learns_the_same_and_without_a_compiler_it_runs_as_it_is(compiler):
    # One thread: a pool of compiling processes would load torch once more for each of them.
    environment = os.environ | {"TORCHINDUCTOR_COMPILE_THREADS": "1"}
    environment |= {"CXX": compiler} if compiler else {}
    done = subprocess.run(
        [sys.executable, "-c", COMPILED], env=environment, cwd=Path(__file__).parents[2],
        capture_output=True, text=True, check=False, timeout=400,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    difference = float(done.stdout.splitlines()[-1])
    assert difference <= (0.0 if compiler else 1e-3)
