import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from shared.branches import Branch3D, Branch25D, Network
from shared.errors import ConfigError
from shared.initial_weights import begin, check_initial_weights, fit_channels
from shared.layers import FrozenBatchNorm, PaddedShortcut
from shared.networks import build_network, embed, frozen_in, get_weights, head_of, set_weights
from tests.published_weights import (
    densenet121_embedding,
    densenet121_file,
    medicalnet_file,
    resnet_embedding,
    saved,
    torchvision_file,
)

THREE = ("corticomedullary", "nephrographic", "excretory")
CLOSE = {"rtol": 2e-4, "atol": 2e-4}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def flat(network="resnet10", *, phases=("excretory",), **branch):
    branch = {"kind": "2.5d", "network": network, "size": (32, 32), **branch}
    return Network(name="flat", branch=Branch25D(name="flat", **branch), phases=phases)


def deep(network="resnet10", *, phases=("excretory",), **branch):
    branch = {"kind": "3d", "network": network, "size": (16, 32, 32), **branch}
    return Network(name="deep", branch=Branch3D(name="deep", **branch), phases=phases)


def started(network):
    """The network with its first weights, as a site gets it, and where they come from."""
    weights, origin = begin(network, get_weights(build_network(network, seed=1)))
    module = build_network(network, seed=0)
    set_weights(module, weights)
    return module, origin


def noise(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(2))


def assert_computes(module, batch, embedding):
    """The network gives this embedding, and its last layer's logits of it, while training too."""
    head = head_of(module)
    for training in (True, False):
        module.train(training)
        with torch.no_grad():
            torch.testing.assert_close(embed(module, batch), embedding, **CLOSE)
            logits = embedding @ head.weight.T + head.bias
            torch.testing.assert_close(module(batch), logits, **CLOSE)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_torchvisions_resnet50_loads_to_the_last_tensor(tmp_path, suffix):
    file = torchvision_file("resnet50")
    settings = saved(tmp_path / f"resnet50{suffix}", file) | {"format": "torchvision"}
    network = flat("resnet50", norm="frozen_batch", initial_weights=settings)
    module, origin = started(network)
    assert (origin.format, origin.sha256) == ("torchvision", settings["sha256"])
    assert (origin.taken, origin.adapted) == (53 * 5, None)
    assert origin.left_out == ("last layer (2)", "num_batches_tracked (53)")
    ours = get_weights(module).tensors()
    assert len(ours) == 53 * 5 + 2
    for name, tensor in file.items():
        if not name.startswith("fc.") and not name.endswith("num_batches_tracked"):
            np.testing.assert_array_equal(ours[name], tensor.numpy(), err_msg=name)


@pytest.mark.parametrize("n_phases", [1, 3], ids=["3 channels", "9 channels"])
def test_a_2d_network_computes_what_torchvisions_does(tmp_path, n_phases):
    file = torchvision_file("resnet50")
    settings = saved(tmp_path / "resnet50.pth", file) | {"format": "torchvision"}
    network = flat(
        "resnet50", phases=THREE[:n_phases], norm="frozen_batch", initial_weights=settings
    )
    module, origin = started(network)
    assert (origin.adapted is None) == (n_phases == 1)
    image = noise(2, 3, 64, 64) if n_phases == 1 else noise(2, 1, 64, 64).expand(2, 3, 64, 64)
    ours = image if n_phases == 1 else image[:, :1].expand(2, 9, 64, 64)
    assert_computes(module, ours, resnet_embedding("resnet50", file, image))


@pytest.mark.parametrize("network", ["resnet10", "resnet18", "resnet50"])
@pytest.mark.parametrize("n_phases", [1, 3], ids=["1 channel", "3 channels"])
def test_a_3d_network_computes_what_medicalnets_weights_say(tmp_path, network, n_phases):
    file = medicalnet_file(network)
    settings = saved(tmp_path / f"{network}.pth", file) | {"format": "medicalnet"}
    branch = deep(network, phases=THREE[:n_phases], norm="frozen_batch", initial_weights=settings)
    module, origin = started(branch)
    tensors = {name.removeprefix("module."): t for name, t in file["state_dict"].items()}
    n_counts = sum(name.endswith("num_batches_tracked") for name in tensors)
    assert origin.taken == len(tensors) - n_counts - 1
    assert origin.left_out == ("segmentation head (1)", f"num_batches_tracked ({n_counts})")
    image = noise(2, 1, 16, 32, 32)
    embedding = resnet_embedding(network, tensors, image)
    assert_computes(module, image.expand(2, n_phases, 16, 32, 32), embedding)


