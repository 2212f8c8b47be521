"""Wide residual networks for 32x32 images (Zagoruyko & Komodakis 2016)."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from fsjax.models.encoder import Encoder
from fsjax.models.layers import batch_norm, convolution
from fsjax.models.staged import Staged
from fsjax.options.models import WideResNetOptions


class PreActivationBlock(nn.Module):
    """Normalisation and ReLU before each of two 3x3 convolutions, and a shortcut; nothing after the sum.

    Where the number of channels changes, the shortcut is a 1x1 convolution of the normalised and activated
    input, as in the authors' code; elsewhere it is the input itself.

    Attributes:
      features: output channels.
      stride: of the first convolution and of the shortcut.
      dtype: compute dtype.
      axis_name: see `fsjax.models.layers.batch_norm`.
    """

    features: int
    stride: int
    dtype: Any
    axis_name: str | None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Maps `[batch, h, w, c]` to `[batch, ceil(h / stride), ceil(w / stride), features]`."""
        norm = {"train": train, "dtype": self.dtype, "axis_name": self.axis_name}
        conv = {"fan": "fan_out", "dtype": self.dtype}
        active = nn.relu(batch_norm(name="bn1", **norm)(x))
        y = convolution(self.features, kernel=3, stride=self.stride, name="conv1", **conv)(active)
        y = nn.relu(batch_norm(name="bn2", **norm)(y))
        y = convolution(self.features, kernel=3, stride=1, name="conv2", **conv)(y)
        if self.stride != 1 or x.shape[-1] != self.features:
            x = convolution(self.features, kernel=1, stride=self.stride, name="shortcut", **conv)(active)
        return x + y


class WideResNet(Staged):
    """A 3x3 stem of 16 channels, three groups of pre-activation blocks, and a last normalisation and ReLU.

    He normal initialisation over fan-out, as in the authors' code. There is no dropout.

    Attributes:
      blocks: of each group.
      widen: the factor on the groups' 16, 32 and 64 channels.
      dtype: compute dtype.
      axis_name: see `fsjax.models.layers.batch_norm`.
    """

    blocks: int
    widen: int
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @property
    def num_stages(self) -> int:
        """How many groups there are."""
        return 3

    def stem(self, images: jax.Array, *, train: bool) -> jax.Array:
        """`[batch, h, w, c]` to `[batch, h, w, 16]`."""
        return convolution(16, kernel=3, stride=1, fan="fan_out", dtype=self.dtype, name="stem")(images)

    def stage(self, number: int, x: jax.Array, *, train: bool) -> jax.Array:
        """A group; what the last one gives is normalised and activated, the other two are sums of shortcuts."""
        common = {"dtype": self.dtype, "axis_name": self.axis_name}
        for index in range(1, self.blocks + 1):
            width = 16 * 2 ** (number - 1) * self.widen
            stride = 2 if number > 1 and index == 1 else 1
            block = PreActivationBlock(width, stride, name=f"stage{number}_block{index}", **common)
            x = self.block(block, x, train=train)
        return nn.relu(batch_norm(train=train, name="bn", **common)(x)) if number == self.num_stages else x


def wide_resnet(options: WideResNetOptions, *, dtype: Any = jnp.float32, axis_name: str | None = None) -> Encoder:
    """WRN-28-10 for 32x32 images (Zagoruyko & Komodakis 2016); 640-d embedding.

    36,479,194 parameters with a linear classifier of 10 classes (published: 36.5M). Without dropout, as in
    most of the paper's results.

    Args:
      options: what it is made of.
      dtype: compute dtype.
      axis_name: device axis for synchronised batch statistics.
    """
    backbone = WideResNet((options.depth - 4) // 6, options.widen, dtype=dtype, axis_name=axis_name)
    return Encoder(backbone, options.pool, (), options.dim, dtype=dtype, axis_name=axis_name)
