import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from client import private_training
from client.augment import Frame
from client.device import Compute
from client.optimiser import build_optimiser
from client.optimiser import trainable as trainable_of
from client.private_training import (
    clipped_sum,
    noised_mean,
    per_patient,
    per_patient_gradients,
    sampling,
    train_privately,
)
from client.training import RoundPlan
from client.workbench import Inputs
from shared.branches import Branch3D, Branch25D, Network, Training
from shared.networks import build_network, get_weights, make_hookable
from shared.privacy_settings import PrivateTraining

FLAT = Branch25D(name="flat", kind="2.5d", network="resnet10", size=(16, 16))
DEEP = Branch3D(name="deep", kind="3d", network="resnet10", size=(8, 16, 16))
BRANCHES = {"2.5d": FLAT, "3d": DEEP}
LAYOUTS = {"2.5d": torch.channels_last, "3d": torch.contiguous_format}  # as client.device has it
CPU = Compute(torch.device("cpu"), None, torch.channels_last)
PRIVATE = PrivateTraining(noise_multiplier=1.0, epsilon=8.0, max_batch=4)
N = 6


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def silent(monkeypatch):
    """No noise: what is left is arithmetic that can be checked."""
    monkeypatch.setattr(private_training, "gaussian", np.zeros)


def network_of(kind):
    """A small ResNet whose residual blocks are no longer the identity, so that all layers learn."""
    network = Network(name="net", branch=BRANCHES[kind], phases=("excretory",))
    module = build_network(network, seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith("bn2.weight"):
                parameter.fill_(0.5)
            if name == "fc.weight":
                parameter.normal_(0, 0.3, generator=generator)
    make_hookable(module)
    return module.to(memory_format=LAYOUTS[kind]).train()


def batch_of(kind, n=N):
    shape = {"2.5d": (n, 3, 16, 16), "3d": (n, 1, 8, 16, 16)}[kind]
    generator = torch.Generator().manual_seed(3)
    inputs = torch.randn(shape, generator=generator).contiguous(memory_format=LAYOUTS[kind])
    return inputs, (torch.arange(n) % 2).float()


class Plain(torch.nn.Module):
    """A network without normalisation: its gradient grows with its input."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3)
        self.fc = torch.nn.Linear(4, 1)

    def forward(self, x):
        return self.fc(torch.relu(self.conv(x)).mean(dim=(2, 3)))


def plain():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return Plain().train()


def trained(module):
    return [p for p in module.parameters() if p.requires_grad]


def flat(tensors):
    return torch.cat([t.flatten() for t in tensors]).double()


def one_by_one(module, inputs, labels):
    """Each patient's gradient by a backward pass of its own, ``(n, parameters)``."""
    rows = []
    for place in range(len(labels)):
        logits = module(inputs[place : place + 1]).squeeze(1)
        loss = binary_cross_entropy_with_logits(logits, labels[place : place + 1])
        rows.append(flat(torch.autograd.grad(loss, trained(module))))
    return torch.stack(rows)


def summed(module, inputs, labels, private=PRIVATE):
    with per_patient_gradients(module):
        return flat(clipped_sum(module, trained(module), (inputs, labels), private))


@pytest.mark.parametrize("kind", BRANCHES)
def test_each_patients_gradient_is_that_of_its_own_backward_pass(kind):
    module, (inputs, labels) = network_of(kind), batch_of(kind)
    expected = one_by_one(module, inputs, labels)
    with per_patient_gradients(module):
        logits = module(inputs.contiguous()).squeeze(1)
        binary_cross_entropy_with_logits(logits, labels, reduction="sum").backward()
        found = torch.cat([per_patient(p).flatten(1) for p in trained(module)], dim=1).double()
    scale = expected.norm(dim=1, keepdim=True)
    assert ((found - expected).norm(dim=1) / scale[:, 0]).max() < 1e-4
    assert ((found - expected).abs() / scale).max() < 1e-4


@pytest.mark.parametrize("kind", BRANCHES)
def test_the_sum_is_that_of_gradients_clipped_one_by_one(kind):
    module, (inputs, labels) = network_of(kind), batch_of(kind)
    rows = one_by_one(module, inputs, labels)
    norms = rows.norm(dim=1, keepdim=True)
    limit = float(norms.median())
    expected = (rows * (limit / norms).clamp(max=1)).sum(dim=0)
    private = PRIVATE.model_copy(update={"clip_norm": limit})
    found = summed(module, inputs, labels, private)
    assert (norms < limit).any()
    assert (norms > limit).any()
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5 * limit)