@pytest.mark.parametrize("network", ["resnet10", "resnet18"])
def test_gradients_pass_shortcuts_with_and_without_parameters(tmp_path, network):
    file = medicalnet_file(network)
    settings = saved(tmp_path / "w.pth", file) | {"format": "medicalnet"}
    module, _ = started(deep(network, norm="frozen_batch", initial_weights=settings))
    image = noise(2, 1, 16, 32, 32)
    embed(module, image).sum().backward()
    tensors = {name.removeprefix("module."): t for name, t in file["state_dict"].items()}
    tensors["conv1.weight"].requires_grad_()
    resnet_embedding(network, tensors, image).sum().backward()
    expected = tensors["conv1.weight"].grad
    scale = expected.abs().max()
    found = module.get_parameter("conv1.weight").grad
    torch.testing.assert_close(found / scale, expected / scale, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dotted", [False, True], ids=["norm1", "norm.1"])
def test_a_densenet_computes_what_torchvisions_does(tmp_path, dotted):
    file = densenet121_file(dotted=dotted)
    settings = saved(tmp_path / "densenet121.pth", file) | {"format": "torchvision"}
    network = flat("densenet121", norm="frozen_batch", initial_weights=settings)
    module, origin = started(network)
    assert origin.taken == 120 + 4 * 121
    plain = {re.sub(r"(norm|conv)\.([12])", r"\1\2", name): t for name, t in file.items()}
    image = noise(2, 3, 64, 64)
    assert_computes(module, image, densenet121_embedding(plain, image))


def test_group_norm_takes_batch_norms_scale_and_says_that_its_statistics_are_left_out(tmp_path):
    file = torchvision_file("resnet10")
    settings = saved(tmp_path / "resnet10.pth", file) | {"format": "torchvision"}
    module, origin = started(flat(initial_weights=settings))
    ours = get_weights(module).tensors()
    assert origin.left_out[-1] == "running statistics (24)"
    assert origin.taken == 12 * 3
    for name in ("layer4.0.bn2.weight", "layer4.0.bn2.bias", "layer1.0.conv1.weight"):
        np.testing.assert_array_equal(ours[name], file[name].numpy())
    assert set(ours) - set(file) == set()


def test_the_last_layer_is_new_and_begins_near_zero(tmp_path):
    file = torchvision_file("resnet10")
    settings = saved(tmp_path / "resnet10.pth", file) | {"format": "torchvision"}
    ours = get_weights(started(flat(initial_weights=settings))[0]).tensors()
    assert ours["fc.weight"].shape == (1, 512)
    assert 0.005 < ours["fc.weight"].std() < 0.015
    assert not ours["fc.bias"].any()


def test_an_earlier_runs_weights_load_whole_with_their_last_layer(tmp_path):
    network = flat()
    earlier = get_weights(build_network(network, seed=9))
    path = tmp_path / "earlier.safetensors"
    settings = saved(path, {n: torch.tensor(a) for n, a in earlier.tensors().items()})
    module, origin = started(flat(initial_weights=settings | {"format": "trifed"}))
    assert get_weights(module).vector.tobytes() == earlier.vector.tobytes()
    assert (origin.taken, origin.left_out, origin.adapted) == (len(earlier.layout.names), (), None)


def test_an_earlier_runs_weights_for_other_inputs_are_refused(tmp_path):
    earlier = get_weights(build_network(flat(phases=THREE), seed=9)).tensors()
    settings = saved(tmp_path / "e.safetensors", {n: torch.tensor(a) for n, a in earlier.items()})
    with pytest.raises(ConfigError, match=r"e\.safetensors: conv1\.weight has shape"):
        started(flat(initial_weights=settings | {"format": "trifed"}))


def test_without_a_file_the_first_weights_are_the_fresh_ones():
    fresh = get_weights(build_network(flat(), seed=1))
    weights, origin = begin(flat(), fresh)
    assert (weights.vector.tobytes(), origin) == (fresh.vector.tobytes(), None)


def test_a_first_convolution_answers_a_uniform_input_as_before():
    kernel = noise(4, 3, 5, 5)
    image = noise(1, 1, 9, 9)
    expected = torch.conv2d(image.expand(1, 3, 9, 9), kernel)
    for channels in (1, 2, 7):
        fitted = torch.tensor(fit_channels(kernel.numpy(), channels))
        found = torch.conv2d(image.expand(1, channels, 9, 9), fitted)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def without(name):
    return lambda file: file.pop(name)


def put(name, change):
    return lambda file: file.update({name: change(file.get(name, torch.zeros(3)))})


def with_value(value):
    def changed(tensor):
        tensor = tensor.clone()
        tensor.view(-1)[-1] = value
        return tensor

    return changed


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without("layer3.0.bn1.running_var"), "missing: layer3.0.bn1.running_var; too many: none"),
        (without("layer4.0.conv2.weight"), "missing: layer4.0.conv2.weight"),
        (put("layer5.0.conv1.weight", lambda t: t), "too many: layer5.0.conv1.weight"),
        (put("layer2.0.conv1.weight", lambda t: t[:, :-1]), "layer2.0.conv1.weight has shape"),
        (put("conv1.weight", lambda t: t[..., :5]), "conv1.weight has shape"),
        (put("conv1.weight", lambda t: t.flatten()), "conv1.weight has shape"),
        (put("layer2.0.conv1.weight", torch.Tensor.half), "layer2.0.conv1.weight is float16"),
        (put("layer1.0.bn1.bias", torch.Tensor.double), "layer1.0.bn1.bias is float64"),
        (put("layer1.0.bn1.bias", torch.Tensor.to_sparse), "layer1.0.bn1.bias is float32; weights"),
        (put("bn1.weight", with_value(math.nan)), "bn1.weight holds NaN"),
        (put("bn1.running_mean", with_value(math.inf)), "bn1.running_mean holds NaN or infinity"),
        (put("bn1.running_var", with_value(-1.0)), "bn1.running_var holds variances below zero"),
        (put("module.x", lambda _: "text"), "'module.x' is a str"),
        (put(("a", "b"), lambda _: torch.zeros(2)), "must hold tensors by name"),
    ],
)
def test_a_file_that_is_not_the_networks_is_refused_and_the_tensor_named(tmp_path, change, said):
    file = torchvision_file("resnet10")
    change(file)
    settings = saved(tmp_path / "changed.pth", file) | {"format": "torchvision"}
    network = flat(norm="frozen_batch", initial_weights=settings)
    with pytest.raises(ConfigError) as refusal:
        check_initial_weights([network])
    assert str(refusal.value).startswith(str(tmp_path / "changed.pth"))
    assert said in str(refusal.value)


