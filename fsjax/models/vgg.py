"""The 13-convolution network of the L-GM recipe, which the ICU paper takes over for CIFAR-100."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from fsjax.errors import UserError
from fsjax.models.convnet import ConvNet
from fsjax.models.encoder import Encoder


def vgg13(
    *,
    widths: Sequence[int] = (96, 192, 384),
    convs: Sequence[int] = (5, 4, 4),
    pool: str = "gap",
    dim: int | None = None,
    dtype: Any = jnp.float32,
    axis_name: str | None = None,
) -> Encoder:
    """13 3x3 convolutions with batch normalisation and ReLU in three stages, 2x2 max-pooling between them.

    As in Wan et al. 2018's `examples/cifar100/simple/trainval.prototxt`: 5 x 96, pool, 4 x 192, pool,
    4 x 384, global average pool, and no fully connected layer: the embedding has 384 dimensions. Only the
    momentum of the running statistics differs (0.97 there).

    Args:
      widths: output channels by stage; `(24, 48, 96)` is a sixteenth of the work.
      convs: convolutions by stage.
      pool: a key of `fsjax.models.pooling.POOLS`.
      dim: width of a linear layer after the pooling (None: no such layer).
      dtype: compute dtype.
      axis_name: device axis for synchronised batch statistics.

    Raises:
      UserError: if `widths` and `convs` differ in length.
    """
    if len(widths) != len(convs):
        raise UserError(f"vgg13 takes a width and a number of convolutions a stage: {widths=}, {convs=}")
    stages = tuple((width,) * count for width, count in zip(widths, convs, strict=True))
    backbone = ConvNet(stages, pool_last=False, dtype=dtype, axis_name=axis_name)
    return Encoder(backbone, pool, (), dim, dtype=dtype, axis_name=axis_name)
