"""Activations of torchvision's ResNet-50 and ResNet-101, and of timm's ResNet-50-C, on random weights, for the tests.

    python tests/models/torchvision_activations.py tests/vectors

Needs torch, torchvision and timm; the tests, which draw the same weights, need none of them. Nothing here is a test.
"""

import zlib

import numpy as np

# File name: blocks by stage, and whether the stem is timm's deep one.
NETWORKS = {
    "torchvision_resnet50": ((3, 4, 6, 3), False),
    "torchvision_resnet101": ((3, 4, 23, 3), False),
    "timm_resnet50c": ((3, 4, 6, 3), True),
}
SIZES = ((64, 64), (75, 61))
# Of the maps' channels, to keep the files small; all of the pooled ones are stored.
EVERY = 32


def shapes(blocks, *, deep=False, width=64, channels=3, classes=10):
    """Shapes by name of a ResNet's state dict, in torchvision's layout (timm's, with the deep stem)."""
    found = {}

    def conv(name, inputs, outputs, side):
        found[f"{name}.weight"] = (outputs, inputs, side, side)

    def norm(name, size):
        found.update({f"{name}.{leaf}": (size,) for leaf in ("weight", "bias", "running_mean", "running_var")})
        found[f"{name}.num_batches_tracked"] = ()

    if deep:
        for index, (inputs, outputs) in enumerate([(channels, width // 2), (width // 2, width // 2)]):
            conv(f"conv1.{3 * index}", inputs, outputs, 3)
            norm(f"conv1.{3 * index + 1}", outputs)
        conv("conv1.6", width // 2, width, 3)
    else:
        conv("conv1", channels, width, 7)
    norm("bn1", width)
    inputs = width
    for stage, count in enumerate(blocks):
        narrow, wide = width * 2**stage, width * 2**stage * 4
        for index in range(count):
            block = f"layer{stage + 1}.{index}"
            for number, (fan_in, fan_out, side) in enumerate(
                [(inputs, narrow, 1), (narrow, narrow, 3), (narrow, wide, 1)], 1
            ):
                conv(f"{block}.conv{number}", fan_in, fan_out, side)
                norm(f"{block}.bn{number}", fan_out)
            if index == 0:
                conv(f"{block}.downsample.0", inputs, wide, 1)
                norm(f"{block}.downsample.1", wide)
            inputs = wide
    found["fc.weight"], found["fc.bias"] = (classes, inputs), (classes,)
    return found


def draw(name, shape):
    """An array of a state dict: of its name alone, and the same with every version of NumPy."""
    if name.endswith("num_batches_tracked"):
        return np.full(shape, 7, np.int64)
    uniform = np.random.RandomState(zlib.crc32(name.encode())).random_sample(shape)  # a frozen generator
    low, high = _range(name, shape)
    return (low + (high - low) * uniform).astype(np.float32)


def _range(name, shape):
    """Far from what a fresh network has, and such that the activations stay between 1 and 10 in all stages."""
    if len(shape) > 1:
        bound = np.sqrt(6 / np.prod(shape[1:]))
        return -bound, bound
    if name.endswith(".running_var"):
        return 0.5, 2.0
    if name.endswith((".bias", ".running_mean")):
        return -0.3, 0.3
    return (0.1, 0.4) if ".bn3." in name else (0.5, 1.5)


def weights(blocks, **options):
    """A state dict of random weights, see `shapes`."""
    return {name: draw(name, shape) for name, shape in shapes(blocks, **options).items()}


def images(height, width):
    """`[1, height, width, 3]` float32."""
    return (4 * np.random.RandomState(height).random_sample((1, height, width, 3)) - 2).astype(np.float32)


def part(maps):
    """What is stored of maps `[1, h, w, channels]`."""
    return maps[..., ::EVERY]


def main(folder):
    """Write a file for each network."""
    import timm
    import torch
    import torchvision

    make = {
        "torchvision_resnet50": torchvision.models.resnet50,
        "torchvision_resnet101": torchvision.models.resnet101,
        "timm_resnet50c": lambda num_classes: timm.create_model("resnet50c", num_classes=num_classes),
    }
    for name, (blocks, deep) in NETWORKS.items():
        network = make[name](num_classes=10).eval()
        network.load_state_dict({k: torch.from_numpy(np.asarray(v)) for k, v in weights(blocks, deep=deep).items()})
        maps = {}
        for stage in range(1, 5):
            getattr(network, f"layer{stage}").register_forward_hook(
                lambda _, __, output, stage=stage, maps=maps: maps.update({stage: output})
            )
        stored = {}
        for height, width in SIZES:
            with torch.no_grad():
                network(torch.from_numpy(images(height, width)).permute(0, 3, 1, 2))
            for stage, output in maps.items():
                stored[f"{height}x{width}/stage{stage}"] = part(output.permute(0, 2, 3, 1).numpy())
                print(f"{name} {height}x{width} layer{stage}: {tuple(output.shape)}, deviation {output.std():.3f}")
            stored[f"{height}x{width}/pooled"] = maps[4].mean((2, 3)).numpy()
        np.savez_compressed(f"{folder}/{name}.npz", **stored)


if __name__ == "__main__":
    import sys

    main(sys.argv[1])
