import numpy as np
import pytest
import torch
from monai.networks.nets import resnet

from shared.architectures import ARCHITECTURES
from shared.branches import Branch3D, Branch25D, Network
from shared.errors import CodecError, TrainingError
from shared.layers import replace_batch_norm
from shared.networks import (
    EMBEDDING_WIDTH,
    Layout,
    Weights,
    build_network,
    embed,
    frozen_in,
    frozen_names,
    get_weights,
    head_logits,
    head_of,
    input_channels,
    layout_of,
    make_hookable,
    network_layout,
    put_back,
    set_weights,
)

BATCH_NORM = torch.nn.modules.batchnorm._BatchNorm


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def flat(network="resnet10", phases=("excretory",), **branch):
    branch = Branch25D(name="flat", kind="2.5d", network=network, size=(32, 32), **branch)
    return Network(name="flat", branch=branch, phases=phases)


def deep(network="resnet10", phases=("excretory",), **branch):
    size = (32, 32, 32) if network.startswith("dense") else (8, 16, 16)
    branch = Branch3D(name="deep", kind="3d", network=network, size=size, **branch)
    return Network(name="deep", branch=branch, phases=phases)


def n_of(module, kind):
    return sum(isinstance(part, kind) for part in module.modules())


@pytest.fixture(scope="module")
def module():
    return build_network(flat(), seed=3)


@pytest.mark.parametrize(
    ("network", "n_parameters"),
    [(flat("resnet50"), 23_510_081), (deep("resnet50"), 46_157_121)],
    ids=["2D, 3 channels", "3D, 1 channel"],
)
def test_resnet50_has_53_group_norms_and_the_published_number_of_parameters(network, n_parameters):
    with torch.device("meta"):
        module = build_network(network, seed=0)
    assert n_of(module, torch.nn.GroupNorm) == 53
    assert n_of(module, BATCH_NORM) == 0
    assert sum(p.numel() for p in module.parameters()) == n_parameters
    assert list(module.buffers()) == []


def test_monais_own_norm_argument_changes_only_the_stem():
    with torch.device("meta"):
        module = resnet.resnet50(
            spatial_dims=2, n_input_channels=3, num_classes=1, norm=("group", {"num_groups": 8})
        )
    assert (n_of(module, BATCH_NORM), n_of(module, torch.nn.GroupNorm)) == (52, 1)


def test_every_batch_norm_is_replaced_and_counted():
    module = torch.nn.Sequential(torch.nn.BatchNorm2d(48), torch.nn.BatchNorm3d(64))
    assert replace_batch_norm(module) == 2
    assert [(m.num_groups, m.num_channels) for m in module] == [(16, 48), (32, 64)]


def test_a_network_that_keeps_any_other_buffer_is_refused():
    module = torch.nn.Sequential(torch.nn.Linear(2, 2))
    module.register_buffer("running", torch.zeros(1))
    with pytest.raises(TrainingError, match="running"):
        replace_batch_norm(module)


def test_the_stem_has_the_stride_of_the_published_network(module):
    assert module.conv1.stride == (2, 2)


def test_channels_are_phases_times_slices():
    assert input_channels(flat(phases=("nephrographic", "excretory"))) == 6
    assert input_channels(deep(phases=("nephrographic", "excretory"))) == 2


