"""Points in the plane by class."""

from collections.abc import Sequence

import numpy as np

from fsjax.pages.axes import COLORS, EMPTY, Scale, chart, legend, nothing, place
from fsjax.pages.markup import Html, tag

MAX_CLASSES = 20
_WIDTH, _HEIGHT, _MARGIN = 480, 400, 12
# Outlines of the marks about their middle, within 8 units; with 10 shapes and 8 colours no two of 20 classes are alike.
_SHAPES = (
    "m-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0",  # disc
    "m-3 -3h6v6h-6z",  # square
    "m0 -4l4 7h-8z",  # triangle
    "m0 -4.5l4.5 4.5l-4.5 4.5l-4.5 -4.5z",  # diamond
    "m0 4l4 -7h-8z",  # triangle, on its point
    "m-1.3 -4h2.6v2.7h2.7v2.6h-2.7v2.7h-2.6v-2.7h-2.7v-2.6h2.7z",  # plus
    "m-4.5 -1.5h9v3h-9z",  # bar
    "m-1.5 -4.5h3v9h-3z",  # bar, upright
    "m-4 0l7 -4v8z",  # triangle to the left
    "m4 0l-7 -4v8z",  # triangle to the right
)


def scatter_chart(points: np.ndarray, labels: np.ndarray, names: Sequence[str], *, title: str) -> Html:
    """Points of a few classes, each with a colour and a shape; those that are not finite are left out, and counted.

    Args:
      points: `[n, 2]`.
      labels: ints `[n]`.
      names: of each label; only those with points are in the legend.
      title: what is drawn.

    Raises:
      ValueError: for more than 20 classes of points, or arrays of other shapes.
    """
    points, labels = np.asarray(points, np.float64).reshape(-1, 2), np.asarray(labels)
    if labels.shape != (len(points),):
        raise ValueError(f"{len(points)} points need as many labels, not {labels.shape}")
    finite = np.isfinite(points).all(axis=1)
    kinds = np.unique(labels[finite])
    if len(kinds) > MAX_CLASSES:
        raise ValueError(f"points of {len(kinds)} classes: marks tell at most {MAX_CLASSES} apart")
    left_out = f" {len(points) - finite.sum()} points are not finite and left out." if not finite.all() else ""
    described = f"{finite.sum()} points of {len(kinds)} classes: {', '.join(str(names[k]) for k in kinds)}.{left_out}"
    if not finite.any():
        return chart(title, described, nothing(), width=_WIDTH, height=EMPTY)
    right, up = _scales(points[finite])
    frame = tag("rect", x=0.5, y=0.5, width=_WIDTH - 1, height=_HEIGHT - 1, class_="frame")
    marks = [
        _marks(i, str(names[kind]), [(right(x), up(y)) for x, y in points[finite & (labels == kind)]])
        for i, kind in enumerate(kinds)
    ]
    below = legend([str(names[kind]) for kind in kinds], lambda i: _marks(i, "", [(12, 7)]))
    return chart(title, described, [frame, marks], width=_WIDTH, height=_HEIGHT, below=below)


def _scales(points: np.ndarray) -> tuple[Scale, Scale]:
    """One unit is as long across as upwards, since distances are what such a picture shows."""
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    extent = points.max(axis=0) - points.min(axis=0)
    room = np.array([_WIDTH, _HEIGHT]) - 2 * _MARGIN
    unit = float((extent / room).max()) or 1.0
    (left, low), (far, high) = middle - unit * room / 2, middle + unit * room / 2
    return Scale(left, far, _MARGIN, _WIDTH - _MARGIN), Scale(low, high, _HEIGHT - _MARGIN, _MARGIN)


def _marks(index: int, name: str, places: Sequence[tuple[float, float]]) -> Html:
    path = "".join(f"M{place(x)} {place(y)}{_SHAPES[index % len(_SHAPES)]}" for x, y in places)
    return tag("path", tag("title", name) if name else None, d=path, class_=f"mark c{index % COLORS}")
