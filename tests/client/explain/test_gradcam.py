"""Grad-CAM: its formula, its places, and that it finds what a network was taught to see."""

from typing import Any

import numpy as np
import pytest
import torch
from monai.networks.nets import resnet10
from monai.visualize import GradCAM
from torch import nn

from client.device import compute_for
from client.explain.gradcam import coarse_maps, stride_of, to_grid
from client.explain.heat import heat_of, sums_of_heat
from client.settings import Device
from shared.branches import Branch3D, Branch25D, Network
from shared.errors import CodecError, TrainingError
from shared.networks import build_network

ONE_PHASE = ("nephrographic",)
FLAT = Network(
    name="flat",
    branch=Branch25D(
        name="flat", kind="2.5d", network="resnet10", size=(32, 32), slice_offsets_mm=(0.0,)
    ),
    phases=ONE_PHASE,
)
SOLID = Network(
    name="solid",
    branch=Branch3D(name="solid", kind="3d", network="resnet10", size=(16, 32, 32)),
    phases=ONE_PHASE,
)
SIZES = {"flat": (64, 64), "solid": (48, 40, 64)}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def heat(
    module: nn.Module, network: Network, inputs: torch.Tensor, method: Any = "grad_cam"
) -> Any:
    return heat_of(module, network, inputs, compute_for(network, Device(kind="cpu")), method)


