"""AffNet: from an attention map to the box of the object (Hanselmann & Ney, "Fine-Grained Visual Classification with
Efficient End-to-end Localization", Sec. 2.2)."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from fsjax.errors import unknown
from fsjax.models.boxes import min_max
from fsjax.models.layers import batch_norm
from fsjax.options.methods import LocalizationOptions

# Of relu(n - w_tau) or of n - w_tau, and the sharpness c. "literal" is the text, which leaves the background at 1/2;
# "rescaled" is 2·literal - 1, the same up to what the next linear layer can absorb; "sigmoid" has no ReLU, and keeps a
# gradient below the threshold.
BINARIZE: dict[str, Callable[[jax.Array, float], jax.Array]] = {
    "rescaled": lambda x, c: jnp.tanh(c * nn.relu(x) / 2),
    "literal": lambda x, c: nn.sigmoid(c * nn.relu(x)),
    "sigmoid": lambda x, c: nn.sigmoid(c * x),
}


def binarized(maps: jax.Array, threshold: jax.Array, *, binarize: str, sharpness: float) -> jax.Array:
    """Min-max normalisation and a soft binarisation (Sec. 2.2.1); gradients pass minimum and maximum too.

    Args:
      maps: `[batch, h, w]`.
      threshold: w_tau, a scalar in units of the normalised map.
      binarize: a key of `BINARIZE`.
      sharpness: c; at 50 a value 0.1 above the threshold gives 0.987. The paper gives none.

    Returns:
      `[batch, h, w]` in 0..1.
    """
    if binarize not in BINARIZE:
        raise unknown("binarize", binarize, BINARIZE)
    return BINARIZE[binarize](min_max(maps) - threshold, sharpness)


class Preprocess(nn.Module):
    """`binarized` with a learned threshold, its one parameter.

    Attributes:
      tau: the threshold at first.
      binarize, sharpness: see `binarized`.
    """

    tau: float = LocalizationOptions.tau
    binarize: str = LocalizationOptions.binarize
    sharpness: float = LocalizationOptions.sharpness

    @nn.compact
    def __call__(self, maps: jax.Array) -> jax.Array:
        """Maps `[batch, h, w]` to `[batch, h, w]` in 0..1, float32."""
        threshold = self.param("threshold", nn.initializers.constant(self.tau), (), jnp.float32)
        return binarized(maps, threshold, binarize=self.binarize, sharpness=self.sharpness)


class ThetaHead(nn.Module):
    """The last layer of a network that estimates scales and translations: zero weights, so that it begins with the
    identity (Sec. 2.2.3).

    Attributes:
      scales: how many of its outputs are scales, 1 at first; as many translations follow, 0 at first.
    """

    scales: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """`[batch, dim]` to `[batch, 2 * scales]`, float32."""
        start = jnp.repeat(jnp.array([1.0, 0.0]), self.scales)
        bias = lambda *_: start  # noqa: E731 - an initialiser
        return nn.Dense(2 * self.scales, kernel_init=nn.initializers.zeros, bias_init=bias, name="theta")(x)


class ThetaMLP(nn.Module):
    """Linear, batch normalisation, ReLU, linear: from a profile or a whole map to scales and translations.

    The text names the batch normalisation only of the FFNN; Table 1's count of parameters shows that AffNet has it too.

    Attributes:
      hidden: width of the first layer.
      scales: see `ThetaHead`.
      axis_name: see `fsjax.models.layers.batch_norm`.
    """

    hidden: int
    scales: int
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """`[batch, ...]`, flattened, to `[batch, 2 * scales]`: the scales, then the translations."""
        x = nn.Dense(self.hidden, name="hidden")(x.reshape(x.shape[0], -1))
        x = batch_norm(train=train, dtype=jnp.float32, axis_name=self.axis_name, name="bn")(x)
        return ThetaHead(self.scales, name="head")(nn.relu(x))


class AffNet(nn.Module):
    """Two small networks, one for each direction, over the maxima of the map's columns and rows (Sec. 2.2.2, Fig. 2).

    4,868 parameters for maps of 14x14. In float32 whatever the rest computes in.

    Attributes:
      hidden: width of their hidden layers.
      axis_name: see `fsjax.models.layers.batch_norm`.
    """

    hidden: int = LocalizationOptions.aff_hidden
    axis_name: str | None = None

    @nn.compact
    def __call__(self, maps: jax.Array, *, train: bool) -> jax.Array:
        """Maps `[batch, h, w]`, pre-processed or not, to theta `[batch, 4]` (see `fsjax.models.boxes`)."""
        maps = maps.astype(jnp.float32)
        horizontal = ThetaMLP(self.hidden, 1, self.axis_name, name="horizontal")(jnp.max(maps, axis=1), train=train)
        vertical = ThetaMLP(self.hidden, 1, self.axis_name, name="vertical")(jnp.max(maps, axis=2), train=train)
        return jnp.stack([horizontal[:, 0], vertical[:, 0], horizontal[:, 1], vertical[:, 1]], axis=-1)
