"""ElasticFace: a margin softmax whose margins are drawn anew for each example (Boutros et al. 2022)."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from fsjax.losses.base import LossOutput
from fsjax.losses.margin import MarginLoss, target_cosines
from fsjax.losses.softmax import softmax_cross_entropy
from fsjax.options.losses import ElasticFaceOptions

# Standard deviations of the margins, by kind and whether "plus".
_SIGMAS = {("arc", False): 0.05, ("arc", True): 0.0175, ("cos", False): 0.05, ("cos", True): 0.02}


def assigned_margins(margins: jax.Array, cosines: jax.Array, *, assign: str) -> jax.Array:
    """The drawn margins, given to the examples by their cosine ("plus").

    Args:
      margins: `[batch]`, in any order.
      cosines: `[batch]`, of each example to the vector of its own class.
      assign: `"rank"`: the lower the cosine, the larger the margin, which is what the paper describes. `"released"`, as
        in the authors' code: example i has the margin of rank r_i, where r_0 is the example of the largest cosine, r_1
        that of the second, ...; that is the inverse of the ranks, and gives margins to examples almost at random.

    Returns:
      `[batch]` margins, in the order of the examples.
    """
    order = jnp.argsort(-cosines)
    return jnp.sort(margins)[order if assign == "released" else jnp.argsort(order)]


class ElasticFaceLoss(ElasticFaceOptions, MarginLoss):
    """Cross-entropy of scaled cosines with a margin at the label, drawn from a normal distribution for each example.

    With `sigma=0` it is ArcFace or CosFace. The draw follows from `step` alone, so that a run can be repeated. Margins
    may come out negative, as in the released code; with the paper's numbers that is 7 deviations away.
    """

    def margins(self, cosines: jax.Array, step: jax.Array) -> jax.Array:
        """Returns the margins `[batch]` of a step; `cosines` `[batch]` are those to the label's vector."""
        sigma = _SIGMAS[self.kind, self.plus] if self.sigma is None else self.sigma
        drawn = self.mean_margin + sigma * jax.random.normal(self.draw_key(step), cosines.shape, cosines.dtype)
        return assigned_margins(drawn, cosines, assign=self.plus_assign) if self.plus else drawn

    def __call__(self, features: jax.Array, labels: jax.Array, *, step: jax.Array) -> LossOutput:
        """Returns the loss of `features` `[batch, dim]` and `labels` `[batch]`, margins drawn for this step."""
        cosines = self.cosines(features)
        own = target_cosines(cosines, labels)
        margins = self.margins(jax.lax.stop_gradient(own), step)
        logits = self.harder_logits(cosines, labels, margins)
        metrics = {"target_cosine": jnp.mean(own), "margin": jnp.mean(margins)}
        return LossOutput(softmax_cross_entropy(logits, labels), jnp.zeros(()), metrics)