class Squares(nn.Module):
    """x and its square, as two channels."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, x * x], dim=1)


class ByHand(nn.Module):
    """The logit is mean(x) + mean(x * x) / 2 + bias, so that the heat can be written down."""

    def __init__(self, bias: float) -> None:
        super().__init__()
        self.layer1, self.fc = Squares(), nn.Linear(2, 1)
        self.fc.weight.data, self.fc.bias.data = torch.tensor([[1.0, 0.5]]), torch.tensor([bias])

    def forward(self, x: torch.Tensor) -> Any:
        return self.fc(self.layer1(x).mean(dim=(2, 3)))


IMAGE = torch.tensor([[[[1.0, 2.0], [-1.0, -4.0]]]])


@pytest.mark.parametrize(
    ("bias", "logit", "expected"),
    [(0.0, 2.25, [[1.5, 4.0], [0.0, 4.0]]), (-10.0, -7.75, [[0.0, 0.0], [0.5, 0.0]])],
    ids=["positive", "negative"],
)
def test_the_heat_is_the_formulas_for_the_class_that_is_predicted(bias, logit, expected):
    """Weights of the channels are 1/4 and 1/8: heat is relu(+-(x + x * x / 2)) / 4."""
    coarse, logits = coarse_maps(ByHand(bias), IMAGE)
    assert logits == pytest.approx([logit])
    np.testing.assert_allclose(coarse[0], np.array(expected) / 4, rtol=1e-6)
    found = heat(ByHand(bias), FLAT, IMAGE).maps[0]
    np.testing.assert_allclose(found, np.array(expected) / np.sum(expected), rtol=1e-6)


@pytest.mark.parametrize("network", [FLAT, SOLID], ids=lambda network: network.name)
@pytest.mark.parametrize("positive", [True, False])
def test_the_coarse_heat_of_grad_cam_is_monais(network, positive):
    """MONAI explains the one logit whatever its sign: negative heat is that of the opposite."""
    module, batch = decided(network, positive=positive), images_of(network)
    ours, logits = coarse_maps(module, batch)
    assert ((logits > 0) == positive).all()
    if not positive:
        module.fc.weight.data.neg_()
    theirs = GradCAM(module, "layer4").compute_map(batch, class_idx=0)[:, 0].detach()
    assert min(theirs.shape[1:]) == 2
    assert float(theirs.max()) > 0
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6 * float(theirs.max()))


def decided(network: Network, *, positive: bool) -> Any:
    """A network of random weights that predicts one class of everyone."""
    module: Any = build_network(network, seed=3).eval()
    module.fc.weight.data.normal_(generator=torch.Generator().manual_seed(0))
    module.fc.weight.data.mul_(1.0 if positive else -1.0)
    module.fc.bias.data.fill_(100.0 if positive else -100.0)
    return module


def images_of(network: Network) -> torch.Tensor:
    return torch.randn(3, 1, *SIZES[network.name], generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("n", "m", "stride"), [(64, 8, 8), (64, 2, 32), (24, 2, 16), (24, 6, 4), (17, 1, 32), (5, 5, 1)]
)
def test_the_stride_follows_from_the_sizes(n, m, stride):
    assert stride_of(n, m) == stride


def test_a_point_of_the_map_lies_in_the_middle_of_what_it_sees():
    """Without GroupNorm, which sees everything, the gradient of one point shows its window."""
    module = resnet10(spatial_dims=2, n_input_channels=1, num_classes=1, conv1_t_stride=2)
    for name, part in list(module.named_modules()):
        if isinstance(part, nn.BatchNorm2d):
            parent, _, child = name.rpartition(".")
            setattr(module.get_submodule(parent), child, nn.Identity())
    module.maxpool = nn.AvgPool2d(3, 2, 1)
    kept: list[torch.Tensor] = []
    module.layer2.register_forward_hook(lambda *given: kept.append(given[2]))
    image = torch.ones(1, 1, 160, 160, requires_grad=True)
    for parameter in module.parameters():
        parameter.data.abs_()
    module(image)
    (gradient,) = torch.autograd.grad(kept[0][0, :, 8, 10].sum(), image)
    rows, columns = (np.flatnonzero(gradient[0, 0].abs().sum(axis)) for axis in (1, 0))
    middle = ((rows[0] + rows[-1]) / 2, (columns[0] + columns[-1]) / 2)
    point = np.zeros(kept[0].shape[2:])
    point[8, 10] = 1.0
    spread = to_grid(point, (160, 160))
    assert middle == np.unravel_index(spread.argmax(), spread.shape) == (64, 80)
    assert spread[64, 80] == 1.0


def test_the_map_goes_on_as_it_ends_and_is_linear_between_points():
    found = to_grid(np.array([[0.0, 4.0]]), (1, 8))
    np.testing.assert_allclose(found[0], [0, 1, 2, 3, 4, 4, 4, 4], atol=1e-12)


@pytest.mark.parametrize("method", ["grad_cam", "occlusion"])
def test_heat_sums_to_one_and_does_not_depend_on_the_batch(method):
    module, inputs = build_network(FLAT, seed=1), torch.randn(20, 1, 32, 32)
    found = heat(module, FLAT, inputs, method)
    there = found.maps.sum(axis=(1, 2))
    np.testing.assert_allclose(there[there > 0], 1.0, rtol=1e-12)
    alone = heat(module, FLAT, inputs[17:18], method)
    np.testing.assert_allclose(alone.maps[0], found.maps[17], atol=1e-7)


def test_frozen_weights_are_explained_too():
    module, inputs = build_network(FLAT, seed=1), torch.randn(2, 1, 32, 32)
    expected = heat(module, FLAT, inputs).maps
    module.requires_grad_(False)
    np.testing.assert_array_equal(heat(module, FLAT, inputs).maps, expected)


def test_nothing_is_left_in_the_network():
    module = build_network(FLAT, seed=1)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    heat(module, FLAT, torch.randn(2, 1, 32, 32))
    assert all(not part._forward_hooks for part in module.modules())
    assert all(parameter.grad is None for parameter in module.parameters())
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())


def test_several_images_of_a_patient_are_refused_in_words():
    with pytest.raises(CodecError, match=r"4 axes .* not of 5"):
        heat(build_network(FLAT, seed=1), FLAT, torch.zeros(2, 3, 1, 32, 32))


def test_a_network_without_stages_is_refused():
    plain = nn.Sequential(nn.Flatten(), nn.Linear(4, 1))
    with pytest.raises(TrainingError, match="none of a ResNet's stages layer1"):
        coarse_maps(plain, IMAGE)


@pytest.mark.parametrize("method", ["grad_cam", "occlusion"])
def test_no_case_gives_no_heat(method):
    found = heat(build_network(FLAT, seed=1), FLAT, torch.zeros(0, 1, 32, 32), method)
    assert (found.maps.shape, found.logits.shape) == ((0, 32, 32), (0,))


@pytest.mark.parametrize("method", ["grad_cam", "occlusion"])
def test_a_network_that_says_the_same_of_everyone_has_no_heat_and_nobody_fails(method):
    module = build_network(FLAT, seed=1)
    module.fc.weight.data.zero_()
    found = heat(module, FLAT, torch.randn(5, 1, 32, 32), method)
    assert not found.maps.any()
    tumour = np.ones((1, 32, 32), dtype=bool)
    sums = sums_of_heat(found.maps, [tumour] * 5, FLAT, grid=8, ring_mm=3.0)
    assert (sums.n, sums.n_without, sums.map_sum.sum()) == (0, 5, 0)


SIDE, BLOB = 32, 6


def blobs(n: int, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    """Noise; in every other image a bright blob somewhere: images, labels, blobs."""
    images = rng.normal(0, 0.5, size=(n, 1, SIDE, SIDE)).astype(np.float32)
    masks = np.zeros((n, SIDE, SIDE), dtype=bool)
    for index in range(0, n, 2):
        y, x = rng.integers(2, SIDE - BLOB - 1, size=2)
        masks[index, y : y + BLOB, x : x + BLOB] = True
    images[:, 0][masks] += 2.0
    labels = (np.arange(n) % 2 == 0).astype(np.float32)
    return torch.from_numpy(images), torch.from_numpy(labels), masks


class Plain(nn.Module):
    """A small network without normalisation, whose first map is its last."""

    def __init__(self) -> None:
        super().__init__()
        self.layer1 = nn.Sequential(
            *(nn.Conv2d(1, 8, 5, stride=2, padding=2), nn.ReLU()),
            *(nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.ReLU()),
        )
        self.fc = nn.Linear(8, 1)

    def forward(self, x: torch.Tensor) -> Any:
        return self.fc(self.layer1(x).mean(dim=(2, 3)))


def taught(module: nn.Module, *, steps: int, rate: float) -> nn.Module:
    rng, optimiser = np.random.default_rng(0), torch.optim.AdamW(module.parameters(), lr=rate)
    for _ in range(steps):
        images, labels, _ = blobs(32, rng)
        loss = nn.functional.binary_cross_entropy_with_logits(module(images).squeeze(1), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return module


@pytest.mark.parametrize("method", ["grad_cam", "occlusion"])
def test_a_plain_network_taught_to_see_a_blob_looks_at_the_blob(method):
    torch.manual_seed(0)
    assert_it_looks_at_the_blob(taught(Plain(), steps=150, rate=1e-2), method, n=60, least=4.0)


def test_a_resnet_taught_to_see_a_blob_looks_at_the_blob_by_occlusion():
    module = taught(build_network(FLAT, seed=1), steps=40, rate=1e-3)
    assert_it_looks_at_the_blob(module, "occlusion", n=20, least=3.0)


def assert_it_looks_at_the_blob(module: nn.Module, method: str, *, n: int, least: float) -> None:
    """Heat inside the blob is at least so many times the share of the image that it is."""
    images, labels, masks = blobs(n, np.random.default_rng(1))
    found = heat(module, FLAT, images, method)
    wanted = labels.numpy().astype(bool)
    right = (found.logits > 0) == wanted
    assert right.mean() > 0.9
    seen = wanted & right
    inside = (found.maps * masks).sum(axis=(1, 2))[seen]
    assert inside.mean() > least * masks[seen].mean()
