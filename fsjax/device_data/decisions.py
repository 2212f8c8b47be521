"""What a training step draws before it touches an image, in a jit: as `fsjax.data.pipeline.decisions`, bit for bit.

The numbers of a run's rows pass 2**32, which the device's integers do not: the host gives where a micro-batch begins
as a *plan*, and the device draws from there.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fsjax.data import ClassTable, EpisodeSpec
from fsjax.data import random as host_random
from fsjax.data.pipeline.augment_config import AugmentConfig
from fsjax.data.pipeline.decisions import Decisions, mixing_weight
from fsjax.device_data import random
from fsjax.device_data.episodes import draw_episodes

Plan = Mapping[str, Any]


def plans(numbers: np.ndarray, *, seed: int, rows: int, size: int, mixup: float) -> tuple[dict[str, np.ndarray], int]:
    """Where micro-batches begin, for `draw` and `draw_episodic`; on the host.

    Args:
      numbers: int64, which micro-batches of the run, of any shape and rising.
      seed: the run's.
      rows: images drawn for a micro-batch, on all devices together.
      size: training images, of which an epoch holds each once.
      mixup: alpha of its Beta distribution; 0 for none.

    Returns:
      Arrays that begin with the shape of `numbers`: `number` uint32, `row` uint32 `[..., 2]` (the number of its first
      row among all of the run, high word first), `epoch` int32 (from the first of these) and `offset` int32 where it
      begins, `mix` float32; and the first epoch.
    """
    begin = numbers * rows
    first = int(begin.min() // size)
    base = host_random.key(seed)
    mix = np.ones(numbers.shape, np.float32)
    if mixup:
        mix.flat[:] = [mixing_weight(host_random.fold(base, host_random.MIX, int(n)), mixup) for n in numbers.flat]
    plan = {
        "number": numbers.astype(np.uint32),
        "row": np.stack([begin >> 32, begin & 0xFFFFFFFF], axis=-1).astype(np.uint32),
        "epoch": (begin // size - first).astype(np.int32),
        "offset": (begin % size).astype(np.int32),
        "mix": mix,
    }
    return plan, first


def epoch_orders(seed: int, first: jax.Array, *, count: int, size: int) -> jax.Array:
    """The orders in which `count` epochs from `first` on visit `size` examples, int32 `[count, size]`."""
    base = random.fold(host_random.key(seed), host_random.ORDER)
    return jnp.stack([random.permutation(random.fold(base, first + epoch), size) for epoch in range(count)])


def draw(
    plan: Plan,
    orders: jax.Array,
    *,
    seed: int,
    batch_size: int,
    augment: AugmentConfig,
    image_shape: tuple[int, ...],
    device: int | jax.Array = 0,
    devices: int = 1,
) -> Decisions:
    """The draws of a device for a micro-batch, those of the host's `draw` for a process of its number.

    Args:
      plan: of the micro-batch, see `plans`.
      orders: int32 `[epochs, n]` of the epochs that the plan counts from, see `epoch_orders`.
      seed: the run's.
      batch_size: rows of the micro-batch on all devices.
      augment: what is drawn.
      image_shape: height, width and channels.
      device, devices: rows `[device · b / devices, (device + 1) · b / devices)` are drawn; `device` may be traced.
    """
    per_device = batch_size // devices
    rows = device * per_device + jnp.arange(per_device, dtype=jnp.int32)
    first = second = jnp.arange(per_device, dtype=jnp.int32)
    base = host_random.key(seed)
    if augment.mixup:
        partners = random.permutation(random.fold(base, host_random.PARTNER, plan["number"]), batch_size)[rows]
        if devices == 1:
            second = partners
        else:
            # A partner may be another device's row: it is drawn here too.
            rows, second = jnp.concatenate([rows, partners]), first + per_device
    position, size = plan["offset"] + rows, orders.shape[1]
    index = orders[plan["epoch"] + position // size, position % size]
    varied = _variations(plan, rows, base, augment, image_shape)
    return _drawn(index=index, first=first, second=second, mix=plan["mix"], **varied)


def draw_episodic(
    plan: Plan,
    table: ClassTable,
    *,
    seed: int,
    spec: EpisodeSpec,
    episodes: int,
    augment: AugmentConfig,
    image_shape: tuple[int, ...],
    device: int | jax.Array = 0,
    devices: int = 1,
) -> Decisions:
    """The draws of a device for a micro-batch of episodes: its rows of those of the host's `draw_episodic`.

    Args:
      plan: of the micro-batch, see `plans`, with `rows = episodes · spec.rows`.
      table: of the training split.
      seed: the run's.
      spec: of the episodes.
      episodes: how many, on all devices together; their rows divide among the devices, and each draws all of them.
      augment: what is drawn, without mixup.
      image_shape: height, width and channels.
      device, devices: which rows are this device's.
    """
    start = plan["number"] * jnp.uint32(episodes)
    _, support, query = draw_episodes(table, spec, seed=seed, start=start, count=episodes)
    index = jnp.concatenate([support, query], axis=-1).reshape(episodes, -1)
    weight = (index >= 0).astype(jnp.float32).reshape(-1)
    index = _repeated(index).reshape(-1) if spec.ragged else index.reshape(-1)
    rows = device * (len(index) // devices) + jnp.arange(len(index) // devices, dtype=jnp.int32)
    varied = _variations(plan, rows, host_random.key(seed), augment, image_shape)
    own = jnp.arange(len(rows), dtype=jnp.int32)
    return _drawn(index=index[rows], first=own, second=own, mix=plan["mix"], weight=weight[rows], **varied)


def _drawn(**draws: jax.Array | None) -> Decisions:
    """The draws, made before they are used: XLA would else draw them anew for each pixel, 4 times slower on a CPU."""
    made = jax.lax.optimization_barrier({name: draw for name, draw in draws.items() if draw is not None})
    return Decisions(**{**draws, **made})


def _repeated(index: jax.Array) -> jax.Array:
    """Positions `[episodes, rows]` with the padding, -1, replaced by the real ones of its row in turn."""
    real = index >= 0
    real_first = jnp.argsort(~real, axis=1, stable=True)
    turn = (jnp.cumsum(~real, axis=1) - 1) % real.sum(axis=1, keepdims=True)
    source = jnp.take_along_axis(real_first, turn, axis=1)
    return jnp.where(real, index, jnp.take_along_axis(index, source, axis=1))


def _variations(
    plan: Plan, rows: jax.Array, base: host_random.Key, augment: AugmentConfig, image_shape: tuple[int, ...]
) -> dict[str, Any]:
    """What `Decisions` holds of each drawn image, for these rows of a micro-batch."""
    low = plan["row"][1] + rows.astype(jnp.uint32)
    high = plan["row"][0] + (low < plan["row"][1])

    def words(stream: int) -> tuple[jax.Array, jax.Array]:
        return random.bits(random.fold(base, stream), low, high)

    top = left = jnp.zeros(len(rows), jnp.int32)
    if augment.crop == "pad" and augment.pad:
        top, left = (random.below(word, 2 * augment.pad + 1) for word in words(host_random.CROP))
    flip = jnp.zeros(len(rows), bool)
    if augment.flip:
        flip = words(host_random.FLIP)[0] >> 31 == 1
    holes = {}
    if augment.cutout:
        down, right = words(host_random.CUTOUT)
        holes = {"hole_y": random.below(down, image_shape[0]), "hole_x": random.below(right, image_shape[1])}
    return {"top": top, "left": left, "flip": flip, "crop": None, **holes}
