"""Confusion matrices: who is taken for whom."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from fsjax.pages.axes import chart, place, shortened, text
from fsjax.pages.elements import scrollable, table
from fsjax.pages.markup import Html, tag
from fsjax.pages.pictures import picture

# With so many classes their numbers can still be read.
MAX_NUMBERS = 20
_CELL, _NAMES, _BELOW, _LETTERS = 34, 124, 104, 13
_ZOOM = 1.1  # pixels a unit
# So few classes fit a phone.
_FEW = 6
_LISTED = 10
# From this depth on a cell is so dark that its number is white: contrast 4.5 on either side, in light and dark.
_DARK = 0.8
_DEEPEST = np.array([0, 90, 145])  # --heat of elements.css
_PICTURE = 560


@dataclasses.dataclass(frozen=True, eq=False)
class _Matrix:
    """What is drawn.

    Attributes:
      names: `[n]`, of rows and columns.
      axes: what the rows and the columns are.
      written: `[n][n]`, the cells in words.
      shares: float64 `[n, n]`, each cell's share of its row; 0 in an empty row.
    """

    names: list[str]
    axes: tuple[str, str]
    written: list[list[str]]
    shares: np.ndarray

    @property
    def depths(self) -> np.ndarray:
        """How deep the cells' colours are, 0..1: the root lets confusions of a few in a hundred be seen."""
        return np.sqrt(self.shares)

    @property
    def confusions(self) -> list[tuple[int, int]]:
        """Rows and columns of the largest shares beside the diagonal, the largest first."""
        beside = self.shares.copy()
        np.fill_diagonal(beside, 0)
        order = np.argsort(-beside, axis=None, kind="stable")[:_LISTED]
        places = zip(*np.unravel_index(order, beside.shape), strict=True)
        return [(int(i), int(j)) for i, j in places if beside[i, j] > 0]

    @property
    def in_words(self) -> str:
        """What whoever does not see it should know."""
        named = [f"{self.names[i]} as {self.names[j]} ({self.written[i][j]})" for i, j in self.confusions[:3]]
        most = f"Most often confused: {', '.join(named)}." if named else "Nothing lies beside the diagonal."
        mean = 100 * float(np.mean(np.diag(self.shares))) if self.names else 0.0
        about = f"{len(self.names)} classes; on the diagonal lies {mean:.1f} % of a row on average."
        return f"{about} {most} Rows: {self.axes[0]}; columns: {self.axes[1]}."


def heat_map(matrix: np.ndarray, names: Sequence[str], *, title: str, row_label: str, column_label: str) -> Html:
    """A square matrix of counts or shares; the depth of a colour is the root of a cell's share of its row.

    Args:
      matrix: `[n, n]`; up to 20 classes are drawn with their numbers, and written as a table; more as a picture of a
        point a cell, with a table of the largest confusions. NaN are dashes.
      names: `[n]`, of rows and columns.
      title: what is drawn.
      row_label, column_label: what the rows and the columns are, such as "true class" and "predicted class".

    Raises:
      ValueError: for a matrix of another shape.
    """
    matrix = np.asarray(matrix, np.float64)
    if matrix.shape != (len(names), len(names)):
        raise ValueError(f"{len(names)} names need a matrix of as many rows and columns, not {matrix.shape}")
    shown = _Matrix(list(map(str, names)), (row_label, column_label), _written(matrix), _shares(matrix))
    return (_with_numbers if len(names) <= MAX_NUMBERS else _as_picture)(shown, title)


def _with_numbers(matrix: _Matrix, title: str) -> Html:
    """An SVG with numbers, and the same as a table."""
    count, depths = len(matrix.names), matrix.depths
    short = [shortened(name, _LETTERS) for name in matrix.names]
    width, height = _NAMES + _CELL * count + 1, _CELL * count + _BELOW
    cells = [_cell(r, c, depths[r, c], matrix.written[r][c]) for r in range(count) for c in range(count)]
    beside = [text(_NAMES - 6, (i + 0.5) * _CELL + 5, name, anchor="end") for i, name in enumerate(short)]
    below = [_slanting(_NAMES + (i + 0.5) * _CELL, count * _CELL + 8, name) for i, name in enumerate(short)]
    drawing = chart(
        title, matrix.in_words, [cells, beside, below], width=width, height=height, below=_note(matrix.axes)
    )
    numbers = table(
        [" \\ ".join(matrix.axes), *matrix.names],
        [[name, *row] for name, row in zip(matrix.names, matrix.written, strict=True)],
        numeric=range(1, count + 1),
        caption=f"{title}: numbers",
    )
    # On a phone many cells would be too small for their numbers: there the drawing keeps its width and scrolls.
    scrolls = count > _FEW
    style = f"{'width' if scrolls else 'max-width'}:{round(_ZOOM * width)}px"
    sized = tag("div", drawing, style=style, class_="sized")
    details = tag("details", tag("summary", "The same as a table"), numbers)
    return tag("div", scrollable(sized, label=title) if scrolls else sized, details)


def _cell(row: int, column: int, depth: float, words: str) -> Html:
    x, y = _NAMES + column * _CELL, row * _CELL
    box = tag("rect", x=x, y=y, width=_CELL, height=_CELL, class_="cell", fill_opacity=f"{depth:.3f}")
    kind = "on-dark" if depth > _DARK else "muted" if words == "0" else "on-cell"
    return tag("g", box, text(x + _CELL / 2, y + _CELL / 2 + 5, words, anchor="middle", class_=kind))


def _slanting(x: float, y: float, name: str) -> Html:
    turned = f"translate({place(x)} {place(y)}) rotate(-55)"
    return tag("text", name, transform=turned, text_anchor="end", dominant_baseline="middle")


def _as_picture(matrix: _Matrix, title: str) -> Html:
    """A picture with a point a cell, and the largest confusions in words."""
    names, shares = matrix.names, matrix.shares
    image = np.round(255 + matrix.depths[..., None] * (_DEEPEST - 255)).astype(np.uint8)
    shown = picture(image, alt=f"{title}. {matrix.in_words}", width=max(_PICTURE, len(names)))
    most = table(
        [*matrix.axes, "cell", "share of the row"],
        [[names[r], names[c], matrix.written[r][c], f"{100 * shares[r, c]:.1f} %"] for r, c in matrix.confusions],
        caption="The largest beside the diagonal",
        numeric=(2, 3),
    )
    return tag("div", tag("figure", tag("figcaption", title), shown, _note(matrix.axes), class_="chart"), most)


def _note(axes: tuple[str, str]) -> Html:
    depth = "The deeper a cell, the larger its share of the row (the root of it)."
    return tag("p", f"Rows: {axes[0]}. Columns: {axes[1]}. {depth}", class_="note")


def _shares(matrix: np.ndarray) -> np.ndarray:
    values = np.nan_to_num(matrix, nan=0.0, posinf=0.0, neginf=0.0).clip(0)
    sums = values.sum(axis=1, keepdims=True)
    return np.divide(values, sums, out=np.zeros_like(values), where=sums > 0)


def _written(matrix: np.ndarray) -> list[list[str]]:
    """The cells in words: whole numbers as such, others with two decimals."""
    finite = np.isfinite(matrix)
    decimals = 0 if np.array_equal(matrix[finite], np.round(matrix[finite])) else 2
    return [[f"{v:.{decimals}f}" if np.isfinite(v) else "–" for v in row] for row in matrix]
