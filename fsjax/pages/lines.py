"""Curves over steps."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from fsjax.pages.axes import (
    COLORS,
    EMPTY,
    HEIGHT,
    WIDTH,
    Scale,
    chart,
    legend,
    nothing,
    number,
    place,
    shortened,
    text,
    tick_words,
    ticks,
)
from fsjax.pages.markup import Html, tag

_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 28, 12, 48
# So few points are each marked.
_FEW_POINTS = 24
# Lines differ in their dashes too: with more than `COLORS` of them colours come again.
_DASHES = (None, "7 3", "2 3", "9 3 2 3", "12 4")

Point = tuple[float, float]


def line_chart(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    title: str,
    x_label: str,
    y_label: str,
    percent: bool = False,
) -> Html:
    """Lines through points; a NaN leaves a gap, a point alone is a dot.

    Args:
      series: x and y of each line's points, in the order of drawing.
      title, x_label, y_label: what is drawn, and over what.
      percent: whether y are shares 0..1, to be shown as percent.

    Raises:
      ValueError: for a line with as many x as there are not y.
    """
    lines = {name: _pieces(name, xs, ys) for name, (xs, ys) in series.items()}
    points = [point for pieces in lines.values() for piece in pieces for point in piece]
    described = _in_words(lines, x_label=x_label, y_label=y_label, percent=percent)
    if not points:
        return chart(title, described, nothing(), width=WIDTH, height=EMPTY)
    xs, ys = zip(*points, strict=True)
    x_ticks, y_ticks = ticks(min(xs), max(xs)), ticks(min(ys), max(ys))
    right = Scale(*_span(xs, x_ticks), _LEFT, WIDTH - _RIGHT)
    up = Scale(y_ticks[0], y_ticks[-1], HEIGHT - _BOTTOM, _TOP)
    x_ticks = [x for x in x_ticks if right.low <= x <= right.high]
    drawing = [
        _grid(x_ticks, y_ticks, right, up, percent=percent),
        text((_LEFT + WIDTH - _RIGHT) / 2, HEIGHT - 8, shortened(x_label, 44), anchor="middle"),
        text(-(HEIGHT - _BOTTOM) / 2, 14, shortened(y_label, 26), anchor="middle", transform="rotate(-90)"),
        [_line(i, name, pieces, right, up) for i, (name, pieces) in enumerate(lines.items())],
    ]
    below = legend(list(lines), lambda i: _stroke(i, "M1 7H23")) if len(lines) > 1 else None
    return chart(title, described, drawing, width=WIDTH, height=HEIGHT, below=below)


def _pieces(name: str, xs: Sequence[float], ys: Sequence[float]) -> list[list[Point]]:
    """Runs of finite points."""
    if len(xs) != len(ys):
        raise ValueError(f"line {name!r} has {len(xs)} x and {len(ys)} y")
    pieces: list[list[Point]] = [[]]
    for x, y in zip(map(float, xs), map(float, ys), strict=True):
        if math.isfinite(x) and math.isfinite(y):
            pieces[-1].append((x, y))
        elif pieces[-1]:
            pieces.append([])
    return [piece for piece in pieces if piece]


def _span(values: Sequence[float], around: Sequence[float]) -> Point:
    """Where the x axis begins and ends: with the data, or around a single value."""
    return (min(values), max(values)) if min(values) < max(values) else (around[0], around[-1])


def _grid(x_ticks: list[float], y_ticks: list[float], right: Scale, up: Scale, *, percent: bool) -> list[Any]:
    across = [f"M{_LEFT} {place(up(y))}H{WIDTH - _RIGHT}" for y in y_ticks]
    beside = [
        text(_LEFT - 6, up(y) + 4, words, anchor="end")
        for y, words in zip(y_ticks, tick_words(y_ticks, percent=percent), strict=True)
    ]
    below = [
        text(right(x), HEIGHT - _BOTTOM + 18, words, anchor="middle")
        for x, words in zip(x_ticks, tick_words(x_ticks) if len(x_ticks) > 1 else map(number, x_ticks), strict=True)
    ]
    return [tag("path", d="".join(across), class_="grid"), beside, below]


def _line(index: int, name: str, pieces: list[list[Point]], right: Scale, up: Scale) -> Html:
    places = [[f"{place(right(x))} {place(up(y))}" for x, y in piece] for piece in pieces]
    count = sum(map(len, places))
    dots = [p for piece in places for p in piece if len(piece) == 1 or count <= _FEW_POINTS]
    # A line of no length with round ends is a dot.
    marks = tag("path", d="".join(f"M{p}h0" for p in dots), class_=f"dots c{index % COLORS}") if dots else None
    path = "".join("M" + "L".join(piece) for piece in places if len(piece) > 1)
    return tag("g", tag("title", name), _stroke(index, path) if path else None, marks)


def _stroke(index: int, path: str) -> Html:
    dashes = _DASHES[index % len(_DASHES)]
    return tag("path", d=path, class_=f"line c{index % COLORS}", stroke_dasharray=dashes)


def _in_words(lines: Mapping[str, list[list[Point]]], *, x_label: str, y_label: str, percent: bool) -> str:
    parts = []
    for name, pieces in lines.items():
        points = [point for piece in pieces for point in piece]
        if not points:
            parts.append(f"{name}: no values")
            continue
        (x0, y0), (x1, y1) = points[0], points[-1]
        first, last = (f"{number(y, percent=percent)} at {number(x)}" for x, y in ((x0, y0), (x1, y1)))
        parts.append(f"{name}: {first}" + (f" to {last}" if len(points) > 1 else ""))
    return f"{y_label} over {x_label}. " + ("; ".join(parts) or "No data") + "."
