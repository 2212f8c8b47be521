import types

import jax
import numpy as np
import pytest


def convolve(x, kernel, stride=1):
    """A convolution as in PyTorch, `padding=kernel // 2`: one output position at a time."""
    side = kernel.shape[0]
    pad = side // 2
    batch, height, width, _ = x.shape
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    out = np.zeros((batch, -(-height // stride), -(-width // stride), kernel.shape[-1]))
    for row in range(out.shape[1]):
        for column in range(out.shape[2]):
            top, left = row * stride, column * stride
            patch = x[:, top : top + side, left : left + side]
            out[:, row, column] = np.einsum("bijc,ijco->bo", patch, kernel)
    return out


def normalise(x, params, stats):
    """Batch normalisation in inference."""
    return (x - stats["mean"]) / np.sqrt(stats["var"] + 1e-5) * params["scale"] + params["bias"]


def conv_bn(x, params, stats, stride=1):
    """A `ConvBN` in inference, before its activation."""
    return normalise(convolve(x, params["conv"]["kernel"], stride), params["bn"], stats["bn"])


def max_pool(x, side, stride, pad=0):
    """The maximum over windows, one output position at a time; windows that stick out are dropped."""
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)), constant_values=-np.inf)
    rows, columns = ((size - side) // stride + 1 for size in x.shape[1:3])
    out = np.zeros((x.shape[0], rows, columns, x.shape[3]))
    for row in range(rows):
        for column in range(columns):
            top, left = row * stride, column * stride
            out[:, row, column] = x[:, top : top + side, left : left + side].max((1, 2))
    return out


@pytest.fixture(scope="session")
def oracle():
    """The layers again, in NumPy and float64."""
    return types.SimpleNamespace(convolve=convolve, normalise=normalise, conv_bn=conv_bn, max_pool=max_pool)


@pytest.fixture(scope="session")
def randomised():
    """Variables of a model, all drawn anew: no bias or running statistic is left at 0 or 1."""

    def randomise(model, images, seed=0):
        rng = np.random.default_rng(seed)
        shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), images, train=False))

        def draw(path, leaf):
            name = path[-1].key
            if name in ("scale", "var"):
                return rng.uniform(0.5, 1.5, leaf.shape).astype(np.float32)
            fan = np.prod(leaf.shape[:-1]) if name == "kernel" else 4
            return (rng.normal(size=leaf.shape) / np.sqrt(fan)).astype(np.float32)

        return jax.tree_util.tree_map_with_path(draw, shapes)

    return randomise


@pytest.fixture(scope="session")
def narrow():
    """Options that make each network of `MODELS` narrow and shallow."""
    return {
        "cnn": {"stages": [[4], [6]]},
        "mnist_2d": {"stages": [[4], [6]], "hidden": [8]},
        "mnist_100d": {"stages": [[4], [6]], "dim": 5},
        "c64f": {"widths": [4, 6]},
        "c128f": {"widths": [4, 6]},
        "vgg13": {"widths": [4, 6, 8], "convs": [2, 1, 1]},
        "resnet12": {"widths": [4, 6]},
        "resnet18_cifar": {"width": 4, "blocks": [1, 1]},
        "resnet32": {"width": 4, "blocks": [1, 1]},
        "resnet32_bbn": {"width": 4, "blocks": [1, 1]},
        "wrn28_10": {"depth": 10, "widen": 1},
        "resnet18": {"width": 4, "blocks": [1, 1]},
        "resnet50": {"width": 4, "blocks": [1, 1]},
        "resnet101": {"width": 4, "blocks": [1, 1]},
        "efficientnet_lite0": {"stem_width": 4, "widths": [4, 6, 6], "blocks": [1, 2, 1], "head_width": 8},
    }
