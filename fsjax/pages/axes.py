"""What charts share: frame, scales, ticks, texts and legends; all inline SVG, in the page's own colours."""

import dataclasses
import math
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any

from fsjax.pages.markup import Html, tag

# Units of a chart with axes; the page scales it to its place.
WIDTH, HEIGHT = 480, 300
# The height without data.
EMPTY = 60
# Number of colours in elements.css: Okabe and Ito's, darkened where faint, to be seen on white and on black.
COLORS = 8


@dataclasses.dataclass(frozen=True)
class Scale:
    """A line from values to places.

    Attributes:
      low, high: values at the two ends.
      start, end: their places.
    """

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The place of a value."""
        share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


def chart(title: str, description: str, drawing: Sequence[Any], *, width: int, height: int, below: Any = None) -> Html:
    """A figure: title, drawing, and what stands below it.

    Args:
      title: above the drawing.
      description: what it shows, in words, for whoever does not see it.
      drawing: SVG elements.
      width, height: of their units.
      below: a legend, or numbers.
    """
    svg = tag(
        "svg",
        tag("title", title),
        tag("desc", description),
        drawing,
        viewBox=f"0 0 {width} {height}",
        role="img",
        aria_label=f"{title}. {description}",
    )
    return tag("figure", tag("figcaption", title), svg, below, class_="chart")


def text(x: float, y: float, words: Any, *, anchor: str = "start", **attributes: Any) -> Html:
    """SVG text at a place; `anchor` is the end of it that lies there: "start", "middle" or "end"."""
    return tag("text", words, x=place(x), y=place(y), text_anchor=None if anchor == "start" else anchor, **attributes)


def place(value: float) -> str:
    """A coordinate, to a tenth of a unit."""
    return f"{value:.1f}".removesuffix(".0")


def shortened(words: str, room: int) -> str:
    """A name that fits into so many letters: its middle is left out, since names often begin or end alike.

    East Asian wide letters take the room of two.
    """
    if _letters(words) <= room:
        return words
    half = min(room, len(words) // 2)
    head, tail = words[:half], words[len(words) - half :]
    while _letters(head) + _letters(tail) + 1 > room:
        head, tail = (head[:-1], tail) if len(head) >= len(tail) else (head, tail[1:])
    return f"{head}…{tail}"


def _letters(words: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in words if not unicodedata.combining(c))


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) that cover `low` to `high`, about `count` steps."""
    if low == high:
        margin = abs(low) / 2 or 1.0
        low, high = low - margin, high + margin
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [i * step for i in range(first, last + 1)]


def tick_words(values: Sequence[float], *, percent: bool = False) -> list[str]:
    """Ticks in words, all with the decimals that their distance needs."""
    values = [100 * v for v in values] if percent else list(values)
    step, largest = values[1] - values[0], max(map(abs, values))
    if not 1e-4 <= step <= 1e9 or largest >= 1e12:
        return [f"{v:.3g}" for v in values]
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return [f"{v + 0.0:,.{decimals}f}{' %' if percent else ''}" for v in values]


def number(value: float, *, percent: bool = False) -> str:
    """A value in words, "–" for one that is none; shares as percent."""
    if not math.isfinite(value):
        return "–"
    return f"{100 * value:.1f} %" if percent else f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"


def legend(names: Sequence[str], mark: Callable[[int], Html]) -> Html:
    """A list of names with their marks, an SVG drawing of 24 x 14 units each."""
    entries = [
        tag("li", tag("svg", mark(i), viewBox="0 0 24 14", aria_hidden="true"), " ", name)
        for i, name in enumerate(names)
    ]
    return tag("ul", entries, class_="legend")


def nothing() -> list[Html]:
    """The words instead of a drawing without data, `EMPTY` high."""
    return [text(WIDTH / 2, EMPTY / 2 + 5, "no data", anchor="middle", class_="muted")]
