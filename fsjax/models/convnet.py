"""Plain convolutional networks: a small one, few-shot learning's Conv-4, and the ICU paper's two for MNIST."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from fsjax.models.encoder import Encoder
from fsjax.models.layers import ConvBN
from fsjax.models.pooling import check_poolable, max_pool_2x2
from fsjax.models.staged import Staged
from fsjax.options.models import CnnOptions, Conv4Options, Mnist2dOptions, Mnist100dOptions


class ConvNet(Staged):
    """Stages of 3x3 convolutions, each with batch normalisation and ReLU.

    Attributes:
      stages: for each stage the output channels of its convolutions.
      pool_last: whether the last stage ends with the 2x2 max-pooling that ends all the others.
      last_relu: whether the last convolution of all has a ReLU, as all the others have.
      fan: "fan_in" or "fan_out" of the He normal initialisation; the L-GM recipe's Caffe files ("msra") have
        the first.
      dtype: compute dtype; parameters are float32.
      axis_name: see `fsjax.models.layers.batch_norm`.
    """

    stages: tuple[tuple[int, ...], ...]
    pool_last: bool = True
    last_relu: bool = True
    fan: str = "fan_in"
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @property
    def num_stages(self) -> int:
        """How many stages there are."""
        return len(self.stages)

    @property
    def _pooled(self) -> int:
        return len(self.stages) - (not self.pool_last)

    def stem(self, images: jax.Array, *, train: bool) -> jax.Array:
        """The images as they are, if they are large enough."""
        check_poolable(images.shape, self._pooled)
        return images

    def stage(self, number: int, x: jax.Array, *, train: bool) -> jax.Array:
        """The convolutions of a stage and its pooling: `[batch, h, w, c]` to `[batch, h // 2, w // 2, width]`."""
        widths = self.stages[number - 1]
        common = {"fan": self.fan, "dtype": self.dtype, "axis_name": self.axis_name}
        for index, width in enumerate(widths, 1):
            last = number == len(self.stages) and index == len(widths)
            activation = nn.relu if self.last_relu or not last else None
            layer = ConvBN(width, activation=activation, name=f"stage{number}_conv{index}", **common)
            x = self.block(layer, x, train=train)
        return max_pool_2x2(x) if number <= self._pooled else x


def cnn(options: CnnOptions, *, dtype: Any = jnp.float32, axis_name: str | None = None) -> Encoder:
    """A small convolutional network for small images; nobody's in particular.

    Args:
      options: what it is made of.
      dtype: compute dtype.
      axis_name: device axis for synchronised batch statistics.
    """
    backbone = ConvNet(options.stages, dtype=dtype, axis_name=axis_name)
    return Encoder(backbone, options.pool, options.hidden, options.dim, options.prelu, dtype, axis_name)


def mnist_2d(options: Mnist2dOptions, *, dtype: Any = jnp.float32, axis_name: str | None = None) -> Encoder:
    """The ICU paper's 2-D network for MNIST: 4 convolutions and 2 fully connected layers, batch-normalised.

    The paper leaves widths and poolings open. Read here as conv 32, 32, pool, 64, 64, pool, FC 256, FC 2. The
    2-D layer is linear; the paper's "additional PReLU layer", which it does not place, is read as a PReLU on
    the embedding and is off unless `prelu` is set.

    Args:
      options: what it is made of.
      dtype: compute dtype.
      axis_name: device axis for synchronised batch statistics.
    """
    backbone = ConvNet(options.stages, dtype=dtype, axis_name=axis_name)
    return Encoder(backbone, "flatten", options.hidden, options.dim, options.prelu, dtype, axis_name)


def mnist_100d(options: Mnist100dOptions, *, dtype: Any = jnp.float32, axis_name: str | None = None) -> Encoder:
    """The ICU paper's 100-D network for MNIST: 5 convolutions and 1 fully connected layer, batch-normalised.

    The paper leaves widths and poolings open. Read here as conv 32, 32, pool, 64, 64, pool, 128, pool,
    FC 100: 28x28 images become 3x3x128 maps, flattened. The 100-D layer is linear.

    Args:
      options: what it is made of.
      dtype: compute dtype.
      axis_name: device axis for synchronised batch statistics.
    """
    backbone = ConvNet(options.stages, dtype=dtype, axis_name=axis_name)
    return Encoder(backbone, "flatten", (), options.dim, options.prelu, dtype, axis_name)


def conv4(options: Conv4Options, *, dtype: Any = jnp.float32, axis_name: str | None = None) -> Encoder:
    """Conv-4 of few-shot learning: four 3x3 convolutions, each with batch normalisation, ReLU and 2x2 max-pooling.

    Vinyals et al. 2016, Sec. 4.1; 84x84 images become maps of 5x5x64, flattened. He normal initialisation over
    fan-out, as in gidariss/FewShotWithoutForgetting, and no biases: the normalisation has them. Gidaris & Komodakis
    2018's wider one, "c128f", has 128 channels in the last two stages.

    Args:
      options: what it is made of.
      dtype: compute dtype.
      axis_name: device axis for synchronised batch statistics.
    """
    stages = tuple((width,) for width in options.widths)
    backbone = ConvNet(stages, last_relu=options.last_relu, fan="fan_out", dtype=dtype, axis_name=axis_name)
    return Encoder(backbone, options.pool, (), options.dim, dtype=dtype, axis_name=axis_name)
