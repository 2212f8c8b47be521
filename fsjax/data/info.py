"""What a run must know of its data besides the images, and the normalisation that follows from it."""

import dataclasses
from typing import Any

import numpy as np

from fsjax.data.errors import DataError


@dataclasses.dataclass(frozen=True)
class DataInfo:
    """Facts about a loaded data set; stored with each run, so that a notebook can normalise new images.

    Attributes:
      name: of the data set.
      class_names: by label; under a class split, those of the base classes.
      image_shape: (height, width, channels) as fed to the network.
      counts: examples by split.
      class_counts: training examples by class.
      mean, std: by channel, of images in 0..1; normalised is `(x / 255 - mean) / std`.
      validation_classes, test_classes: by label of their splits, under a class split; else empty, and the
        labels of all splits are those of `class_names`.
      division: which images are in each split, in which order and with which labels: a digest of their names, those of
        files relative to `data.path`.
    """

    name: str
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    counts: dict[str, int]
    class_counts: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    validation_classes: tuple[str, ...] = ()
    test_classes: tuple[str, ...] = ()
    division: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def few_shot(self) -> bool:
        """Whether the splits hold different classes, so that their labels mean nothing to the base classifier."""
        return bool(self.test_classes or self.validation_classes)

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    def to_json(self) -> dict[str, Any]:
        """The fields as plain types that JSON keeps."""
        plain = dataclasses.asdict(self)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in plain.items()}

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> "DataInfo":
        """The inverse of `to_json`; fields that an older version did not write have their defaults."""
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in plain.items()}
        return cls(**fields)


def scaling(info: DataInfo) -> tuple[np.ndarray, np.ndarray]:
    """`(shift, scale)`, float32 `[channels]`: normalised is `(x - shift) * scale` for x in 0..255.

    A subtraction and then a product cannot be fused or reordered, so every backend rounds alike.
    """
    mean, std = np.asarray(info.mean, np.float64), np.asarray(info.std, np.float64)
    return (255 * mean).astype(np.float32), (1 / (255 * std)).astype(np.float32)


def normalize(images: np.ndarray, info: DataInfo) -> np.ndarray:
    """Images as the network of a run wants them.

    Args:
      images: uint8 `[n, height, width, channels]`, or `[n, height, width]` for grey ones, of
        `info.image_shape`'s size. Grey images become three equal channels where the network takes colour.
      info: of the run's data.

    Returns:
      float32 `[n, *info.image_shape]`.

    Raises:
      DataError: for another dtype or shape. Floats are refused because nothing says whether they are in 0..1,
        in 0..255 or normalised already.
    """
    images = np.asarray(images)
    if images.dtype != np.uint8:
        raise DataError(
            f"images of dtype {images.dtype}: give uint8 in 0..255; of floats in 0..1 that is "
            "np.round(255 * images).astype(np.uint8)"
        )
    height, width, channels = info.image_shape
    if images.ndim == 3 and images.shape[1:3] == (height, width):
        images = images[..., None]
    if images.ndim != 4:
        raise DataError(
            f"images of shape {images.shape}: give a batch [n, {height}, {width}, {channels}]; "
            "a single image is image[None]"
        )
    if images.shape[-1] == 1 and channels == 3:
        images = np.repeat(images, 3, axis=-1)
    if images.shape[1:] != info.image_shape:
        raise DataError(
            f"images of {_size(images.shape[1:])}; this network was trained on {_size(info.image_shape)} of "
            f"{info.name!r}: resize them, and convert their channels, first"
        )
    shift, scale = scaling(info)
    return (images.astype(np.float32) - shift) * scale


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[0]}×{shape[1]} pixels and {shape[2]} channel{'s' if shape[2] > 1 else ''}"
