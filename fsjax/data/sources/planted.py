"""Real handwritten digits planted on cluttered pictures: where each one is, is known exactly, and needs no download."""

import dataclasses
import functools
from typing import Any

import numpy as np

from fsjax.data import random
from fsjax.data.config import DataConfig, PlantedConfig
from fsjax.data.sources.source import Part, Source

# Of the 1,797 scans, so many are for the digits of the test part; the rest is for those of the training part.
TEST_SCANS = 359
# Pairs of 32-bit draws: of a picture's digit (side, top, left, ink), and of a fragment (scan, side, pixel, top, left,
# ink). Those of the background come last.
_DIGIT, _FRAGMENT = 3, 4
_CELL = 8  # pixels between the random values of the background
_DARKEST_INK, _BRIGHTEST_GROUND = 160, 140
_ENLARGED = 8  # an 8×8 scan with a border, before it is cut to its ink
_INK = 128


def load(config: DataConfig) -> Source:
    """Pictures of one whole digit each, with its box, on smooth noise and among fragments of other digits.

    A scan of scikit-learn's digits (Alpaydin & Kaynak 1998) is enlarged, cut to its ink, and pasted at a random place;
    its longer side is uniform in `smallest`..`largest` pixels; with `stretch` both sides are, each for itself. Below it
    lie `clutter` square pieces of other digits at the same scale, of 1/6 to 1/3 of its side, so that neither brightness
    nor strokes alone tell where it is. Ink is uniform in 160..255 for each, by channel; the ground is noise of 0..140,
    one value every 8 pixels, bicubic between.

    The digits of the training and of the test part are different scans; every scan is used equally often. All of it
    is a function of `config.planted`, and of no run's seed. Boxes are the tight ones of the pixels with ink.
    """
    planted = config.planted
    order = random.permutation(random.fold(_key(planted), 0), len(_scans()))
    train = _part("train", planted.train, order[TEST_SCANS:], config)
    test = _part("test", planted.test, order[:TEST_SCANS], config) if planted.test else None
    notes = (
        f"digits of scikit-learn, {planted.smallest} to {planted.largest} pixels large, among {planted.clutter} "
        f"fragments; those of the test are other scans (data.planted.seed={planted.seed})",
    )
    return Source(name="planted", class_names=tuple("0123456789"), train=train, test=test, notes=notes)


def _key(planted: PlantedConfig) -> random.Key:
    return random.fold(random.key(planted.seed), random.PLANTED)


@dataclasses.dataclass(frozen=True)
class _Scan:
    """A digit enlarged: its picture (pillow's), where its ink begins and ends in it, and the pixels that are ink."""

    picture: Any
    top: int
    left: int
    bottom: int
    right: int
    ink: np.ndarray
    label: int

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def width(self) -> int:
        return self.right - self.left


@functools.cache
def _scans() -> tuple[_Scan, ...]:
    """All of scikit-learn's digits, enlarged smoothly and with steeper edges."""
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    scans = []
    for image, label in zip(np.pad(digits.images / 16, ((0, 0), (1, 1), (1, 1))), digits.target.tolist(), strict=True):
        side = _ENLARGED * len(image)
        smooth = np.asarray(Image.fromarray(image.astype(np.float32)).resize((side, side), Image.Resampling.BICUBIC))
        steep = np.round(255 * ((smooth - 0.35) / 0.3).clip(0, 1)).astype(np.uint8)
        ink = np.argwhere(steep >= _INK)
        (top, left), (bottom, right) = ink.min(axis=0).tolist(), (ink.max(axis=0) + 1).tolist()
        scans.append(_Scan(Image.fromarray(steep), top, left, bottom, right, ink, label))
    return tuple(scans)


