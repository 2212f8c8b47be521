"""The 13-convolution network of the L-GM recipe, which the ICU paper takes over for CIFAR-100."""

from typing import Any

import jax.numpy as jnp

from fsjax.models.convnet import ConvNet
from fsjax.models.encoder import Encoder
from fsjax.options.models import Vgg13Options


def vgg13(options: Vgg13Options, *, dtype: Any = jnp.float32, axis_name: str | None = None) -> Encoder:
    """13 3x3 convolutions with batch normalisation and ReLU in three stages, 2x2 max-pooling between them.

    As in Wan et al. 2018's `examples/cifar100/simple/trainval.prototxt`: 5 x 96, pool, 4 x 192, pool,
    4 x 384, global average pool, and no fully connected layer: the embedding has 384 dimensions. Only the
    momentum of the running statistics differs (0.97 there).

    Args:
      options: what it is made of.
      dtype: compute dtype.
      axis_name: device axis for synchronised batch statistics.
    """
    stages = tuple((width,) * count for width, count in zip(options.widths, options.convs, strict=True))
    backbone = ConvNet(stages, pool_last=False, dtype=dtype, axis_name=axis_name)
    return Encoder(backbone, options.pool, (), options.dim, dtype=dtype, axis_name=axis_name)
