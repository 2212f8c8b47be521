"""Image files and image arrays: decoding, conversion of channels, resizing and cropping, by pillow.

It is imported where it is used, so that a data set that was decoded before needs no pillow.
"""

import contextlib
import math
from collections.abc import Iterator
from typing import IO, Any

import numpy as np

from fsjax import picture_files
from fsjax.data import random
from fsjax.data.config import DataConfig
from fsjax.data.errors import DataError

# Evaluation images of networks trained with random resized crops: the centre 87.5 % of the shorter side
# (224 of 256), as in He et al. 2016.
CENTRE = 0.875
_ATTEMPTS = 10
# A file that tells its orientation holds one of these: the blocks of JPEG, PNG and WebP, Adobe's XMP, ImageMagick's
# blocks in PNGs, and the head of those that may be compressed.
_ORIENTED = (b"Exif", b"eXIf", b"EXIF", b"tiff:Orientation", b"Raw profile type exif", b"zTXt", b"iTXt")
# 32-bit draws of a random resized crop: area, ratio, top and left for each attempt.
CROP_WORDS = 4 * _ATTEMPTS
# Pillow refuses twice its MAX_IMAGE_PIXELS by itself, and only warns between once and twice.
LARGEST_PIXELS = 178_956_970


def decode(source: bytes | str | IO[bytes], channels: int, *, max_pixels: int | None = None) -> np.ndarray:
    """An image file as uint8 `[height, width, channels]`.

    The rotation noted by the camera (EXIF) is applied; transparent pixels are laid on white; grey of more than 8
    bits is scaled as `fsjax.picture_files.upright` says; grey becomes three equal channels, and colour becomes luma
    (ITU-R 601) where one channel is asked for. Of an animation, the first frame.

    Args:
      source: the file's content, or its path.
      channels: 1 or 3.
      max_pixels: see `opened`.

    Raises:
      DataError: for values that cannot be told, and for what is no file.
      Exception: whatever pillow raises for a broken file, or for one so large that it may be an attack.
    """
    with opened(source, max_pixels=max_pixels) as image:
        pixels = np.asarray(picture_files.upright(image, channels))
    return pixels[..., None] if channels == 1 else pixels


@contextlib.contextmanager
def opened(source: bytes | str | IO[bytes], *, max_pixels: int | None = None) -> Iterator[Any]:
    """An image file of which pillow has read the head, and decoded nothing yet.

    Kinds of files that are no usual pictures are refused.

    Args:
      source: the file's content, or its path.
      max_pixels: for files of unknown origin: larger ones are refused by what their head says, before anything of
        that size is allocated. At most `LARGEST_PIXELS`. None: pillow's own limit.

    Raises:
      DataError: for a picture of more than `max_pixels`.
      Exception: whatever pillow raises for a file that is no picture.
    """
    try:
        with picture_files.opened(source) as image:
            width, height = image.size
            if max_pixels is not None and width * height > max_pixels:
                raise DataError(
                    f"{width}×{height} is {width * height / 1e6:.1f} megapixels, and {max_pixels / 1e6:g} are the most "
                    "allowed"
                )
            yield image
    except picture_files.PictureError as error:
        raise DataError(str(error)) from error


def head_of(source: bytes | str, *, max_pixels: int | None = None) -> tuple[tuple[int, int], int]:
    """What the head of an image file (its content, or its path) tells, at far less cost than all of it.

    Args:
      source: the file's content, or its path.
      max_pixels: see `opened`.

    Returns:
      Height and width of what `decode` gives, and the turn that it applies, EXIF's 1 (none) to 8.

    Raises:
      Exception: as `decode`.
    """
    from PIL import ExifTags

    with opened(source, max_pixels=max_pixels) as image:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
        # Of a TIFF, pillow's size is that of the turned picture already.
        width, height = (image.tag_v2[256], image.tag_v2[257]) if image.format == "TIFF" else image.size
    if orientation not in range(1, 9):  # of no meaning: the picture is not turned
        orientation = 1
    return ((width, height) if orientation >= 5 else (height, width)), orientation


def orientation_of(content: bytes) -> int:
    """The orientation of `head_of`, of an image file's content."""
    # Most files hold none of these words, and need not be looked at by pillow.
    return head_of(content)[1] if any(mark in content for mark in _ORIENTED) else 1


