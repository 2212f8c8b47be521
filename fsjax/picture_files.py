"""Files of pictures as 8-bit grey or colour, by pillow, read alike when training, labelling, and from an export.

Nothing of fsjax is imported here: `fsjax export` copies this file.

Internal: no part of the public interface.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
from collections.abc import Iterator
from typing import IO, Any

import numpy as np

# What a picture may be, whatever its suffix says: pillow goes by the content, and would call Ghostscript for a
# PostScript file of the name a.png. Phones' MPO files are JPEGs with more behind them.
_FORMATS = ("BMP", "DIB", "GIF", "JPEG", "MPO", "PNG", "PPM", "TIFF", "WEBP", "AVIF")


class PictureError(ValueError):
    """A picture whose values cannot be told, or no file."""


@contextlib.contextmanager
def opened(source: bytes | str | os.PathLike[str] | IO[bytes]) -> Iterator[Any]:
    """An image file of which pillow has read the head, and decoded nothing yet; of usual formats alone.

    Args:
      source: the file's content, its path, or a stream of it.

    Raises:
      PictureError: for a path of something else than a file.
      Exception: whatever pillow raises for a file that is no picture.
    """
    from PIL import Image

    Image.init()
    formats = [name for name in _FORMATS if name in Image.OPEN]
    with _stream(source) as stream, Image.open(stream, formats=formats) as image:
        yield image


def _stream(source: bytes | str | os.PathLike[str] | IO[bytes]) -> Any:
    """Pillow is given no path: of one it maps some TIFFs into memory, under the sides of the turned picture."""
    if isinstance(source, bytes):
        return io.BytesIO(source)
    if not isinstance(source, (str, os.PathLike)):
        return contextlib.nullcontext(source)
    if not stat.S_ISREG(os.stat(source).st_mode):
        raise PictureError("it is no file with content")  # a pipe would be waited for
    return open(source, "rb")


def upright(image: Any, channels: int) -> Any:
    """A picture turned as the camera noted, on white where transparent, in 8 bits, grey or RGB.

    Args:
      image: as `opened` gives it.
      channels: 1 or 3.

    Returns:
      A picture of pillow's mode "L" or "RGB". Grey of 9 to 16 bits is scaled from the range of its bits, grey of 32
      bits from that of 16, floats from 0 to 1. Of an animation, the first frame.

    Raises:
      PictureError: for values outside of these ranges, and a picture of which pillow tells too little.
      Exception: whatever pillow raises for a broken file.
    """
    from PIL import Image, ImageOps

    grey = _Grey(image)
    image.load()
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode in ("1", "L", "F") or image.mode.startswith("I"):
        image = grey.in_8_bits(image)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    mode = "L" if channels == 1 else "RGB"
    return image if image.mode == mode else image.convert(mode)


class _Grey:
    """What the head of a file tells of its grey values, some of which pillow does not apply."""

    def __init__(self, image: Any):
        tags = image.tag_v2 if image.format == "TIFF" else {}
        bits, raw = tags.get(258, (16,)), image.tile[0][3] if image.format == "PNG" and image.tile else ""
        self.top = 2**12 - 1 if tuple(bits) == (12,) else 2**16 - 1
        self.white_is_zero = tags.get(262) == 0
        self.clear = image.info.get("transparency")
        # Pillow spreads grey of 1, 2 and 4 bits over 8, and leaves the value that is transparent as it was.
        self.clear_times = {"1": 255, "L;2": 85, "L;4": 17}.get(raw, 1)
        if raw == "RGB;16B" and self.clear is not None:
            raise PictureError(
                "a colour of 16 bits is transparent in it, and 8 of them are read: save it with an alpha channel"
            )

    def in_8_bits(self, image: Any) -> Any:
        """A picture of pillow's modes "1", "L", "I", "I;16" or "F" in mode "L", on white where it is transparent."""
        from PIL import Image

        if image.mode == "L" and self.clear is None:
            return image
        values = np.asarray(image)
        if image.mode == "1":
            levels = values * np.uint8(255)
        elif image.mode == "L":
            levels = values
        elif image.mode == "F":
            levels = _scaled(values, 1, "floats are read as shares of white, 0 to 1")
        elif image.mode == "I":
            levels = _scaled(values, 2**16 - 1, "grey of 32 bits is read as of 16, 0 to 65,535")
        else:
            levels = _scaled(
                self.top - values if self.white_is_zero else values, self.top, f"it is read from 0 to {self.top:,}"
            )
        if isinstance(self.clear, int):
            seen = levels if image.mode == "1" else values
            levels = np.where(seen == self.clear * self.clear_times, np.uint8(255), levels)
        return Image.fromarray(levels)


def _scaled(values: np.ndarray, top: int, known: str) -> np.ndarray:
    """Values from 0 to `top` as uint8.

    Raises:
      PictureError: for others; they would have to be guessed.
    """
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise PictureError("some of its values are no finite numbers")
    lowest, highest = (values.min(), values.max()) if values.size else (0, 0)
    if lowest < 0 or highest > top:
        raise PictureError(f"its values are {lowest:g} to {highest:g}, and {known}: scale them first")
    return np.round(values.astype(np.float64) * 255 / top).astype(np.uint8)
