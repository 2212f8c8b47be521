"""What a class of the drawings is: layers of shapes with their textures, and the colours that they have."""

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from fsjax.data.sources.drawings.outlines import fractal, outline, placed, strokes
from fsjax.data.sources.drawings.random_stream import Dice

TEXTURES = ("stripes", "checks", "dots", "rings", "grid", "clouds", "grain", "ramp")
COLORS = 4


@dataclasses.dataclass(frozen=True)
class Texture:
    """How a layer's colour changes into another one, over the shape's own coordinates.

    Attributes:
      kind: of `TEXTURES`.
      frequency: periods in a unit.
      turn: of the pattern, in radians.
      share: of the second colour, where the change is sharp.
      soft: whether the change is gradual.
      color: index of the second colour.
    """

    kind: str
    frequency: float
    turn: float
    share: float
    soft: bool
    color: int


@dataclasses.dataclass(frozen=True)
class Layer:
    """What is painted with one colour.

    Attributes:
      kind: "fill" (closed outlines), "stroke" (lines), "points" (of a fractal), or "all" (the whole picture, with its
        texture).
      shapes: float64 `[n, 2]` each, in units of half of the object's side.
      holes: outlines that are left out.
      groups: of each of shapes and holes, which of them move together from picture to picture.
      color: index of the colour.
      texture: None for none.
    """

    kind: str
    shapes: tuple[np.ndarray, ...] = ()
    holes: tuple[np.ndarray, ...] = ()
    groups: tuple[int, ...] = ()
    color: int = 0
    texture: Texture | None = None


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A class of drawings.

    Attributes:
      kind: a key of `KINDS`.
      layers: from the lowest to the topmost.
      colors: float64 `[COLORS, 3]`, hue, saturation and value.
      own_colors: whether these are the class's, or every picture has others.
      turn: pictures are turned by up to this angle either way, in radians.
      loose: how far groups move, in units.
      scale: least and largest size of the object, as a share of the picture's.
    """

    kind: str
    layers: tuple[Layer, ...]
    colors: np.ndarray
    own_colors: bool
    turn: float
    loose: float
    scale: tuple[float, float]


def kind_of(dice: Dice) -> str:
    """The kind of a random class, from the first of its draws."""
    share = dice.uniform(0, 1)
    return next(kind for kind, (upto, _) in KINDS.items() if share < upto)


def recipe(dice: Dice) -> Recipe:
    """A random class."""
    kind = kind_of(dice)
    return KINDS[kind][1](dice, kind)


def _object(dice: Dice, kind: str) -> Recipe:
    """One body, with parts behind it, in front of it and cut out of it."""
    body = outline(dice)
    layers = []
    if dice.chance(0.4):
        copies = _copies(dice, outline(dice), distance=(0.7, 1.0), scale=(0.2, 0.5))
        layers.append(Layer("fill", tuple(copies), groups=_numbers(copies, 1), color=1))
    holes = [placed(outline(dice), scale=dice.uniform(0.3, 0.6), at=(0, 0))] if dice.chance(0.2) else []
    groups = (0,) * (1 + len(holes))
    layers.append(Layer("fill", (body,), tuple(holes), groups, color=0, texture=_texture(dice, 0.45)))
    if dice.chance(0.25):
        layers.append(Layer("stroke", (np.concatenate([body, body[:1]]),), groups=(0,), color=3))
    for color in range(2, 2 + dice.choice((0, 1, 1, 2))):
        copies = _copies(dice, outline(dice), distance=(0.15, 0.6), scale=(0.1, 0.45))
        first = 1 + max(max(layer.groups) for layer in layers)
        layers.append(Layer("fill", tuple(copies), groups=_numbers(copies, first), color=color))
    size = max(np.abs(points).max() for layer in layers for points in layer.shapes)
    layers = [_shrunk(layer, 1 / size) for layer in layers]
    return _finished(dice, kind, layers, own_colors=0.65, loose=0.03, scale=(0.5, 0.98))


def _sign(dice: Dice, kind: str) -> Recipe:
    """Lines of one colour, as a letter has them; some on a plate."""
    paths = strokes(dice)
    layers = [Layer("stroke", tuple(paths), groups=_numbers(paths, 0))]
    if dice.chance(0.2):
        plate = placed(outline(dice), scale=1.3, at=(0, 0))
        layers = [_shrunk(Layer("fill", (plate,), groups=(len(paths),), color=1), 0.8), _shrunk(layers[0], 0.55)]
    return _finished(dice, kind, layers, own_colors=0.15, loose=0.06, scale=(0.5, 0.95))


def _arrangement(dice: Dice, kind: str) -> Recipe:
    """Copies of one or two small shapes in rows, on a circle, or strewn."""
    first, second = outline(dice), outline(dice)
    way = dice.choice(("rows", "circle", "strewn"))
    if way == "rows":
        columns, rows = dice.integer(1, 4), dice.integer(2, 4)
        places = [(x, y) for y in _spread(rows) for x in _spread(columns)]
        scale = dice.uniform(0.6, 1) / max(columns, rows)
    elif way == "circle":
        count, radius = dice.integer(3, 8), dice.uniform(0.55, 0.75)
        angles = [2 * math.pi * i / count for i in range(count)]
        places = [(radius * math.sin(a), -radius * math.cos(a)) for a in angles]
        scale = dice.uniform(0.5, 0.95) * radius * math.sin(math.pi / count)
    else:
        places = [(dice.uniform(-0.8, 0.8), dice.uniform(-0.8, 0.8)) for _ in range(dice.integer(3, 8))]
        scale = dice.uniform(0.12, 0.3)
    every = dice.choice((0, 0, 2, 3))
    kinds = [bool(every) and i % every == 0 for i in range(len(places))]
    layers = []
    for color, (shape, chosen) in enumerate(((first, False), (second, True))):
        copies = [placed(shape, scale=scale, at=at) for at, other in zip(places, kinds, strict=True) if other == chosen]
        if copies:
            layers.append(
                Layer("fill", tuple(copies), groups=_numbers(copies, color * len(places)), color=color,
                      texture=_texture(dice, 0.2))
            )  # fmt: skip
    loose = 0.3 if way == "strewn" else 0.04
    return _finished(dice, kind, layers, own_colors=0.5, loose=loose, scale=(0.6, 1.0))


def _fractal(dice: Dice, kind: str) -> Recipe:
    """The attractor of random contractions."""
    layer = Layer("points", (fractal(dice),), groups=(0,), texture=_texture(dice, 0.3))
    return _finished(dice, kind, [layer], own_colors=0.4, loose=0.0, scale=(0.6, 1.0))


def _stuff(dice: Dice, kind: str) -> Recipe:
    """A texture that fills the picture, or two of them."""
    layers = [Layer("all", color=0, texture=_texture(dice, 1.0))]
    if dice.chance(0.5):
        y = dice.uniform(-0.6, 0.6)
        edge = [(x, y + dice.uniform(-0.25, 0.25)) for x in np.linspace(-3, 3, 9)]
        ground = np.array([*edge, (3, 4), (-3, 4)])
        layers.append(Layer("fill", (ground,), groups=(0,), color=2, texture=_texture(dice, 0.8)))
    return _finished(dice, kind, layers, own_colors=0.7, loose=0.15, scale=(0.7, 1.1))


# By name: the upper end of the kind's share of the classes, and what makes one.
KINDS: dict[str, tuple[float, Callable[[Dice, str], Recipe]]] = {
    "object": (0.38, _object),
    "sign": (0.66, _sign),
    "arrangement": (0.80, _arrangement),
    "fractal": (0.88, _fractal),
    "stuff": (1.00, _stuff),
}


def _finished(
    dice: Dice, kind: str, layers: list[Layer], *, own_colors: float, loose: float, scale: tuple[float, float]
) -> Recipe:
    turn = dice.choice((0.2, 0.3, 0.45)) if kind in ("object", "sign") else dice.choice((0.3, math.pi))
    return Recipe(kind, tuple(layers), palette(dice), dice.chance(own_colors), turn, loose, scale)


def palette(dice: Dice) -> np.ndarray:
    """Colours that go together, float64 `[COLORS, 3]`: hue, saturation, value; the first two of unlike brightness."""
    hue = dice.uniform(0, 1)
    hues = [hue, *(hue + dice.choice((0.0, 0.5, 0.33, 0.1, dice.uniform(0, 1))) for _ in range(COLORS - 1))]
    saturation = [dice.uniform(0, 0.15) if dice.chance(0.25) else dice.uniform(0.35, 1) for _ in range(COLORS)]
    value = [dice.uniform(0.15, 1) for _ in range(COLORS)]
    if abs(value[0] - value[1]) < 0.3:
        value[1] = value[0] - 0.5 if value[0] > 0.6 else value[0] + 0.4
    value[3] = dice.uniform(0, 0.25) if dice.chance(0.6) else value[3]
    return np.stack([np.mod(hues, 1.0), saturation, np.clip(value, 0, 1)], axis=1)


def _texture(dice: Dice, share: float) -> Texture | None:
    """A random texture, with this probability."""
    if not dice.chance(share):
        return None
    kind = dice.choice(TEXTURES)
    turn = dice.choice((0.0, math.pi / 4, math.pi / 2, dice.uniform(0, math.pi)))
    return Texture(kind, dice.uniform(0.8, 5), turn, dice.uniform(0.25, 0.7), dice.chance(0.35), dice.choice((1, 1, 3)))


def _copies(
    dice: Dice, shape: np.ndarray, *, distance: tuple[float, float], scale: tuple[float, float]
) -> list[np.ndarray]:
    """A shape in the middle, above or below it, as a mirrored pair, or around it."""
    way, far, size = dice.choice(("one", "pair", "pair", "around")), dice.uniform(*distance), dice.uniform(*scale)
    if way == "one":
        return [placed(shape, scale=size, at=(0, dice.choice((-far, far, 0))))]
    if way == "pair":
        height = dice.uniform(-0.7, 0.7) * far
        one = placed(shape, scale=size, at=(far, height), turn=dice.uniform(-1, 1))
        return [one, one * (-1, 1)]
    count = dice.integer(3, 8)
    angles = [2 * math.pi * i / count for i in range(count)]
    size = min(size, 1.2 * far * math.sin(math.pi / count))
    return [placed(shape, scale=size, at=(far * math.sin(a), -far * math.cos(a)), turn=a) for a in angles]


def _spread(count: int) -> list[float]:
    """Centres of so many equal parts of -1..1."""
    return [(2 * i + 1) / count - 1 for i in range(count)]


def _numbers(shapes: list[np.ndarray], first: int) -> tuple[int, ...]:
    return tuple(range(first, first + len(shapes)))


def _shrunk(layer: Layer, factor: float) -> Layer:
    shapes, holes = (tuple(factor * points for points in part) for part in (layer.shapes, layer.holes))
    return dataclasses.replace(layer, shapes=shapes, holes=holes)
