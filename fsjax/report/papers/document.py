"""A text of headings, tables, commands and notes, as Markdown that reads well on a terminal, and as a page."""

import dataclasses
import re
from collections.abc import Sequence

from fsjax.pages import Html, page, section, table, tag


@dataclasses.dataclass(frozen=True)
class Heading:
    """The begin of a part."""

    text: str


@dataclasses.dataclass(frozen=True)
class Words:
    """A paragraph; what stands between two ` is set as code."""

    text: str


@dataclasses.dataclass(frozen=True)
class Grid:
    """A table.

    Attributes:
      head: the names of the columns.
      rows: their cells.
      labels: how many of the first columns are text; the others are figures.
      title: what it shows.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    labels: int
    title: str


@dataclasses.dataclass(frozen=True)
class Commands:
    """Lines to type."""

    lines: Sequence[str]


Block = Heading | Words | Grid | Commands


def markdown(title: str, blocks: Sequence[Block]) -> str:
    """The text as Markdown, the columns of its tables aligned."""
    return "\n\n".join([f"# {title}", *map(_as_markdown, blocks)]) + "\n"


def html(title: str, blocks: Sequence[Block]) -> str:
    """The text as a page; each heading begins a section."""
    parts: list[tuple[str, list[Html]]] = [("", [])]
    for block in blocks:
        if isinstance(block, Heading):
            parts.append((block.text, []))
        else:
            parts[-1][1].append(_as_html(block))
    sections = [section(text, *body, anchor=f"part-{number}") for number, (text, body) in enumerate(parts) if text]
    return page(title, *parts[0][1], *sections)


def _as_markdown(block: Block) -> str:
    if isinstance(block, Heading):
        return f"## {block.text}"
    if isinstance(block, Words):
        return block.text
    if isinstance(block, Commands):
        return "\n".join(["```sh", *block.lines, "```"])
    return _aligned(block)


def _aligned(grid: Grid) -> str:
    lines = [[_in_cell(text) for text in line] for line in (grid.head, *grid.rows)]
    widths = [max(3, *(len(line[i]) for line in lines)) for i in range(len(grid.head))]
    rules = ["-" * width if i < grid.labels else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
    aligned = [
        [text.ljust(width) if i < grid.labels else text.rjust(width) for i, (text, width) in enumerate(cells)]
        for cells in ([*zip(line, widths, strict=True)] for line in lines)
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in (aligned[0], rules, *aligned[1:]))


def _in_cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", r"\|")


def _as_html(block: Words | Grid | Commands) -> Html:
    if isinstance(block, Words):
        parts = block.text.split("`")
        # An odd number of ` leaves the last one open: then they are text.
        whole = len(parts) % 2 == 1
        return tag("p", [tag("code", p) if i % 2 else p for i, p in enumerate(parts)] if whole else block.text)
    if isinstance(block, Commands):
        return tag("pre", tag("code", "\n".join(block.lines)), tabindex="0", class_="scroll")
    figures = range(block.labels, len(block.head))
    return table(block.head, block.rows, caption=block.title, numeric=tuple(figures))