@pytest.mark.parametrize("kind", [*BRANCHES, "plain"])
@pytest.mark.parametrize("clip_norm", [0.01, 1.0])
def test_no_patient_moves_the_sum_by_more_than_the_clipping_norm(kind, clip_norm):
    module = plain() if kind == "plain" else network_of(kind)
    inputs, labels = batch_of("2.5d" if kind == "plain" else kind)
    with torch.no_grad():
        inputs[2] *= 10_000
        module.get_parameter("fc.weight").mul_(1 if kind == "plain" else 10_000)
        labels[2] = 1 - (module(inputs[2:3]) > 0).float().item()
    assert one_by_one(module, inputs, labels)[2].norm() > 100 * clip_norm
    private = PRIVATE.model_copy(update={"clip_norm": clip_norm})
    with_it = summed(module, inputs, labels, private)
    others = [0, 1, 3, 4, 5]
    without = summed(module, inputs[others], labels[others], private)
    assert with_it.norm() <= N * clip_norm * (1 + 1e-5)
    moved = float((with_it - without).norm())
    assert 0.9 * clip_norm < moved <= clip_norm * (1 + 1e-4)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_patient_whose_gradient_is_not_finite_adds_nothing_and_stops_nothing(bad):
    module, (inputs, labels) = plain(), batch_of("2.5d")
    inputs[2, 0, 0, 0] = bad
    others = [0, 1, 3, 4, 5]
    expected = summed(module, inputs[others], labels[others])
    torch.testing.assert_close(summed(module, inputs, labels), expected)


@pytest.mark.parametrize("max_batch", [1, 2, 4, 64])
def test_how_many_are_in_memory_at_once_changes_nothing(max_batch):
    module, (inputs, labels) = network_of("2.5d"), batch_of("2.5d")
    private = PRIVATE.model_copy(update={"max_batch": max_batch, "clip_norm": 0.1})
    whole = PRIVATE.model_copy(update={"max_batch": N, "clip_norm": 0.1})
    found, expected = (summed(module, inputs, labels, p) for p in (private, whole))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("kind", BRANCHES)
def test_frozen_layers_have_no_gradient_and_do_not_count_in_the_norm(kind):
    module, (inputs, labels) = network_of(kind), batch_of(kind)
    for name, parameter in module.named_parameters():
        parameter.requires_grad = name.startswith("fc")
    rows = one_by_one(module, inputs, labels)
    private = PRIVATE.model_copy(update={"clip_norm": 1e6})
    found = summed(module, inputs, labels, private)
    assert len(found) == module.get_submodule("fc").in_features + 1
    torch.testing.assert_close(found, rows.sum(dim=0), rtol=1e-4, atol=1e-5)


def test_frozen_layers_stay_as_they_are_to_the_bit():
    module, (inputs, labels) = network_of("2.5d"), batch_of("2.5d")
    module.get_parameter("conv1.weight").requires_grad = False
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    train(module, inputs, labels, plan(optimiser="adamw"), PRIVATE)
    same = {name for name, p in module.named_parameters() if torch.equal(p, before[name])}
    assert same == {"conv1.weight"}


def train(module, inputs, labels, rounds, private=PRIVATE):
    """A private round on cases that are looked at as they are."""
    optimiser = build_optimiser(trainable_of(module), rounds.training, rounds.round)
    there = np.ones(len(labels), dtype=bool)
    patients = np.arange(len(labels), dtype=np.uint64)
    cases = Inputs(inputs, labels, there, patients, Frame((-1.0,) * inputs.shape[1], 2, (1.0, 1.0)))
    train_privately(module, cases, rounds, private, CPU, optimiser)


def plan(*, round_number=1, proximal_mu=0.0, **training):
    settings = {"batch_size": N, "augment": False, "schedule": "constant", "optimiser": "sgd"}
    settings |= {"momentum": 0.0, "weight_decay": 0.0, "learning_rate": 0.1} | training
    return RoundPlan(Training(**settings), round_number, proximal_mu, seed=7)


def test_without_noise_and_with_everybody_it_is_clipped_gradient_descent(silent):  # noqa: ARG001
    module, reference, (inputs, labels) = plain(), plain(), batch_of("2.5d")
    train(module, inputs, labels, plan(local_epochs=3), PRIVATE)
    for _ in range(3):
        rows = one_by_one(reference, inputs, labels)
        step = (rows / rows.norm(dim=1, keepdim=True).clamp(min=1)).sum(dim=0) / N
        ends = np.cumsum([p.numel() for p in reference.parameters()])[:-1].tolist()
        parts = torch.tensor_split(step.float(), ends)
        with torch.no_grad():
            for parameter, part in zip(reference.parameters(), parts, strict=True):
                parameter -= 0.1 * part.view_as(parameter)
    torch.testing.assert_close(flat(module.parameters()), flat(reference.parameters()))


