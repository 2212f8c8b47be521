"""The layers of neural implants: convolutions over frozen activations, and batch norm over real images only.

A 3x3 convolution of `c` channels into 16 is written as one product with a `[c, 9 · 16]` matrix, whose result's
nine planes are then shifted and added. The usual way, patches times a `[9c, 16]` matrix, has as many
multiplications, but reads nine times the memory, and its 16 columns are too few to keep a CPU busy: a forward and
backward product with 512 channels on 25 maps of 4x4 ran at 55 GFLOP/s so, and at 191 as it is here (jax 0.10.2,
four tasks under `vmap` in a scan, 2 cores whose large products ran at 345). A convolution proper is slower still
where every task has its own kernel.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

BATCH_NORM_EPSILON = 1e-5


def columns(activations: jax.Array) -> jax.Array:
    """Activations `[n, h, w, c]` channel by channel, `[c, n · h · w]`, for `frozen_product`."""
    return jnp.moveaxis(activations, -1, 0).reshape(activations.shape[-1], -1)


def kernel_matrix(kernel: jax.Array) -> jax.Array:
    """A convolution's kernel `[side, side, c, k]` as the matrix `[c, side · side · k]`."""
    return jnp.moveaxis(kernel, 2, 0).reshape(kernel.shape[2], -1)


def matrix_kernel(matrix: jax.Array, side: int) -> jax.Array:
    """The kernel `[side, side, c, k]` that `kernel_matrix` made this matrix of."""
    return jnp.moveaxis(matrix.reshape(matrix.shape[0], side, side, -1), 0, 2)


@jax.custom_vjp
def frozen_product(frozen: jax.Array, matrix: jax.Array) -> jax.Array:
    """`frozen.T @ matrix`, differentiable by the matrix alone.

    With the channels first, both this product (289 GFLOP/s) and its gradient (243) read rows of both operands;
    with the positions first they ran at 174 and 146 (512 channels, 400 positions, 144 columns, 4 tasks at once).

    Args:
      frozen: `[c, positions]`, no gradient.
      matrix: `[c, m]`.

    Returns:
      `[positions, m]`.
    """
    return lax.dot_general(frozen, matrix, (((0,), (0,)), ((), ())))


def _frozen_product_forward(frozen: jax.Array, matrix: jax.Array) -> tuple[jax.Array, jax.Array]:
    return frozen_product(frozen, matrix), frozen


def _frozen_product_backward(frozen: jax.Array, cotangent: jax.Array) -> tuple[None, jax.Array]:
    return None, frozen @ cotangent


frozen_product.defvjp(_frozen_product_forward, _frozen_product_backward)


@jax.custom_vjp
def add_shifted(planes: jax.Array) -> jax.Array:
    """The nine planes of a 3x3 convolution with zero padding, each moved to where it belongs, and added.

    Args:
      planes: `[n, h, w, 3, 3, k]`: what each position has to say, by the kernel's row and column.

    Returns:
      `[n, h, w, k]`.
    """
    height, width = planes.shape[1:3]
    padded = jnp.pad(planes, ((0, 0), (1, 1), (1, 1), (0, 0), (0, 0), (0, 0)))
    moved = [
        padded[:, row : row + height, column : column + width, row, column] for row in range(3) for column in range(3)
    ]
    return functools.reduce(jnp.add, moved)


def _add_shifted_forward(planes: jax.Array) -> tuple[jax.Array, None]:
    return add_shifted(planes), None


def _add_shifted_backward(_: None, cotangent: jax.Array) -> tuple[jax.Array]:
    # The transpose: nine copies, each moved back. JAX's own would pad and add nine arrays of all planes.
    height, width = cotangent.shape[1:3]
    padded = jnp.pad(cotangent, ((0, 0), (1, 1), (1, 1), (0, 0)))
    shifted = [
        padded[:, 2 - row : 2 - row + height, 2 - column : 2 - column + width]
        for row in range(3)
        for column in range(3)
    ]
    return (jnp.stack(shifted, axis=3).reshape(*cotangent.shape[:3], 3, 3, -1),)


add_shifted.defvjp(_add_shifted_forward, _add_shifted_backward)


def batch_moments(x: jax.Array, mask: jax.Array) -> dict[str, jax.Array]:
    """Mean and biased variance of each channel over the real images.

    Args:
      x: `[n, h, w, k]`.
      mask: `[n]`, 1 for an image, 0 for padding.

    Returns:
      "mean" and "var", `[k]`.
    """
    weights = mask.astype(x.dtype)[:, None, None, None]
    count = jnp.maximum(jnp.sum(weights), 1) * x.shape[1] * x.shape[2]
    mean = jnp.sum(x * weights, axis=(0, 1, 2)) / count
    return {"mean": mean, "var": jnp.sum(jnp.square(x - mean) * weights, axis=(0, 1, 2)) / count}


def normalize(x: jax.Array, moments: dict[str, jax.Array]) -> jax.Array:
    """`x` `[..., k]` less the mean, over the deviation (epsilon 1e-5, as in the base network)."""
    return (x - moments["mean"]) * lax.rsqrt(moments["var"] + BATCH_NORM_EPSILON)
