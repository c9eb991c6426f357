from itertools import pairwise

import numpy as np
import pytest
import torch

from shared.branches import Branch25D, Network
from shared.errors import CodecError
from shared.networks import Layout, network_layout
from shared.updates import BLOCK, Change, Coder

LAYOUT = Layout(("conv", "norm", "bias", "head"), ((3, BLOCK), (100,), (1,), (BLOCK + 7,)))
LARGEST = float(np.finfo(np.float32).max)
LEAST = float(np.finfo(np.float32).smallest_subnormal)


def one_tensor(*values):
    vector = np.array(values, dtype=np.float32)
    return Layout(("w",), ((len(vector),),)), vector


def vectors(seed=0, layout=LAYOUT, spread=1e-3):
    rng = np.random.default_rng(seed)
    base = rng.normal(size=layout.size).astype(np.float32)
    return base, base + (spread * rng.normal(size=layout.size)).astype(np.float32)


def applied(coder, change, base):
    vector = base.copy()
    coder.apply(change, vector)
    return vector


def from_zero(form, layout, vector):
    """What arrives of a vector that is sent as a change of zeros."""
    coder = Coder(form, layout)
    zeros = np.zeros_like(vector)
    change, _ = coder.pack(vector, zeros)
    return change, applied(coder, change, zeros)


def blocks_of(layout):
    """Begin and end of every block, counted tensor by tensor."""
    start, found = 0, []
    for shape in layout.shapes:
        end = start + int(np.prod(shape))
        edges = [*range(start, end, BLOCK), end]
        found += pairwise(edges)
        start = end
    return found


def test_int8_is_off_by_at_most_half_a_step_of_its_block():
    rng = np.random.default_rng(1)
    tensors = [10.0**power for power in (-3, 4, 0, -9)]
    sizes = [int(np.prod(shape)) for shape in LAYOUT.shapes]
    vector = np.concatenate(
        [scale * rng.normal(size=size) for scale, size in zip(tensors, sizes, strict=True)]
    ).astype(np.float32)
    _, found = from_zero("int8", LAYOUT, vector)
    for start, end in blocks_of(LAYOUT):
        step = np.abs(vector[start:end]).max() / 127
        assert np.abs(found[start:end] - vector[start:end]).max() <= step / 2 * (1 + 1e-5)


def test_a_block_of_int8_has_a_scale_and_never_reaches_into_another_tensor():
    change, _ = from_zero("int8", LAYOUT, vectors()[1])
    assert len(change.scales) == len(blocks_of(LAYOUT)) == 3 + 1 + 1 + 2


def test_int8_rounds_halves_to_even():
    layout, vector = one_tensor(127, 0.5, 1.5, 2.5, -0.5, -1.5)
    change, _ = from_zero("int8", layout, vector)
    assert change.values.tolist() == [127, 0, 2, 2, 0, -2]


