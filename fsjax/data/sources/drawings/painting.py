"""A picture of a class of drawings: its shapes bent, turned and placed anew, painted on a ground, lit and spoilt.

Points are rounded to a third of a pixel before pillow fills them, and nothing on whole pictures is transcendental: the
same picture comes out whatever the machine's sine rounds to.
"""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fsjax.data import random
from fsjax.data.sources.drawings.outlines import outline
from fsjax.data.sources.drawings.random_stream import Dice
from fsjax.data.sources.drawings.recipes import COLORS, Layer, Recipe, Texture, palette

# Shapes are filled at so many times the size, and averaged.
_FINER = 3
_TILE = 256
# Luma of red, green and blue (ITU-R 601).
_LUMA = np.array([0.299, 0.587, 0.114])


@dataclasses.dataclass(frozen=True)
class _Pose:
    """Where the object is: a matrix from its units to the picture's pixels, its centre, and how its outlines bend."""

    matrix: np.ndarray
    centre: np.ndarray
    waves: np.ndarray
    lengths: np.ndarray
    phases: np.ndarray

    def pixels(self, points: np.ndarray) -> np.ndarray:
        """Where points of the object are, float64 `[n, 2]`: column and row."""
        bent = points + np.sin(points @ self.lengths + self.phases) @ self.waves
        return bent @ self.matrix.T + self.centre

    def units(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """The object's coordinates of all pixels, unbent, float32 `[size, size]` each."""
        inverse = np.linalg.inv(self.matrix)
        x = (np.arange(size) + 0.5 - self.centre[0])[None, :]
        y = (np.arange(size) + 0.5 - self.centre[1])[:, None]
        u, v = (row[0] * x + row[1] * y for row in inverse)
        return u.astype(np.float32), v.astype(np.float32)


def paint(recipe: Recipe, dice: Dice, size: int) -> np.ndarray:
    """One picture of a class, uint8 `[size, size, 3]`."""
    colors = _rgb(_varied(recipe.colors, dice) if recipe.own_colors else palette(dice))
    picture = _ground(dice, size, away_from=colors[0])
    pose = _pose(recipe, dice, size)
    offsets = dice.uniforms(-recipe.loose, recipe.loose, 1 + _last_group(recipe), 2)
    width = dice.uniform(0.06, 0.2) if recipe.kind == "sign" else dice.uniform(0.05, 0.1)
    u, v = pose.units(size)
    for layer in recipe.layers:
        alpha = _mask(layer, pose, offsets, width, size)
        color = colors[layer.color].astype(np.float32)
        if layer.texture is not None:
            other = colors[layer.texture.color].astype(np.float32)
            color = color + _texture(layer.texture, u, v)[..., None] * (other - color)
        picture += alpha * (color - picture)
    return _finished(picture, dice, size)


def _last_group(recipe: Recipe) -> int:
    return max((group for layer in recipe.layers for group in layer.groups), default=0)


def _varied(colors: np.ndarray, dice: Dice) -> np.ndarray:
    """Colours nearly these, as hue, saturation and value."""
    varied = colors + dice.uniforms(-1, 1, COLORS, 3) * (0.03, 0.12, 0.12)
    return np.concatenate([varied[:, :1] % 1, varied[:, 1:].clip(0, 1)], axis=1)


def _rgb(colors: np.ndarray) -> np.ndarray:
    """Red, green and blue in 0..1 of hue, saturation and value, float64 `[n, 3]`."""
    hue, saturation, value = colors.T[:, :, None]
    distance = np.abs((6 * hue + np.array([0.0, 4.0, 2.0])) % 6 - 3)
    return value * (1 + saturation * ((distance - 1).clip(0, 1) - 1))


def _pose(recipe: Recipe, dice: Dice, size: int) -> _Pose:
    angle, shear = dice.uniform(-recipe.turn, recipe.turn), dice.uniform(-0.2, 0.2)
    scale, aspect = dice.uniform(*recipe.scale) * size / 2, dice.uniform(0.85, 1.18)
    cos, sin = math.cos(angle), math.sin(angle)
    matrix = scale * np.array([[cos, -sin], [sin, cos]]) @ np.array([[aspect, shear], [0, 1 / aspect]])
    room = max(size / 2 - scale, 0.06 * size)
    centre = size / 2 + dice.uniforms(-room, room, 2)
    bend = 0.07 if recipe.kind == "sign" else 0.04
    waves, lengths = dice.uniforms(-bend, bend, 2, 2), dice.uniforms(-4, 4, 2, 2)
    return _Pose(matrix, centre, waves, lengths, dice.uniforms(0, 2 * math.pi, 2))


def _mask(layer: Layer, pose: _Pose, offsets: np.ndarray, width: float, size: int) -> Any:
    """How much of each pixel a layer covers, float32 `[size, size, 1]` in 0..1."""
    if layer.kind == "all":
        return np.float32(1)
    if layer.kind == "points":
        return _dots(pose.pixels(layer.shapes[0]), size)
    shapes = [*layer.shapes, *layer.holes]
    ends = np.cumsum([len(points) for points in shapes])
    moved = np.concatenate(shapes) + np.repeat(offsets[list(layer.groups)], [len(points) for points in shapes], axis=0)
    # Half a pixel: pillow's coordinates are those of the pixels' corners.
    finer = np.round(_FINER * pose.pixels(moved) - 0.5).astype(int).clip(-9 * size, 9 * size)
    parts = np.split(finer, ends[:-1])
    thick = max(1, round(_FINER * width * math.sqrt(abs(np.linalg.det(pose.matrix)))))
    return _filled(parts, len(layer.shapes), layer.kind == "stroke", thick, size)


def _filled(parts: Sequence[np.ndarray], solid: int, as_lines: bool, thick: int, size: int) -> np.ndarray:
    """The first `solid` of these outlines filled, the others cut out; or lines of this thickness."""
    from PIL import Image, ImageDraw

    image = Image.new("L", (_FINER * size, _FINER * size))
    draw = ImageDraw.Draw(image)
    for number, part in enumerate(parts):
        points = list(map(tuple, part.tolist()))
        if as_lines:
            draw.line(points, fill=255, width=thick)
            radius = thick / 2
            for x, y in points if thick > 2 else ():
                draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
        else:
            draw.polygon(points, fill=255 if number < solid else 0)
    return np.asarray(image.reduce(_FINER), np.float32)[..., None] / 255


def _dots(points: np.ndarray, size: int) -> np.ndarray:
    """Points as ink: a pixel is full with three of them."""
    pixel = np.floor(points).astype(int)
    inside = pixel[((pixel >= 0) & (pixel < size)).all(axis=1)]
    count = np.bincount(inside[:, 1] * size + inside[:, 0], minlength=size * size)
    return np.minimum(count.reshape(size, size, 1).astype(np.float32) / 3, 1)


def _wave(x: np.ndarray) -> np.ndarray:
    """A triangle of period 1: 0 at whole numbers, 1 between them."""
    return 2 * np.abs(x - np.round(x))


def _texture(texture: Texture, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The share of the second colour, float32 `[size, size]` in 0..1."""
    cos, sin = (np.float32(texture.frequency * f(texture.turn)) for f in (math.cos, math.sin))
    x, y = cos * u + sin * v, cos * v - sin * u
    if texture.kind in ("clouds", "grain"):
        tile = _noise()[texture.kind == "grain"]
        level = tile[(16 * y).astype(int) % _TILE, (16 * x).astype(int) % _TILE]
    elif texture.kind == "ramp":
        return (0.5 + x / np.float32(2 * texture.frequency)).clip(0, 1)
    elif texture.kind == "checks":
        level = np.where((_wave(x / 2) > 0.5) == (_wave(y / 2) > 0.5), np.float32(0.1), np.float32(0.9))
    else:
        a, b = _wave(x), _wave(y)
        level = {
            "stripes": a,
            "dots": (1 - np.sqrt(a * a + b * b)).clip(0, 1),
            "rings": _wave(np.sqrt(x * x + y * y)),
            "grid": np.maximum(a, b),
        }[texture.kind]
    return level if texture.soft else (level > np.float32(1 - texture.share)).astype(np.float32)


@functools.cache
def _noise() -> tuple[np.ndarray, np.ndarray]:
    """Two tiles of noise in 0..1, float32 `[_TILE, _TILE]`: of many lengths, and of single pixels."""
    from PIL import Image

    key = random.fold(random.key(0), random.DRAWINGS, 2**32)
    total = np.zeros((_TILE, _TILE), np.float32)
    for octave, cells in enumerate((8, 16, 32, 64)):
        words, _ = random.bits(random.fold(key, octave), np.arange(cells * cells))
        coarse = np.round(255 * random.uniform(words)).astype(np.uint8).reshape(cells, cells)
        total += np.asarray(Image.fromarray(coarse).resize((_TILE, _TILE), Image.Resampling.BICUBIC), np.float32)
        total *= np.float32(0.5) if octave < 3 else np.float32(1)
    total = (total - total.min()) / (total.max() - total.min())
    words, _ = random.bits(random.fold(key, 9), np.arange(_TILE * _TILE))
    return total, random.uniform(words).reshape(_TILE, _TILE)


def _ground(dice: Dice, size: int, *, away_from: np.ndarray) -> np.ndarray:
    """What the object lies on, float32 `[size, size, 3]`: plain, a ramp, clouds or clutter, never of its brightness."""
    pair = _apart(_rgb(dice.uniforms(0, 1, 2, 3) * (1, 0.8, 1)), away_from).astype(np.float32)
    share = dice.uniform(0, 1)
    if share < 0.34:
        plain = np.array([[1.0] * 3]) if dice.chance(0.7) else np.array([[0.0] * 3])
        # White paper and black boards are what they are, unless they would hide the object.
        known = abs(float(plain[0] @ _LUMA) - float(away_from @ _LUMA)) > 0.2
        pair[0] = plain[0] if known else 1 - plain[0]
    picture = np.empty((size, size, 3), np.float32)
    picture[:] = pair[0]
    if 0.55 < share < 0.72:
        _blend(picture, _texture(Texture("ramp", 1.0, dice.uniform(0, 6.28), 0, True, 0), *_square(size)), pair[1])
    elif 0.72 < share < 0.88:
        shift, fine = dice.uniform(0, 16), dice.uniform(0.5, 4)
        u, v = _square(size)
        _blend(picture, _texture(Texture("clouds", fine, shift, 0, True, 0), u + np.float32(shift), v), pair[1])
    elif share > 0.88:
        for _ in range(dice.integer(2, 5)):
            scale, at = dice.uniform(0.05, 0.25) * size, dice.uniforms(0, size, 2)
            points = np.round(_FINER * (scale * outline(dice) + at)).astype(int)
            picture += _filled([points], 1, dice.chance(0.4), _FINER, size) * (pair[1] - picture)
    return picture


def _apart(colors: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Colours of another brightness than this one, nearer to white or to black where they must be."""
    bright = float(other @ _LUMA)
    near = np.abs(colors @ _LUMA - bright)[:, None] < 0.25
    return np.where(near, 0.25 * colors if bright > 0.5 else 1 - 0.25 * (1 - colors), colors)


def _blend(picture: np.ndarray, share: np.ndarray, color: np.ndarray) -> None:
    picture += share[..., None] * (color - picture)


@functools.lru_cache(maxsize=4)
def _square(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates -1..1 of all pixels, float32."""
    line = ((2 * np.arange(size) + 1) / size - 1).astype(np.float32)
    x, y = np.meshgrid(line, line)
    return x, y


def _finished(picture: np.ndarray, dice: Dice, size: int) -> np.ndarray:
    """The picture with something before it, in uneven light, noisy, grey or blurred, each now and then."""
    from PIL import Image, ImageFilter

    if dice.chance(0.12):
        length, wide = round(dice.uniform(0.1, 0.3) * size), round(dice.uniform(0.3, 1) * size)
        at = round(dice.uniform(0, 1) * (size - wide))
        turned = np.rot90(picture, dice.integer(0, 3))
        turned[:length, at : at + wide] = _rgb(dice.uniforms(0, 1, 1, 3)).astype(np.float32)
    if dice.chance(0.5):
        x, y = _square(size)
        across, down, gain = dice.uniform(-0.25, 0.25), dice.uniform(-0.25, 0.25), dice.uniform(0.75, 1.1)
        picture *= (np.float32(gain) + np.float32(across) * x + np.float32(down) * y)[..., None]
    if dice.chance(0.6):
        amount = np.float32(dice.uniform(0, 0.15))
        top, left = dice.integer(0, _TILE - size), dice.integer(0, _TILE - size)
        picture += amount * (_noise()[1][top : top + size, left : left + size, None] - np.float32(0.5))
    if dice.chance(0.15):
        red, green, blue = (picture[..., i] * np.float32(_LUMA[i]) for i in range(3))
        picture[:] = (red + green + blue)[..., None]
    final = np.round(255 * picture.clip(0, 1)).astype(np.uint8)
    if dice.chance(0.25):
        radius = dice.choice((0.5, 0.8, 1.2)) * size / 64
        final = np.asarray(Image.fromarray(final).filter(ImageFilter.GaussianBlur(radius)))
    return final
