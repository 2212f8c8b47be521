"""Outlines and strokes of the drawings: points in units of half of the picture's side, x to the right and y down."""

import itertools
import math
from collections.abc import Callable

import numpy as np

from fsjax.data.sources.drawings.random_stream import Dice

# Points of a closed curve, and of a stroke.
_CURVE, _STROKE = 40, 10
# Where strokes begin, bend and end: the corners and the middles of a letter's box.
_ANCHORS = (-0.8, 0.0, 0.8)
# Points of a fractal, and the maps that each went through; 5**12 fits into 32 bits.
_CLOUD, _STEPS = 4096, 12


def outline(dice: Dice) -> np.ndarray:
    """A random closed outline of about radius 1, float64 `[n, 2]`."""
    points = dice.choice(OUTLINES)(dice)
    return points / np.abs(points).max()


def _around(radius: np.ndarray, turn: float = 0.0) -> np.ndarray:
    """Points at these distances from the origin, at equal angles; the first one above it."""
    angle = 2 * math.pi * (np.arange(len(radius)) / len(radius) + turn)
    return np.stack([radius * np.sin(angle), -radius * np.cos(angle)], axis=1)


def _polygon(dice: Dice) -> np.ndarray:
    corners = dice.integer(3, 8)
    turn = dice.choice((0.0, 0.5 / corners, dice.uniform(0, 1)))
    return _around(np.ones(corners), turn) * (1, dice.choice((1.0, dice.uniform(0.45, 1))))


def _star(dice: Dice) -> np.ndarray:
    arms, inner = dice.integer(3, 10), dice.uniform(0.25, 0.75)
    return _around(np.tile([1, inner], arms), dice.choice((0.0, 0.5 / arms)))


def _ellipse(dice: Dice) -> np.ndarray:
    points = _around(np.ones(_CURVE)) * (1, dice.choice((1.0, dice.uniform(0.3, 1))))
    return points if dice.chance(0.6) else points[:, ::-1]


def _squircle(dice: Dice) -> np.ndarray:
    circle = _around(np.ones(_CURVE))
    power = dice.choice((0.25, 0.5, 1.8))
    return np.sign(circle) * np.abs(circle) ** power * (1, dice.uniform(0.4, 1))


def _blob(dice: Dice) -> np.ndarray:
    """A closed curve of a few random Fourier coefficients."""
    angle = 2 * math.pi * np.arange(_CURVE) / _CURVE
    radius = np.ones(_CURVE)
    for wave in range(2, dice.integer(3, 7)):
        radius += dice.uniform(0, 0.7 / wave) * np.cos(wave * angle + dice.uniform(0, 2 * math.pi))
    return _around(np.maximum(radius, 0.15))


def _silhouette(dice: Dice) -> np.ndarray:
    """A random polygon that is its own mirror image: vases, leaves, creatures."""
    count = dice.integer(4, 8)
    y = np.linspace(-1, 1, count)
    x = 0.1 + np.array([dice.uniform(0, 0.9) for _ in range(count)])
    if dice.chance(0.4):
        x[0] = 0
    side = np.stack([x, y], axis=1)
    return np.concatenate([side, side[::-1] * (-1, 1)])


def _cross(dice: Dice) -> np.ndarray:
    arms, thick = dice.integer(3, 5), dice.uniform(0.15, 0.4)
    arm = np.array([[-thick, -1], [thick, -1]])
    angles = 2 * math.pi * (np.arange(arms) / arms + dice.choice((0.0, 0.125)))
    inner = thick / math.tan(math.pi / arms)
    arm = np.concatenate([arm, [[thick, -inner]]])
    return np.concatenate([_turned(arm, angle) for angle in angles])


def _gear(dice: Dice) -> np.ndarray:
    teeth, inner = dice.integer(5, 12), dice.uniform(0.65, 0.85)
    return _around(np.tile([1, 1, inner, inner], teeth))


def _crescent(dice: Dice) -> np.ndarray:
    half = np.linspace(0, math.pi, _CURVE // 2)
    bulge = dice.uniform(-0.6, 0.7)
    outer = np.stack([np.sin(half), -np.cos(half)], axis=1)
    return np.concatenate([outer, outer[::-1] * (bulge, 1)])


def _arrow(dice: Dice) -> np.ndarray:
    neck, shaft = dice.uniform(-0.5, 0.3), dice.uniform(0.1, 0.45)
    notch = dice.uniform(-0.3, 0.3)
    side = np.array([[0, -1], [dice.uniform(0.6, 1), neck], [shaft, neck], [shaft, 1], [0, 1 - max(notch, 0)]])
    return np.concatenate([side, side[::-1] * (-1, 1)])


def _drop(dice: Dice) -> np.ndarray:
    angle = 2 * math.pi * np.arange(_CURVE) / _CURVE
    power = dice.integer(1, 4)
    return np.stack([np.sin(angle) * np.sin(angle / 2) ** power, -np.cos(angle)], axis=1)


def _heart(dice: Dice) -> np.ndarray:
    t = 2 * math.pi * np.arange(_CURVE) / _CURVE
    x, y = np.sin(t) ** 3, -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)) / 16
    return np.stack([x, y], axis=1) * (1, dice.uniform(0.6, 1.2))


def _any(dice: Dice) -> np.ndarray:
    """Random points in the order of their angles: splinters and rocks."""
    count = dice.integer(4, 9)
    return _around(np.array([dice.uniform(0.3, 1) for _ in range(count)]))


