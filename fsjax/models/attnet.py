"""AttNet: a light network that predicts a classifier's attention map (Hanselmann & Ney, Sec. 2.1; ELoPE)."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from fsjax.models.layers import HE_NORMAL
from fsjax.models.resnet import ResNet
from fsjax.options.methods import LocalizationOptions

# What the trunk (two strides of 2) and the last convolution (without padding) leave of n pixels is n / 4 - 2.
_STRIDE, _MARGIN = 4, 2


class AttNet(nn.Module):
    """The stem and the first stage of a ResNet-50 over a reduced image, and a 3x3 convolution to one channel.

    227,649 parameters; an image of 64x64 gives a map of 14x14, the grid of a ResNet's last maps at 448x448. The image
    is reduced to the size that gives the map's, so that no map is ever resized.

    Attributes:
      map_size: (height, width) of the map.
      width: channels of the trunk's stem; 64 in the paper.
      blocks: bottleneck blocks of the trunk; 3 in the paper.
      dtype: compute dtype of the trunk; the last convolution is in float32.
      axis_name: see `fsjax.models.layers.batch_norm`.
    """

    map_size: tuple[int, int]
    width: int = LocalizationOptions.att_width
    blocks: int = LocalizationOptions.att_blocks
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @property
    def input_size(self) -> tuple[int, int]:
        """(height, width) that the image is reduced to."""
        height, width = (_STRIDE * (n + _MARGIN) for n in self.map_size)
        return height, width

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
        """Images `[batch, h, w, c]` of any size to maps `[batch, *map_size]`, float32 and of any sign."""
        # Antialiased where it reduces.
        small = jax.image.resize(images, (images.shape[0], *self.input_size, images.shape[-1]), "linear")
        trunk = ResNet(self.width, (self.blocks,), "plain", self.dtype, self.axis_name, name="trunk")
        x = trunk(small.astype(self.dtype), train=train)["stage1"]
        head = nn.Conv(1, (3, 3), padding="VALID", kernel_init=HE_NORMAL["fan_in"], name="map")
        return head(x.astype(jnp.float32))[..., 0]
