"""Coloured drawings made by this program: symbols, signs, simple objects, patterns and fractals; no download."""

import functools

import numpy as np

from fsjax.data import random
from fsjax.data.config import DataConfig
from fsjax.data.pictures import convert_channels
from fsjax.data.sources.drawings.painting import paint
from fsjax.data.sources.drawings.random_stream import Dice
from fsjax.data.sources.drawings.recipes import Recipe, kind_of, recipe
from fsjax.data.sources.source import Part, Source

# Streams below the source's own: of the classes, and of the pictures of each part.
_CLASSES, _PARTS = 0, {"train": 1, "test": 2}
# The sides of pictures that can be drawn; noise is cut from a tile of the largest.


def load(config: DataConfig) -> Source:
    """Pictures of random classes, `data.drawings.train` of each for training and `.test` others for the test.

    A class is a random recipe (`fsjax.data.sources.drawings.recipes`): an object of a body and parts, a sign of
    strokes, an arrangement of copies, a fractal (Kataoka et al. 2020, "Pre-training without natural images"), or a
    texture; with its textures, and of some classes its colours. Pictures of a class differ in place, size, turn,
    bend, thickness, ground, light, noise, and in colours where these are not the class's.

    Class c is a function of `data.drawings.seed` and c alone, picture i of it of these, the part and i: more classes
    and more pictures are more of the same. They are drawn when they are read, and nothing depends on the run's seed.
    """
    drawings = config.drawings
    key = _key(drawings.seed, _CLASSES)
    names = tuple(f"{kind_of(Dice(key, c))}_{c:04d}" for c in range(drawings.classes))
    parts = {split: _part(split, config) for split in _PARTS if getattr(drawings, split)}
    notes = (
        f"drawn by this program: {drawings.classes} classes of {drawings.train} + {drawings.test} pictures "
        f"(data.drawings.seed={drawings.seed})",
    )
    return Source(name="drawings", class_names=names, train=parts["train"], test=parts.get("test"), notes=notes)


def _key(seed: int, *path: int) -> random.Key:
    return random.fold(random.key(seed), random.DRAWINGS, *path)


@functools.lru_cache(maxsize=4096)
def _recipe(seed: int, label: int) -> Recipe:
    return recipe(Dice(_key(seed, _CLASSES), label))


def _part(split: str, config: DataConfig) -> Part:
    """The pictures of one part, class after class in turn."""
    drawings, channels = config.drawings, config.channels or 3
    count, classes = drawings.classes * getattr(drawings, split), drawings.classes
    keys = functools.lru_cache(maxsize=None)(lambda label: _key(drawings.seed, _PARTS[split], label))

    def read(item: int) -> np.ndarray:
        number, label = divmod(int(item), classes)
        picture = paint(_recipe(drawings.seed, label), Dice(keys(label), number), drawings.size)
        return convert_channels(picture, channels)

    return Part(
        labels=(np.arange(count) % classes).astype(np.int32),
        read=read,
        locate=lambda item: f"picture {item} of drawings, split {split!r}",
        items=np.arange(count),
        channels=channels,
        image_shape=(drawings.size, drawings.size, channels),
    )
