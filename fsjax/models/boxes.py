"""Boxes of regions in images, as parameters theta of a crop: from attention maps, from corners, and compared.

theta is (s_x, s_y, t_x, t_y): the crop's position x_out in [-1, 1] is read at s_x·x_out + t_x of the image, which is
[-1, 1] wide as well; y likewise. (1, 1, 0, 0) is the whole image. With `align_corners=False` -1 and 1 are the outer
edges of the first and the last pixel, with `align_corners=True` their centres, as Torch7's STN package had it.
"""

import jax
import jax.numpy as jnp
from jax import lax

from fsjax.options.methods import LocalizationOptions


def min_max(maps: jax.Array) -> jax.Array:
    """Maps `[batch, h, w]` with the least value of each at 0 and the largest at 1; a constant map becomes 0."""
    least = jnp.min(maps, axis=(1, 2), keepdims=True)
    return (maps - least) / (jnp.max(maps, axis=(1, 2), keepdims=True) - least + 1e-12)


def target_theta(maps: jax.Array, *, tau: float, align_corners: bool = LocalizationOptions.align_corners) -> jax.Array:
    """The smallest box around all positions whose min-max normalised value is above tau (Sec. 2.2.1 of the paper).

    All of them, not only the largest connected component ("containing all positions with value one"). There is no
    gradient.

    Args:
      maps: `[batch, h, w]`.
      tau: in [0, 1); the comparison is strict.
      align_corners: the convention of the crop. With True a box of one row or column has the scale 0.

    Returns:
      theta `[batch, 4]`, float32 (float64 for float64 maps); of a constant map the whole image.
    """
    maps = lax.stop_gradient(maps.astype(jnp.promote_types(maps.dtype, jnp.float32)))
    above = min_max(maps) > tau
    height, width = maps.shape[1:]
    empty = ~jnp.any(above, axis=(1, 2))
    s_y, t_y = _extent(jnp.any(above, axis=2) | empty[:, None], height, align_corners, maps.dtype)
    s_x, t_x = _extent(jnp.any(above, axis=1) | empty[:, None], width, align_corners, maps.dtype)
    return jnp.stack([s_x, s_y, t_x, t_y], axis=-1)


def _extent(marked: jax.Array, size: int, align_corners: bool, dtype: jnp.dtype) -> tuple[jax.Array, jax.Array]:
    """Scale and translation `[batch]` of the stretch from the first to the last True of `[batch, size]`."""
    first = jnp.argmax(marked, axis=1).astype(dtype)
    last = size - 1 - jnp.argmax(marked[:, ::-1], axis=1).astype(dtype)
    if size == 1:
        return jnp.ones_like(first), jnp.zeros_like(first)
    if not align_corners:
        return (last + 1 - first) / size, (first + last + 1) / size - 1
    return (last - first) / (size - 1), (first + last) / (size - 1) - 1


def theta_iou(a: jax.Array, b: jax.Array) -> jax.Array:
    """Intersection over union of two boxes each, theta `[..., 4]`; result `[...]`, 0 where both have no area.

    A negative scale, a mirrored crop, covers the same box as its absolute value.
    """
    (a_low, a_high), (b_low, b_high) = _ends(a), _ends(b)
    overlap = jnp.prod(jnp.maximum(jnp.minimum(a_high, b_high) - jnp.maximum(a_low, b_low), 0), axis=-1)
    union = jnp.prod(a_high - a_low, axis=-1) + jnp.prod(b_high - b_low, axis=-1) - overlap
    return jnp.where(union > 0, overlap / jnp.where(union > 0, union, 1), 0)


def _ends(theta: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Lower and upper ends `[..., 2]` in x and y."""
    scale, shift = jnp.abs(theta[..., :2]), theta[..., 2:]
    return shift - scale, shift + scale


def theta_of_corners(corners: jax.Array) -> jax.Array:
    """theta `[..., 4]` (`align_corners=False`) of boxes (ymin, xmin, ymax, xmax) in 0..1 of the image."""
    y_low, x_low, y_high, x_high = jnp.moveaxis(corners, -1, 0)
    return jnp.stack([x_high - x_low, y_high - y_low, x_low + x_high - 1, y_low + y_high - 1], axis=-1)


def corners_of_theta(theta: jax.Array) -> jax.Array:
    """Boxes (ymin, xmin, ymax, xmax) in 0..1 of the image, `[..., 4]`, of theta (not `align_corners`); not clipped."""
    low, high = _ends(theta)
    return (jnp.stack([low[..., 1], low[..., 0], high[..., 1], high[..., 0]], axis=-1) + 1) / 2


def by_edges(theta: jax.Array, image_size: tuple[int, int], crop_size: tuple[int, int]) -> jax.Array:
    """theta of the convention `align_corners=True` in that of False: what the crop's pixels cover in the image.

    Args:
      theta: `[..., 4]`.
      image_size: (height, width) of the image in pixels.
      crop_size: that of the crop.

    Returns:
      theta `[..., 4]` whose crop of the same size reads the same places with `align_corners=False`.
    """
    image, crop = (jnp.asarray(size[::-1], theta.dtype) for size in (image_size, crop_size))
    scale = theta[..., :2] * ((image - 1) / jnp.maximum(crop - 1, 1)) * (crop / image)
    return jnp.concatenate([scale, theta[..., 2:] * (image - 1) / image], axis=-1)
