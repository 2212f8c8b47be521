"""Images that live in the devices' memory, each device holding a part of them."""

import jax
import jax.numpy as jnp
from jax import lax


def take(images: jax.Array, index: jax.Array, *, axis_name: str | None) -> jax.Array:
    """The images that a device needs, of those that all devices hold together.

    Every device picks what it has of the rows of all, and the parts are summed where they are needed: of each image one
    device has it and the others have zeros. So the traffic is that of the batch, whatever the number of images.

    Args:
      images: uint8 `[n / devices, h, w, c]`, this device's part in the order of the devices.
      index: int32 `[rows]`, positions in the whole, of the images that this device needs; as many on each device.
      axis_name: the mapped axis that holds the devices, or None.

    Returns:
      uint8 `[rows, h, w, c]`.
    """
    if axis_name is None or lax.axis_size(axis_name) == 1:
        return images.at[index].get(mode="promise_in_bounds")
    wanted = lax.all_gather(index, axis_name, tiled=True)
    own = wanted - lax.axis_index(axis_name) * len(images)
    here = (own >= 0) & (own < len(images))
    found = jnp.where(here[:, None, None, None], images[jnp.where(here, own, 0)], 0)
    return lax.psum_scatter(found, axis_name, tiled=True)
