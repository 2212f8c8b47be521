"""Augmentation and normalisation inside a jit: the draws of a step applied to images, as the host's pipeline does.

Bit for bit, as `fsjax.data.pipeline.augment` has it in TensorFlow.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fsjax.data.pipeline.augment_config import AugmentConfig
from fsjax.data.pipeline.decisions import Decisions


def vary(
    images: jax.Array, drawn: Decisions, *, augment: AugmentConfig, shift: np.ndarray, factor: np.ndarray
) -> jax.Array:
    """Drawn images, cropped, mirrored, normalised, holed and mixed.

    Args:
      images: uint8 `[drawn, h, w, c]`.
      drawn: the draws.
      augment: what of them is applied.
      shift, factor: of the normalisation, see `fsjax.data.info.scaling`.

    Returns:
      float32 `[rows, h, w, c]`.
    """
    if augment.pad or augment.flip:
        images = _crop_and_flip(images, drawn, pad=augment.pad)
    images = (images.astype(jnp.float32) - shift) * factor
    if augment.cutout:
        images = _cut_out(images, drawn, side=augment.cutout)
    return _mix(images, drawn) if augment.mixup else images


def labels_of(labels: jax.Array, drawn: Decisions, *, mixup: bool) -> Mapping[str, jax.Array]:
    """Labels and numbers of the rows, and what mixup did with them, as `fsjax.data.train_batches` gives them."""
    batch = {"label": labels[drawn.index[drawn.first]], "index": drawn.index[drawn.first]}
    if drawn.weight is not None:
        batch["weight"] = drawn.weight
    if mixup:
        mix = jnp.broadcast_to(drawn.mix, drawn.first.shape)
        batch |= {"mixed_label": labels[drawn.index[drawn.second]], "mix": mix}
    return batch


def _crop_and_flip(images: jax.Array, drawn: Decisions, *, pad: int) -> jax.Array:
    """Crops of images with a black border, mirrored or not.

    By the rows and columns that a crop reads, which no border needs to be made for: twice as fast on a CPU as a slice
    of padded images.
    """
    height, width = images.shape[1:3]
    rows, columns = jnp.arange(height), jnp.arange(width)
    columns = jnp.where(drawn.flip[:, None], columns[::-1], columns) + (drawn.left - pad)[:, None]
    rows = rows + (drawn.top - pad)[:, None]
    inside = _within(rows, height)[:, :, None] & _within(columns, width)[:, None, :]
    rows, columns = rows.clip(0, height - 1), columns.clip(0, width - 1)
    read = jax.vmap(lambda image, y, x: image.at[y[:, None], x[None]].get(mode="promise_in_bounds"))
    return jnp.where(inside[..., None], read(images, rows, columns), 0)


def _within(places: jax.Array, size: int) -> jax.Array:
    return (places >= 0) & (places < size)


def _cut_out(images: jax.Array, drawn: Decisions, *, side: int) -> jax.Array:
    def inside(centre: Any, size: int) -> jax.Array:
        place, begin = jnp.arange(size), (centre - side // 2)[:, None]
        return (place >= begin) & (place < (centre + side // 2)[:, None])

    rows, columns = inside(drawn.hole_y, images.shape[1]), inside(drawn.hole_x, images.shape[2])
    return jnp.where((rows[:, :, None] & columns[:, None, :])[..., None], 0.0, images)


def _mix(images: jax.Array, drawn: Decisions) -> jax.Array:
    """Each row with its partner, the two products rounded before they are added.

    A compiler may fuse a product and the sum after it, which rounds once where the host rounds twice. What it cannot
    see through is a number that it does not know: the sign bit of the weight, which is never negative.
    """
    # Each image is read twice here: without the barrier XLA makes it twice, pixel by pixel, 10 times slower on a CPU.
    weight, images = drawn.mix, jax.lax.optimization_barrier(images)
    unknown_zero = jax.lax.bitcast_convert_type(weight, jnp.uint32) >> 31

    def rounded(x: jax.Array) -> jax.Array:
        bits = jax.lax.bitcast_convert_type(x, jnp.uint32) ^ unknown_zero
        return jax.lax.bitcast_convert_type(bits, jnp.float32)

    return rounded(weight * images[drawn.first]) + rounded((1 - weight) * images[drawn.second])
