"""Augmentation and normalisation of whole batches, in TensorFlow: decisions drawn before are applied."""

from typing import Any

import numpy as np

from fsjax.data.pipeline.colors import GREY
from fsjax.data.tensorflow_runtime import import_tensorflow


def rotate(images: Any, turn: Any) -> Any:
    """Turn each image counterclockwise about its centre; bilinear between pixels, black outside.

    The value of a pixel is read at the place that the turn brings there; of the four pixels about that place, those
    outside of the image are black.

    Args:
      images: `[batch, height, width, channels]`.
      turn: float32 `[batch, 2]`, cosine and sine of the angles.

    Returns:
      float32 of the images' shape.
    """
    tf = import_tensorflow()
    height, width = images.shape[1:3]
    y, x = (height - 1) / 2, (width - 1) / 2
    cos, sin = turn[:, 0], turn[:, 1]
    none = tf.zeros_like(cos)
    rows = [cos, -sin, x - x * cos + y * sin, sin, cos, y - x * sin - y * cos, none, none]
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(images, tf.float32), transforms=tf.stack(rows, axis=1), output_shape=[height, width],
        fill_value=0.0, interpolation="BILINEAR", fill_mode="CONSTANT",
    )  # fmt: skip


def crop_and_flip(images: Any, top: Any, left: Any, flip: Any, *, pad: int, mirror: bool) -> Any:
    """Pad with black, crop to the old size, and mirror left-right.

    Args:
      images: `[batch, height, width, channels]`.
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


def recolor(images: Any, terms: Any) -> Any:
    """The map of each image's colours x -> a x + b g(x) + c g(m) + t, of grey g and the image's mean colour m.

    Args:
      images: `[batch, height, width, channels]` in 0..255; of one channel, it is the grey, and t is none.
      terms: float32 `[batch, 6]`, of `fsjax.data.pipeline.colors.color_terms`.

    Returns:
      float32 of the images' shape; not clipped.
    """
    tf = import_tensorflow()
    # Pixel by pixel, and no matrix products: what they round to depends on the size of the batch.
    planes = tf.unstack(tf.cast(images, tf.float32), axis=-1)
    grey = planes[0] if len(planes) == 1 else sum(w * plane for w, plane in zip(GREY, planes, strict=True))
    mean = tf.cast(tf.reduce_mean(tf.cast(grey, tf.float64), axis=[1, 2]), tf.float32)
    pixel, own, mean_grey, *light = (term[:, None, None] for term in tf.unstack(terms, axis=1))
    common = own * grey + mean_grey * mean[:, None, None]
    if len(planes) == 1:
        return (pixel * grey + common)[..., None]
    return tf.stack([pixel * plane + common + shift for plane, shift in zip(planes, light, strict=True)], axis=-1)


def scale(images: Any, shift: np.ndarray, factor: np.ndarray) -> Any:
    """float32 `(images - shift) · factor`, by channel."""
    tf = import_tensorflow()
    return (tf.cast(images, tf.float32) - shift) * factor


def cut_out(images: Any, hole_y: Any, hole_x: Any, *, side: int) -> Any:
    """A square of each image set to 0: rows `max(y - side // 2, 0)` to `min(y + side // 2, height) - 1`, so columns.

    That is the code of DeVries & Taylor 2017: of an odd side one pixel less is cut out, and as for even ones the
    centre is the first pixel of the lower and right halves.

    Args:
      images: float32 `[batch, height, width, channels]`, normalised.
      hole_y, hole_x: int32 `[batch]`, the squares' centres.
      side: of the squares, in pixels; parts may lie outside of the image.
    """
    tf = import_tensorflow()
    half = side // 2

    def covered(centre: Any, count: int) -> Any:
        distance = tf.range(count) - centre[:, None]
        return (distance >= -half) & (distance < half)

    height, width = images.shape[1:3]
    hole = covered(hole_y, height)[:, :, None] & covered(hole_x, width)[:, None, :]
    return tf.where(hole[..., None], 0.0, images)


def mix(images: Any, first: Any, second: Any, weight: Any) -> Any:
    """`weight · images[first] + (1 - weight) · images[second]`."""
    tf = import_tensorflow()
    return weight * tf.gather(images, first) + (1 - weight) * tf.gather(images, second)
