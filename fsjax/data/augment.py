"""Augmentation and normalisation of whole batches, in TensorFlow: decisions drawn before are applied."""

from typing import Any

import numpy as np

from fsjax.data.tensorflow_runtime import import_tensorflow


def crop_and_flip(images: Any, top: Any, left: Any, flip: Any, *, pad: int, mirror: bool) -> Any:
    """Pad with black, crop to the old size, and mirror left-right.

    Args:
      images: uint8 `[batch, height, width, channels]`.
      top, left: int32 `[batch]` in 0..2·pad, offset of each crop in the padded image.
      flip: bool `[batch]`, which crops are mirrored.
      pad: width of the border in pixels; 0 for no crop.
      mirror: whether `flip` is applied at all.
    """
    tf = import_tensorflow()
    height, width = images.shape[1:3]
    if pad:
        images = tf.pad(images, [[0, 0], [pad, pad], [pad, pad], [0, 0]])
        images = tf.gather(images, top[:, None] + tf.range(height), axis=1, batch_dims=1)
    if pad or mirror:
        columns = tf.range(width)
        columns = tf.where(flip[:, None], columns[::-1], columns) + left[:, None]
        images = tf.gather(images, columns, axis=2, batch_dims=1)
    return images


def scale(images: Any, shift: np.ndarray, factor: np.ndarray) -> Any:
    """float32 `(images - shift) · factor`, by channel."""
    tf = import_tensorflow()
    return (tf.cast(images, tf.float32) - shift) * factor


def mix(images: Any, first: Any, second: Any, weight: Any) -> Any:
    """`weight · images[first] + (1 - weight) · images[second]`."""
    tf = import_tensorflow()
    return weight * tf.gather(images, first) + (1 - weight) * tf.gather(images, second)
