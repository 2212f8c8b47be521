"""Numbers as the page writes them, and the small pieces of it that several sections share."""

import datetime
import math
from collections.abc import Mapping
from typing import Any

from fsjax.pages import Html, tag
from fsjax.report.expected import is_number

NONE = "–"


def percent(share: float | None, digits: int = 2) -> str:
    """A share of 1 in percent, without the sign: "71.30"; "–" for none."""
    return NONE if not is_number(share) else f"{100 * share:.{digits}f}"


def with_interval(share: float | None, half_width: float | None) -> str:
    """An accuracy with its 95 % interval: "71.30 ± 0.42"."""
    return percent(share) + (f" ± {percent(half_width)}" if is_number(half_width) else "")


def difference(mean: float, half_width: float) -> str:
    """A difference of accuracies in points: "+1.20 ± 0.33"."""
    return f"{100 * mean:+.2f}" + (f" ± {percent(half_width)}" if math.isfinite(half_width) else "")


def number(value: Any) -> str:
    """A whole number with its thousands apart; "–" for none."""
    return f"{value:,.0f}" if is_number(value) else NONE


def duration(seconds: Any) -> str:
    """Seconds as h:mm:ss; those below a minute with their tenths: "12.3 s"."""
    if not is_number(seconds):
        return NONE
    return f"{seconds:.1f} s" if seconds < 60 else str(datetime.timedelta(seconds=round(seconds)))


def value(found: Any) -> str:
    """A value of a config: lists with commas, texts as they are."""
    if isinstance(found, list | tuple):
        return f"({', '.join(map(value, found))})"
    if isinstance(found, Mapping):
        return ", ".join(f"{key} {value(part)}" for key, part in found.items())
    return "none" if found is None else "''" if found == "" else str(found)


def task_of(figure: Mapping[str, Any]) -> str:
    """ "5-way 1-shot", of a figure of few-shot tasks."""
    way, shot = (_count(figure.get(name)) for name in ("way", "shot"))
    return f"{way}-way {shot}-shot"


def _count(found: Any) -> str:
    return "-".join(map(str, found)) if isinstance(found, list | tuple) else NONE if found is None else str(found)


def note(*words: Any) -> Html:
    """A paragraph of explanation."""
    return tag("p", *words, class_="note")


def heading(text: Any) -> Html:
    """A heading below a section's."""
    return tag("h3", text)


def unbroken(text: Any) -> Html:
    """A line of a table's cell that is not broken."""
    return tag("div", text, style="white-space:nowrap")
