"""The handwritten digits that scikit-learn ships: the data set that needs no download."""

import numpy as np

from fsjax.data.config import DataConfig
from fsjax.data.pictures import convert_channels
from fsjax.data.sources.source import Source, array_part


def load(config: DataConfig) -> Source:
    """1,797 grey images of 8×8 pixels (Alpaydin & Kaynak 1998); they have no test part of their own.

    Their values 0..16 become 0..255 by `round(value · 255 / 16)`.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)[..., None]
    if config.channels == 3:
        images = np.stack([convert_channels(image, 3) for image in images])
    return Source(
        name="digits",
        class_names=tuple(str(name) for name in digits.target_names),
        train=array_part(images, digits.target, "digits"),
        notes=("handwritten digits of scikit-learn, values 0..16 scaled to 0..255",),
    )
