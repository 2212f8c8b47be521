"""Horizontal bars, one a name."""

import math
from collections.abc import Mapping
from typing import Any

from fsjax.pages.axes import EMPTY, WIDTH, Scale, chart, nothing, number, place, shortened, text
from fsjax.pages.markup import Html, tag

_NAMES, _VALUES, _ROW, _BOTTOM = 150, 108, 24, 30
# Letters of a name that fit, in the larger type of a phone.
_LETTERS = 16


def bar_chart(
    bars: Mapping[str, float],
    *,
    title: str,
    x_label: str,
    intervals: Mapping[str, float] | None = None,
    percent: bool = False,
) -> Html:
    """Bars from 0, with their value beside them; one that is NaN has none, and a dash.

    Args:
      bars: value of each name, from the top.
      title, x_label: what is drawn.
      intervals: half the width of a name's interval: drawn, and written after ±.
      percent: whether values are shares 0..1, to be shown as percent.
    """
    halves = intervals or {}
    written = [f"{name}: {_words(value, halves.get(name), percent)}" for name, value in bars.items()]
    described = f"{x_label}. {'; '.join(written)}."
    if not bars:
        return chart(title, f"{x_label}. No data.", nothing(), width=WIDTH, height=EMPTY)
    scale = _scale(bars, halves)
    bottom = _ROW * len(bars)
    rows = [_row(i, name, value, halves.get(name), scale, percent) for i, (name, value) in enumerate(bars.items())]
    zero = tag("path", d=f"M{place(scale(0))} 0V{bottom + 4}", class_="axis")
    under = text((scale.start + scale.end) / 2, bottom + 22, shortened(x_label, 24), anchor="middle")
    return chart(title, described, [rows, zero, under], width=WIDTH, height=bottom + _BOTTOM)


def _scale(bars: Mapping[str, float], halves: Mapping[str, float]) -> Scale:
    ends = [0.0]
    for name, value in bars.items():
        half = halves.get(name, 0.0)
        ends += [v for v in (value - half, value, value + half) if math.isfinite(v)]
    low, high = min(ends), max(ends)
    return Scale(low, high if high > low else low + 1, _NAMES + 8, WIDTH - _VALUES)


def _row(index: int, name: str, value: float, half: float | None, scale: Scale, percent: bool) -> Html:
    middle = (index + 0.5) * _ROW
    parts: list[Any] = [tag("title", f"{name}: {_words(value, half, percent)}")]
    parts.append(text(_NAMES, middle + 5, shortened(name, _LETTERS), anchor="end"))
    if math.isfinite(value):
        left, right = sorted((scale(0), scale(value)))
        parts.append(
            tag("rect", x=place(left), y=place(middle - 8), width=place(right - left), height=16, class_="bar c0")
        )
        if half is not None and math.isfinite(half):
            a, b = place(scale(value - half)), place(scale(value + half))
            top, low = place(middle - 4), place(middle + 4)
            parts.append(tag("path", d=f"M{a} {top}V{low}M{b} {top}V{low}M{a} {place(middle)}H{b}", class_="whisker"))
    parts.append(text(WIDTH, middle + 5, _words(value, half, percent), anchor="end"))
    return tag("g", parts)


def _words(value: float, half: float | None, percent: bool) -> str:
    if half is None or not (math.isfinite(value) and math.isfinite(half)):
        return number(value, percent=percent)
    if percent:
        return f"{100 * value:.1f} ± {100 * half:.1f} %"
    return f"{number(value)} ± {half:.2g}"
