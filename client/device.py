"""What the site computes on: device, number format and memory layout, chosen once."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch

from client.settings import Device
from shared.branches import Network
from shared.errors import InstallError

# Options of glibc's mallopt, from its malloc.h.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX, M_ARENA_MAX = -1, -2, -4, -8

SMALLEST_BF16 = 32
"""Pixels along the shorter side from which bfloat16 is sound on CPUs."""


@dataclass(frozen=True, slots=True)
class Compute:
    """Device, autocast type (None is float32) and memory layout of one network's arithmetic."""

    device: torch.device
    autocast: torch.dtype | None
    memory_format: torch.memory_format

    def precision(self) -> AbstractContextManager[None]:
        """The context in which forward passes run."""
        if self.autocast is None:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.autocast)


def compute_for(network: Network, device: Device) -> Compute:
    """Choose how to compute a network.

    On a GPU: bfloat16 autocast. On a CPU: bfloat16 for 2D networks where the processor has the
    instructions, which halves their time; float32 for 3D, whose bfloat16 gradients on CPUs are not
    finite from the first step on (torch 2.13), and for 2D inputs so small that the last stage is
    handed single pixels, where the same happens at some batch sizes.

    Raises:
        InstallError: If the site file asks for a GPU and there is none.
    """
    if device.kind == "cuda" and not torch.cuda.is_available():
        raise InstallError("device.kind is cuda, but torch finds no GPU; use auto or cpu.")
    on_gpu = device.kind != "cpu" and torch.cuda.is_available()
    flat = network.branch.kind == "2.5d"
    sound = flat and min(network.branch.size) >= SMALLEST_BF16
    wanted = network.branch.training.precision
    if wanted == "auto":
        use_bf16 = on_gpu or (sound and cpu_has_bf16())
    else:
        use_bf16 = wanted == "bf16" and (on_gpu or sound)
    return Compute(
        device=torch.device("cuda" if on_gpu else "cpu"),
        autocast=torch.bfloat16 if use_bf16 else None,
        memory_format=torch.channels_last if flat else torch.contiguous_format,
    )


def cpu_has_bf16() -> bool:
    """Whether the processor multiplies bfloat16 natively."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) and (
        "AVX512" in torch.backends.cpu.get_cpu_capability()
    )


def prepare_process(threads: int) -> None:
    """Make arithmetic repeatable: a fixed number of threads, deterministic kernels.

    Threads decide how sums are divided and so their last digits; linear algebra on the small
    matrices of the statistics runs on one thread.
    """
    import os

    from threadpoolctl import threadpool_limits

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    threadpool_limits(limits=1, user_api="blas")
    keep_freed_memory()


def keep_freed_memory() -> None:
    """Let the C library keep what is freed, where it can be told to (glibc).

    A round takes and frees several vectors as large as the network. By default each is mapped
    anew from the system and touched page by page for the first time, which costs more than the
    arithmetic on it. One arena for all threads, because the others cannot hold such a vector.
    """
    import ctypes

    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return
    for option, value in (
        (M_ARENA_MAX, 1),
        (M_MMAP_MAX, 0),
        (M_TRIM_THRESHOLD, 2**31 - 1),
        (M_TOP_PAD, 2**28),
    ):
        mallopt(option, value)
