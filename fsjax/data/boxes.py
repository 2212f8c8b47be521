"""Boxes of objects, one per picture: (ymin, xmin, ymax, xmax) in 0..1 of the picture as it is decoded."""

import numpy as np

# EXIF's orientations: which of (y, x) of the stored picture run along (y, x) of the upright one, and which of the
# upright axes run backwards (pillow's `ImageOps.exif_transpose`).
_TURNS = {
    1: ((0, 1), (False, False)),
    2: ((0, 1), (False, True)),
    3: ((0, 1), (True, True)),
    4: ((0, 1), (True, False)),
    5: ((1, 0), (False, False)),
    6: ((1, 0), (False, True)),
    7: ((1, 0), (True, True)),
    8: ((1, 0), (True, False)),
}


def relative(edges: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Boxes in pixels as shares of their pictures.

    Args:
      edges: `[n, 4]`: ymin, xmin, ymax, xmax, where the left edge of the first pixel is 0 and the right one 1.
      sizes: `[n, 2]`, height and width of the pictures in pixels.

    Returns:
      float64 `[n, 4]`.
    """
    return edges / np.tile(sizes, 2)


def upright(box: np.ndarray, orientation: int) -> np.ndarray:
    """A box of a picture as it is stored, as a box of the upright picture that `pictures.decode` gives.

    Those who draw boxes by the pixels of the file, as all data sets here did, do not turn pictures before.

    Args:
      box: `[4]`: ymin, xmin, ymax, xmax in 0..1.
      orientation: EXIF's, 1 (upright) to 8.
    """
    axes, backwards = _TURNS[orientation]
    corners = np.asarray(box, np.float64).reshape(2, 2)[:, axes]
    turned = np.where(backwards, 1 - corners[::-1], corners)
    return turned.reshape(4)