def test_the_sum_is_divided_by_the_number_expected_not_by_the_number_drawn(monkeypatch, silent):  # noqa: ARG001
    monkeypatch.setattr(private_training, "poisson_sample", lambda _n, _rate: np.array([1]))
    module, (inputs, labels) = plain(), batch_of("2.5d")
    start = flat(module.parameters())
    row = one_by_one(module, inputs, labels)[1]
    train(module, inputs, labels, plan(batch_size=3), PRIVATE)
    moved = (start - flat(module.parameters())).detach()
    expected = 2 * 0.1 * row / row.norm().clamp(min=1) / 3  # two steps, rate 1/2 of six
    assert float((moved - expected).norm() / expected.norm()) < 0.05


def test_a_step_that_draws_nobody_is_noise_of_the_stated_deviation(monkeypatch):
    monkeypatch.setattr(
        private_training, "poisson_sample", lambda _n, _rate: np.empty(0, dtype=np.int64)
    )
    module, (inputs, labels) = network_of("2.5d"), batch_of("2.5d")
    start = flat(module.parameters())
    private = PRIVATE.model_copy(update={"noise_multiplier": 1.5, "clip_norm": 0.2})
    train(module, inputs, labels, plan(batch_size=6), private)
    moved = (start - flat(module.parameters())).detach().numpy() / 0.1
    expected = 1.5 * 0.2 / 6
    assert len(moved) > 1e6
    assert moved.std() == pytest.approx(expected, rel=0.01)
    assert abs(moved.mean()) < 6 * expected / np.sqrt(len(moved))
    assert np.mean((moved / expected) ** 4) == pytest.approx(3.0, rel=0.03)


def test_the_studys_seed_repeats_neither_noise_nor_draws():
    found = []
    for _ in range(2):
        torch.manual_seed(1)
        np.random.seed(1)
        module, (inputs, labels) = plain(), batch_of("2.5d")
        train(module, inputs, labels, plan(), PRIVATE)
        found.append(flat(module.parameters()).detach())
    assert (found[0] != found[1]).double().mean() > 0.9


def test_the_pull_of_fedprox_is_added_without_noise(silent, monkeypatch):  # noqa: ARG001
    monkeypatch.setattr(
        private_training, "poisson_sample", lambda _n, _rate: np.empty(0, dtype=np.int64)
    )
    module, (inputs, labels) = plain(), batch_of("2.5d")
    start = flat(module.parameters()).detach()
    train(module, inputs, labels, plan(proximal_mu=1.0), PRIVATE)
    assert torch.equal(flat(module.parameters()).detach(), start)  # no gradient, and no way to go
    monkeypatch.setattr(private_training, "poisson_sample", lambda n, _rate: np.arange(n))
    moved = {}
    for mu in (0.0, 5.0):
        module = plain()
        rounds = plan(proximal_mu=mu, local_epochs=10)
        train(module, inputs, labels, rounds, PRIVATE)
        moved[mu] = float((flat(module.parameters()) - start).norm())
    assert 0 < moved[5.0] < 0.5 * moved[0.0]


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
def test_nothing_of_the_hooks_stays_at_the_network(optimiser):
    module, (inputs, labels) = network_of("2.5d"), batch_of("2.5d")
    names = get_weights(module).layout
    train(module, inputs, labels, plan(optimiser=optimiser), PRIVATE)
    weights = module.get_parameter("layer4.0.conv1.weight")
    assert weights.is_contiguous(memory_format=torch.channels_last)
    assert get_weights(module).layout == names
    assert not any(hasattr(p, "grad_sample") or p.grad is not None for p in module.parameters())
    assert not any(m._forward_hooks or m._backward_hooks for m in module.modules())


@pytest.mark.parametrize(
    ("n", "batch_size", "epochs", "expected"),
    [
        (100, 16, 1, (0.16, 6)),
        (100, 16, 2, (0.16, 12)),
        (10, 16, 1, (1.0, 1)),
        (24, 16, 1, (2 / 3, 2)),
    ],
)
def test_a_round_has_the_steps_that_see_each_patient_once(n, batch_size, epochs, expected):
    training = Training(batch_size=batch_size, local_epochs=epochs)
    rate, steps = sampling(n, training)
    assert (rate, steps) == (pytest.approx(expected[0]), expected[1])


def test_noise_is_added_in_double_precision():
    (found,) = noised_mean([torch.zeros(1000)], PRIVATE, expected=1.0)
    assert found.dtype == torch.float64
    assert (found != found.float().double()).double().mean() > 0.9


@pytest.mark.parametrize("kind", BRANCHES)
@pytest.mark.parametrize("size", ["resnet10", "resnet50"])
def test_a_network_made_hookable_gives_the_same_outputs_to_the_bit(kind, size):
    branch = BRANCHES[kind].model_copy(update={"network": size})
    module = build_network(Network(name="n", branch=branch, phases=("excretory",)), seed=1)
    module.to(memory_format=LAYOUTS[kind])
    inputs, _ = batch_of(kind, 2)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith(("bn2.weight", "bn3.weight")):
                parameter.fill_(0.5)
        before = module(inputs.clone())
        make_hookable(module)
        assert torch.equal(module(inputs), before)
