"""Made-up files with the names and shapes of the published ones, and networks computed from them.

Names, shapes and forward passes are written from torchvision's and MedicalNet's definitions with
`torch.nn.functional`; nothing here comes from the code under test or from MONAI.
"""

import hashlib
from collections.abc import Iterator

import torch
from safetensors.torch import save_file
from torch.nn import functional

BASIC = {"resnet10": (1, 1, 1, 1), "resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3)}
BLOCKS = {**BASIC, "resnet50": (3, 4, 6, 3)}
CONV = {2: functional.conv2d, 3: functional.conv3d}
MAX_POOL = {2: functional.max_pool2d, 3: functional.max_pool3d}
AVG_POOL = {2: functional.avg_pool2d, 3: functional.avg_pool3d}
GENERATOR = torch.Generator().manual_seed(5)


def uniform(low, high, *shape):
    return low + (high - low) * torch.rand(shape, generator=GENERATOR)


def convolution(name, out, into, size, dims):
    kernel = torch.randn(out, into, *(size,) * dims, generator=GENERATOR)
    return {f"{name}.weight": kernel / (into * size**dims / 2) ** 0.5}


def batch_norm(name, width):
    return {
        f"{name}.weight": uniform(0.1, 0.7, width),
        f"{name}.bias": uniform(-0.2, 0.2, width),
        f"{name}.running_mean": uniform(-0.2, 0.2, width),
        f"{name}.running_var": uniform(0.5, 1.5, width),
        f"{name}.num_batches_tracked": torch.tensor(100),
    }


def blocks_of(network) -> Iterator[tuple[str, int, int]]:
    """Every residual block: its name, its planes, its stride."""
    for stage, n_blocks in enumerate(BLOCKS[network]):
        for number in range(n_blocks):
            stride = 2 if stage and not number else 1
            yield f"layer{stage + 1}.{number}", 64 * 2**stage, stride


def resnet_tensors(network, *, dims=2, channels=3, padded=False):
    """A ResNet's state_dict without its last layer."""
    tensors = convolution("conv1", 64, channels, 7, dims) | batch_norm("bn1", 64)
    before, basic = 64, network in BASIC
    for name, planes, stride in blocks_of(network):
        after = planes if basic else 4 * planes
        sizes = (3, 3) if basic else (1, 3, 1)
        widths = [before, *[planes] * (len(sizes) - 1), after]
        for i, size in enumerate(sizes):
            tensors |= convolution(f"{name}.conv{i + 1}", widths[i + 1], widths[i], size, dims)
            tensors |= batch_norm(f"{name}.bn{i + 1}", widths[i + 1])
        if (stride > 1 or before != after) and not padded:
            tensors |= convolution(f"{name}.downsample.0", after, before, 1, dims)
            tensors |= batch_norm(f"{name}.downsample.1", after)
        before = after
    return tensors


def torchvision_file(network, **options):
    """As torchvision publishes it: with a last layer for ImageNet's 1000 classes."""
    tensors = resnet_tensors(network, **options)
    width = 512 if network in BASIC else 2048
    return tensors | {"fc.weight": uniform(-1, 1, 1000, width), "fc.bias": uniform(-1, 1, 1000)}


def medicalnet_file(network):
    """As MedicalNet publishes it: for three dimensions, with DataParallel's prefix."""
    padded = network in ("resnet18", "resnet34")
    tensors = resnet_tensors(network, dims=3, channels=1, padded=padded)
    tensors |= {"conv_seg.0.weight": uniform(-1, 1, 8, 32, 2, 2, 2)}
    return {"state_dict": {f"module.{name}": tensor for name, tensor in tensors.items()}}


def normed(tensors, name, x):
    mean, variance = tensors[f"{name}.running_mean"], tensors[f"{name}.running_var"]
    shape = (1, -1) + (1,) * (x.ndim - 2)
    scale = tensors[f"{name}.weight"] / torch.sqrt(variance + 1e-5)
    return (x - mean.view(shape)) * scale.view(shape) + tensors[f"{name}.bias"].view(shape)


def resnet_embedding(network, tensors, x):
    """What a ResNet (v1.5: the stride is in the 3 x 3 convolution) gives before its last layer."""
    dims, basic = x.ndim - 2, network in BASIC
    conv = CONV[dims]
    x = conv(x, tensors["conv1.weight"], stride=2, padding=3)
    x = MAX_POOL[dims](functional.relu(normed(tensors, "bn1", x)), 3, 2, 1)
    for name, _, stride in blocks_of(network):
        strides, pads = ((stride, 1), (1, 1)) if basic else ((1, stride, 1), (0, 1, 0))
        out = x
        for i, (step, pad) in enumerate(zip(strides, pads, strict=True), start=1):
            out = functional.relu(out) if i > 1 else out
            out = conv(out, tensors[f"{name}.conv{i}.weight"], stride=step, padding=pad)
            out = normed(tensors, f"{name}.bn{i}", out)
        if f"{name}.downsample.0.weight" in tensors:
            x = conv(x, tensors[f"{name}.downsample.0.weight"], stride=stride)
            x = normed(tensors, f"{name}.downsample.1", x)
        elif out.shape != x.shape:
            x = AVG_POOL[dims](x, 1, stride)
            x = torch.cat([x, torch.zeros_like(out[:, x.shape[1] :])], dim=1)
        x = functional.relu(out + x)
    return x.flatten(2).mean(dim=2)


def densenet121_file(*, dotted=False):
    """torchvision's densenet121; the published file writes norm.1 where newer ones write norm1."""
    dot = "." if dotted else ""
    tensors = convolution("features.conv0", 64, 3, 7, 2) | batch_norm("features.norm0", 64)
    width = 64
    for block, n_layers in enumerate((6, 12, 24, 16), start=1):
        for layer in range(1, n_layers + 1):
            at = f"features.denseblock{block}.denselayer{layer}"
            tensors |= batch_norm(f"{at}.norm{dot}1", width)
            tensors |= convolution(f"{at}.conv{dot}1", 128, width, 1, 2)
            tensors |= batch_norm(f"{at}.norm{dot}2", 128)
            tensors |= convolution(f"{at}.conv{dot}2", 32, 128, 3, 2)
            width += 32
        if block < 4:
            at = f"features.transition{block}"
            tensors |= batch_norm(f"{at}.norm", width)
            tensors |= convolution(f"{at}.conv", width // 2, width, 1, 2)
            width //= 2
    tensors |= batch_norm("features.norm5", width)
    return tensors | {
        "classifier.weight": uniform(-1, 1, 1000, width),
        "classifier.bias": uniform(-1, 1, 1000),
    }


def densenet121_embedding(tensors, x):
    """What densenet121 gives before its last layer."""

    def step(norm, conv, x, **options):
        x = functional.relu(normed(tensors, norm, x))
        return functional.conv2d(x, tensors[f"{conv}.weight"], **options)

    x = functional.conv2d(x, tensors["features.conv0.weight"], stride=2, padding=3)
    x = functional.max_pool2d(functional.relu(normed(tensors, "features.norm0", x)), 3, 2, 1)
    for block, n_layers in enumerate((6, 12, 24, 16), start=1):
        for layer in range(1, n_layers + 1):
            at = f"features.denseblock{block}.denselayer{layer}"
            new = step(f"{at}.norm1", f"{at}.conv1", x)
            x = torch.cat([x, step(f"{at}.norm2", f"{at}.conv2", new, padding=1)], dim=1)
        if block < 4:
            at = f"features.transition{block}"
            x = functional.avg_pool2d(step(f"{at}.norm", f"{at}.conv", x), 2)
    x = functional.relu(normed(tensors, "features.norm5", x))
    return x.flatten(2).mean(dim=2)


def saved(path, content):
    """Save a file as its ending says; what a branch says of it, but for the format."""
    if path.suffix == ".safetensors":
        save_file(content, path)
    else:
        torch.save(content, path)
    return {"file": path, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
