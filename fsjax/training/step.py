"""The training step and the evaluation step of one device's shard; only `lax.pmean` and `lax.psum` know of others."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax

from fsjax.evaluation.metrics import classification_sums
from fsjax.methods.base import Method, Variables
from fsjax.training.feed import Feed
from fsjax.training.state import CAUSES, CONSTANT, Health, TrainState

Batch = Mapping[str, Any]  # arrays, and trees of them


def make_train_step(
    method: Method,
    optimizer: optax.GradientTransformation,
    *,
    axis_name: str | None,
    unroll: bool,
    feed: Feed | None = None,
    over_devices: Callable[[Callable[..., Any]], Callable[..., Any]] | None = None,
    place: Callable[[TrainState], TrainState] | None = None,
) -> Callable[[TrainState, Batch], tuple[TrainState, jax.Array]]:
    """A function that takes several optimizer steps in one dispatch.

    Args:
      method: `objective(params, collections, batch, step=...)` gives the loss of a micro-batch.
      optimizer: an optax transformation.
      axis_name: the mapped axis that holds the devices, or None.
      unroll: write the steps out one after the other in the compiled program, instead of a loop. XLA's
        CPU backend runs convolutions inside of a loop on one thread and 20 times slower (jax 0.10.2).
      feed: `split(batches)` gives arrays `[steps, micro-batches, ...]` and what all of them share, `read(shared,
        item)` makes a micro-batch, arrays `[rows, ...]`, of one of them (see `fsjax.training.feed`); without it they
        are the micro-batches.
      over_devices: lifts the gradients `(params, collections, step, shared, items) -> ...` over the devices, where
        the step itself is not lifted as a whole.
      place: says where the parts of a state lie, as sharding constraints.

    Returns:
      `(state, batches) -> (state, losses)`: `steps` optimizer steps, the gradient of each averaged over its
      micro-batches. `losses` is `[steps]`. Every micro-batch sees the batch statistics that the one before it left,
      as in PyTorch.
    """
    read = (lambda _, item: item) if feed is None else feed.read

    def gradients(
        params: Variables, collections: Variables, number: jax.Array, shared: Batch, items: Batch
    ) -> tuple[Any, ...]:
        def one(collections: Variables, turn_and_item: tuple[jax.Array, Batch]) -> tuple[Any, tuple[Any, Any]]:
            turn, item = turn_and_item
            batch = {**read(shared, item), "turn": turn}
            value_and_grad = jax.value_and_grad(method.objective, has_aux=True)
            (_, (collections, metrics)), grads = value_and_grad(params, collections, batch, step=number)
            return collections, (grads, metrics | {"images_finite": jnp.all(jnp.isfinite(batch["image"]))})

        turns = jnp.arange(jax.tree.leaves(items)[0].shape[0])
        collections, (grads, metrics) = _scan(one, collections, (turns, items), unroll=unroll)
        grads, metrics = jax.tree.map(lambda x: jnp.mean(x, axis=0, dtype=jnp.float32), (grads, metrics))
        if axis_name is not None:
            # Statistics that are local to a device (no synchronised batch norm) are averaged as well, so
            # that the state stays one and the same on all of them.
            changed = {name: x for name, x in collections.items() if name not in CONSTANT}
            grads, metrics, changed = lax.pmean((grads, metrics, changed), axis_name)
            collections = {**collections, **changed}
        return grads, collections, metrics

    gradients = gradients if over_devices is None else over_devices(gradients)

    def step(state: TrainState, shared: Batch, items: Batch) -> tuple[TrainState, jax.Array]:
        grads, collections, metrics = gradients(state.params, state.collections, state.step, shared, items)
        grad_norm = optax.tree.norm(grads)
        health = _watch(state, metrics, grad_norm)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        sums = {name: metrics[name] for name in state.meters if name not in ("count", "grad_norm")}
        sums |= {"count": jnp.float32(1), "grad_norm": grad_norm}
        state = state.replace(
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            collections=collections,
            opt_state=opt_state,
            meters=jax.tree.map(jnp.add, state.meters, sums),
            health=health,
        )
        return state if place is None else place(state), metrics["loss"]

    def steps(state: TrainState, batches: Batch) -> tuple[TrainState, jax.Array]:
        items, shared = (batches, {}) if feed is None else feed.split(batches)
        return _scan(lambda state, items: step(state, shared, items), state, items, unroll=unroll)

    return steps


def make_eval_step(method: Method, *, axis_name: str | None) -> Callable[..., dict[str, jax.Array]]:
    """A function `(params, collections, batch) -> sums` over the examples of a batch on all devices.

    Arrays of `batch` are `[rows, ...]`; rows of weight 0 are padding and count nowhere. See
    `fsjax.evaluation.metrics.classification_sums` for the sums.
    """

    def step(params: Variables, collections: Variables, batch: Batch) -> dict[str, jax.Array]:
        logits = method.logits(params, collections, batch["image"])
        sums = classification_sums(logits, batch["label"], batch["weight"])
        return sums if axis_name is None else lax.psum(sums, axis_name)

    return step


def _watch(state: TrainState, metrics: Mapping[str, jax.Array], grad_norm: jax.Array) -> Health:
    """The health after a step: the first step that is not finite is kept, with what was not."""
    bad = {
        "images": metrics["images_finite"] < 1,
        "features": ~jnp.isfinite(metrics["feature_max"]),
        "loss": ~jnp.isfinite(metrics["loss"]),
        "gradients": ~jnp.isfinite(grad_norm),
    }
    causes = functools.reduce(jnp.add, (bit * bad[name].astype(jnp.int32) for name, bit in CAUSES.items()))
    now = Health(state.step, causes, metrics["feature_max"], grad_norm)
    first = (state.health.bad_step < 0) & (causes > 0)
    return jax.tree.map(lambda new, old: jnp.where(first, new, old), now, state.health)


def _scan(body: Callable[..., Any], carry: Any, xs: Any, *, unroll: bool) -> tuple[Any, Any]:
    """`lax.scan`, without a loop in the compiled program if `unroll`, or if there is one turn only.

    (`lax.scan(unroll=True)` leaves a loop around a single turn in jax 0.10.2.)
    """
    length = jax.tree.leaves(xs)[0].shape[0]
    if length > 1 and not unroll:
        return lax.scan(body, carry, xs)
    results = []
    for turn in range(length):
        carry, result = body(carry, jax.tree.map(lambda x: x[turn], xs))  # noqa: B023 - used at once
        results.append(result)
    return carry, jax.tree.map(lambda *parts: jnp.stack(parts), *results)
