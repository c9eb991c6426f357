"""Where inputs are kept, and how a batch of them comes to the network."""

import numpy as np
import pytest
import torch

from client import device
from client.device import Compute, inputs_device
from client.settings import Device

FLAT = Compute(torch.device("cpu"), None, torch.channels_last)
DEEP = Compute(torch.device("cpu"), None, torch.contiguous_format)
GPU = Compute(torch.device("cuda"), None, torch.channels_last)
GB = 10**9


def test_rows_come_in_the_order_asked_for():
    inputs = torch.arange(12.0).reshape(4, 3)
    taken = FLAT.take(inputs, torch.tensor([3, 0, 3]))
    torch.testing.assert_close(taken, torch.tensor([[9.0, 10, 11], [0, 1, 2], [9, 10, 11]]))


def test_rows_kept_elsewhere_are_brought_to_the_networks_device():
    elsewhere = Compute(torch.device("meta"), None, torch.channels_last)
    taken = elsewhere.take(torch.zeros(4, 3), torch.tensor([1, 2]))
    assert (taken.device.type, taken.shape) == ("meta", (2, 3))


@pytest.mark.parametrize(
    ("compute", "shape", "layout"),
    [
        (FLAT, (2, 3, 4, 5), torch.channels_last),
        (FLAT, (2, 6, 3, 4, 5), torch.contiguous_format),
        (DEEP, (2, 3, 6, 4, 5), torch.contiguous_format),
    ],
    ids=["2.5D", "2.5D stacks", "3D"],
)
def test_a_batch_is_laid_out_for_its_network_and_keeps_its_values(compute, shape, layout):
    batch = torch.arange(float(np.prod(shape))).reshape(shape).transpose(-1, -2)
    arranged = compute.arrange(batch)
    assert arranged.is_contiguous(memory_format=layout)
    torch.testing.assert_close(arranged, batch, rtol=0, atol=0)


@pytest.mark.parametrize("keep", ["auto", "device", "host"])
def test_without_a_gpu_inputs_are_kept_in_main_memory(keep):
    assert inputs_device(10**15, FLAT, Device(keep_inputs=keep)) == torch.device("cpu")


@pytest.mark.parametrize(
    ("keep", "n_bytes", "expected"),
    [
        ("auto", 30 * GB, "cuda"),
        ("auto", 31 * GB, "cpu"),
        ("device", 31 * GB, "cuda"),
        ("host", 1, "cpu"),
    ],
)
def test_inputs_are_kept_on_a_gpu_while_half_of_its_memory_stays_free(
    monkeypatch, keep, n_bytes, expected
):
    monkeypatch.setattr(device, "gpu_memory", lambda _: (70 * GB, 80 * GB))
    assert inputs_device(n_bytes, GPU, Device(keep_inputs=keep)).type == expected


def test_what_torch_keeps_and_does_not_use_counts_as_free(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (20 * GB, 80 * GB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 50 * GB)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 10 * GB)
    assert device.gpu_memory(GPU.device) == (60 * GB, 80 * GB)
