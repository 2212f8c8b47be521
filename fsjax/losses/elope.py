"""ELoPE's embedding loss: features near the centre of their class, and the centres apart (Hanselmann & Ney 2020).

"ELoPE: Fine-Grained Visual Classification with Efficient Localization, Pooling and Embedding", WACV 2020; constants
and reductions are those of its released code, docs/readings.md, "ELoPE's embedding loss". Features and centres are
compared at length 1.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from fsjax.losses.arithmetic.similarity import unit
from fsjax.losses.base import LossOutput, matmul, one_hot
from fsjax.losses.center import center_loss
from fsjax.losses.softmax import LinearLoss, softmax_cross_entropy
from fsjax.options.losses import ElopeOptions


def stepped_centers(
    directions: jax.Array, labels: jax.Array, centers: jax.Array, *, rate: float, center_step: str
) -> jax.Array:
    """Moves centres towards their features, `c_k <- unit(c_k - rate * delta_k)`.

    Args:
      directions: `[batch, dim]`, the features of the whole global batch at length 1.
      labels: `[batch]` integers.
      centers: `[num_classes, dim]`, of length 1.
      rate: how far they move.
      center_step: `"mean1"`, delta_k = sum_i (c_k - x_i) / (1 + n_k) over the n_k examples of the class, as the
        released backward pass has it; `"sum"`, without the division, as the released training loop has it: from
        n_k = 3 on, at a rate of 0.5, the old centre then enters with a negative weight.

    Returns:
      The new `[num_classes, dim]` centres, of length 1; those of classes that are not in the batch are unchanged.
    """
    selection = one_hot(labels, centers)
    counts = jnp.sum(selection, axis=0)[:, None]
    delta = counts * centers - matmul(selection.T, directions)
    if center_step == "mean1":
        delta /= 1 + counts
    return jnp.where(counts > 0, unit(centers - rate * delta), centers)


def pair_penalties(labels: jax.Array, centers: jax.Array, *, margin: float) -> jax.Array:
    """`max(0, margin - |c_i - c_j|^2)^2` of the centres of each pair of examples of different classes.

    Args:
      labels: `[batch]` integers.
      centers: `[num_classes, dim]`.
      margin: squared distance from which on two centres are far enough from each other.

    Returns:
      `[batch, batch]`: of each pair i < j, and 0 elsewhere. Pairs above 0 are called active.
    """
    selection = one_hot(labels, centers)
    own = matmul(selection, centers)
    squares = jnp.sum(jnp.square(own), axis=-1)
    # Expanded, or it would take a [batch, batch, dim] array. What cancels is small against the margin.
    distances = squares[:, None] + squares - 2 * matmul(own, own.T)
    counted = jnp.triu(labels[:, None] != labels, k=1)
    return jnp.where(counted, jnp.square(jax.nn.relu(margin - distances)), 0)


def drawn_pairs(penalties: jax.Array, key: jax.Array, *, count: int) -> jax.Array:
    """At most `count` of the active pairs, drawn at random without replacement; all where there are no more.

    Args:
      penalties: of `pair_penalties`, of any shape.
      key: of `jax.random`.
      count: how many, at most the size of `penalties`.

    Returns:
      `[count]` penalties; where fewer pairs are active the rest are zeros.
    """
    penalties = penalties.ravel()
    order = jnp.where(penalties > 0, jax.random.uniform(key, penalties.shape), -1)
    _, chosen = jax.lax.top_k(order, count)
    return penalties[chosen]


def inter_class_loss(penalties: jax.Array, key: jax.Array, *, max_pairs: int) -> jax.Array:
    """The drawn pairs' sum over 4 S, S = min(max_pairs, B (B - 1)) whether or not so many are active.

    Args:
      penalties: `[batch, batch]` of `pair_penalties`.
      key: of `jax.random`; not used while a batch has no more than S pairs i < j.
      max_pairs: the largest number of pairs that are drawn.

    Returns:
      A scalar; 0 for a batch of one.
    """
    batch = penalties.shape[0]
    count = min(max_pairs, batch * (batch - 1))
    if batch * (batch - 1) // 2 > count:
        penalties = drawn_pairs(penalties, key, count=count)
    return jnp.sum(penalties) / (4 * max(count, 1))


class ElopeLoss(ElopeOptions, LinearLoss):
    """Cross-entropy of a linear classifier, plus `lam` times the embedding loss `intra + gamma * inter`.

    The centres, one per class, of length 1 and random at the start, are in `"loss_state"/"centers"`. They first take
    their step by `stepped_centers`. Then `intra` is the mean of `center_loss` between features and the new centres,
    and `inter` drives apart those that are nearer than the margin. Both are of features at length 1, the
    cross-entropy is of the features as they come. The value does not depend on whether the new centres are kept.

    Without mutability of `"loss_state"`, for instance for the loss of validation data, they are not. Which pairs are
    drawn follows from `step` alone, so that a run can be repeated.
    """

    def setup(self) -> None:
        """Makes the classifier and the centres."""
        super().setup()
        self.centers = self.variable("loss_state", "centers", self._random_centers)

    def _random_centers(self) -> jax.Array:
        return unit(nn.initializers.normal(1.0)(self.make_rng("params"), (self.num_classes, self.dim)))

    def __call__(self, features: jax.Array, labels: jax.Array, *, step: jax.Array) -> LossOutput:
        """Returns the loss of `features` `[batch, dim]`, the whole global batch, and `labels`; moves the centres."""
        features = self.prepare(features)
        directions = unit(features)
        old = self.centers.value
        centers = stepped_centers(directions, labels, old, rate=self.center_rate, center_step=self.center_step)
        if self.is_mutable_collection("loss_state") and not self.is_initializing():
            self.centers.value = jax.lax.stop_gradient(centers).astype(old.dtype)
        if not self.grad_through_centers:
            centers = jax.lax.stop_gradient(centers)
        intra = center_loss(directions, labels, centers)
        penalties = pair_penalties(labels, centers, margin=self.margin)
        inter = inter_class_loss(penalties, self.draw_key(step), max_pairs=self.max_pairs)
        metrics = {
            "intra": jnp.mean(intra),
            "inter": inter,
            "active_pairs": jnp.sum(penalties > 0).astype(jnp.float32),
        }
        losses = softmax_cross_entropy(self.logits(features), labels) + self.lam * intra
        return LossOutput(losses, self.lam * self.gamma * inter, metrics)
