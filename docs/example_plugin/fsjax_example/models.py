"""Patches: an image cut into squares, each seen for itself."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from fsjax.models.encoder import Encoder
from fsjax.models.layers import batch_norm
from fsjax.models.staged import Staged
from fsjax_example.options import PatchesOptions


class Patches(Staged):
    """One stage: a linear map of each square of `size` pixels, normalisation, ReLU."""

    size: int
    width: int
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @property
    def num_stages(self) -> int:
        """One."""
        return 1

    def stage(self, number: int, x: jax.Array, *, train: bool) -> jax.Array:
        """`[batch, h, w, c]` to `[batch, h // size, w // size, width]`."""
        square = (self.size, self.size)
        x = nn.Conv(self.width, square, square, padding="VALID", use_bias=False, dtype=self.dtype, name="cut")(x)
        return nn.relu(batch_norm(train=train, dtype=self.dtype, axis_name=self.axis_name, name="norm")(x))


def patches(options: PatchesOptions, *, dtype: Any = jnp.float32, axis_name: str | None = None) -> Encoder:
    """Patches of `size` pixels, `width` features each, pooled."""
    backbone = Patches(options.size, options.width, dtype=dtype, axis_name=axis_name)
    return Encoder(backbone, options.pool, dtype=dtype, axis_name=axis_name)