def convert_channels(image: np.ndarray, channels: int) -> np.ndarray:
    """uint8 `[height, width, 1 or 3]` with 1 or 3 channels: grey is repeated, colour becomes luma."""
    if image.shape[-1] == channels:
        return image
    if channels == 3:
        return np.repeat(image, 3, axis=-1)
    from PIL import Image

    return np.asarray(Image.fromarray(image).convert("L"))[..., None]


def centre_crop(image: np.ndarray, size: int, share: float, *, resize: str = DataConfig.resize) -> np.ndarray:
    """The centred square of `share` of the shorter side, resized to `size` (antialiased).

    Args:
      image: uint8 `[height, width, channels]`.
      size: of the result, uint8 `[size, size, channels]`.
      share: in (0, 1].
      resize: the filter, one of `fsjax.data.config.RESIZE`.
    """
    height, width = image.shape[:2]
    side = share * min(height, width)
    return _resize(image, size, ((height - side) / 2, (width - side) / 2, side, side), resize)


def stretch(image: np.ndarray, size: int, *, resize: str = DataConfig.resize) -> np.ndarray:
    """The whole picture resized to a square (antialiased), whatever its aspect.

    Args:
      image: uint8 `[height, width, channels]`.
      size: of the result, uint8 `[size, size, channels]`.
      resize: the filter, one of `fsjax.data.config.RESIZE`.
    """
    height, width = image.shape[:2]
    return _resize(image, size, (0, 0, height, width), resize)


def fitted(image: np.ndarray, longest: int) -> np.ndarray:
    """The whole picture with its aspect kept, no side longer than `longest`; smaller ones stay as they are.

    Args:
      image: uint8 `[height, width, channels]`.
      longest: of the sides of the result, uint8 `[h, w, channels]`.
    """
    height, width = image.shape[:2]
    if max(height, width) <= longest:
        return image
    share = longest / max(height, width)
    size = max(round(height * share), 1), max(round(width * share), 1)
    return _resize(image, size, (0, 0, height, width), "bilinear")


def random_resized_crop(
    image: np.ndarray, size: int, words: np.ndarray, *, resize: str = DataConfig.resize
) -> np.ndarray:
    """A random 8-100 % of the image's area at an aspect ratio in 3/4-4/3, resized to `size` (Szegedy et al.
    2015).

    As in torchvision: area uniform, ratio uniform in its logarithm, ten attempts to fit it in, else the
      centre.

    Args:
      image: uint8 `[height, width, channels]`.
      size: of the result, uint8 `[size, size, channels]`.
      words: uint32 `[CROP_WORDS]`, the draws.
      resize: the filter, one of `fsjax.data.config.RESIZE`.
    """
    height, width = image.shape[:2]
    return _resize(image, size, random_box(height, width, words), resize)


def random_box(height: int, width: int, words: np.ndarray) -> tuple[int, int, int, int]:
    """`(top, left, height, width)` of a random resized crop."""
    for draws in words.reshape(_ATTEMPTS, 4):
        area, log_ratio = random.uniform(draws[:2]).tolist()
        area = height * width * (0.08 + 0.92 * area)
        ratio = math.exp(math.log(3 / 4) + log_ratio * math.log((4 / 3) / (3 / 4)))
        box_height, box_width = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
        if 0 < box_height <= height and 0 < box_width <= width:
            top, left = draws[2:].tolist()
            return top % (height - box_height + 1), left % (width - box_width + 1), box_height, box_width
    box_height, box_width = min(height, round(width * 4 / 3)), min(width, round(height * 4 / 3))
    return (height - box_height) // 2, (width - box_width) // 2, box_height, box_width


def _resize(
    image: np.ndarray, size: int | tuple[int, int], box: tuple[float, float, float, float], resize: str
) -> np.ndarray:
    """The box (top, left, height, width) of an image, resized to a square of `size`, or to (height, width)."""
    from PIL import Image

    top, left, height, width = box
    grey = image.shape[-1] == 1
    picture = Image.fromarray(image[..., 0] if grey else image)
    # Pillow widens its filters by the factor of a reduction: that is the antialiasing.
    box = (left, top, left + width, top + height)
    rows, columns = (size, size) if isinstance(size, int) else size
    picture = picture.resize((columns, rows), Image.Resampling[resize.upper()], box=box)
    pixels = np.asarray(picture)
    return pixels[..., None] if grey else pixels
