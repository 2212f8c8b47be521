"""Stripes in four directions, under noise: a source to try things on."""

import numpy as np

from fsjax.data.config import DataConfig
from fsjax.data.sources.source import Part, Source, array_part

_STEPS = ((1, 0), (0, 1), (1, 1), (1, -1))  # of the phase, down and to the right


def load(config: DataConfig) -> Source:
    """Grey pictures of 16x16; the same on every call."""
    names = ("across", "upright", "falling", "rising")
    return Source("stripes", names, train=_part(seed=0, count=160), test=_part(seed=1, count=40))


def _part(*, seed: int, count: int) -> Part:
    random = np.random.default_rng(seed)
    labels = np.arange(count) % len(_STEPS)
    down, right = np.array(_STEPS)[labels].T[..., None, None]
    y, x = np.mgrid[:16, :16]
    waves = np.sin(0.9 * (down * y + right * x) + random.uniform(0, 6, (count, 1, 1)))
    pictures = 128 + 60 * waves + random.normal(0, 20, (count, 16, 16))
    return array_part(pictures.clip(0, 255).astype(np.uint8)[..., None], labels, "stripes")
