"""The leave-one-out prototype loss: each support image in turn is a query against prototypes of the others."""

import jax
import jax.numpy as jnp

from fsjax.losses.arithmetic.similarity import scaled_cosine
from fsjax.losses.base import matmul
from fsjax.losses.softmax import softmax_cross_entropy

# The logit of a class without images: nothing that a cosine times a scale comes near, and finite, so that 0 times
# it stays 0 in the gradient.
_ABSENT = -1e30


def leave_one_out_loss(
    support: jax.Array, queries: jax.Array, labels: jax.Array, mask: jax.Array, *, num_classes: int, tau: float
) -> jax.Array:
    """Cross-entropy of each image against prototypes without it (Lifchitz et al. 2019, Eq. 11 and 12).

    In closed form: only the prototype of its own class changes when an image is left out, and that one is the
    class's sum less the image. One pass serves all subtasks, instead of one a subtask. The gradient flows through
    the queries and the prototypes.

    Args:
      support: `[n, dim]` pooled embeddings, of which the prototypes are means.
      queries: `[n, r, dim]` the same images as queries: r = 1 pooled vector (Eq. 11) or r positions, each
        classified for itself (Eq. 12).
      labels: `[n]` integers `0 .. num_classes-1`; each class needs two images or none.
      mask: `[n]`, 1 for an image, 0 for padding.
      num_classes: classes of the task; one without images is no candidate.
      tau: scale of the cosines.

    Returns:
      `[n]` losses, summed over the positions; 0 for padding.
    """
    mask = mask.astype(support.dtype)
    member = jax.nn.one_hot(labels, num_classes, dtype=support.dtype) * mask[:, None]
    counts = jnp.sum(member, axis=0)
    sums = matmul(member.T, support)
    prototypes = sums / jnp.maximum(counts, 1)[:, None]
    own = (matmul(member, sums) - support) / jnp.maximum(matmul(member, counts) - 1, 1)[:, None]

    logits = scaled_cosine(queries.reshape(-1, queries.shape[-1]), prototypes, tau)
    logits = logits.reshape(*queries.shape[:2], num_classes)
    logits = jnp.where(member[:, None] > 0, scaled_cosine(queries, own[:, None], tau), logits)
    logits = jnp.where(counts > 0, logits, _ABSENT)
    positions = jnp.broadcast_to(labels[:, None], queries.shape[:2])
    return jnp.sum(softmax_cross_entropy(logits, positions), axis=-1) * mask