def test_one_tensor_under_two_names_is_refused(tmp_path):
    file = medicalnet_file("resnet10")
    file["state_dict"]["bn1.bias"] = torch.zeros(64)
    settings = saved(tmp_path / "twice.pth", file) | {"format": "medicalnet"}
    with pytest.raises(ConfigError, match=r"bn1\.bias stands twice"):
        check_initial_weights([deep(initial_weights=settings)])


def test_another_networks_file_is_refused(tmp_path):
    settings = saved(tmp_path / "r18.pth", torchvision_file("resnet18"))
    network = flat("resnet34", initial_weights=settings | {"format": "torchvision"})
    with pytest.raises(ConfigError, match=r"not the file of resnet34 in 2D .* and \d+ more"):
        check_initial_weights([network])


def test_frozen_batch_norm_is_part_of_the_weights_and_never_trained():
    settings = {"file": Path("absent.pth"), "format": "torchvision", "sha256": "0" * 64}
    module = build_network(flat(norm="frozen_batch", initial_weights=settings), seed=0)
    norms = [name for name, m in module.named_modules() if isinstance(m, FrozenBatchNorm)]
    assert len(norms) == 12
    parts = ("weight", "bias", "running_mean", "running_var")
    assert frozen_in(module) == {f"{name}.{part}" for name in norms for part in parts}
    assert frozen_in(module) < set(get_weights(module).layout.names)
    assert not list(module.buffers())


def test_a_padded_shortcut_lets_gradients_through():
    x = noise(2, 3, 5, 5, 5).requires_grad_()
    shortcut = PaddedShortcut(channels=7, stride=2)
    out = shortcut(x)
    assert out.shape == (2, 7, 3, 3, 3)
    assert not out[:, 3:].any()
    out.sum().backward()
    expected = torch.zeros(5, 5, 5)
    expected[::2, ::2, ::2] = 1
    torch.testing.assert_close(x.grad, expected.expand(2, 3, 5, 5, 5))


def test_a_bomb_in_a_safetensors_name_is_only_a_name(tmp_path):
    path = tmp_path / "x.safetensors"
    save_file({"__import__('os')": torch.zeros(1)}, path)
    settings = saved(path, {"__import__('os')": torch.zeros(1)}) | {"format": "trifed"}
    with pytest.raises(ConfigError, match="too many: __import__"):
        check_initial_weights([flat(initial_weights=settings)])
