"""An activation map laid over the picture that it is of."""

import numpy as np

# Of the heat over the picture, as in `fsjax.evaluation.analysis.activation_maps`.
_OPACITY = 0.55


def overlaid(picture: np.ndarray, heat: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The picture under its heat, from blue, the coolest position, to red, the hottest.

    Args:
      picture: uint8 `[height, width, 1 or 3]`, of any size: the whole of it.
      heat: float `[h, w]`, of what the network sees of it; a map without differences is blue.
      box: (ymin, xmin, ymax, xmax) in 0..1 of the picture: what the network sees. The rest stays as it is.

    Returns:
      uint8 `[height, width, 3]`.
    """
    from matplotlib import colormaps
    from PIL import Image

    height, width = picture.shape[:2]
    top, left, bottom, right = np.round(np.clip(box, 0, 1) * [height, width, height, width]).astype(int)
    bottom, right = max(bottom, top + 1), max(right, left + 1)
    scaled = ((heat - heat.min()) / max(np.ptp(heat), 1e-12)).astype(np.float32)
    smooth = Image.fromarray(scaled).resize((right - left, bottom - top), Image.Resampling.BICUBIC)
    colors = colormaps["jet"](np.clip(np.asarray(smooth), 0, 1))[..., :3]
    shown = np.broadcast_to(picture, (height, width, 3)).astype(np.float64)
    seen = shown[top:bottom, left:right]
    shown[top:bottom, left:right] = (1 - _OPACITY) * seen + _OPACITY * 255 * colors[: seen.shape[0], : seen.shape[1]]
    return np.round(shown).astype(np.uint8)
