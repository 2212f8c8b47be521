"""The page of `fsjax predict` in a browser."""

import numpy as np
import pytest
from PIL import Image

from fsjax.cli import main

EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def predicted(few_shot_runs, tmp_path_factory):
    """The page of seven pictures, wide and high, tiny and large, with markup in names, and a broken one."""
    rng, root = np.random.default_rng(0), tmp_path_factory.mktemp("predict")
    for path, shapes in (
        (f"few/{EVIL}", [(30, 40), (9, 9)]),
        ("few/Größe & Form", [(50, 20), (20, 60)]),
        (f"many/{EVIL.replace('1', '2')}", [(300, 900), (900, 200), (5, 7)]),
        ("many/eine ganz lange Beschreibung_ohne_jede_Lücke_die_nicht_auf_ein_Telefon_passt", [(40, 40)] * 4),
    ):
        (root / path).mkdir(parents=True)
        for i, shape in enumerate(shapes):
            level = rng.integers(0, 206, (1, 1, 3))
            Image.fromarray((level + rng.integers(0, 50, (*shape, 3))).astype(np.uint8)).save(root / path / f"{i}.png")
    (root / "many" / "broken <b>.png").write_bytes(b"no picture")
    arguments = ["--support", str(root / "few"), "--query", str(root / "many"), "--out", str(root / "out")]
    assert main(["predict", "--run", str(few_shot_runs["gap"]), *arguments, "--reject"]) == 3
    return root / "out" / "index.html"


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_the_page_is_whole_at_desk_and_phone(check_page, predicted, width, scheme):
    page = check_page(predicted, width=width, color_scheme=scheme)
    cards = page.locator(".card")
    assert cards.count() == 7
    # Of each, the picture, its activation map, and the three nearest support pictures with their class.
    for card in cards.all():
        assert card.locator("img").count() == 5 and card.locator("figcaption").count() == 3
        assert card.locator("img").first.bounding_box()["width"] <= 224
    wide = page.get_by_alt_text(f"{EVIL.replace('1', '2')}/0.png", exact=True).bounding_box()
    assert wide["width"] == pytest.approx(3 * wide["height"], rel=0.03)
    text = page.locator("body").inner_text()
    assert EVIL in text and "broken <b>.png" in text and "not a picture, or damaged" in text
    assert page.locator("#not-read tbody tr").count() == 1


def test_filter_search_and_order(check_page, predicted):
    page = check_page(predicted, width=1280, keyboard=False)
    shown = page.locator(".card:visible")
    page.get_by_label("Search").fill("LÜCKE")
    assert shown.count() == 4 and page.locator(".filter output").inner_text() == "4 of 7 shown"
    page.get_by_role("button", name="Show all").press("Enter")
    counts = {
        row.locator("th").inner_text(): int(row.locator("td").nth(1).inner_text())
        for row in page.locator("#labels tbody tr").all()
    }
    assert sum(counts.values()) == 7 and set(counts) == {EVIL, "Größe & Form", "none of these"}
    for name, count in counts.items():
        page.locator("[data-role=label]").select_option(label=name)
        assert shown.count() == count
    page.get_by_role("button", name="Show all").press("Enter")
    page.locator("[data-role=sort]").select_option(label="Most certain first")
    certain = [float(card.get_attribute("data-order").split('"confidence":')[1].split(",")[0]) for card in shown.all()]
    assert certain == sorted(certain, reverse=True) and certain[0] > certain[-1]
