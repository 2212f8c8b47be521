"""What a published network says of its pictures: size, crop, filter, mean and deviation.

Read from Hugging Face's preprocessor_config.json. What is missing is asked for, never guessed.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from fsjax.errors import UserError

# pillow's numbers of filters.
_FILTERS = {1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How a picture becomes an input.

    Attributes:
      image_size: side of the square, in pixels.
      fit: "crop", the centred square, or "stretch", the whole picture whatever its aspect.
      share: of the shorter side that the centred square keeps.
      resize: the filter, one of `fsjax.data.config.RESIZE`.
      mean, std: by channel, of images in 0..1.
    """

    image_size: int
    fit: str
    share: float
    resize: str
    mean: tuple[float, ...]
    std: tuple[float, ...]


def of_transformers(config: Mapping[str, Any], source: str) -> Preprocessing:
    """By a preprocessor_config.json, as the image processors of `transformers` 4 and 5 read it.

    Args:
      config: its content.
      source: what messages call it.

    Raises:
      UserError: for keys that are missing, and ways to prepare pictures that are not here.
    """
    for key in ("do_resize", "do_rescale", "do_normalize"):
        if config.get(key, True) is not True:
            raise UserError(f"{source}: {key}={config[key]!r} is not here: pictures are resized and normalised")
    if abs(float(config.get("rescale_factor", 1 / 255)) - 1 / 255) > 1e-6:
        raise UserError(f"{source}: rescale_factor={config['rescale_factor']!r} is not here, only 1/255 is")
    size, fit, share = _size(config, source)
    number = _given(config, "resample", source)
    if number not in _FILTERS:
        raise UserError(f"{source}: resample={number!r} is not here; pillow's filters {_FILTERS} are")
    mean, std = (_channels(config, key, source) for key in ("image_mean", "image_std"))
    if min(std) <= 0:
        raise UserError(f"{source}: image_std={std} must be above 0")
    return Preprocessing(image_size=size, fit=fit, share=share, resize=_FILTERS[number], mean=mean, std=std)


def _given(config: Mapping[str, Any], key: str, source: str) -> Any:
    if config.get(key) is None:
        raise UserError(f"{source} has no {key!r}, without which pictures would be misread: add it")
    return config[key]


def _channels(config: Mapping[str, Any], key: str, source: str) -> tuple[float, ...]:
    found = _given(config, key, source)
    if not isinstance(found, list) or len(found) != 3 or not all(isinstance(x, int | float) for x in found):
        raise UserError(f"{source}: {key}={found!r} must be three numbers")
    return tuple(map(float, found))


def _size(config: Mapping[str, Any], source: str) -> tuple[int, str, float]:
    """The side, the fit and the share; a number alone is the shorter side where a crop follows, else a square."""
    size = _given(config, "size", source)
    cropped = config.get("do_center_crop", "crop_size" in config)
    side = _side(config.get("crop_size"), "crop_size", source) if cropped else None
    if (isinstance(size, Mapping) and "shortest_edge" not in size) or (isinstance(size, int) and side is None):
        square = _side(size, "size", source)
        if side not in (None, square):
            raise UserError(f"{source}: a crop of {side} out of pictures stretched to {square} is not here")
        return square, "stretch", 1.0
    shorter = size["shortest_edge"] if isinstance(size, Mapping) else size
    if not isinstance(shorter, int) or shorter < 1 or side is None:
        raise UserError(f"{source}: size={size!r} without a centred crop leaves all aspects, which is not here")
    if side > shorter:
        raise UserError(f"{source}: crop_size={side} is larger than the shorter side of size={shorter}")
    return side, "crop", side / shorter


def _side(size: Any, key: str, source: str) -> int:
    """Of a square, given as a number or as height and width."""
    sides = (size.get("height"), size.get("width")) if isinstance(size, Mapping) else (size, size)
    if sides[0] != sides[1] or not isinstance(sides[0], int) or sides[0] < 1:
        raise UserError(f"{source}: {key}={size!r} must be the same height and width, in pixels")
    return sides[0]
