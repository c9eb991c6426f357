"""What the site computes on: device, number format and memory layout, chosen once."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch

from client.settings import Device
from shared.branches import Network
from shared.errors import InstallError

CHANNELS_LAST_DIMENSIONS = 4
# Options of glibc's mallopt, from its malloc.h.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX, M_ARENA_MAX = -1, -2, -4, -8

ONE_PIXEL_AT_LAST = 16
"""Images of this size are one pixel before a ResNet's last stride."""


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

    def take(self, inputs: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Rows of a tensor, on the device, wherever tensor and rows are kept."""
        return self.bring(inputs.index_select(0, rows))

    def bring(self, batch: torch.Tensor) -> torch.Tensor:
        """A batch on the device, without waiting for its way there."""
        if self.device.type == "cuda" and batch.device.type == "cpu":
            batch = batch.pin_memory()
        return batch.to(self.device, non_blocking=True)

    def arrange(self, batch: torch.Tensor) -> torch.Tensor:
        """A batch in the memory layout; several stacks are arranged by their first convolution."""
        if self.memory_format is torch.channels_last and batch.ndim != CHANNELS_LAST_DIMENSIONS:
            return batch.contiguous()
        return batch.contiguous(memory_format=self.memory_format)


def compute_for(network: Network, device: Device) -> Compute:
    """Choose how to compute a network.

    On a GPU: bfloat16 autocast. On a CPU: bfloat16 for 2D networks where the processor has the
    instructions, which halves their time; float32 for 3D, whose bfloat16 gradients on CPUs are not
    finite from the first step on, and for images of 16 pixels: the bfloat16 gradient of a 3 x 3
    kernel with stride 2 on a map of one pixel holds whatever stood in memory (torch 2.13).

    Raises:
        InstallError: If the site file asks for a GPU and there is none.
    """
    if device.kind == "cuda" and not torch.cuda.is_available():
        raise InstallError("device.kind is cuda, but torch finds no GPU; use auto or cpu.")
    on_gpu = device.kind != "cpu" and torch.cuda.is_available()
    flat = network.branch.kind == "2.5d"
    sound = flat and min(network.branch.size) > ONE_PIXEL_AT_LAST
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


def inputs_device(n_bytes: int, compute: Compute, device: Device) -> torch.device:
    """Where a network's input is kept between questions: with the network, or in main memory.

    `auto` keeps it with the network as long as half of the GPU's memory stays free for training.
    Kept in main memory, a batch is moved when it is its turn.
    """
    on_host = torch.device("cpu")
    if compute.device.type == "cpu" or device.keep_inputs == "host":
        return on_host
    if device.keep_inputs == "device":
        return compute.device
    free, total = gpu_memory(compute.device)
    return compute.device if free - n_bytes >= total / 2 else on_host


def gpu_memory(device: torch.device) -> tuple[int, int]:
    """Bytes of a GPU that are free, or kept by torch and not in use, and bytes in all."""
    free, total = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device), total


def cpu_has_bf16() -> bool:
    """Whether the processor multiplies bfloat16 natively."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()) and (
        "AVX512" in torch.backends.cpu.get_cpu_capability()
    )


def prepare_process(threads: int) -> None:
    """Make arithmetic repeatable: a fixed number of threads, deterministic kernels.

    Threads decide how sums are divided and so their last digits; linear algebra on the small
    matrices of the statistics runs on one thread.

    On a CPU the same study gives the same bits. On a GPU kernels are deterministic where torch has
    such kernels, none is chosen by timing it, and float32 is float32, not TF32. Repeatability ends
    at the backward pass of 3D max pooling, which adds in no fixed order, and at another model of
    GPU or another version of CUDA.
    """
    import os

    from threadpoolctl import threadpool_limits

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(threads)
    # As `use_deterministic_algorithms` without torch's compiler, which takes seconds to import.
    torch.set_deterministic_debug_mode("warn")
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
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