def _part(split: str, count: int, chosen: np.ndarray, config: DataConfig) -> Part:
    """Pictures of these scans in turn; they are drawn when they are read."""
    planted, channels = config.planted, config.channels or 1
    scans = [_scans()[i] for i in chosen]
    key = random.fold(_key(planted), 1 + ("train", "test").index(split))
    cells = -(-planted.size // _CELL) + 1
    words = _DIGIT + _FRAGMENT * planted.clutter + -(-channels * cells**2 // 2)
    items = np.arange(count)
    first = _bits(key, items[:, None] * words + np.arange(_DIGIT)).reshape(count, 2 * _DIGIT)
    edges = _edges(first, [scans[i % len(scans)] for i in items], planted)

    def read(item: int) -> np.ndarray:
        drawn = _bits(key, item * words + np.arange(words))
        ground = drawn[_DIGIT + _FRAGMENT * planted.clutter :].reshape(-1)[: channels * cells**2]
        picture = _ground(ground.reshape(channels, cells, cells), planted.size)
        digit, side = int(item) % len(scans), int((edges[item, 2:] - edges[item, :2]).max())
        for draws in drawn[_DIGIT:][: _FRAGMENT * planted.clutter].reshape(-1, 2 * _FRAGMENT):
            other = scans[(digit + 1 + int(draws[0] % (len(scans) - 1))) % len(scans)]
            _paste_piece(picture, other, side, draws)
        top, left, bottom, right = edges[item].tolist()
        _paste(picture, _alpha(scans[digit], (bottom - top, right - left)), top, left, _ink(drawn[:_DIGIT].reshape(-1)))
        return np.round(picture).astype(np.uint8)

    return Part(
        labels=np.array([scans[i % len(scans)].label for i in items], np.int32),
        read=read,
        locate=lambda item: f"picture {item} of planted, split {split!r}",
        items=items,
        channels=channels,
        image_shape=(planted.size, planted.size, channels),
        boxes=(edges / planted.size).astype(np.float32) if config.box_key else None,
    )


def _bits(key: random.Key, counters: np.ndarray) -> np.ndarray:
    """uint32 `[..., 2]`."""
    return np.stack(random.bits(key, counters), axis=-1)


def _edges(draws: np.ndarray, scans: list[_Scan], planted: PlantedConfig) -> np.ndarray:
    """int64 `[n, 4]`: top, left, bottom and right in pixels of each picture's digit."""
    lengths = planted.largest - planted.smallest + 1
    if planted.stretch:  # the upper half of a word is as good as another one
        sizes = planted.smallest + random.below(np.stack([draws[:, 0], draws[:, 0] >> 16], axis=1), lengths)
    else:
        inked = np.array([(scan.height, scan.width) for scan in scans])
        sides = planted.smallest + random.below(draws[:, :1], lengths)
        sizes = np.maximum(1, np.round(sides * inked / inked.max(axis=1, keepdims=True)))
    sizes = sizes.astype(np.int64)
    start = random.below(draws[:, 1:3], planted.size - sizes + 1)
    return np.concatenate([start, start + sizes], axis=1)


def _ground(words: np.ndarray, size: int) -> np.ndarray:
    """Smooth noise float32 `[size, size, channels]` from uint32 `[channels, cells, cells]`."""
    from PIL import Image

    values = _BRIGHTEST_GROUND * random.uniform(words)
    planes = [Image.fromarray(v).resize((size, size), Image.Resampling.BICUBIC) for v in values]
    return np.stack([np.asarray(plane) for plane in planes], axis=-1).clip(0, _BRIGHTEST_GROUND)


def _alpha(scan: _Scan, size: tuple[int, int]) -> np.ndarray:
    """How much ink there is, float32 0..1 of this size, with some in the first and last row and column."""
    from PIL import Image

    box = (scan.left, scan.top, scan.right, scan.bottom)
    return np.asarray(scan.picture.resize(size[::-1], Image.Resampling.BILINEAR, box=box), np.float32) / 255


def _ink(words: np.ndarray) -> np.ndarray:
    """The colour of the last three of these draws, float32 `[3]`; a grey picture takes the first."""
    return _DARKEST_INK + (255 - _DARKEST_INK) * random.uniform(words[-3:])


def _paste(picture: np.ndarray, alpha: np.ndarray, top: int, left: int, ink: np.ndarray) -> None:
    height, width = alpha.shape
    place = picture[top : top + height, left : left + width]
    place += alpha[..., None] * (ink[: picture.shape[-1]] - place)


def _paste_piece(picture: np.ndarray, scan: _Scan, side: int, draws: np.ndarray) -> None:
    """Paste a square piece of a digit of this side: 1/6 to 1/3 of it, around one of its pixels with ink."""
    from PIL import Image

    least, most = max(1, side // 6), max(1, side // 3)
    piece = least + int(draws[1] % (most - least + 1))
    whole, size = scan.picture.width, len(picture)
    wide = piece * max(scan.height, scan.width) / side
    y, x = (min(max(0.0, c + 0.5 - wide / 2), whole - wide) for c in scan.ink[int(draws[2] % len(scan.ink))].tolist())
    alpha = scan.picture.resize((piece, piece), Image.Resampling.BILINEAR, box=(x, y, x + wide, y + wide))
    top, left = (int(word % (size - piece + 1)) for word in draws[3:5])
    _paste(picture, np.asarray(alpha, np.float32) / 255, top, left, _ink(draws))
