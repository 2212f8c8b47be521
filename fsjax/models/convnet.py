"""Plain convolutional networks: a small one, few-shot learning's Conv-4, and the ICU paper's two for MNIST."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from fsjax.models.encoder import Encoder
from fsjax.models.layers import ConvBN
from fsjax.models.pooling import check_poolable, max_pool_2x2
from fsjax.models.staged import Staged


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


def cnn(
    *,
    stages: Sequence[Sequence[int]] = ((32, 32), (64, 64)),
    pool: str = "gap",
    hidden: Sequence[int] = (),
    dim: int | None = None,
    prelu: bool = False,
    dtype: Any = jnp.float32,
    axis_name: str | None = None,
) -> Encoder:
    """A small convolutional network for small images; nobody's in particular.

    Args:
      stages: for each stage the output channels of its 3x3 convolutions; 2x2 max-pooling ends every stage.
      pool: a key of `fsjax.models.pooling.POOLS`.
      hidden: widths of fully connected layers after the pooling.
      dim: width of the last linear layer (None: no such layer).
      prelu: whether a PReLU follows the embedding.
      dtype: compute dtype.
      axis_name: device axis for synchronised batch statistics.
    """
    backbone = ConvNet(tuple(tuple(widths) for widths in stages), dtype=dtype, axis_name=axis_name)
    return Encoder(backbone, pool, tuple(hidden), dim, prelu, dtype, axis_name)


def mnist_2d(
    *,
    stages: Sequence[Sequence[int]] = ((32, 32), (64, 64)),
    hidden: Sequence[int] = (256,),
    dim: int = 2,
    prelu: bool = False,
    dtype: Any = jnp.float32,
    axis_name: str | None = None,
) -> Encoder:
    """The ICU paper's 2-D network for MNIST: 4 convolutions and 2 fully connected layers, batch-normalised.

    The paper leaves widths and poolings open. Read here as conv 32, 32, pool, 64, 64, pool, FC 256, FC 2. The
    2-D layer is linear; the paper's "additional PReLU layer", which it does not place, is read as a PReLU on
    the embedding and is off unless `prelu` is set.

    Args:
      stages: for each stage the output channels of its 3x3 convolutions; 2x2 max-pooling ends every stage.
      hidden: widths of the fully connected layers before the last.
      dim: width of the last, linear one.
      prelu: whether a PReLU follows the embedding.
      dtype: compute dtype.
      axis_name: device axis for synchronised batch statistics.
    """
    return cnn(stages=stages, pool="flatten", hidden=hidden, dim=dim, prelu=prelu, dtype=dtype, axis_name=axis_name)


def mnist_100d(
    *,
    stages: Sequence[Sequence[int]] = ((32, 32), (64, 64), (128,)),
    dim: int = 100,
    prelu: bool = False,
    dtype: Any = jnp.float32,
    axis_name: str | None = None,
) -> Encoder:
    """The ICU paper's 100-D network for MNIST: 5 convolutions and 1 fully connected layer, batch-normalised.

    The paper leaves widths and poolings open. Read here as conv 32, 32, pool, 64, 64, pool, 128, pool,
    FC 100: 28x28 images become 3x3x128 maps, flattened. The 100-D layer is linear.

    Args:
      stages: for each stage the output channels of its 3x3 convolutions; 2x2 max-pooling ends every stage.
      dim: width of the fully connected layer.
      prelu: whether a PReLU follows the embedding.
      dtype: compute dtype.
      axis_name: device axis for synchronised batch statistics.
    """
    return cnn(stages=stages, pool="flatten", dim=dim, prelu=prelu, dtype=dtype, axis_name=axis_name)


def c64f(
    *,
    widths: Sequence[int] = (64, 64, 64, 64),
    last_relu: bool = True,
    pool: str = "flatten",
    dim: int | None = None,
    dtype: Any = jnp.float32,
    axis_name: str | None = None,
) -> Encoder:
    """Conv-4 of few-shot learning: four 3x3 convolutions, each with batch normalisation, ReLU and 2x2 max-pooling.

    Vinyals et al. 2016, Sec. 4.1; 84x84 images become maps of 5x5x64, flattened. He normal initialisation over
    fan-out, as in gidariss/FewShotWithoutForgetting, and no biases: the normalisation has them.

    Args:
      widths: output channels by stage.
      last_relu: whether the last stage has its ReLU. Gidaris & Komodakis leave it out before their cosine
        classifier, which then sees both signs.
      pool: a key of `fsjax.models.pooling.POOLS`.
      dim: width of a linear layer after the pooling (None: no such layer).
      dtype: compute dtype.
      axis_name: device axis for synchronised batch statistics.
    """
    stages = tuple((width,) for width in widths)
    backbone = ConvNet(stages, last_relu=last_relu, fan="fan_out", dtype=dtype, axis_name=axis_name)
    return Encoder(backbone, pool, (), dim, dtype=dtype, axis_name=axis_name)


def c128f(
    *,
    widths: Sequence[int] = (64, 64, 128, 128),
    last_relu: bool = True,
    pool: str = "flatten",
    dim: int | None = None,
    dtype: Any = jnp.float32,
    axis_name: str | None = None,
) -> Encoder:
    """Gidaris & Komodakis 2018's wider Conv-4: `c64f` with 128 channels in the last two stages.

    Args:
      widths: output channels by stage.
      last_relu: whether the last stage has its ReLU; theirs has not with the cosine classifier.
      pool: a key of `fsjax.models.pooling.POOLS`.
      dim: width of a linear layer after the pooling (None: no such layer).
      dtype: compute dtype.
      axis_name: device axis for synchronised batch statistics.
    """
    return c64f(widths=widths, last_relu=last_relu, pool=pool, dim=dim, dtype=dtype, axis_name=axis_name)
