"""Margin softmax: cross-entropy of cosines with a margin at the label (ArcFace, CosFace)."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from fsjax.losses.arithmetic.similarity import unit
from fsjax.losses.base import LossModule, matmul
from fsjax.options.losses import MarginOptions

# Of an angle in radians (Deng et al. 2019), and of a cosine (Wang et al. 2018).
MARGINS = {"arc": 0.5, "cos": 0.35}
# Cosines keep this distance from -1 and 1, where the sine of the angle has no finite slope. It is about what float32
# resolves there; it changes a logit by 0.014 at most (of 64).
_AWAY = 1e-7


def margin_logits(
    cosines: jax.Array, labels: jax.Array, margins: jax.Array | float, *, kind: str, scale: float, beyond_pi: str
) -> jax.Array:
    """Logits of a margin softmax: harder by a margin at the label, `scale · cosine` elsewhere.

    Args:
      cosines: `[batch, classes]` of the angles theta between features and class vectors.
      labels: `[batch]` integers.
      margins: `[batch]`, or one for all.
      kind: `"arc"` puts `scale · cos(theta + margin)` at the label (ArcFace, Deng et al. 2019, Eq. 3); `"cos"` puts
        `scale · (cos theta - margin)` there (CosFace, Wang et al. 2018, Eq. 4).
      scale: of all logits, the inverse of a temperature.
      beyond_pi: of `"arc"`, where theta + margin is above pi. `"cosine"` is the formula as it stands, which rises again
        there: with all class vectors opposite to the features the margin is a gain, and nothing is told apart.
        `"linear"` goes on with `cos theta - margin · sin(margin)`, as ArcFace's own code does.

    Returns:
      `[batch, classes]`.
    """
    own = jax.nn.one_hot(labels, cosines.shape[-1], dtype=bool)
    margins = jnp.broadcast_to(jnp.asarray(margins, cosines.dtype), labels.shape)[:, None]
    if kind == "cos":
        return scale * jnp.where(own, cosines - margins, cosines)
    inside = jnp.clip(cosines, -1 + _AWAY, 1 - _AWAY)
    # The cosine of a sum, so that no arccos is needed; angles are in 0..pi, and have a sine above 0.
    harder = inside * jnp.cos(margins) - jnp.sqrt(1 - jnp.square(inside)) * jnp.sin(margins)
    if beyond_pi == "linear":
        within = inside > -jnp.cos(margins)
        harder = jnp.where(within | (margins <= 0), harder, inside - margins * jnp.sin(margins))
    return scale * jnp.where(own, harder, cosines)


def target_cosines(cosines: jax.Array, labels: jax.Array) -> jax.Array:
    """The cosine `[batch]` of each feature to the vector of its own class; `cosines` is `[batch, classes]`."""
    return jnp.sum(jnp.where(jax.nn.one_hot(labels, cosines.shape[-1], dtype=bool), cosines, 0), axis=-1)


class MarginLoss(MarginOptions, LossModule):
    """Base of the margin losses: a vector per class and no bias, compared with features by the cosine.

    A perceptron on scikit-learn's digits came to 98 % with ElasticFace at a scale of 16, and to 89 % at 64, in 400
    steps; with `beyond_pi="cosine"`, ElasticFace's formula and code, it collapsed at scale 64, to 7 %.
    """

    def setup(self) -> None:
        """Makes the class vectors, of length about 1."""
        init = nn.initializers.normal(self.dim**-0.5)
        self.weights = self.param("weights", init, (self.num_classes, self.dim))

    @property
    def mean_margin(self) -> float:
        """The margin, or the paper's where none is given."""
        return MARGINS[self.kind] if self.margin is None else self.margin

    def cosines(self, features: jax.Array) -> jax.Array:
        """Returns `[batch, num_classes]` cosines."""
        return matmul(unit(self.prepare(features)), unit(self.weights).T)

    def harder_logits(self, cosines: jax.Array, labels: jax.Array, margins: jax.Array | float) -> jax.Array:
        """Returns `[batch, num_classes]` scaled cosines, with these margins at the labels."""
        return margin_logits(cosines, labels, margins, kind=self.kind, scale=self.scale, beyond_pi=self.beyond_pi)

    def logits(self, features: jax.Array) -> jax.Array:
        """Returns `[batch, num_classes]` scaled cosines, without margin."""
        return self.scale * self.cosines(features)
