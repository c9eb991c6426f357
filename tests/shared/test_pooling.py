"""Several stacks of a patient, one logit."""

import numpy as np
import pytest
import torch

from shared.branches import Branch25D, Network
from shared.networks import (
    EMBEDDING_WIDTH,
    build_network,
    embed,
    get_weights,
    head_logits,
    input_channels,
    layout_of,
    network_layout,
)
from shared.pooling import GatedAttention, PooledHead

N, STACKS, WIDTH = 4, 3, 5


def network(stacks=STACKS, pooling="mean", mask=False):
    branch = Branch25D(
        name="flat", kind="2.5d", network="resnet10", size=(16, 16), mask_channel=mask,
        stack_offsets_mm=tuple(5.0 * np.arange(stacks)), pooling=pooling,
    )  # fmt: skip
    return Network(name="flat", branch=branch, phases=("excretory",))


def normal(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def batch():
    return normal(N, STACKS, 3, 16, 16)


@pytest.fixture
def attention():
    """Attention that has learnt something."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        made = GatedAttention(WIDTH)
        torch.nn.init.normal_(made.score.weight)
    return made


def settled(pooling):
    """A network with stacks whose last layer and attention are far from zero."""
    module = build_network(network(pooling=pooling), seed=1).eval()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(3)
        for name, parameter in module.named_parameters():
            if name.startswith("fc."):
                parameter.normal_(std=0.1)
    return module


def test_the_mean_gives_the_mean_of_the_stacks_logits(batch):
    module = settled("mean")
    one = build_network(network(stacks=1), seed=1).eval()
    one.fc.load_state_dict(module.fc.state_dict())
    with torch.inference_mode():
        expected = torch.stack([one(batch[:, k]) for k in range(STACKS)]).mean(dim=0)
        torch.testing.assert_close(module(batch), expected, rtol=1e-6, atol=1e-6)


def test_attention_begins_as_the_mean(batch):
    with torch.inference_mode():
        mean, attention = (
            build_network(network(pooling=p), seed=1)(batch) for p in ("mean", "attention")
        )
    torch.testing.assert_close(attention, mean, rtol=0, atol=1e-6)


def test_attention_is_the_published_formula(attention):
    vectors = normal(N, STACKS, WIDTH)
    content, gate, score = (
        part.weight.detach().double().numpy()
        for part in (attention.content, attention.gate, attention.score)
    )
    v, u = (part.bias.detach().double().numpy() for part in (attention.content, attention.gate))
    for patient, found in zip(vectors.double().numpy(), attention(vectors), strict=True):
        gated = np.tanh(patient @ content.T + v) / (1 + np.exp(-patient @ gate.T - u))
        raw = np.exp(gated @ score[0])
        np.testing.assert_allclose(
            found.detach().numpy(), (raw / raw.sum()) @ patient, rtol=1e-4, atol=1e-5
        )


def test_attentions_weights_add_up_to_one_and_differ(attention):
    weights = attention.weights(normal(N, STACKS, WIDTH)).detach()
    assert (weights > 0).all()
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(N))
    assert (weights.std(dim=1) > 0.01).all()


@pytest.mark.parametrize("pooling", ["mean", "attention"])
def test_the_order_of_the_stacks_does_not_matter(batch, pooling):
    module = settled(pooling)
    with torch.inference_mode():
        torch.testing.assert_close(module(batch[:, [2, 0, 1]]), module(batch), rtol=1e-5, atol=1e-5)
        assert (module(batch[:, [0, 0, 1]]) - module(batch)).abs().min() > 1e-4


@pytest.mark.parametrize("pooling", ["mean", "attention"])
def test_embedding_and_last_layer_give_the_networks_own_output(batch, pooling):
    module = settled(pooling)
    with torch.inference_mode():
        embedding = embed(module, batch)
        torch.testing.assert_close(head_logits(module, embedding), module(batch).squeeze(1))
    assert embedding.shape == (N, EMBEDDING_WIDTH["resnet10"])


def test_every_parameter_learns(batch):
    module = settled("attention")
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith("bn2.weight"):
                parameter.fill_(1)
    module(batch).square().sum().backward()
    assert [name for name, p in module.named_parameters() if not p.grad.abs().sum() > 0] == []


def test_attention_leaves_the_mean_when_it_is_trained():
    """The label hangs on the largest first entry of a patient's vectors, which no mean sees."""
    vectors = normal(64, STACKS, WIDTH)
    label = (vectors[:, :, 0].amax(dim=1) > 0.9).float()
    losses = []
    for learns in (True, False):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            attention, head = GatedAttention(WIDTH), torch.nn.Linear(WIDTH, 1)
        attention.requires_grad_(learns)
        optimiser = torch.optim.Adam([*attention.parameters(), *head.parameters()], lr=0.02)
        for _ in range(200):
            optimiser.zero_grad()
            logits = head(attention(vectors)).squeeze(1)
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, label)
            loss.backward()
            optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[0] < 0.7 * losses[1]


def test_one_stack_has_the_layout_and_the_weights_of_the_network_alone():
    alone = build_network(network(stacks=1), seed=5)
    assert not isinstance(alone.fc, PooledHead)
    pooled = build_network(network(), seed=5)
    assert isinstance(pooled.fc, PooledHead)
    assert layout_of(pooled) == layout_of(alone)
    assert get_weights(pooled).vector.tobytes() == get_weights(alone).vector.tobytes()


def test_what_attention_learns_is_part_of_the_weights():
    layout = network_layout(network(pooling="attention"))
    assert layout == layout_of(build_network(network(pooling="attention"), seed=0))
    more = layout.size - network_layout(network()).size
    assert more == 2 * (512 * 128 + 128) + 128
    assert {name for name in layout.names if name.startswith("fc.attention.")} == set(
        layout.names
    ) - set(network_layout(network()).names)


def test_the_same_seed_gives_the_same_attention():
    first, again = (
        get_weights(build_network(network(pooling="attention"), seed=5)) for _ in range(2)
    )
    assert first.vector.tobytes() == again.vector.tobytes()


def test_the_mask_doubles_the_channels_and_stacks_add_none():
    assert [input_channels(network(s, mask=m)) for s, m in ((1, False), (3, False), (3, True))] == [
        3, 3, 6,
    ]  # fmt: skip
