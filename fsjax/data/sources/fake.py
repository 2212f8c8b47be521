"""Noise of any shape and number of classes, to try a config out where its data cannot be had."""

import math

import numpy as np

from fsjax.data import random
from fsjax.data.config import DataConfig
from fsjax.data.sources.source import Part, Source


def load(config: DataConfig) -> Source:
    """Images of independent uniform bytes; example i has label `i % num_classes`. The same on every call."""
    fake = config.fake
    shape = (fake.height, fake.width, config.channels or fake.channels)
    return Source(
        name="fake",
        class_names=tuple(f"class_{i}" for i in range(fake.num_classes)),
        train=_part(0, fake.train, shape, fake.num_classes),
        test=_part(1, fake.test, shape, fake.num_classes) if fake.test else None,
        notes=("noise, not pictures: accuracy means nothing here",),
    )


def _part(split: int, count: int, shape: tuple[int, int, int], num_classes: int) -> Part:
    size = math.prod(shape)
    base = random.fold(random.key(0), random.FAKE, split)

    def read(item: int) -> np.ndarray:
        drawn, _ = random.bits(random.fold(base, int(item)), np.arange(-(-size // 4)))
        # Little-endian bytes of the words, on every machine.
        return drawn.astype("<u4").view(np.uint8)[:size].reshape(shape)

    return Part(
        labels=(np.arange(count) % num_classes).astype(np.int32),
        read=read,
        locate=lambda item: f"example {item} of fake",
        items=np.arange(count),
        channels=shape[-1],
        image_shape=shape,
    )
