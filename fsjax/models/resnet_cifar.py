"""Residual networks for 32x32 images: ResNet-18 with a 3x3 stem, ResNet-32, and that with two branches."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from fsjax.models.encoder import Encoder
from fsjax.models.layers import ConvBN
from fsjax.models.staged import Staged
from fsjax.options.models import ResNet32Options, ResNetCifarOptions


def identity_shortcut(x: jax.Array, features: int, stride: int) -> jax.Array:
    """He et al. 2016's option A: subsample the positions and add zero channels; no parameters.

    The paper does not say where the zeros go. Half of them go before and half after the channels, as in the
    widely used PyTorch implementations (akamaster, and the long-tail code that builds on it).

    Args:
      x: `[batch, h, w, channels]`.
      features: channels to come out, at least as many as go in.
      stride: every which position is kept, from the first.

    Returns:
      `[batch, ceil(h / stride), ceil(w / stride), features]`.
    """
    extra = features - x.shape[-1]
    x = x[:, ::stride, ::stride]
    return jnp.pad(x, ((0, 0), (0, 0), (0, 0), (extra // 2, extra - extra // 2)))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, summed before the last ReLU.

    Attributes:
      features: output channels.
      stride: of the first convolution and of the shortcut.
      option: the shortcut where the shape changes, of He et al. 2016: "A" zero-padded identity, "B" 1x1
        convolution with batch normalisation.
      fan: "fan_in" or "fan_out" of the He normal initialisation.
      dtype: compute dtype.
      axis_name: see `fsjax.models.layers.batch_norm`.
    """

    features: int
    stride: int
    option: str
    fan: str
    dtype: Any
    axis_name: str | None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Maps `[batch, h, w, c]` to `[batch, ceil(h / stride), ceil(w / stride), features]`."""
        common = {"fan": self.fan, "dtype": self.dtype, "axis_name": self.axis_name}
        y = ConvBN(self.features, stride=self.stride, name="conv1", **common)(x, train=train)
        y = ConvBN(self.features, activation=None, name="conv2", **common)(y, train=train)
        if self.stride != 1 or x.shape[-1] != self.features:
            if self.option == "A":
                x = identity_shortcut(x, self.features, self.stride)
            else:
                x = ConvBN(self.features, kernel=1, stride=self.stride, activation=None, name="shortcut", **common)(
                    x, train=train
                )
        return nn.relu(x + y)


class ResNetCifar(Staged):
    """A 3x3 stem and stages of basic blocks; every stage but the first halves the size.

    Attributes:
      widths: output channels by stage; the stem has the first stage's.
      blocks: basic blocks by stage.
      option: "A" or "B", see `BasicBlock`.
      fan: "fan_in" or "fan_out" of the He normal initialisation.
      branches: if above 1, the last block of the last stage becomes that many parallel ones, and their
        outputs are concatenated.
      dtype: compute dtype.
      axis_name: see `fsjax.models.layers.batch_norm`.
    """

    widths: tuple[int, ...]
    blocks: tuple[int, ...]
    option: str
    fan: str
    branches: int = 1
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @property
    def num_stages(self) -> int:
        """How many stages there are."""
        return len(self.widths)

    @property
    def _common(self) -> dict[str, Any]:
        return {"fan": self.fan, "dtype": self.dtype, "axis_name": self.axis_name}

    def stem(self, images: jax.Array, *, train: bool) -> jax.Array:
        """`[batch, h, w, c]` to `[batch, h, w, widths[0]]`."""
        return ConvBN(self.widths[0], name="stem", **self._common)(images, train=train)

    def stage(self, number: int, x: jax.Array, *, train: bool) -> jax.Array:
        """The blocks of a stage, the last of them in parallel if it is the last of all."""
        width, count = self.widths[number - 1], self.blocks[number - 1]
        parallel = self.branches if number == self.num_stages else 1
        for index in range(1, count + 1):
            stride = 2 if number > 1 and index == 1 else 1
            names = [f"stage{number}_block{index}"]
            if index == count and parallel > 1:
                names = [f"stage{number}_branch{branch}" for branch in range(1, parallel + 1)]
            blocks = [BasicBlock(width, stride, self.option, name=name, **self._common) for name in names]
            x = jnp.concatenate([self.block(block, x, train=train) for block in blocks], axis=-1)
        return x


def resnet18_cifar(options: ResNetCifarOptions, *, dtype: Any = jnp.float32, axis_name: str | None = None) -> Encoder:
    """ResNet-18 for CIFAR: 3x3 stem, no pooling, basic blocks, 1x1-convolution shortcuts; 512-d embedding.

    The network of kuangliu/pytorch-cifar, 11,173,962 parameters with a linear classifier of 10 classes. He
    normal initialisation over fan-out, as torchvision's ResNets have it.

    Args:
      options: what it is made of.
      dtype: compute dtype.
      axis_name: device axis for synchronised batch statistics.
    """
    backbone = ResNetCifar(_widths(options), options.blocks, "B", "fan_out", dtype=dtype, axis_name=axis_name)
    return Encoder(backbone, options.pool, (), options.dim, dtype=dtype, axis_name=axis_name)


def resnet32(options: ResNet32Options, *, dtype: Any = jnp.float32, axis_name: str | None = None) -> Encoder:
    """ResNet-32 for CIFAR (He et al. 2016, Sec. 4.2), option-A shortcuts; 64-d embedding.

    464,154 parameters with a linear classifier of 10 classes. He normal initialisation over fan-in.

    Args:
      options: what it is made of.
      dtype: compute dtype.
      axis_name: device axis for synchronised batch statistics.
    """
    backbone = ResNetCifar(_widths(options), options.blocks, "A", "fan_in", dtype=dtype, axis_name=axis_name)
    return Encoder(backbone, options.pool, (), options.dim, dtype=dtype, axis_name=axis_name)


def resnet32_bbn(options: ResNet32Options, *, dtype: Any = jnp.float32, axis_name: str | None = None) -> Encoder:
    """ResNet-32 whose last block is two parallel ones, concatenated; 128-d embedding.

    The network of BBN (Zhou et al. 2020) as KaihuaTang's Long-Tailed-Recognition.pytorch has it, on which the
    ICU paper's long-tail code is built: option-A shortcuts, He normal initialisation over fan-in, and both
    branches on every image (BBN feeds them differently sampled ones).

    Args:
      options: what it is made of.
      dtype: compute dtype.
      axis_name: device axis for synchronised batch statistics.
    """
    backbone = ResNetCifar(_widths(options), options.blocks, "A", "fan_in", 2, dtype=dtype, axis_name=axis_name)
    return Encoder(backbone, options.pool, (), options.dim, dtype=dtype, axis_name=axis_name)


def _widths(options: ResNetCifarOptions) -> tuple[int, ...]:
    """Channels by stage."""
    return tuple(options.width * 2**stage for stage in range(len(options.blocks)))
