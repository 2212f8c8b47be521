"""EfficientNet-Lite0: Tan & Le 2019 without squeeze-and-excitation and with ReLU6, as its authors published it."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from fsjax.models.encoder import Encoder
from fsjax.models.layers import batch_norm
from fsjax.models.staged import Staged
from fsjax.options.models import EfficientNetLiteOptions

# Of TensorFlow's `efficientnet_builder`.
EPSILON = 1e-3


class _Group(NamedTuple):
    """Blocks alike: all have this kernel and this expansion, and the first one the stride."""

    kernel: int
    stride: int
    expansion: int


# Table 1 of the paper.
GROUPS = tuple(
    _Group(*group) for group in ((3, 1, 1), (3, 2, 6), (5, 2, 6), (3, 2, 6), (5, 1, 6), (5, 2, 6), (3, 1, 6))
)


def depthwise(x: jax.Array, kernel: jax.Array, *, stride: int) -> jax.Array:
    """Each channel convolved by itself, padded as TensorFlow's "SAME": by the actual size, the odd row below.

    On a CPU it is a sum of shifted images, each times its weight: XLA's grouped convolution is slow there. The twelve
    kinds of a Lite0 at 224, 32 images, took 1.1 to 2.1 s so, against 22 to 35 s (jaxlib 0.10.2, 2 cores busy with other
    work, with and without the flags of `fsjax.training.xla`); outputs differ by rounding, 6e-6 of values around 5.

    Args:
      x: `[batch, h, w, c]`.
      kernel: `[k, k, 1, c]`.
      stride: in both directions.

    Returns:
      `[batch, ceil(h / stride), ceil(w / stride), c]`.
    """
    return lax.platform_dependent(
        x, kernel, cpu=lambda x, k: _shifted_sum(x, k, stride), default=lambda x, k: _grouped(x, k, stride)
    )


def _grouped(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )


def _shifted_sum(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    batch, height, width, channels = x.shape
    size = kernel.shape[0]
    rows, columns = math.ceil(height / stride), math.ceil(width / stride)
    pads = lax.padtype_to_pads((height, width), (size, size), (stride, stride), "SAME")
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    total: Any = 0
    for i in range(size):
        for j in range(size):
            last = i + (rows - 1) * stride + 1, j + (columns - 1) * stride + 1
            part = lax.slice(x, (0, i, j, 0), (batch, *last, channels), (1, stride, stride, 1))
            total = total + part * kernel[i, j, 0]
    return total


class Depthwise(nn.Module):
    """A `depthwise` convolution without bias.

    Attributes:
      kernel: odd side of the square kernel.
      stride: in both directions.
      dtype: compute dtype; the kernel is float32.
    """

    kernel: int
    stride: int
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[batch, h, w, c]` to `[batch, ceil(h / stride), ceil(w / stride), c]`."""
        shape = (self.kernel, self.kernel, 1, x.shape[-1])
        # Normal of variance 2 / k², as TensorFlow's: one channel goes in, and one comes out.
        kernel = self.param("kernel", nn.initializers.variance_scaling(2.0, "fan_in", "normal"), shape, jnp.float32)
        return depthwise(x.astype(self.dtype), kernel.astype(self.dtype), stride=self.stride)