def test_one_patient_gives_the_same_output_alone_and_in_company(module):
    batch = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        together, alone = module.train()(batch), module(batch[:1])
    torch.testing.assert_close(together[:1], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", [flat, deep], ids=["2D", "3D"])
@pytest.mark.parametrize("name", ["resnet10", "densenet121"])
def test_embedding_and_last_layer_give_the_networks_own_output(kind, name):
    network = kind(name)
    module = build_network(network, seed=1).eval()
    shape = (2, input_channels(network), *network.branch.size)
    batch = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        embedding = embed(module, batch)
        expected = module(batch).squeeze(1)
        torch.testing.assert_close(head_logits(module, embedding), expected)
    assert embedding.shape == (2, EMBEDDING_WIDTH[name])


@pytest.mark.parametrize("name", EMBEDDING_WIDTH)
def test_the_parts_of_every_network_stand_where_they_are_said_to(name):
    with torch.device("meta"):
        module = build_network(flat(name), seed=0)
    parts = ARCHITECTURES[name]
    assert module.get_submodule(parts.head) is head_of(module)
    assert module.get_submodule(parts.first_convolution).in_channels == 3
    trunk = {
        parameter
        for part in parts.modules_of(tuple(parts.stages))
        for parameter in module.get_submodule(part).parameters()
    }
    assert trunk == set(module.parameters()) - set(head_of(module).parameters())


@pytest.mark.parametrize("name", EMBEDDING_WIDTH)
def test_the_embeddings_width_is_the_last_layers_input(name):
    layout = network_layout(flat(name))
    shapes = dict(zip(layout.names, layout.shapes, strict=True))
    assert shapes[f"{ARCHITECTURES[name].head}.weight"] == (1, EMBEDDING_WIDTH[name])


def test_asking_for_an_embedding_leaves_no_hook_behind(module):
    embed(module, torch.zeros(1, 3, 16, 16))
    assert not module.fc._forward_pre_hooks


def test_the_same_seed_gives_the_same_weights_and_another_seed_others():
    first, again, other = (get_weights(build_network(flat(), seed=s)).vector for s in (5, 5, 6))
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()


def test_building_a_network_draws_nothing_from_the_global_generator():
    before = torch.random.get_rng_state()
    build_network(flat(), seed=5)
    torch.testing.assert_close(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("network", [flat(), deep("resnet18")], ids=["2D", "3D"])
def test_the_layout_without_memory_is_the_real_one(network):
    assert network_layout(network) == layout_of(build_network(network, seed=0))


def test_weights_put_into_another_network_make_it_the_same(module):
    other = build_network(flat(), seed=4)
    set_weights(other, get_weights(module))
    assert get_weights(other).vector.tobytes() == get_weights(module).vector.tobytes()
    for (_, a), (_, b) in zip(module.named_parameters(), other.named_parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_weights_are_the_same_whatever_the_layout_in_memory(module):
    expected = get_weights(module).vector.tobytes()
    channels_last = build_network(flat(), seed=3).to(memory_format=torch.channels_last)
    assert get_weights(channels_last).vector.tobytes() == expected


def test_weights_are_a_copy(module):
    weights = get_weights(module)
    weights.vector[:] = 0
    assert get_weights(module).vector.any()


def test_the_vector_holds_the_tensors_one_after_the_other(module):
    weights = get_weights(module)
    tensors = weights.tensors()
    assert tuple(tensors) == weights.layout.names
    expected = np.concatenate([t.detach().numpy().ravel() for t in module.parameters()])
    np.testing.assert_array_equal(weights.vector, expected)


@pytest.mark.parametrize(
    "change",
    [
        lambda names, shapes: (("renamed", *names[1:]), shapes),
        lambda names, shapes: (tuple(f"_module.{name}" for name in names), shapes),
        lambda names, shapes: (names[::-1], shapes[::-1]),
        lambda names, shapes: (names, ((1, *shapes[0]), *shapes[1:])),
    ],
    ids=["renamed", "prefixed", "reordered", "reshaped"],
)  # fmt: skip
def test_weights_of_another_layout_are_refused_and_change_nothing(module, change):
    weights = get_weights(module)
    strange = Layout(*change(weights.layout.names, weights.layout.shapes))
    with pytest.raises(CodecError, match="names or shapes"):
        set_weights(module, Weights(strange, np.zeros_like(weights.vector)))
    assert get_weights(module).vector.tobytes() == weights.vector.tobytes()


@pytest.mark.parametrize(
    "vector",
    [np.zeros(3), np.zeros(3, np.int64), np.zeros(2, np.float32), np.zeros((3, 1), np.float32)],
    ids=["float64", "integers", "too short", "two dimensions"],
)
def test_weights_hold_float32_of_the_layouts_size_and_nothing_else(vector):
    with pytest.raises(CodecError, match="3 float32 numbers"):
        Weights(Layout(("a", "b"), ((2,), (1,))), vector)


def monais(kind, network):
    """MONAI's own network with norms that see one case at a time, and random weights everywhere."""
    dims, channels = (2, 3) if kind is flat else (3, 1)
    own = {"shortcut_type": "B", "conv1_t_stride": 2, "n_input_channels": channels}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        module = getattr(resnet, network)(spatial_dims=dims, num_classes=1, **own)
        replace_batch_norm(module)
    return module, torch.randn(2, channels, *kind().branch.size)


def gradients(module):
    return {name: parameter.grad for name, parameter in module.named_parameters()}


@pytest.mark.parametrize("network", ["resnet10", "resnet50"])
@pytest.mark.parametrize("kind", [flat, deep], ids=["2D", "3D"])
def test_computing_out_of_place_changes_no_bit_of_outputs_and_gradients(kind, network):
    module, batch = monais(kind, network)
    expected = module(batch)
    expected.sum().backward()
    before = {name: gradient.clone() for name, gradient in gradients(module).items()}
    module.zero_grad()
    make_hookable(module)
    found = module(batch)
    found.sum().backward()
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    torch.testing.assert_close(gradients(module), before, rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore:Full backward hook")
@pytest.mark.parametrize("network", ["resnet10", "resnet50", "densenet121"])
def test_hooks_see_the_gradient_of_each_single_case(network):
    opacus = pytest.importorskip("opacus")
    module = build_network(flat(network, norm="group"), seed=1)
    batch = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    singles = []
    for case in batch:
        module.zero_grad()
        module(case[None]).sum().backward()
        singles.append(module.get_parameter(first_kernel(network)).grad.clone())
    module.zero_grad()
    hooked = opacus.GradSampleModule(module, loss_reduction="sum")
    hooked(batch).sum().backward()
    found = module.get_parameter(first_kernel(network)).grad_sample
    torch.testing.assert_close(found, torch.stack(singles), rtol=1e-3, atol=1e-4)


def first_kernel(network):
    return f"{ARCHITECTURES[network].first_convolution}.weight"


@pytest.mark.parametrize("network", ["resnet10", "densenet121"])
@pytest.mark.parametrize("kind", [flat, deep], ids=["2D", "3D"])
def test_a_batch_without_cases_has_outputs_without_cases(kind, network):
    module = build_network(kind(network), seed=1)
    shape = (0, input_channels(kind()), *kind(network).branch.size)
    out = module(torch.zeros(shape))
    assert out.shape == (0, 1)
    out.sum().backward()


def test_freezing_stops_the_gradient_of_the_named_stages_alone():
    network = flat(freeze=("stem", "layer2"))
    frozen = frozen_names(network)
    assert {"conv1.weight", "bn1.bias", "layer2.0.bn1.weight"} < frozen
    assert {name.split(".")[0] for name in frozen} == {"conv1", "bn1", "layer2"}
    module = build_network(network, seed=1)
    assert frozen_in(module) == frozen
    module(torch.randn(2, 3, 32, 32)).sum().backward()
    assert {name for name, gradient in gradients(module).items() if gradient is None} == frozen


@pytest.mark.parametrize("network", ["resnet10", "densenet121"])
def test_a_frozen_trunk_leaves_the_last_layer_alone_to_train(network):
    layout = network_layout(flat(network))
    head = {f"{ARCHITECTURES[network].head}.{part}" for part in ("weight", "bias")}
    assert frozen_names(flat(network, freeze=("trunk",))) == set(layout.names) - head
    assert frozen_names(flat(network)) == frozenset()


def test_a_frozen_network_has_the_weights_of_one_that_is_not():
    free, frozen = (build_network(flat(freeze=f), seed=3) for f in ((), ("trunk",)))
    assert get_weights(free).vector.tobytes() == get_weights(frozen).vector.tobytes()


def test_frozen_values_are_put_back_to_the_bit_and_no_others():
    layout = Layout(("a", "b", "c"), ((2,), (1,), (2,)))
    before = Weights(layout, np.array([0.1, 0.2, 0.3, 0.4, 0.5], np.float32))
    mean = Weights(layout, np.nextafter(before.vector, np.float32(1)))
    found = put_back(mean, before, frozenset({"a", "c"}))
    np.testing.assert_array_equal(found.vector[[0, 1, 3, 4]], before.vector[[0, 1, 3, 4]])
    assert found.vector[2] == mean.vector[2] != before.vector[2]
    assert put_back(mean, before, frozenset()) is mean


def test_weights_of_another_network_are_not_put_back():
    one, other = (Weights(Layout((n,), ((1,),)), np.zeros(1, np.float32)) for n in "ab")
    with pytest.raises(CodecError, match="the same network"):
        put_back(one, other, frozenset())
