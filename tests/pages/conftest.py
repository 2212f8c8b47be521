"""A real headless browser, and what every page of fsjax must be in it."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage"
).split()
HEIGHT = 900
# What Tab must reach: everything that can be operated, unless it is disabled or not shown.
OPERABLE = "a[href], button, input, select, textarea, summary, [tabindex]:not([tabindex='-1'])"
# Of each of them: where it is in the order of the page, and whether it is shown.
_LIST = f"""() => [...document.querySelectorAll({OPERABLE!r})]
  .map((e, i) => (e.dataset.tested = i, e))
  .filter((e) => !e.disabled && e.checkVisibility({{visibilityProperty: true}}))
  .map((e) => e.dataset.tested)"""
_FOCUS = """() => {
  const e = document.activeElement, style = getComputedStyle(e), box = e.getBoundingClientRect();
  return {
    tested: e.dataset.tested ?? null,
    what: e.outerHTML.slice(0, 120),
    ring: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
    seen: box.right > 0 && box.left < innerWidth && box.bottom > 0 && box.top < innerHeight && box.width > 0,
  };
}"""
_FACTS = """async () => {
  await Promise.all([...document.images].map((image) => image.decode().catch(() => null)));
  const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
  return {
    lang: document.documentElement.lang,
    title: document.title,
    h1: document.querySelectorAll("h1").length,
    twice: ids.filter((id, i) => ids.indexOf(id) !== i),
    images: document.images.length,
    unloaded: [...document.images].filter((i) => !i.complete || !i.naturalWidth).map((i) => i.outerHTML.slice(0, 120)),
    unnamed: [...document.images].filter((i) => !i.alt.trim()).map((i) => i.outerHTML.slice(0, 120)),
    nowhere: [...document.querySelectorAll("a[href^='#']")].map((a) => a.getAttribute("href").slice(1))
      .filter((id) => !document.getElementById(id)),
    unlabelled: [...document.querySelectorAll("input, select")].filter((e) => !e.labels.length).length,
    wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    past: [...document.querySelectorAll("body *")].filter((e) => {
      const scrolls = e.closest(".scroll, pre, .skip, svg");
      return !scrolls && e.getBoundingClientRect().right > document.documentElement.clientWidth + 1;
    }).map((e) => e.outerHTML.slice(0, 120)),
  };
}"""


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless Chromium, by Playwright; skips where one of them is missing."""
    # Where there must be one, as `.ci/run` says that has seen to it, its absence is no reason to skip.
    absent = pytest.fail if os.environ.get("FSJAX_NEEDS_BROWSER") else pytest.skip
    try:
        from playwright import sync_api
    except ImportError:
        absent("Playwright is not installed: pip install playwright")
    path = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if path is None:
        absent(f"no browser here (looked for {', '.join(CHROMIUM)}): apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def check_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """`check_page(path, width=390)` opens a page, asserts what every page must be, and returns Playwright's page.

    Further options (`color_scheme="dark"`, `java_script_enabled=False`, `reduced_motion="reduce"`) go to the browser
    context. What a page reports later, while a test operates it, fails the test at its end.
    """
    contexts, troubles = [], []

    def check(path: Path, *, width: int, keyboard: bool = True, **options: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": HEIGHT}, **options)
        contexts.append(context)
        page = context.new_page()
        address = Path(path).absolute().as_uri()
        _watch(page, address, troubles)
        page.goto(address)
        assert not troubles, troubles
        facts = page.evaluate(_FACTS)
        assert facts["lang"] and facts["title"].strip() and facts["h1"] == 1, facts
        for fault in ("twice", "unloaded", "unnamed", "nowhere", "past"):
            assert not facts[fault], f"{fault} at {width} px: {facts[fault][:5]}"
        assert facts["wide"] <= 0, f"the page is {facts['wide']} px wider than {width} px"
        assert not facts["unlabelled"], f"{facts['unlabelled']} controls without a label"
        if keyboard:
            _walk(page)
        assert not troubles, troubles
        return page

    yield check
    for context in contexts:
        context.close()
    assert not troubles, troubles


def _watch(page: Any, address: str, troubles: list[str]) -> None:
    """Collect every error, and every request but the file itself and its data."""

    def console(message: Any) -> None:
        if message.type in ("error", "warning"):
            troubles.append(f"console {message.type}: {message.text}")

    def request(asked: Any) -> None:
        if asked.url.split("#")[0] != address and not asked.url.startswith("data:"):
            troubles.append(f"request: {asked.url[:200]}")

    page.on("console", console)
    page.on("pageerror", lambda error: troubles.append(f"page error: {error}"))
    page.on("request", request)
    page.on("dialog", lambda dialog: (troubles.append(f"dialog: {dialog.message}"), dialog.dismiss()))


def _walk(page: Any) -> None:
    """Go through the page by Tab: everything that can be operated is met, in order, in sight and with a ring."""
    expected, met = page.evaluate(_LIST), []
    for _ in range(len(expected) + 2):
        page.keyboard.press("Tab")
        focus = page.evaluate(_FOCUS)
        if focus["tested"] is None or focus["tested"] in met:
            break
        assert focus["ring"], f"no focus ring: {focus['what']}"
        assert focus["seen"], f"focused out of sight: {focus['what']}"
        met.append(focus["tested"])
    assert met == expected, f"Tab met {len(met)} of {len(expected)}: missing {sorted(set(expected) - set(met))[:5]}"
    page.evaluate("() => { document.activeElement.blur(); scrollTo(0, 0); }")
