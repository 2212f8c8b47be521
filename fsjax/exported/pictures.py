"""Picture files, brought to the network's size as `fsjax.data` does.

Internal: no part of the public interface.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from .layout import ExportError

if __package__ == "exported":  # in an export, which has a copy beside this file
    from . import picture_files  # type: ignore[attr-defined]
else:
    from fsjax import picture_files


# Pictures of more pixels are refused before they are decoded: a small file can hold gigabytes of them.
MAX_PIXELS = 100_000_000


def open_picture(file: str | os.PathLike[str], shape: tuple[int, int, int], view: Mapping[str, Any]) -> np.ndarray:
    """A picture file as uint8 `[height, width, channels]`."""
    from PIL import Image

    try:
        with picture_files.opened(file) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ExportError(
                    f"{image.width}×{image.height} pixels are more than {MAX_PIXELS:,}: make it smaller first"
                )
            picture = picture_files.upright(image, shape[-1])
    except Exception as error:
        # Pillow and its codecs raise almost anything for a broken file.
        raise ExportError(f"{os.fspath(file)} cannot be read: {error or type(error).__name__}") from error
    if view["image_size"]:
        picture = picture.resize(shape[1::-1], Image.Resampling[view["resize"].upper()], box=_box(picture, view))
    pixels = np.asarray(picture)
    pixels = pixels[..., None] if shape[-1] == 1 else pixels
    if pixels.shape != shape:
        raise ExportError(
            f"{os.fspath(file)} is {pixels.shape[0]}×{pixels.shape[1]}, and this network takes {shape[0]}×{shape[1]} "
            "(height × width): resize it first"
        )
    return pixels


def _box(picture: Any, view: Mapping[str, Any]) -> tuple[float, float, float, float]:
    """What is seen of a picture: the centred square of a share of its shorter side, or all of it."""
    if view["fit"] == "stretch":
        return (0, 0, picture.width, picture.height)
    side = view["share"] * min(picture.width, picture.height)
    left, top = (picture.width - side) / 2, (picture.height - side) / 2
    return (left, top, left + side, top + side)
