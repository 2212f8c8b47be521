"""Pictures of a data set, small enough that a page of many stays small."""

from typing import Any

import numpy as np

from fsjax.pages import Html, picture

# The longer side is brought to this many pixels where it is longer; smaller pictures stay as they are.
_LONGEST = 112
# Pictures of more pixels than this are photographs enough for JPEG.
_LOSSY_FROM = 24 * 24


def thumbnail(image: np.ndarray, *, alt: str, width: int = 84) -> Html:
    """An image of a data set as `<img>`.

    Args:
      image: uint8 `[height, width, channels]`; of other numbers of channels than 1 and 3 the first is shown.
      alt: what it shows.
      width: in CSS pixels.
    """
    image = image if image.shape[-1] in (1, 3) else image[..., :1]
    small = _smaller(image)
    return picture(small, alt=alt, width=width, lossy=small.shape[0] * small.shape[1] > _LOSSY_FROM)


def _smaller(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    longest = max(height, width)
    if longest <= _LONGEST:
        return image
    from PIL import Image

    size = max(1, round(width * _LONGEST / longest)), max(1, round(height * _LONGEST / longest))
    shown: Any = Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image)
    return np.asarray(shown.resize(size, Image.Resampling.LANCZOS))
