"""Neural implants: a few new filters beside a frozen network's last block, trained for one task (Lifchitz et al.).

Section and equation numbers are those of "Dense Classification and Implanting for Few-Shot Learning" (2019). What
the frozen network computes of an image never changes, so it is computed once, as `Activations`; the inner optimizer
then sees nothing but arrays:

    params, stats = train_implants(support, labels, mask, keys, options=options, num_ways=5)
    maps = implant_maps(params, stats, queries, options)

All arrays have a leading axis of tasks, which train side by side.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax

from fsjax.losses.base import as_loss_dtype
from fsjax.losses.leave_one_out import leave_one_out_loss
from fsjax.methods.implant_network import (
    Activations,
    Frozen,
    ImplantOptions,
    Params,
    Stats,
    as_kernels,
    as_matrices,
    base_activations,
    implant_maps,
    init_implants,
    widened_stream,
)

__all__ = [
    "Activations",
    "ImplantOptions",
    "base_activations",
    "implant_loss",
    "implant_maps",
    "init_implants",
    "train_implants",
]

_MOMENTUM = 0.9


def implant_loss(
    maps: jax.Array, labels: jax.Array, mask: jax.Array, options: ImplantOptions, *, num_ways: int
) -> jax.Array:
    """The leave-one-out loss of a task's support images, the sum of Eq. 11 or 12.

    Args:
      maps: `[n, h, w, dim]` or `[n, positions, dim]` widened feature maps.
      labels: `[n]` integers `0 .. num_ways-1`.
      mask: `[n]`, 1 for an image, 0 for padding.
      options: the poolings and the scale.
      num_ways: classes of the task.

    Returns:
      A scalar.
    """
    support, queries = _reduced(maps, options.support_pool)[:, 0], _reduced(maps, options.query_pool)
    losses = leave_one_out_loss(support, queries, labels, mask, num_classes=num_ways, tau=options.tau)
    return jnp.sum(losses)


def _reduced(maps: jax.Array, pool: str) -> jax.Array:
    """Maps `[n, ..., dim]` as `[n, r, dim]`: r is the number of positions if `pool` is "dense", otherwise 1."""
    positions = as_loss_dtype(maps).reshape(maps.shape[0], -1, maps.shape[-1])
    if pool == "dense":
        return positions
    return (jnp.mean if pool == "gap" else jnp.max)(positions, axis=1, keepdims=True)


@functools.partial(jax.jit, static_argnames=("options", "num_ways"))
def train_implants(
    activations: Activations,
    labels: jax.Array,
    mask: jax.Array,
    keys: jax.Array,
    *,
    options: ImplantOptions,
    num_ways: int,
) -> tuple[Params, Stats]:
    """Trains fresh implants for each task on its support images (Sec. 3.2.2), all tasks side by side.

    Full-batch steps of AdamW on the sum of the leave-one-out losses. Every class needs two images or none: a class
    of one has no prototype when that one is left out.

    Batch normalisation takes the support images' statistics while it trains. The paper does not say what it
    takes at the test. The weights move further in 50 steps than they were at the start, so an average over the last
    ten steps belongs to no network that exists any more: we take the statistics of the support images under the final
    implants, so that the network at test is the one whose loss was minimised. `statistics="running"` is the other
    choice, averages with momentum 0.9, of which a final pass is one more update. See docs/readings.md, "Implants".

    Args:
      activations: of the support images, `[tasks, n, ...]`.
      labels: `[tasks, n]` integers `0 .. num_ways-1`.
      mask: `[tasks, n]`, 1 for an image, 0 for padding, whose activations must be finite.
      keys: `[tasks]` JAX random keys, from which the implants of each task start.
      options: see `ImplantOptions`.
      num_ways: classes of a task, the most of all of them.

    Returns:
      The implants, see `init_implants`, and their "mean" and "var" at test by layer (empty without batch
      normalisation), all with a leading axis of tasks.
    """
    one_task = functools.partial(_train_one, options=options, num_ways=num_ways)
    return jax.vmap(one_task)(activations, labels, mask, keys)


def _train_one(
    activations: Activations,
    labels: jax.Array,
    mask: jax.Array,
    key: jax.Array,
    *,
    options: ImplantOptions,
    num_ways: int,
) -> tuple[Params, Stats]:
    """`train_implants` of a single task."""
    frozen = Frozen.of(activations)
    width, dtype = activations.conv1.shape[-1], frozen.inputs.dtype
    params = init_implants(key, options, in_channels=activations.inputs.shape[-1], width=width, dtype=dtype)
    base_support, base_queries = (_reduced(activations.output, p) for p in (options.support_pool, options.query_pool))

    def loss(weights: Params) -> tuple[jax.Array, Stats]:
        maps, moments = widened_stream(weights, frozen, options, mask=mask)
        support = jnp.concatenate([base_support, _reduced(maps, options.support_pool)], axis=-1)[:, 0]
        queries = jnp.concatenate([base_queries, _reduced(maps, options.query_pool)], axis=-1)
        losses = leave_one_out_loss(support, queries, labels, mask, num_classes=num_ways, tau=options.tau)
        return jnp.sum(losses), moments

    optimizer = optax.adamw(
        options.learning_rate, b1=options.b1, b2=options.b2, eps=options.eps, weight_decay=options.weight_decay
    )

    def step(carry: tuple[Params, Any, Stats], _: None) -> tuple[tuple[Params, Any, Stats], None]:
        weights, state, running = carry
        gradients, moments = jax.grad(loss, has_aux=True)(weights)
        updates, state = optimizer.update(gradients, state, weights)
        return (optax.apply_updates(weights, updates), state, _average(running, moments)), None

    weights = as_matrices(params, width)
    stats = {}
    if options.norm == "bn":
        stats = {
            name: {"mean": jnp.zeros_like(p["bias"]), "var": jnp.ones_like(p["bias"])} for name, p in params.items()
        }
    (weights, _, stats), _ = lax.scan(step, (weights, optimizer.init(weights), stats), None, length=options.steps)
    _, moments = widened_stream(weights, frozen, options, mask=mask)
    return as_kernels(weights), moments if options.statistics == "support" else _average(stats, moments)


def _average(running: Stats, moments: Stats) -> Stats:
    """Running statistics after one more batch of these moments."""
    return jax.tree.map(lambda old, new: _MOMENTUM * old + (1 - _MOMENTUM) * new, running, moments)
