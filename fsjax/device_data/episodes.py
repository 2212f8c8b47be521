"""Few-shot episodes drawn inside a jit, equal bit for bit to those of `fsjax.data.draw_episodes`.

The layout of the draws is described there. Arrays here have the episodes last, so that XLA runs along them
with vector instructions.
"""

from typing import Any

import jax
import jax.numpy as jnp

from fsjax.data import ClassTable, EpisodeSpec
from fsjax.data import random as host_random
from fsjax.data.pipeline.episode_spec import ends
from fsjax.device_data import random

jax.tree_util.register_dataclass(ClassTable, data_fields=["order", "start", "count"], meta_fields=[])


def draw_episodes(
    table: ClassTable, spec: EpisodeSpec, *, seed: int | jax.Array, start: int | jax.Array, count: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Episodes `start`, ..., `start + count - 1` of a seed.

    The table must be able to make such episodes: see `fsjax.data.check_feasible`, which names the classes.

    Args:
      table: of the split's classes; it may be an argument of the jitted function.
      spec: of the episodes; static.
      seed: an integer, or `random.key(seed)` of `fsjax.data.random` as a uint32 array `[2]`, which may be traced.
      start: number of the first episode; it may be traced.
      count: how many; static.

    Returns:
      `classes` int32 `[count, way]`, `support` int32 `[count, way, shot]` and `query` int32
      `[count, way, query]`, as the fields of `fsjax.data.Episodes`.
    """
    words = _words(seed, start, count, spec.words)
    way, images = spec.max_way, spec.images
    sizes, starts, order = (jnp.asarray(array, jnp.int32) for array in (table.count, table.start, table.order))
    classes = partial_shuffle(words[:way], jnp.int32(len(sizes)))
    drawn = words[way : way + spec.rows].reshape(way, images, count).swapaxes(0, 1)
    chosen = order[starts[classes] + partial_shuffle(drawn, sizes[classes])]
    support, query = chosen[: spec.max_shot], chosen[spec.max_shot :]
    if spec.ragged:
        rest = words[way + spec.rows :]
        real = _first(rest[0], spec.way)
        support = jnp.where(real & _first(rest[1 : 1 + way], spec.shot), support, -1)
        query = jnp.where(real & _first(rest[1 + way :], spec.query), query, -1)
        classes = jnp.where(real, classes, -1)
    return classes.T, support.T, query.T


def partial_shuffle(words: jax.Array, size: jax.Array) -> jax.Array:
    """The first k elements of a Fisher-Yates shuffle of `range(size)`, as the host's `partial_shuffle`.

    Args:
      words: uint32 `[k, ...]`: unlike there, the steps come first.
      size: int32 `[...]`, of each shuffle.

    Returns:
      int32 `[k, ...]`, distinct along the first axis.
    """
    steps = jnp.arange(len(words), dtype=jnp.int32).reshape(-1, *[1] * (words.ndim - 1))
    drawn = steps + random.below(words, size - steps)

    # A loop in the program: written out, 20 steps took three times as long to compile and ran 6 % faster.
    def step(s: jax.Array, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        moved, result = carry
        target, value = drawn[s], moved[s]
        later = steps > s
        moved = jnp.where(later & (target == steps), value, moved)
        return moved, jnp.where(later & (target == drawn), value, result)

    return jax.lax.fori_loop(0, len(drawn), step, (jnp.broadcast_to(steps, drawn.shape), drawn))[1]


def _words(seed: int | jax.Array, start: int | jax.Array, count: int, words: int) -> jax.Array:
    """uint32 `[words, count]`, the words of episodes in the order of `fsjax.data.pipeline.episodes`."""
    base: Any = seed if jnp.ndim(seed) else host_random.key(int(seed))
    key = random.fold(base, host_random.EPISODE)
    blocks = -(-words // 2)
    episode = jnp.asarray(start, jnp.uint32) + jnp.arange(count, dtype=jnp.uint32)
    pair = random.threefry2x32(key, episode, jnp.arange(blocks, dtype=jnp.uint32)[:, None])
    return jnp.stack(pair, axis=1).reshape(2 * blocks, count)[:words]


def _first(words: jax.Array, count: int | tuple[int, int]) -> jax.Array:
    """bool `[most, ...]`: the first of an axis of `most`, as many as these words draw of the range."""
    low, high = ends(count)
    number = low + random.below(words, high - low + 1)
    return jnp.arange(high).reshape(-1, *[1] * words.ndim) < number