class Convolved(nn.Module):
    """A convolution padded as "SAME", batch normalisation, and an activation.

    Attributes:
      features: output channels; 0: a depthwise convolution.
      kernel: odd side of the square kernel.
      stride: in both directions.
      activation: None leaves the normalised output as it is.
      momentum: of the running statistics.
      dtype: compute dtype; parameters are float32.
      axis_name: see `fsjax.models.layers.batch_norm`.
    """

    features: int
    kernel: int = 1
    stride: int = 1
    activation: Callable[[jax.Array], jax.Array] | None = nn.relu6
    momentum: float = EfficientNetLiteOptions.momentum
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Maps `[batch, h, w, c]` to `[batch, ceil(h / stride), ceil(w / stride), features]`."""
        if self.features:
            x = nn.Conv(
                self.features,
                (self.kernel, self.kernel),
                strides=self.stride,
                padding="SAME",
                use_bias=False,
                kernel_init=nn.initializers.variance_scaling(2.0, "fan_out", "normal"),
                dtype=self.dtype,
                param_dtype=jnp.float32,
                name="conv",
            )(x)
        else:
            x = Depthwise(self.kernel, self.stride, self.dtype, name="conv")(x)
        x = batch_norm(
            train=train,
            dtype=self.dtype,
            axis_name=self.axis_name,
            name="bn",
            momentum=self.momentum,
            epsilon=EPSILON,
        )(x)
        return x if self.activation is None else self.activation(x)


class InvertedResidual(nn.Module):
    """Expand by a 1x1 convolution, convolve each channel, project linearly; a shortcut where the shapes allow it.

    Sandler et al. 2018, "MobileNetV2".

    Attributes:
      features: output channels.
      kernel: of the depthwise convolution.
      stride: of the depthwise convolution.
      expansion: of the channels; 1: no convolution for it.
      momentum: of the running statistics.
      dtype: compute dtype.
      axis_name: see `fsjax.models.layers.batch_norm`.
    """

    features: int
    kernel: int
    stride: int
    expansion: int
    momentum: float
    dtype: Any
    axis_name: str | None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Maps `[batch, h, w, c]` to `[batch, ceil(h / stride), ceil(w / stride), features]`."""
        common = {"momentum": self.momentum, "dtype": self.dtype, "axis_name": self.axis_name}
        y = x
        if self.expansion > 1:
            y = Convolved(self.expansion * x.shape[-1], name="expand", **common)(y, train=train)
        y = Convolved(0, self.kernel, self.stride, name="depthwise", **common)(y, train=train)
        y = Convolved(self.features, activation=None, name="project", **common)(y, train=train)
        return x + y if self.stride == 1 and x.shape[-1] == self.features else y


class EfficientNetLite(Staged):
    """A stem with stride 2, and groups of inverted residuals; a 1x1 convolution ends the last stage.

    A stage ends where the next group halves the size, so that maps of stage n have 1 / 2^n of the image's size.

    Attributes:
      stem_width: channels of the stem.
      widths: channels by group, of the first of `GROUPS`.
      blocks: how many blocks each group has.
      head_width: channels of the last convolution.
      momentum: of the running statistics of batch normalisation.
      dtype: compute dtype.
      axis_name: see `fsjax.models.layers.batch_norm`.
    """

    stem_width: int
    widths: tuple[int, ...]
    blocks: tuple[int, ...]
    head_width: int
    momentum: float = EfficientNetLiteOptions.momentum
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @property
    def num_stages(self) -> int:
        """How many stages there are."""
        return len(self._stages)

    @property
    def _stages(self) -> list[list[int]]:
        """Numbers of the groups of each stage."""
        stages: list[list[int]] = []
        for number in range(len(self.widths)):
            if GROUPS[number].stride == 2 or not stages:
                stages.append([])
            stages[-1].append(number)
        return stages

    @property
    def _common(self) -> dict[str, Any]:
        return {"momentum": self.momentum, "dtype": self.dtype, "axis_name": self.axis_name}

    def stem(self, images: jax.Array, *, train: bool) -> jax.Array:
        """`[batch, h, w, c]` to `[batch, ceil(h / 2), ceil(w / 2), stem_width]`."""
        return Convolved(self.stem_width, 3, 2, name="stem", **self._common)(images, train=train)

    def stage(self, number: int, x: jax.Array, *, train: bool) -> jax.Array:
        """The groups of a stage; every stage but the first halves the size."""
        for group in self._stages[number - 1]:
            kernel, stride, expansion = GROUPS[group]
            for index in range(self.blocks[group]):
                module = InvertedResidual(
                    self.widths[group],
                    kernel,
                    stride if index == 0 else 1,
                    expansion,
                    name=f"group{group + 1}_block{index + 1}",
                    **self._common,
                )
                x = self.block(module, x, train=train)
        if number == self.num_stages:
            x = Convolved(self.head_width, name="head", **self._common)(x, train=train)
        return x


def efficientnet_lite0(
    options: EfficientNetLiteOptions, *, dtype: Any = jnp.float32, axis_name: str | None = None
) -> Encoder:
    """EfficientNet-Lite0; 1,280-d embedding. 4,652,008 parameters with a linear classifier of 1,000 classes.

    Published weights of it come with fsjax: `fsjax.network("efficientnet_lite0")`.

    Args:
      options: what it is made of.
      dtype: compute dtype.
      axis_name: device axis for synchronised batch statistics.
    """
    backbone = EfficientNetLite(
        options.stem_width,
        options.widths,
        options.blocks,
        options.head_width,
        options.momentum,
        dtype=dtype,
        axis_name=axis_name,
    )
    return Encoder(backbone, options.pool, (), options.dim, dtype=dtype, axis_name=axis_name)
