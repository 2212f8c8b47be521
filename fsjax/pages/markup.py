"""HTML as a type: text becomes markup by being escaped, and only by that."""

import html
import re
from collections.abc import Iterable
from typing import Any

# Elements without an end tag.
_VOID = frozenset({"br", "col", "hr", "img", "input", "link", "meta"})
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9:-]*")
# Characters that no HTML file may hold, and the lone surrogates by which Python writes those bytes of a file name that
# are no UTF-8, which could not be written either.
_NO_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


class Html(str):
    """Text that is HTML already; everything else is escaped wherever it is put.

    Putting it into an f-string makes a `str` of it, which is escaped like any other text: too much, never too little.
    """

    __slots__ = ()

    def __add__(self, other: Any) -> "Html":
        return Html(str(self) + str(escape(other)))

    def __radd__(self, other: Any) -> "Html":
        return Html(str(escape(other)) + str(self))


def escape(value: Any) -> Html:
    """A value as HTML text: `Html` passes through, of anything else the markup and the quotes are escaped.

    Characters that HTML does not allow (most control characters, lone surrogates) become U+FFFD, the replacement sign.
    """
    if isinstance(value, Html):
        return value
    return Html(html.escape(_NO_TEXT.sub("\ufffd", str(value)), quote=True))


def join(*children: Any) -> Html:
    """Children one after the other: values are escaped, lists and generators are taken apart, None is left out."""
    return Html("".join(_flat(children)))


def _flat(children: Iterable[Any]) -> Iterable[str]:
    for child in children:
        if child is None:
            continue
        if isinstance(child, Iterable) and not isinstance(child, str | bytes):
            yield from _flat(child)
        else:
            yield str(escape(child))


def tag(name: str, /, *children: Any, **attributes: Any) -> Html:
    """An element: `tag("p", "a < b", class_="note", data_label="x")` is `<p class="note" data-label="x">a &lt; b</p>`.

    Args:
      name: of the element; `br`, `col`, `hr`, `img`, `input`, `link` and `meta` get no end tag and take no children.
      *children: see `join`.
      **attributes: a trailing _ of a name is dropped, other _ become -. A value of None or False leaves the attribute
        out, True writes it bare; a quote in a value is always escaped, even in `Html`.

    Raises:
      ValueError: for a name that is none.
    """
    words = [_checked(name)]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = _checked(key.removesuffix("_").replace("_", "-"))
        words.append(key if value is True else f'{key}="{_in_quotes(value)}"')
    opening = f"<{' '.join(words)}>"
    if name in _VOID:
        if children:
            raise ValueError(f"<{name}> has no children")
        return Html(opening)
    return Html(f"{opening}{join(*children)}</{name}>")


def _in_quotes(value: Any) -> str:
    text = str(escape(value))
    return text.replace('"', "&quot;").replace("<", "&lt;") if isinstance(value, Html) else text


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of an element or attribute")
    return name
