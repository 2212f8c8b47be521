"""ResNet-12, the residual network of few-shot learning."""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from fsjax.models.encoder import Encoder
from fsjax.models.layers import ConvBN
from fsjax.models.pooling import check_poolable, max_pool_2x2
from fsjax.models.staged import Staged
from fsjax.options.models import ResNet12Options

# By name: the function, and the initialisation (a key of `HE_NORMAL`) of the convolutions before it.
ACTIVATIONS: dict[str, tuple[Callable[[jax.Array], jax.Array], str]] = {
    "swish": (nn.swish, "fan_in"),
    "leaky": (functools.partial(nn.leaky_relu, negative_slope=0.1), "fan_out_leaky"),
    "relu": (nn.relu, "fan_in"),
}


class ResNet12Block(nn.Module):
    """Three 3x3 convolutions and a 1x1 shortcut, summed, activated, and max-pooled over 2x2 windows.

    The block sows what its first and second convolution say, after normalisation and activation, as
    "activation1" and "activation2": neural implants read them. It costs nothing unless asked for:

        out, sown = encoder.apply(variables, images, train=False, mutable=["intermediates"])
        sown["intermediates"]["backbone"]["stage4"]["activation1"][0]  # [batch, h, w, features], compute dtype

    Attributes:
      features: output channels of every convolution.
      activation: a key of `ACTIVATIONS`.
      pool_padding: "valid" or "same", see `fsjax.models.pooling.max_pool_2x2`.
      dtype: compute dtype.
      axis_name: see `fsjax.models.layers.batch_norm`.
    """

    features: int
    activation: str
    pool_padding: str
    dtype: Any
    axis_name: str | None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Maps `[batch, h, w, c]` to `[batch, h // 2, w // 2, features]`, rounded up for "same" padding."""
        act, fan = ACTIVATIONS[self.activation]
        common = {"fan": fan, "dtype": self.dtype, "axis_name": self.axis_name}
        y = ConvBN(self.features, activation=act, name="conv1", **common)(x, train=train)
        self.sow("intermediates", "activation1", y)
        y = ConvBN(self.features, activation=act, name="conv2", **common)(y, train=train)
        self.sow("intermediates", "activation2", y)
        y = ConvBN(self.features, activation=None, name="conv3", **common)(y, train=train)
        shortcut = ConvBN(self.features, kernel=1, activation=None, name="shortcut", **common)(x, train=train)
        return max_pool_2x2(act(y + shortcut), padding=self.pool_padding)


class ResNet12(Staged):
    """One `ResNet12Block` a stage, and no stem.

    Attributes:
      widths: output channels by stage.
      activation: a key of `ACTIVATIONS`.
      pool_padding: "valid" or "same", see `fsjax.models.pooling.max_pool_2x2`.
      dtype: compute dtype.
      axis_name: see `fsjax.models.layers.batch_norm`.
    """

    widths: tuple[int, ...]
    activation: str
    pool_padding: str
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @property
    def num_stages(self) -> int:
        """How many stages there are."""
        return len(self.widths)

    def stem(self, images: jax.Array, *, train: bool) -> jax.Array:
        """The images as they are, if they are large enough."""
        if self.pool_padding == "valid":
            check_poolable(images.shape, len(self.widths))
        return images

    def stage(self, number: int, x: jax.Array, *, train: bool) -> jax.Array:
        """A block with its pooling: `[batch, h, w, c]` to `[batch, h // 2, w // 2, widths[number - 1]]`."""
        width, name = self.widths[number - 1], f"stage{number}"
        block = ResNet12Block(width, self.activation, self.pool_padding, self.dtype, self.axis_name, name=name)
        return self.block(block, x, train=train)


def resnet12(options: ResNet12Options, *, dtype: Any = jnp.float32, axis_name: str | None = None) -> Encoder:
    """ResNet-12 for few-shot learning: 84x84 images become maps of 5x5x512; 7,996,800 parameters.

    The network of TADAM (Oreshkin et al. 2018), dense classification (Lifchitz et al. 2019) and Meta-Baseline
    (Chen et al. 2021), which differ in the options. He normal initialisation: over fan-in for "swish" and
    "relu", over fan-out with the leaky ReLU's gain for "leaky" (Meta-Baseline's code leaves the slope out of
    the gain: 0.5 % in the deviation of kernels that a normalisation follows).

    Args:
      options: what it is made of.
      dtype: compute dtype.
      axis_name: device axis for synchronised batch statistics.
    """
    backbone = ResNet12(options.widths, options.activation, options.pool_padding, dtype, axis_name)
    return Encoder(backbone, options.pool, (), options.dim, dtype=dtype, axis_name=axis_name)
