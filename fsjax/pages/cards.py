"""A grid of cards, and the controls that filter, search and sort it."""

import json
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from fsjax.pages.markup import Html, tag


def cards(*children: Html) -> Html:
    """A grid of what `card` makes, as many columns as fit."""
    return tag("div", children, class_="cards")


def card(
    *children: Any,
    label: str = "",
    text: str = "",
    flags: Collection[str] = (),
    order: Mapping[str, str | float] | None = None,
) -> Html:
    """One card of `cards`.

    Args:
      *children: what it shows.
      label: what the filter's list of labels chooses by.
      text: what the search looks in, beside the label; the file name, say.
      flags: which of the filter's flags it has.
      order: values to sort by, by the key that `card_filter` has in `sorts`.
    """
    return tag(
        "article",
        children,
        class_="card",
        data_label=label,
        data_text=text,
        data_flags=json.dumps(list(flags), ensure_ascii=False) if flags else None,
        data_order=json.dumps({k: _sortable(v) for k, v in order.items()}, ensure_ascii=False) if order else None,
    )


def card_filter(
    *, labels: Sequence[str], flags: Mapping[str, str] | None = None, sorts: Mapping[str, str] | None = None
) -> Html:
    """Controls for the next `cards` of the page; JavaScript shows them, and without it all cards are shown.

    Args:
      labels: those to choose from.
      flags: those to choose from, with what each is called.
      sorts: keys of the cards' `order`, or "label" or "text", with what each order is called; a key that begins with
        "-" sorts downwards: `{"-probability": "Most certain first"}`.
    """
    fields = [
        _choice("Label", "label", {name: name for name in labels}, every="All labels") if labels else None,
        _choice("Show", "flag", flags, every="Everything") if flags else None,
        _choice("Order", "sort", sorts, every="As listed") if sorts else None,
        _field("Search", tag("input", type="search", data_role="search", autocomplete="off", spellcheck="false")),
    ]
    count = tag("output", class_="count", aria_live="polite")
    reset = tag("button", "Show all", type="button", data_role="reset")
    return tag("div", fields, reset, count, class_="filter", role="search", hidden=True)


def _sortable(value: str | float) -> str | float | None:
    """None, which comes last in either direction, for a number that is none."""
    if isinstance(value, str):
        return value
    return float(value) if math.isfinite(value) else None


def _choice(title: str, role: str, values: Mapping[str, str], *, every: str) -> Html:
    options = [tag("option", words, value=value) for value, words in values.items()]
    return _field(title, tag("select", tag("option", every, value=""), options, data_role=role))


def _field(title: str, control: Html) -> Html:
    return tag("label", tag("span", title), control, class_="field")
