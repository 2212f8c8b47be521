"""Self-contained HTML pages: everything that is not `Html` is escaped wherever it is put; no network, no library.

Internal: no part of the public interface.
"""

from fsjax.pages.bars import bar_chart
from fsjax.pages.cards import card, card_filter, cards
from fsjax.pages.document import fragment, page, write_page
from fsjax.pages.elements import section, side_by_side, table
from fsjax.pages.heat import heat_map
from fsjax.pages.lines import line_chart
from fsjax.pages.markup import Html, escape, join, tag
from fsjax.pages.pictures import picture
from fsjax.pages.points import scatter_chart

__all__ = [
    "Html",
    "bar_chart",
    "card",
    "card_filter",
    "cards",
    "escape",
    "fragment",
    "heat_map",
    "join",
    "line_chart",
    "page",
    "picture",
    "scatter_chart",
    "section",
    "side_by_side",
    "table",
    "tag",
    "write_page",
]
