"""The parts of a page that hold text: sections and tables."""

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from fsjax.pages.markup import Html, tag

_SECTION = re.compile(r'<section id="([^"]*)" aria-labelledby="[^"]*"><h2[^>]*>(.*?)</h2>', re.DOTALL)


def section(title: str, *children: Any, anchor: str) -> Html:
    """A part of the page with a heading, which the table of contents lists.

    Args:
      title: the heading.
      *children: what it holds.
      anchor: its id, by which it is linked to; every character but letters, digits, `_`, `.` and `-` becomes `-`.
    """
    anchor = re.sub(r"[^\w.-]", "-", anchor)
    title_id = f"{anchor}-title"
    return tag("section", tag("h2", title, id=title_id), children, id=anchor, aria_labelledby=title_id)


def sections_of(body: Html) -> list[tuple[str, Html]]:
    """Anchor and heading of each section of a body, in order."""
    return [(anchor, Html(title)) for anchor, title in _SECTION.findall(body)]


def side_by_side(*children: Any) -> Html:
    """Charts or other parts beside each other where there is room, below each other where there is not."""
    return tag("div", children, class_="sides")


def scrollable(child: Any, *, label: str) -> Html:
    """What may be wider than a phone: it scrolls by itself, by keyboard too."""
    return tag("div", child, class_="scroll", role="region", tabindex="0", aria_label=label)


def table(
    header: Sequence[Any],
    rows: Iterable[Sequence[Any]],
    *,
    caption: str = "",
    numeric: Collection[int] = (),
    sortable: bool = False,
) -> Html:
    """A table in a region that scrolls; the first cell of each row is its heading.

    Args:
      header: of each column.
      rows: cells of each row, as many as in the header.
      caption: above the table.
      numeric: indices of columns of numbers: aligned right, and sorted by the number that the cell begins with.
      sortable: whether the heads become buttons that sort the rows (where there is JavaScript).

    Raises:
      ValueError: for a row of another length than the header.
    """
    rows = [list(row) for row in rows]
    for row in rows:
        if len(row) != len(header):
            raise ValueError(f"a row of {len(row)} cells in a table of {len(header)} columns: {row}")
    heads = [tag("th", name, scope="col", class_=_aligned(i, numeric)) for i, name in enumerate(header)]
    content = tag(
        "table",
        tag("caption", caption) if caption else None,
        tag("thead", tag("tr", heads)),
        tag("tbody", [tag("tr", [_cell(i, cell, numeric) for i, cell in enumerate(row)]) for row in rows]),
        data_sortable=sortable,
    )
    return scrollable(content, label=caption or "Table")


def _cell(column: int, content: Any, numeric: Collection[int]) -> Html:
    aligned = _aligned(column, numeric)
    return tag("td", content, class_=aligned) if column else tag("th", content, scope="row", class_=aligned)


def _aligned(column: int, numeric: Collection[int]) -> str | None:
    return "number" if column in numeric else None
