"""ResNet-18, ResNet-50 and ResNet-101 for ImageNet, as in torchvision."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from fsjax.models.encoder import Encoder
from fsjax.models.layers import ConvBN
from fsjax.models.resnet_cifar import BasicBlock
from fsjax.models.staged import Staged
from fsjax.options.models import ResNet18Options, ResNet50Options


class Bottleneck(nn.Module):
    """1x1, 3x3 and (four times as wide) 1x1 convolutions, and a shortcut, summed before the last ReLU.

    The stride is in the 3x3 convolution ("v1.5"); He et al. 2016 had it in the first 1x1.

    Attributes:
      features: channels of the 3x3 convolution; four times as many come out.
      stride: of the 3x3 convolution and of the shortcut.
      dtype: compute dtype.
      axis_name: see `fsjax.models.layers.batch_norm`.
    """

    features: int
    stride: int
    dtype: Any
    axis_name: str | None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Maps `[batch, h, w, c]` to `[batch, ceil(h / stride), ceil(w / stride), 4 * features]`."""
        common = {"fan": "fan_out", "dtype": self.dtype, "axis_name": self.axis_name}
        wide = 4 * self.features
        y = ConvBN(self.features, kernel=1, name="conv1", **common)(x, train=train)
        y = ConvBN(self.features, stride=self.stride, name="conv2", **common)(y, train=train)
        y = ConvBN(wide, kernel=1, activation=None, name="conv3", **common)(y, train=train)
        if self.stride != 1 or x.shape[-1] != wide:
            x = ConvBN(wide, kernel=1, stride=self.stride, activation=None, name="shortcut", **common)(x, train=train)
        return nn.relu(x + y)


class ResNet(Staged):
    """A stem with stride 2, 3x3 max-pooling with stride 2, and stages of residual blocks.

    He normal initialisation over fan-out, as in torchvision.

    Attributes:
      width: channels of the stem and of the first stage's 3x3 convolutions; doubles with every stage. blocks: residual
      blocks by stage. stem_kind: "plain", a 7x7 convolution, or "C", three of 3x3 (ResNet-C of He et al. 2019, "Bag of
      tricks", Fig. 2b); the first two convolutions of "C" have half the width. dtype: compute dtype. axis_name: see
      `fsjax.models.layers.batch_norm`. basic: whether the blocks are two 3x3 convolutions of the stage's width, rather
      than bottlenecks.
    """

    width: int
    blocks: tuple[int, ...]
    stem_kind: str = ResNet50Options.stem
    dtype: Any = jnp.float32
    axis_name: str | None = None
    basic: bool = False

    @property
    def num_stages(self) -> int:
        """How many stages there are."""
        return len(self.blocks)

    def stem(self, images: jax.Array, *, train: bool) -> jax.Array:
        """`[batch, h, w, c]` to `[batch, ceil(h / 4), ceil(w / 4), width]`."""
        common = {"fan": "fan_out", "dtype": self.dtype, "axis_name": self.axis_name}
        if self.stem_kind == "plain":
            x = ConvBN(self.width, kernel=7, stride=2, name="stem", **common)(images, train=train)
        else:
            x = ConvBN(self.width // 2, stride=2, name="stem1", **common)(images, train=train)
            x = ConvBN(self.width // 2, name="stem2", **common)(x, train=train)
            x = ConvBN(self.width, name="stem3", **common)(x, train=train)
        return nn.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))

    def stage(self, number: int, x: jax.Array, *, train: bool) -> jax.Array:
        """The blocks of a stage; every stage but the first halves the size."""
        common = {"dtype": self.dtype, "axis_name": self.axis_name}
        block = partial(BasicBlock, option="B", fan="fan_out") if self.basic else Bottleneck
        for index in range(1, self.blocks[number - 1] + 1):
            module = block(
                features=self.width * 2 ** (number - 1),
                stride=2 if number > 1 and index == 1 else 1,
                name=f"stage{number}_block{index}",
                **common,
            )
            x = self.block(module, x, train=train)
        return x


def resnet18(options: ResNet18Options, *, dtype: Any = jnp.float32, axis_name: str | None = None) -> Encoder:
    """ResNet-18, torchvision's; 512-d embedding. 11,689,512 parameters with a linear classifier of 1,000 classes.

    For images of 32x32 there is `fsjax.models.resnet_cifar.resnet18_cifar`, which does not begin by dividing by 4.

    Args:
      options: what it is made of.
      dtype: compute dtype.
      axis_name: device axis for synchronised batch statistics.
    """
    backbone = ResNet(options.width, options.blocks, "plain", dtype, axis_name, basic=True)
    return Encoder(backbone, options.pool, (), options.dim, dtype=dtype, axis_name=axis_name)


def bottleneck_resnet(options: ResNet50Options, *, dtype: Any = jnp.float32, axis_name: str | None = None) -> Encoder:
    """ResNet-50 or ResNet-101, torchvision's; 2,048-d embedding.

    25,557,032 and 44,549,160 parameters with a linear classifier of 1,000 classes; 19,232 more with the stem "C".

    Args:
      options: what it is made of.
      dtype: compute dtype.
      axis_name: device axis for synchronised batch statistics.
    """
    backbone = ResNet(options.width, options.blocks, options.stem, dtype, axis_name)
    return Encoder(backbone, options.pool, (), options.dim, dtype=dtype, axis_name=axis_name)
