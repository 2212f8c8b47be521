"""The bilinear crop of a spatial transformer without rotation (Jaderberg et al. 2015), and a gradient with a factor."""

from functools import partial

import jax
import jax.numpy as jnp

from fsjax.errors import unknown
from fsjax.options.methods import LocalizationOptions

PADDINGS = ("zeros", "border")  # what is read outside of the image


def affine_crop(
    images: jax.Array,
    theta: jax.Array,
    *,
    size: tuple[int, int],
    align_corners: bool = LocalizationOptions.align_corners,
    padding: str = LocalizationOptions.padding,
) -> jax.Array:
    """The boxes theta of images, resized to one size by bilinear interpolation; differentiable in both.

    The same as PyTorch's `affine_grid` and `grid_sample`. A crop reads four pixels for each of its own and no more: one
    that is much smaller than its box aliases. The whole image at its own size comes back bit for bit.

    Args:
      images: `[batch, h, w, channels]`.
      theta: `[batch, 4]`, see `fsjax.models.boxes`.
      size: (height, width) of the crops.
      align_corners: whether -1 and 1 are the centres of the outer pixels, or their edges.
      padding: "zeros", or "border": the nearest pixel.

    Returns:
      `[batch, *size, channels]` in the dtype of the images.
    """
    if padding not in PADDINGS:
        raise unknown("padding", padding, PADDINGS)
    rows = source_positions(theta[:, 1], theta[:, 3], size[0], images.shape[1], align_corners=align_corners)
    columns = source_positions(theta[:, 0], theta[:, 2], size[1], images.shape[2], align_corners=align_corners)
    # Without rotation the two directions can be interpolated one after the other.
    crop = _interpolated(images, rows, axis=1, padding=padding)
    return _interpolated(crop, columns, axis=2, padding=padding)


def source_positions(scale: jax.Array, shift: jax.Array, length: int, source: int, *, align_corners: bool) -> jax.Array:
    """Where the pixels of a crop lie in the image, in pixels from the centre of the first.

    PyTorch's formulas, ordered such that scale 1, shift 0 and equal lengths give whole numbers exactly.

    Args:
      scale, shift: `[batch]`.
      length: pixels of the crop.
      source: pixels of the image.
      align_corners: see `affine_crop`.

    Returns:
      `[batch, length]` floats.
    """
    from_centre = jnp.arange(length) - (length - 1) / 2
    span = (source - 1) / max(length - 1, 1) if align_corners else source / length
    half = (source - 1) / 2 if align_corners else source / 2
    return scale[:, None] * (from_centre * span) + shift[:, None] * half + (source - 1) / 2


def _interpolated(images: jax.Array, positions: jax.Array, *, axis: int, padding: str) -> jax.Array:
    """Linear interpolation along one axis at positions `[batch, n]`."""
    last = images.shape[axis] - 1
    if padding == "border":
        positions = jnp.clip(positions, 0, last)
    lower = jnp.floor(positions)
    shape = [images.shape[0], 1, 1, 1]
    shape[axis] = positions.shape[1]

    def read(at: jax.Array) -> jax.Array:
        index = jnp.clip(at, 0, last).astype(jnp.int32)
        values = jax.vmap(partial(jnp.take, axis=axis - 1))(images, index)
        inside = (at >= 0) & (at <= last)
        return jnp.where(inside.reshape(shape), values, 0)

    # The weights in float32 also for images in bfloat16.
    weight = (positions - lower).reshape(shape)
    below, above = read(lower), read(lower + 1)
    return ((1 - weight) * below + weight * above).astype(images.dtype)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def scale_gradient(x: jax.Array, factor: float) -> jax.Array:
    """`x`, with its gradient multiplied by the factor; 0 cuts it, even one that is not finite.

    Args:
      x: any array.
      factor: a Python number.
    """
    return x


def _forward(x: jax.Array, factor: float) -> tuple[jax.Array, None]:
    return x, None


def _backward(factor: float, _: None, cotangent: jax.Array) -> tuple[jax.Array]:
    return (cotangent * factor if factor else jnp.zeros_like(cotangent),)


scale_gradient.defvjp(_forward, _backward)
