"""Bicubic interpolation as PyTorch's `interpolate` computes it, as matrices: positions are resized with them."""

import numpy as np


def bicubic(there: int, here: int, *, antialias: bool) -> np.ndarray:
    """The weights `[here, there]` float32 by which `here` values are made of `there`; corners are not aligned.

    Without antialiasing four neighbours are mixed by Keys' kernel (1981) with a = -0.75, and beyond the border its
    value is repeated. With it, the kernel has a = -0.5 as pillow's, is widened where the size shrinks, and what of it
    lies beyond the border is left out.
    """
    scale = there / here
    centres = (np.arange(here) + 0.5) * scale - 0.5
    if antialias:
        distance = np.arange(there)[None] - centres[:, None]
        weights = _cubic(distance / max(scale, 1.0), -0.5)
        return (weights / weights.sum(1, keepdims=True)).astype(np.float32)
    weights = np.zeros((here, there))
    for row, centre in enumerate(centres):
        first = int(np.floor(centre)) - 1
        for at in range(first, first + 4):
            weights[row, min(max(at, 0), there - 1)] += _cubic(np.asarray(at - centre), -0.75)
    return weights.astype(np.float32)


def _cubic(x: np.ndarray, a: float) -> np.ndarray:
    """Keys' kernel."""
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))
