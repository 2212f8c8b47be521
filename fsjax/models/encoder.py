"""A backbone, a pooling and fully connected layers: images to embeddings."""

from typing import Any

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp

from fsjax.errors import UserError
from fsjax.models.layers import HE_NORMAL, PReLU, batch_norm
from fsjax.models.pooling import POOLS


@flax.struct.dataclass
class Encoded:
    """What an `Encoder` says about a batch of images.

    Attributes:
      embedding: `[batch, dim]` float32.
      maps: the backbone's `[batch, h, w, channels]` feature maps by stage, in order, in the compute dtype.
    """

    embedding: jax.Array
    maps: dict[str, jax.Array]


class Encoder(nn.Module):
    """Images to embeddings.

    Attributes:
      backbone: a module that maps images to a dict of feature maps; its last entry is pooled.
      pool: a key of `POOLS`: "gap" (mean over positions), "gmp" (maximum), "kmax4" (mean of the 4 largest values) or
        "flatten".
      hidden: widths of fully connected layers, each with batch normalisation and ReLU, after the pooling.
      dim: width of a last linear layer with bias, without activation (None: no such layer).
      prelu: whether a PReLU follows the embedding.
      dtype: compute dtype of the hidden layers. Pooling and the last linear layer are in float32: they are
        cheap, and bfloat16's 8 bits would show in the distances between embeddings.
      axis_name: see `fsjax.models.layers.batch_norm`.
      frozen: whether the backbone is in inference mode in training too, and gets no gradient.
      dim_bn: whether batch normalisation follows the last linear layer, before the PReLU: with it, the embedding layer
        of ELoPE (Hanselmann & Ney 2020). In float32, as that layer.
    """

    backbone: nn.Module
    pool: str = "gap"
    hidden: tuple[int, ...] = ()
    dim: int | None = None
    prelu: bool = False
    dtype: Any = jnp.float32
    axis_name: str | None = None
    dim_bn: bool = False
    frozen: bool = False

    @property
    def goes_on(self) -> bool:
        """Whether the embedding is more than pooled maps."""
        return bool(self.hidden) or self.dim is not None or self.prelu

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool) -> Encoded:
        """Embeds a batch.

        Args:
          images: `[batch, height, width, channels]`, normalised floats.
          train: whether batch normalisation uses this batch's statistics (and updates the running ones, which
            needs `mutable=["batch_stats"]` in `apply`).

        Returns:
          The embeddings and the maps they came from.

        Raises:
          UserError: for images of another rank, or too small for the backbone or the pooling, and for `dim_bn` without
            `dim`.
        """
        if self.dim_bn and self.dim is None:
            raise UserError("dim_bn=True normalises the last linear layer, and dim=None leaves it out: give a dim")
        if images.ndim != 4:
            raise UserError(f"images must be [batch, height, width, channels], but their shape is {images.shape}")
        maps = self.backbone(images.astype(self.dtype), train=train and not self.frozen)
        if self.frozen:
            maps = jax.lax.stop_gradient(maps)
        x = POOLS[self.pool](list(maps.values())[-1])
        common = {"dtype": self.dtype, "axis_name": self.axis_name}
        for index, width in enumerate(self.hidden, 1):
            x = nn.Dense(
                width,
                use_bias=False,
                kernel_init=HE_NORMAL["fan_in"],
                dtype=self.dtype,
                param_dtype=jnp.float32,
                name=f"hidden{index}",
            )(x)
            normalize = batch_norm(train=train, name=f"hidden{index}_bn", **common)
            x = nn.relu(normalize(x))
        if self.dim is not None:
            x = nn.Dense(self.dim, dtype=jnp.float32, param_dtype=jnp.float32, name="embedding")(x)
        if self.dim_bn:
            x = batch_norm(train=train, dtype=jnp.float32, axis_name=self.axis_name, name="embedding_bn")(x)
        x = x.astype(jnp.float32)
        if self.prelu:
            x = PReLU(name="prelu")(x)
        return Encoded(embedding=x, maps=maps)