def test_bf16_is_what_torch_makes_of_it():
    rng = np.random.default_rng(2)
    bits = rng.integers(0, 2**32, size=LAYOUT.size, dtype=np.uint32)
    vector = bits.view(np.float32)
    vector[np.isnan(vector)] = 0
    vector[: BLOCK // 2] = np.float32(1) + np.arange(BLOCK // 2, dtype=np.float32) * 2.0**-9  # ties
    _, found = from_zero("bf16", LAYOUT, vector)
    expected = torch.from_numpy(vector).to(torch.bfloat16).to(torch.float32).numpy()
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("form", ["bf16", "int8"])
@pytest.mark.parametrize(
    ("values", "off_by"),
    [
        ([0.0] * 5, 0.0),
        ([-0.0, 0.0], 0.0),
        ([3.25], 0.0),
        ([-7.0], 0.0),
        ([LEAST, -LEAST], LEAST),
        ([1e-38, -3e-39, 1e-45], float(np.finfo(np.float32).tiny) / 2),
        ([LARGEST / 2, -LARGEST / 2, 1.0], LARGEST / 2 / 250),
    ],
    ids=["zeros", "signed zeros", "one", "minus one", "least", "subnormal", "largest"],
)
def test_extreme_values_arrive(form, values, off_by):
    layout, vector = one_tensor(*values)
    change, found = from_zero(form, layout, vector)
    assert np.isfinite(change.scales).all()
    np.testing.assert_allclose(found, vector, rtol=1e-6, atol=off_by)


@pytest.mark.parametrize("form", ["bf16", "int8"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, LARGEST])
def test_what_is_not_finite_or_too_large_does_not_become_finite_on_the_way(form, bad):
    layout, vector = one_tensor(1.0, bad, 3.0)
    _, found = from_zero(form, layout, vector)
    assert not np.isfinite(found).all()


@pytest.mark.parametrize("form", ["bf16", "int8"])
def test_nothing_is_lost_but_the_last_residual(form):
    coder = Coder(form, LAYOUT)
    base, _ = vectors()
    sent, arrived, residual = (np.zeros(LAYOUT.size) for _ in range(3))
    residual = None
    for number in range(8):
        _, new = vectors(number)
        change, residual = coder.pack(new, base, residual)
        sent += new.astype(float) - base
        arrived += applied(coder, change, np.zeros_like(base))
    worst = np.abs(sent).max() * 1e-5
    assert np.abs(sent - arrived).max() > 10 * worst
    np.testing.assert_allclose(arrived + residual, sent, atol=worst)


def test_steps_too_small_for_one_round_arrive_over_many():
    layout, small = one_tensor(1.0, 0.003)  # a step of int8 is 1 / 127
    coder, residual, arrived = Coder("int8", layout), None, np.zeros(2)
    for _ in range(100):
        change, residual = coder.pack(small, np.zeros_like(small), residual)
        arrived += applied(coder, change, np.zeros_like(small))
    assert arrived[1] == pytest.approx(0.3, abs=1 / 127)


@pytest.mark.parametrize(("form", "share"), [("fp32", 1.0), ("bf16", 0.5), ("int8", 0.26)])
def test_resnet50_takes_its_share_of_bytes(form, share):
    branch = Branch25D(name="flat", kind="2.5d", network="resnet50")
    layout = network_layout(
        Network(name="flat", branch=branch, phases=("nephrographic", "excretory"))
    )
    zeros = np.zeros(layout.size, dtype=np.float32)
    change, _ = Coder(form, layout).pack(zeros, zeros)
    assert share - 0.011 < change.n_bytes / zeros.nbytes <= share


@pytest.mark.parametrize("form", ["fp32", "bf16", "int8"])
def test_frozen_parameters_are_neither_sent_nor_touched(form):
    coder = Coder(form, LAYOUT, frozenset({"conv", "bias"}))
    base, new = vectors()
    change, residual = coder.pack(new, base)
    found = applied(coder, change, base)
    kept = np.zeros(LAYOUT.size, dtype=bool)
    kept[: 3 * BLOCK] = kept[3 * BLOCK + 100] = True
    assert change.values.shape == (100 + BLOCK + 7,)
    assert residual is None or residual.shape == change.values.shape
    np.testing.assert_array_equal(found[kept], base[kept])
    np.testing.assert_allclose(found[~kept], new[~kept], atol=4e-5)
    assert (found[~kept] != base[~kept]).mean() > 0.9


def test_without_frozen_parameters_their_change_is_the_same_as_of_the_rest_alone():
    rest = Layout(LAYOUT.names[1:], LAYOUT.shapes[1:])
    base, new = vectors()
    ours, _ = Coder("int8", LAYOUT, frozenset({"conv"})).pack(new, base)
    theirs, _ = Coder("int8", rest).pack(new[3 * BLOCK :], base[3 * BLOCK :])
    assert ours.values.tobytes() == theirs.values.tobytes()
    assert ours.scales.tobytes() == theirs.scales.tobytes()


def test_fp32_carries_every_bit():
    coder = Coder("fp32", LAYOUT, frozenset({"norm"}))
    base, new = vectors(spread=1e3)
    change, residual = coder.pack(new, base)
    found = applied(coder, change, base)
    assert residual is None
    assert found[3 * BLOCK + 100 :].tobytes() == new[3 * BLOCK + 100 :].tobytes()


def test_only_fp32_with_nothing_frozen_sends_whole_weights():
    whole = [Coder(form, LAYOUT).sends_whole for form in ("fp32", "bf16", "int8")]
    assert whole == [True, False, False]
    assert not Coder("fp32", LAYOUT, frozenset({"bias"})).sends_whole


@pytest.mark.parametrize("form", ["fp32", "bf16", "int8"])
def test_a_change_of_another_form_or_size_is_refused_and_touches_nothing(form):
    base, new = vectors()
    coder = Coder(form, LAYOUT, frozenset({"bias"}))
    good, _ = coder.pack(new, base)
    wrong = [
        Change(good.values[:-1], good.scales),
        Change(good.values.astype(np.float64), good.scales),
        Change(good.values[:, None], good.scales),
        Change(good.values, np.ones(len(good.scales) + 1, np.float32)),
        Change(good.values, good.scales.astype(np.float64)),
    ]
    for change in wrong:
        vector = base.copy()
        with pytest.raises(CodecError, match=f"in {form}"):
            coder.apply(change, vector)
        assert vector.tobytes() == base.tobytes()
