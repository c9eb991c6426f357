"""What the training loop costs over a bare one: the same steps on the same tensors in memory.

Bare is select a batch, forward, loss, backward, clip, step: no augmentation, no check of the
gradients, nothing read back. Ours is an epoch of a site's round with the default augmentation.
Turns alternate in one process, so that both see the same machine: A B A B; the first of each is
dropped. On a GPU also the rate of a bfloat16 matrix product, and the share of it that an epoch
reaches.

    python -m tests.benchmarks.training_throughput --kind 2.5d --network resnet50 --size 96 96
"""

import argparse
import statistics
import time

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.flop_counter import FlopCounterMode

from client.augment import frame_of
from client.device import Compute, compute_for, prepare_process
from client.optimiser import build_optimiser, trainable
from client.settings import Device
from client.training import RoundPlan, batches, train_round
from client.workbench import Inputs
from shared.branches import Branch3D, Branch25D, Network, Training
from shared.networks import build_network, input_shape

PHASES = ("corticomedullary", "nephrographic", "excretory")
STUDY_CASES = 237


def network_of(arguments: argparse.Namespace) -> Network:
    """The network that the arguments describe."""
    training = Training(batch_size=arguments.batch, precision=arguments.precision)
    kind = Branch25D if arguments.kind == "2.5d" else Branch3D
    size = {} if arguments.size is None else {"size": tuple(arguments.size)}
    branch = kind(
        name="bench", kind=arguments.kind, network=arguments.network, training=training, **size
    )
    return Network(name="bench", branch=branch, phases=PHASES)


def made_up_inputs(network: Network, n: int, device: torch.device) -> Inputs:
    """Noise in the HU window, on the device."""
    rng = torch.Generator().manual_seed(0)
    tensor = torch.rand((n, *input_shape(network)), generator=rng) * 2 - 1
    labels = (torch.arange(n) % 2).float()
    patients = np.arange(n, dtype=np.uint64)
    return Inputs(
        tensor.to(device), labels.to(device), np.ones(n, bool), patients, frame_of(network)
    )


def bare_epoch(
    module: torch.nn.Module,
    optimiser: torch.optim.Optimizer,
    inputs: Inputs,
    plan: RoundPlan,
    compute: Compute,
) -> None:
    """The least that trains on every case once."""
    module.train()
    parameters = list(module.parameters())
    order = batches(len(inputs.labels), plan.training.batch_size, np.random.default_rng(plan.seed))
    for rows in [torch.from_numpy(part).to(inputs.tensor.device) for part in order]:
        batch = inputs.tensor.index_select(0, rows)
        batch = batch.contiguous(memory_format=compute.memory_format)
        optimiser.zero_grad(set_to_none=True)
        with compute.precision():
            logits = module(batch).squeeze(1)
        binary_cross_entropy_with_logits(logits.float(), inputs.labels[rows]).backward()
        torch.nn.utils.clip_grad_norm_(parameters, plan.training.clip_gradient_norm, foreach=True)
        optimiser.step()


def seconds(work: object, device: torch.device) -> float:
    """How long a call takes, until the device has done it."""
    wait(device)
    began = time.perf_counter()
    work()  # type: ignore[operator]
    wait(device)
    return time.perf_counter() - began


def wait(device: torch.device) -> None:
    """Until the device has nothing left to do."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def matmul_rate(device: torch.device, n: int = 8192) -> float:
    """Floating-point operations in a second of a large bfloat16 matrix product."""
    a, b = (torch.randn(n, n, device=device, dtype=torch.bfloat16) for _ in range(2))
    times = [seconds(lambda: torch.mm(a, b), device) for _ in range(12)]
    return 2 * n**3 / statistics.median(times[2:])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kind", choices=["2.5d", "3d"], default="2.5d")
    parser.add_argument("--size", type=int, nargs="+", help="(y, x), or (z, y, x) for 3d")
    parser.add_argument("--network", default="resnet50")
    parser.add_argument("--cases", type=int, default=96)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--precision", choices=["auto", "fp32", "bf16"], default="auto")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--turns", type=int, default=6)
    arguments = parser.parse_args()
    prepare_process(arguments.threads)
    network = network_of(arguments)
    compute = compute_for(network, Device(kind=arguments.device))
    inputs = made_up_inputs(network, arguments.cases, compute.device)
    settings = network.branch.training
    plan = RoundPlan(settings, 1, 0.0, 1)
    made = []
    for _ in range(2):
        module = build_network(network, seed=1).to(
            device=compute.device,
            memory_format=compute.memory_format,  # type: ignore[call-overload]
        )
        made.append((module, build_optimiser(trainable(module), settings, 1)))
    works = {
        "bare": lambda: bare_epoch(*made[0], inputs, plan, compute),
        "ours": lambda: train_round(made[1][0], inputs, plan, compute, made[1][1]),
    }
    times: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(arguments.turns + 1):
        for name in list(works) if turn % 2 else reversed(works):
            times[name].append(seconds(works[name], compute.device))
    ratios = [b / o for b, o in zip(times["bare"][1:], times["ours"][1:], strict=True)]
    ours_s = statistics.median(times["ours"][1:])
    print(f"{network.branch.kind} {network.branch.network} {network.branch.size} {compute}")
    print(
        f"throughput over bare: median {statistics.median(ratios):.3f}, "
        f"{min(ratios):.3f} to {max(ratios):.3f}, {arguments.turns} turns"
    )
    rate = arguments.cases / ours_s
    print(f"{rate:.1f} samples a second; {STUDY_CASES} patients in {STUDY_CASES / rate:.1f} s")
    if compute.device.type == "cuda":
        with FlopCounterMode(display=False) as counter:
            works["bare"]()
        peak, reached = matmul_rate(compute.device), counter.get_total_flops() / ours_s
        print(
            f"{torch.cuda.get_device_name()}: matmul {peak / 1e12:.0f} TFLOP/s, "
            f"training {reached / 1e12:.1f} ({reached / peak:.1%})"
        )


if __name__ == "__main__":
    main()