OUTLINES: tuple[Callable[[Dice], np.ndarray], ...] = (
    _polygon, _star, _ellipse, _squircle, _blob, _blob, _silhouette, _silhouette, _cross, _gear, _crescent, _arrow,
    _drop, _heart, _any,
)  # fmt: skip


def strokes(dice: Dice) -> list[np.ndarray]:
    """The strokes of a random sign, such as a letter: 1 to 5 lines, corners, arcs and curves, float64 `[n, 2]` each."""
    paths: list[np.ndarray] = []
    for _ in range(dice.integer(1, 5)):
        start = paths[-1][-1] if paths and dice.chance(0.4) else _anchor(dice)
        paths.append(dice.choice((_line, _line, _corner, _arc, _curve, _curve))(dice, start))
    return paths


def _anchor(dice: Dice) -> np.ndarray:
    return np.array([dice.choice(_ANCHORS) + dice.uniform(-0.2, 0.2) for _ in range(2)])


def _along(corners: list[np.ndarray]) -> np.ndarray:
    """Points along straight lines between these corners."""
    share = np.linspace(0, 1, _STROKE // 2, endpoint=False)[:, None]
    lines = [(1 - share) * a + share * b for a, b in itertools.pairwise(corners)]
    return np.concatenate([*lines, corners[-1][None]])


def _away(dice: Dice, start: np.ndarray) -> np.ndarray:
    """An anchor that is some way off."""
    end = _anchor(dice)
    return end if np.abs(end - start).max() > 0.5 else -start + 0.3 * end


def _line(dice: Dice, start: np.ndarray) -> np.ndarray:
    return _along([start, _away(dice, start)])


def _corner(dice: Dice, start: np.ndarray) -> np.ndarray:
    middle = _away(dice, start)
    return _along([start, middle, _away(dice, middle)])


def _arc(dice: Dice, start: np.ndarray) -> np.ndarray:
    """Part of an ellipse that begins here, or all of it."""
    turn, span = dice.uniform(0, 2 * math.pi), dice.choice((1.0, 0.5, 0.75)) * dice.choice((1, -1))
    angle = turn + 2 * math.pi * span * np.linspace(0, 1, 2 * _STROKE)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1) * (dice.uniform(0.25, 0.7), dice.uniform(0.25, 0.7))
    moved = circle - circle[0] + start
    # Back into the box where it would leave it.
    return moved - np.maximum(moved.max(axis=0) - 1, 0) - np.minimum(moved.min(axis=0) + 1, 0)


def _curve(dice: Dice, start: np.ndarray) -> np.ndarray:
    """A cubic Bézier curve."""
    one, two, end = _anchor(dice), _anchor(dice), _away(dice, start)
    t = np.linspace(0, 1, _STROKE)[:, None]
    return (1 - t) ** 3 * start + 3 * t * (1 - t) ** 2 * one + 3 * t**2 * (1 - t) * two + t**3 * end


def fractal(dice: Dice) -> np.ndarray:
    """The attractor of 2 to 5 random contracting maps, as points, float64 `[4096, 2]` within -1..1.

    Kataoka et al. 2020, "Pre-training without natural images", draw their classes so (FractalDB): each point is moved
    by 12 maps, drawn for it.
    """
    count = dice.integer(2, 5)
    maps = [_contraction(dice) for _ in range(count)]
    points, way = np.zeros((_CLOUD, 2)), dice.words(_CLOUD)
    for _ in range(_STEPS):
        digit, way = way % count, way // count
        moved = np.empty_like(points)
        for number, (matrix, shift) in enumerate(maps):
            chosen = digit == number
            x, y = points[chosen].T
            moved[chosen, 0] = matrix[0] * x + matrix[1] * y + shift[0]
            moved[chosen, 1] = matrix[2] * x + matrix[3] * y + shift[1]
        points = moved
    low, high = points.min(axis=0), points.max(axis=0)
    return (2 * points - low - high) / max((high - low).max(), 1e-6)


def _contraction(dice: Dice) -> tuple[tuple[float, float, float, float], tuple[float, float]]:
    """A matrix whose singular values are in 0.3..0.8, and a shift."""
    first, second = dice.uniform(0, 2 * math.pi), dice.uniform(0, 2 * math.pi)
    a, b = dice.uniform(0.4, 0.8), dice.uniform(0.3, 0.7) * dice.choice((1, -1))
    c1, s1, c2, s2 = math.cos(first), math.sin(first), math.cos(second), math.sin(second)
    matrix = (
        c1 * a * c2 - s1 * b * s2,
        -c1 * a * s2 - s1 * b * c2,
        s1 * a * c2 + c1 * b * s2,
        -s1 * a * s2 + c1 * b * c2,
    )
    return matrix, (dice.uniform(-1, 1), dice.uniform(-1, 1))


def _turned(points: np.ndarray, angle: float) -> np.ndarray:
    cos, sin = math.cos(angle), math.sin(angle)
    return np.stack([cos * points[:, 0] - sin * points[:, 1], sin * points[:, 0] + cos * points[:, 1]], axis=1)


def placed(points: np.ndarray, *, scale: float, at: tuple[float, float], turn: float = 0.0) -> np.ndarray:
    """Points made smaller, turned and moved."""
    return _turned(points * scale, turn) + np.asarray(at)
