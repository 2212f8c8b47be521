"""Whole documents, and the piece of one that a notebook shows."""

import base64
import hashlib
from collections import Counter
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from fsjax.files import cannot_write, write_file
from fsjax.pages.elements import sections_of
from fsjax.pages.markup import Html, join, tag
from fsjax.version import __version__

# With more sections than this the page opens with a list of them.
_FEW_SECTIONS = 2


def page(title: str, *body: Any, lead: Any = "", facts: Mapping[str, Any] | None = None) -> str:
    """A whole document that needs nothing else: no file, no network.

    Its policy (CSP) lets no script run but the page's own, which is known by its hash.

    Args:
      title: of the document, and its one `<h1>`.
      *body: what follows, sections mostly.
      lead: a sentence or two below the title.
      facts: a list of names and values below that.

    Raises:
      ValueError: for two sections of one anchor.
    """
    content = join(*body)
    main = [
        tag("h1", title),
        tag("p", lead, class_="lead") if lead else None,
        facts_list(facts) if facts else None,
        _contents(content),
        content,
    ]
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_policy()),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="generator", content=f"fsjax {__version__}"),
        tag("title", title),
        tag("style", Html(_read("elements.css") + _read("page.css"))),
    )
    shown = tag(
        "body",
        tag("a", "Skip to the content", class_="skip", href="#content"),
        tag("main", main, id="content", tabindex="-1"),
        tag("footer", tag("p", f"Made by fsjax {__version__}. This file needs no network and no other file.")),
        tag("script", Html(_read("page.js"))),
        class_="fsjax",
    )
    return f"<!doctype html>\n{tag('html', head, shown, lang='en')}\n"


def fragment(*body: Any) -> Html:
    """The same elements for a notebook (`_repr_html_`): with their style, which touches nothing else, and no script."""
    return tag("div", tag("style", Html(_read("elements.css"))), body, class_="fsjax")


def facts_list(facts: Mapping[str, Any]) -> Html:
    """Names and values, side by side."""
    rows = [tag("div", tag("dt", name), tag("dd", value)) for name, value in facts.items()]
    return tag("dl", rows, class_="facts")


def write_page(path: Path, document: str) -> None:
    """Write a document whole or not at all, in UTF-8; the folder is made where it is missing.

    Raises:
      UserError: if it cannot be written there; a file that was there before is then untouched.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error
    write_file(path, document)


def _contents(content: Html) -> Html | None:
    found = sections_of(content)
    twice = [anchor for anchor, count in Counter(anchor for anchor, _ in found).items() if count > 1]
    if twice:
        raise ValueError(f"two sections have the anchor {twice[0]!r}")
    if len(found) <= _FEW_SECTIONS:
        return None
    entries = [tag("li", tag("a", title, href=f"#{anchor}")) for anchor, title in found]
    return tag("nav", tag("ul", entries), class_="contents", aria_label="Contents")


def _policy() -> str:
    digest = base64.b64encode(hashlib.sha256(_read("page.js").encode()).digest()).decode("ascii")
    return (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )


@cache
def _read(name: str) -> str:
    return files("fsjax.pages").joinpath(name).read_text(encoding="utf-8")
