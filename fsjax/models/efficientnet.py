"""EfficientNet-Lite: mobile networks for photographs, as in TensorFlow's code (Tan & Le 2019; Lite: Liu 2020).

Lite leaves squeeze-and-excitation out, has ReLU6 in the place of swish, and does not widen the stem and the head.
Padding is TensorFlow's "SAME", which depends on the size: the bottom and the right get the odd pixel.
"""

import math
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from fsjax.models.encoder import Encoder
from fsjax.models.layers import HE_NORMAL, batch_norm
from fsjax.models.staged import Staged

# Of each stage: side of the depthwise kernel, stride, expansion, channels, and blocks.
STAGES = ((3, 1, 1, 16, 1), (3, 2, 6, 24, 2), (5, 2, 6, 40, 2), (3, 2, 6, 80, 3), (5, 1, 6, 112, 3), (5, 2, 6, 192, 4),
          (3, 1, 6, 320, 1))  # fmt: skip
STEM, HEAD = 32, 1280


class Depthwise(nn.Module):
    """A convolution with a kernel of its own for each channel, without bias, padded as in TensorFlow.

    On a CPU it is a sum of shifted products: XLA's grouped convolution took 19 times as long for the whole network (16
    images of 224x224 by EfficientNet-Lite0: 1,354 against 71 ms an image, 2 busy cores of an EPYC, jax 0.10.2).

    Attributes:
      kernel: side of the square kernel.
      stride: in both directions.
      dtype: compute dtype; sums are of float32.
    """

    kernel: int
    stride: int = 1
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[batch, h, w, c]` to `[batch, ceil(h / stride), ceil(w / stride), c]`."""
        side, channels = self.kernel, x.shape[-1]
        # TensorFlow's fan-out of such a kernel is flax's fan-in.
        kernel = self.param("kernel", HE_NORMAL["fan_in"], (side, side, 1, channels), jnp.float32)
        x, kernel = x.astype(self.dtype), kernel.astype(self.dtype)
        if jax.default_backend() != "cpu":
            return jax.lax.conv_general_dilated(
                x, kernel, (self.stride, self.stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"),
                feature_group_count=channels,
            )  # fmt: skip
        return shifted_sum(x, kernel[:, :, 0], self.stride).astype(self.dtype)


def shifted_sum(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """The depthwise convolution of `[batch, h, w, c]` with `[side, side, c]`, float32 `[batch, ⌈h/s⌉, ⌈w/s⌉, c]`."""
    side, sizes = len(kernel), [-(-n // stride) for n in x.shape[1:3]]
    missing = [max((out - 1) * stride + side - n, 0) for n, out in zip(x.shape[1:3], sizes, strict=True)]
    x = jnp.pad(x, ((0, 0), *((n // 2, n - n // 2) for n in missing), (0, 0)))
    rows, columns = ((out - 1) * stride + 1 for out in sizes)
    total = jnp.zeros((), jnp.float32)
    for i in range(side):
        for j in range(side):
            seen = x[:, i : i + rows : stride, j : j + columns : stride]
            total += seen.astype(jnp.float32) * kernel[i, j].astype(jnp.float32)
    return total


class ConvBN(nn.Module):
    """A convolution without bias, padded as in TensorFlow, batch normalisation, and ReLU6.

    Attributes:
      features: output channels.
      kernel: side of the square kernel.
      stride: in both directions.
      depthwise: whether each channel has a kernel of its own; `features` is then that of the input.
      linear: whether ReLU6 is left out.
      dtype: compute dtype.
      axis_name: see `fsjax.models.layers.batch_norm`.
    """

    features: int
    kernel: int
    stride: int = 1
    depthwise: bool = False
    linear: bool = False
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Maps `[batch, h, w, c]` to `[batch, ceil(h / stride), ceil(w / stride), features]`."""
        if self.depthwise:
            x = Depthwise(self.kernel, self.stride, self.dtype, name="conv")(x)
        else:
            x = nn.Conv(
                self.features,
                (self.kernel, self.kernel),
                strides=self.stride,
                padding="SAME",
                use_bias=False,
                kernel_init=HE_NORMAL["fan_out"],
                dtype=self.dtype,
                param_dtype=jnp.float32,
                name="conv",
            )(x)
        common = {"dtype": self.dtype, "axis_name": self.axis_name, "epsilon": 1e-3, "momentum": 0.99}
        x = batch_norm(train=train, name="bn", **common)(x)
        return x if self.linear else nn.relu6(x)


class InvertedResidual(nn.Module):
    """1x1 expansion, depthwise convolution, linear 1x1 projection, and a shortcut where the shape stays (MBConv).

    Attributes:
      features: output channels.
      kernel: side of the depthwise kernel.
      stride: of the depthwise convolution.
      expansion: channels of the depthwise convolution, in units of the input's; 1 leaves the expansion out.
      dtype: compute dtype.
      axis_name: see `fsjax.models.layers.batch_norm`.
    """

    features: int
    kernel: int
    stride: int
    expansion: int
    dtype: Any
    axis_name: str | None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Maps `[batch, h, w, c]` to `[batch, ceil(h / stride), ceil(w / stride), features]`."""
        layer = partial(ConvBN, dtype=self.dtype, axis_name=self.axis_name)
        wide, y = self.expansion * x.shape[-1], x
        if self.expansion > 1:
            y = layer(wide, 1, name="expand")(y, train=train)
        y = layer(wide, self.kernel, self.stride, depthwise=True, name="depthwise")(y, train=train)
        y = layer(self.features, 1, linear=True, name="project")(y, train=train)
        return x + y if self.stride == 1 and x.shape[-1] == self.features else y


class EfficientNetLite(Staged):
    """A stem of stride 2, seven stages of inverted residuals, and a 1x1 convolution to 1,280 channels as the eighth.

    Attributes:
      width: multiplies the channels of stages 1 to 7, rounded to multiples of 8.
      depth: multiplies the blocks of stages 2 to 6, rounded up.
      dtype: compute dtype.
      axis_name: see `fsjax.models.layers.batch_norm`.
    """

    width: float = 1.0
    depth: float = 1.0
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @property
    def num_stages(self) -> int:
        """How many stages there are."""
        return len(STAGES) + 1

    def stem(self, images: jax.Array, *, train: bool) -> jax.Array:
        """`[batch, h, w, c]` to `[batch, ceil(h / 2), ceil(w / 2), 32]`."""
        return ConvBN(STEM, 3, 2, dtype=self.dtype, axis_name=self.axis_name, name="stem")(images, train=train)

    def stage(self, number: int, x: jax.Array, *, train: bool) -> jax.Array:
        """The blocks of a stage, or the head."""
        common = {"dtype": self.dtype, "axis_name": self.axis_name}
        if number == self.num_stages:
            return ConvBN(HEAD, 1, name="head", **common)(x, train=train)
        kernel, stride, expansion, channels, blocks = STAGES[number - 1]
        if number not in (1, len(STAGES)):
            blocks = math.ceil(self.depth * blocks)
        for index in range(1, blocks + 1):
            module = InvertedResidual(
                features=rounded(self.width * channels),
                kernel=kernel,
                stride=stride if index == 1 else 1,
                expansion=expansion,
                name=f"stage{number}_block{index}",
                **common,
            )
            x = self.block(module, x, train=train)
        return x


def rounded(channels: float) -> int:
    """To the nearest multiple of 8 that is no more than a tenth below; at least 8."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest


def _encoder(*, width: float, depth: float, pool: str, dim: int | None, dtype: Any, axis_name: str | None) -> Encoder:
    backbone = EfficientNetLite(width, depth, dtype=dtype, axis_name=axis_name)
    return Encoder(backbone, pool, (), dim, dtype=dtype, axis_name=axis_name)


def efficientnet_lite0(
    *, pool: str = "gap", dim: int | None = None, dtype: Any = jnp.float32, axis_name: str | None = None
) -> Encoder:
    """EfficientNet-Lite0; 1,280-d embedding. 4,652,008 parameters with a linear classifier of 1,000 classes.

    Made for images of 224x224, `(x - 127) / 128`; other sizes work.

    Args:
      pool: a key of `fsjax.models.pooling.POOLS`.
      dim: width of a linear layer after the pooling (None: no such layer).
      dtype: compute dtype.
      axis_name: device axis for synchronised batch statistics.
    """
    return _encoder(width=1.0, depth=1.0, pool=pool, dim=dim, dtype=dtype, axis_name=axis_name)


def efficientnet_lite1(
    *, pool: str = "gap", dim: int | None = None, dtype: Any = jnp.float32, axis_name: str | None = None
) -> Encoder:
    """EfficientNet-Lite1, deeper and made for 240x240; otherwise as `efficientnet_lite0`."""
    return _encoder(width=1.0, depth=1.1, pool=pool, dim=dim, dtype=dtype, axis_name=axis_name)


def efficientnet_lite2(
    *, pool: str = "gap", dim: int | None = None, dtype: Any = jnp.float32, axis_name: str | None = None
) -> Encoder:
    """EfficientNet-Lite2, deeper, wider and made for 260x260; otherwise as `efficientnet_lite0`."""
    return _encoder(width=1.1, depth=1.2, pool=pool, dim=dim, dtype=dtype, axis_name=axis_name)
