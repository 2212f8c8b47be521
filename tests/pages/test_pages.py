"""The pages: text stays text, numbers are where they belong, and a browser finds nothing wrong."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from fsjax.errors import UserError
from fsjax.pages import (
    Html,
    bar_chart,
    card,
    card_filter,
    cards,
    escape,
    fragment,
    heat_map,
    join,
    line_chart,
    page,
    picture,
    scatter_chart,
    section,
    side_by_side,
    table,
    tag,
    write_page,
)
from fsjax.pages.axes import shortened, tick_words, ticks

EVIL = "<img src=x onerror=\"document.title='hacked'\">"
SCRIPT = "<script>document.title = 'hacked'</script>"
NASTY = (EVIL, SCRIPT, "\"><b>'", "]]>", "-->", "</title></style></svg>", "&amp;", "javascript:alert(1)")


class Parsed(HTMLParser):
    """The elements of a document with their attributes, and the text of each kind of them: the oracle of escaping."""

    def __init__(self, document):
        super().__init__(convert_charrefs=True)
        self.elements, self.texts, self._open = [], [], []
        self.feed(document)
        self.close()

    def handle_starttag(self, name, attributes):
        self.elements.append((name, dict(attributes)))
        if name not in ("img", "br", "meta", "input"):
            self._open.append(name)

    def handle_endtag(self, name):
        while self._open and self._open.pop() != name:
            pass

    def handle_data(self, data):
        self.texts.append((self._open[-1] if self._open else "", data))

    def count(self, name):
        return sum(kind == name for kind, _ in self.elements)

    def words(self, name):
        return [text for kind, text in self.texts if kind == name]

    def attributes(self, name):
        return [attributes for kind, attributes in self.elements if kind == name]


@pytest.mark.parametrize("text", [*NASTY, "Ümläut ß", "😀 鶴", "a\nb", "5 > 3 & 2 < 3"])
def test_text_comes_back_as_the_text_it_was(text):
    parsed = Parsed(tag("p", text, title=text, data_x=text))
    assert parsed.elements == [("p", {"title": text, "data-x": text})]
    assert "".join(parsed.words("p")) == text


def test_what_no_html_file_may_hold_is_replaced():
    name = b"caf\xe9\x00.jpg".decode("utf-8", "surrogateescape")
    assert escape(name) == "caf\ufffd\ufffd.jpg"
    page(name, tag("p", name)).encode("utf-8")


def test_html_passes_and_an_f_string_of_it_does_not():
    bold = tag("b", "x")
    assert isinstance(bold, Html) and tag("p", bold) == "<p><b>x</b></p>"
    assert tag("p", f"{bold}") == "<p>&lt;b&gt;x&lt;/b&gt;</p>"
    assert bold + "<" == "<b>x</b>&lt;" and "<" + bold == "&lt;<b>x</b>"
    assert isinstance("<" + bold, Html)
    # In an attribute a quote ends nothing, even if it comes in as HTML.
    assert Parsed(tag("p", title=Html('a &amp; "b"'))).elements == [("p", {"title": 'a & "b"'})]


def test_attributes_and_children():
    assert tag("p", "a < b", class_="note", data_label="x") == '<p class="note" data-label="x">a &lt; b</p>'
    assert tag("input", disabled=True, hidden=False, value=None, size=0) == '<input disabled size="0">'
    assert join(["a", None, (tag("br"), ["<"])], (str(i) for i in range(2))) == "a<br>&lt;01"
    assert tag("meta", name="x") == '<meta name="x">'
    with pytest.raises(ValueError, match="no children"):
        tag("img", "x")
    with pytest.raises(ValueError, match="no name"):
        tag("p onclick", "x")


def decoded(html):
    (attributes,) = Parsed(html).attributes("img")
    head, data = attributes["src"].split(",")
    return head, np.asarray(Image.open(io.BytesIO(base64.b64decode(data, validate=True)))), attributes


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 3)])
def test_a_picture_holds_its_pixels(shape):
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    head, pixels, attributes = decoded(picture(image, alt=EVIL))
    assert head == "data:image/png;base64"
    np.testing.assert_array_equal(pixels, image.reshape(5, 7) if shape[2:] == (1,) else image)
    assert (attributes["alt"], attributes["width"], attributes["height"]) == (EVIL, "7", "5")
    assert "class" not in attributes


def test_a_picture_enlarged_and_a_lossy_one():
    image = np.full((10, 20, 3), (200, 40, 40), np.uint8)
    head, pixels, attributes = decoded(picture(image, alt="red", width=100, lossy=True, class_="query"))
    assert head == "data:image/jpeg;base64" and np.abs(pixels.astype(int) - image).max() <= 3
    assert (attributes["width"], attributes["height"], attributes["class"]) == ("100", "50", "query enlarged")


@pytest.mark.parametrize("image", [np.zeros((4, 4)), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4), np.uint8)])
def test_no_picture(image):
    with pytest.raises(ValueError, match="uint8"):
        picture(image, alt="x")


def test_a_table():
    made = table(["class", "accuracy"], [["a", "1 %"], [EVIL, 2]], caption="By class", numeric=(1,), sortable=True)
    parsed = Parsed(made)
    assert [a["scope"] for a in parsed.attributes("th")] == ["col", "col", "row", "row"]
    assert parsed.words("th") == ["class", "accuracy", "a", EVIL] and parsed.words("td") == ["1 %", "2"]
    assert [a.get("class") for a in parsed.attributes("td")] == ["number", "number"]
    assert "data-sortable" in parsed.attributes("table")[0] and parsed.words("caption") == ["By class"]
    assert parsed.attributes("div")[0]["tabindex"] == "0" and parsed.count("img") == 0
    with pytest.raises(ValueError, match="3 cells in a table of 2 columns"):
        table(["a", "b"], [[1, 2, 3]])


def test_a_document(tmp_path):
    sections = [section(f"Part {i} <", tag("p", i), anchor=f"part {i}") for i in range(3)]
    document = page(EVIL, sections, lead=SCRIPT, facts={"Data <": EVIL, "Bold": tag("b", "x")})
    parsed = Parsed(document)
    assert document.startswith("<!doctype html>") and parsed.attributes("html") == [{"lang": "en"}]
    assert (
        parsed.words("title") == [EVIL]
        and parsed.words("h1") == [EVIL]
        and parsed.words("h2")
        == [
            "Part 0 <",
            "Part 1 <",
            "Part 2 <",
        ]
    )
    assert parsed.words("dt") == ["Data <", "Bold"] and parsed.words("dd") == [EVIL] and parsed.words("b") == ["x"]
    assert parsed.count("script") == 1 and parsed.count("img") == 0
    links = [a["href"] for a in parsed.attributes("a")]
    assert links == ["#content", "#part-0", "#part-1", "#part-2"]
    assert "nav" not in dict(Parsed(page("x", sections[:2])).elements)
    with pytest.raises(ValueError, match="two sections have the anchor 'part-0'"):
        page("x", sections, sections[0])


def test_only_the_pages_own_script_is_allowed():
    import hashlib

    document = page("x")
    (script,) = re.findall(r"<script>(.*?)</script>", document, re.DOTALL)
    policy = next(a["content"] for a in Parsed(document).attributes("meta") if "http-equiv" in a)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}';" in policy and policy.startswith("default-src 'none'; img-src data:;")


def test_a_page_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new folder" / "Überblick.html"
    write_page(path, "ä" * 10)
    assert path.read_bytes() == "ä".encode() * 10
    with pytest.raises(UnicodeEncodeError):
        write_page(path, "b" * 100_000 + "\ud800")
    assert path.read_bytes() == "ä".encode() * 10 and list(path.parent.iterdir()) == [path]
    with pytest.raises(UserError, match=r"x\.html cannot be written"):
        write_page(path / "x.html", "below a file")


def test_a_fragment_leaves_the_notebook_alone():
    made = fragment(tag("p", EVIL))
    parsed = Parsed(made)
    assert parsed.count("script") == 0 and parsed.count("img") == 0 and parsed.words("p") == [EVIL]
    css = re.sub(r"/\*.*?\*/", "", "".join(parsed.words("style")), flags=re.DOTALL)
    selectors = [s.strip() for rule in re.findall(r"([^{}]+)\{", css) for s in rule.split(",")]
    assert len(selectors) > 40
    assert all(s.startswith((".fsjax", "@media")) for s in selectors)


# Charts: read back from the SVG.


def svg_texts(html):
    return Parsed(html).words("text")


def moves(html, kind):
    """The numbers of points of each subpath of the paths of a class."""
    paths = [a["d"] for a in Parsed(html).attributes("path") if kind in a.get("class", "").split()]
    return [[piece.count("L") + 1 for piece in path.split("M")[1:]] for path in paths]


def test_a_line_has_its_points_where_they_belong():
    chart = line_chart({"x": ([0, 50, 100], [0.0, 0.5, 1.0])}, title="T", x_label="step", y_label="y", percent=True)
    (path,) = [a["d"] for a in Parsed(chart).attributes("path") if a.get("class", "").startswith("line")]
    x, y = np.array(re.findall(r"([\d.]+) ([\d.]+)", path), float).T
    assert np.diff(x) == pytest.approx(np.diff(x)[::-1], abs=0.11) and np.diff(y) == pytest.approx(
        np.diff(y)[::-1], abs=0.11
    )
    assert x[0] < x[2] and y[0] > y[2]  # upwards is less
    grid = next(a["d"] for a in Parsed(chart).attributes("path") if a["class"] == "grid")
    heights = [float(v) for v in re.findall(r"M\d+ ([\d.]+)", grid)]
    words = svg_texts(chart)
    assert words[words.index("0 %") : words.index("100 %") + 1] == ["0 %", "20 %", "40 %", "60 %", "80 %", "100 %"]
    assert (y[0], y[2]) == (heights[0], heights[-1])  # 0 lies on the line of "0 %", 1 on that of "100 %"


def test_lines_with_gaps_a_point_alone_and_none():
    nan = float("nan")
    xs = list(range(40))
    ys = [nan if i in (0, 10, 12, 39) else float("inf") if i == 20 else float(i) for i in xs]
    chart = line_chart({"with gaps": (xs, ys), "never": ([0, 1], [nan, nan])}, title="T", x_label="x", y_label="y")
    assert moves(chart, "line")[0] == [9, 7, 18]  # 1-9, 13-19, 21-38, and the point 11 alone is a dot
    assert moves(chart, "dots") == [[1]]
    assert "never: no values" in chart
    one = line_chart({"a": ([5], [0.3])}, title="T", x_label="x", y_label="y")
    assert moves(one, "line") == [] and moves(one, "dots") == [[1]] and "5" in svg_texts(one)
    for empty in ({}, {"a": ([], [])}, {"a": ([nan], [1.0])}):
        assert "no data" in svg_texts(line_chart(empty, title="T", x_label="x", y_label="y"))
    with pytest.raises(ValueError, match="'a' has 2 x and 1 y"):
        line_chart({"a": ([1, 2], [1])}, title="T", x_label="x", y_label="y")


@pytest.mark.parametrize(
    "low, high", [(0, 1), (-3, 7), (0.001, 0.0012), (99, 101), (5, 5), (0, 0), (-2e6, 3e6), (1e-9, 2e-9)]
)
def test_ticks_are_round_cover_the_values_and_differ_in_words(low, high):
    values = ticks(low, high)
    steps = np.diff(values)
    assert values[0] <= low and values[-1] >= high and 2 <= len(values) <= 9
    assert steps == pytest.approx(np.full(len(steps), steps[0]))
    assert f"{steps[0]:.0e}"[0] in "125"
    assert len(set(tick_words(values))) == len(values)


def test_bars():
    chart = bar_chart(
        {"a": 0.25, EVIL: 0.5, "none": float("nan")},
        title="T",
        x_label="accuracy",
        intervals={"a": 0.05},
        percent=True,
    )
    a, evil = (float(x["width"]) for x in Parsed(chart).attributes("rect"))
    assert evil == pytest.approx(2 * a, abs=0.11)
    assert {"25.0 ± 5.0 %", "50.0 %", "–"} <= set(svg_texts(chart)) and len(moves(chart, "whisker")) == 1
    left, right = Parsed(bar_chart({"a": -1, "b": 2}, title="T", x_label="x")).attributes("rect")
    assert float(left["x"]) + float(left["width"]) == pytest.approx(float(right["x"]), abs=0.11)  # both begin at 0
    assert "no data" in svg_texts(bar_chart({}, title="T", x_label="x"))
    zero = bar_chart({"a": 0.0}, title="T", x_label="x")
    assert svg_texts(zero).count("0") == 1
    hundred = {f"class {i}": i / 100 for i in range(100)}
    widths = [float(a["width"]) for a in Parsed(bar_chart(hundred, title="T", x_label="x")).attributes("rect")]
    assert len(widths) == 100 and widths == sorted(widths)


@pytest.mark.parametrize(
    "name", ["short", "exactly_ten", "a_long_name_0001", "a_long_name_0002", "鶴の写真とても長い名前", "x" * 300]
)
def test_long_names_are_shortened_in_the_middle(name):
    result = shortened(name, 10)
    wide = sum(2 if ord(c) > 0x2E80 else 1 for c in result)
    assert wide <= 10
    if len(name) <= 10 and ord(name[0]) < 0x2E80:
        assert result == name
    else:
        head, tail = result.split("…")
        assert name.startswith(head) and name.endswith(tail) and head and tail


def test_points_by_class():
    points = np.array([[0, 0], [1, 1], [2, 0], [np.nan, 1]], float)
    chart = scatter_chart(points, np.array([7, 3, 3, 3]), [f"name {i} <" for i in range(8)], title="T")
    marks = [a["d"].count("M") for a in Parsed(chart).attributes("path") if "mark" in a["class"]]
    assert marks[:2] == [2, 1] and marks[2:] == [1, 1]  # classes 3 and 7, then the legend
    assert "".join(Parsed(chart).words("li")).split() == ["name", "3", "<", "name", "7", "<"]
    assert "1 points are not finite" in chart
    assert "no data" in svg_texts(scatter_chart(np.zeros((0, 2)), np.zeros(0, int), [], title="T"))
    scatter_chart(np.zeros((3, 2)), np.zeros(3, int), ["a"], title="T")  # all in one place
    many = np.arange(21)
    with pytest.raises(ValueError, match="21 classes"):
        scatter_chart(np.zeros((21, 2)), many, many.astype(str), title="T")


def test_twenty_classes_have_twenty_marks():
    chart = scatter_chart(np.zeros((20, 2)), np.arange(20), list("abcdefghijklmnopqrst"), title="T")
    marks = [a for a in Parsed(chart).attributes("path") if "mark" in a["class"]][:20]
    shapes = [a["d"].split(" ", 1)[1].lstrip("0123456789.") for a in marks]
    assert len(set(shapes)) == 10
    assert len({(shape, a["class"]) for shape, a in zip(shapes, marks, strict=True)}) == 20


def heat(matrix, names):
    return heat_map(matrix, names, title="T", row_label="true", column_label="predicted")


def test_numbers_of_a_heat_map():
    matrix = np.arange(9).reshape(3, 3)
    chart = heat(matrix, ["a", EVIL, "c"])
    words = svg_texts(chart)
    assert words[:9] == [str(i) for i in range(9)]
    opacity = [float(a["fill-opacity"]) for a in Parsed(chart).attributes("rect")]
    expected = np.sqrt(matrix / matrix.sum(axis=1, keepdims=True)).ravel()
    assert opacity == pytest.approx(expected, abs=6e-4)
    assert Parsed(chart).words("td") == [str(i) for i in range(9)]  # the same as a table
    # 3 of row 2 (3, 4, 5) and of row 3 (6, 7, 8) compete: 5/12, then 2/3 of the first row is the largest.
    assert "Most often confused: a as c (2), " in Parsed(chart).attributes("svg")[0]["aria-label"]
    shares = heat(np.array([[0.25, 0.75], [np.nan, 0]]), ["a", "b"])
    assert svg_texts(shares)[:4] == ["0.25", "0.75", "–", "0.00"]
    with pytest.raises(ValueError, match="2 names"):
        heat(matrix, ["a", "b"])


def test_a_heat_map_of_a_hundred_classes_is_a_picture():
    matrix = np.diag(np.full(100, 75))
    matrix[4, 9] = 25
    made = heat(matrix, [f"class {i}" for i in range(100)])
    _, pixels, attributes = decoded(made)
    assert pixels.shape == (100, 100, 3)
    assert (pixels[0, 0] == (0, 90, 145)).all() and (pixels[0, 1] == 255).all()
    assert pixels[4, 9, 0] == round(255 * (1 - 0.5))  # the root of a quarter
    assert "class 4 as class 9 (25)" in attributes["alt"]
    assert [*Parsed(made).words("th")[4:], *Parsed(made).words("td")] == ["class 4", "class 9", "25", "25.0 %"]


def test_colours_can_be_told_from_the_paper():
    """WCAG's contrast of text is at least 4.5, of marks 3, in both schemes."""
    blocks = re.split("@media screen|@media print", page("x"))
    light, dark = (dict(re.findall(r"--([\w-]+): (#\w+)", block)) for block in blocks[:2])
    full = {"light": light, "dark": light | dark}
    for scheme in full.values():
        paper = luminance(scheme["paper"])
        for name in ("ink", "link"):
            assert contrast(luminance(scheme[name]), paper) >= 4.5
        muted = 0.72 * rgb(scheme["ink"]) + 0.28 * rgb(scheme["paper"])
        assert contrast(luminance(muted), paper) >= 4.5
        for i in range(8):
            assert contrast(luminance(scheme[f"c{i}"]), paper) >= 3, (i, scheme[f"c{i}"])
        for depth in np.linspace(0, 1, 101):
            cell = luminance(depth * rgb(scheme["heat"]) + (1 - depth) * rgb(scheme["paper"]))
            number = luminance("#ffffff" if depth > 0.8 else scheme["on-cell"])
            assert contrast(number, cell) >= 4.5, depth


def rgb(color):
    if not isinstance(color, str):
        return np.asarray(color)
    digits = color[1:] if len(color) == 7 else "".join(2 * c for c in color[1:])
    return np.array([int(digits[i : i + 2], 16) for i in (0, 2, 4)], float)


def luminance(color):
    parts = rgb(color) / 255
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]


def contrast(first, second):
    return (max(first, second) + 0.05) / (min(first, second) + 0.05)


# In the browser.

LABELS = ("Äpfel", EVIL, "crane & co")


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """A page with all there is, all of whose names are nasty."""
    rng = np.random.default_rng(0)
    names = [*NASTY, *LABELS, "a_very_long_name_" * 8, "😀 鶴"]
    count = len(names)
    matrix = rng.integers(0, 9, (count, count))
    curve = {name: (range(5), rng.random(5)) for name in names[:6]}
    shown = [
        card(
            picture(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8), alt=f"{name} {i}", width=96),
            tag("h3", name),
            tag("p", f"Übung {i} {EVIL}.jpg"),
            label=name,
            text=f"Übung {i} {EVIL}.jpg",
            flags=["sure"] if i % 2 else [],
            order={"probability": [0.5, 0.25, float("nan"), 1, 0.75, 0.125][i]},
        )
        for i, name in enumerate(2 * LABELS)
    ]
    document = page(
        f"Everything {EVIL}",
        section(
            f"Curves {EVIL}", side_by_side(line_chart(curve, title=EVIL, x_label=EVIL, y_label=EVIL)), anchor="curves"
        ),
        section("Bars", bar_chart(dict.fromkeys(names, 0.5), title=EVIL, x_label=EVIL, percent=True), anchor="bars"),
        section("Points", scatter_chart(rng.random((count, 2)), np.arange(count), names, title=EVIL), anchor="points"),
        section("Confusion", heat(matrix, names), heat(rng.random((30, 30)), [EVIL] * 30), anchor="confusion"),
        section(
            "Numbers",
            table(
                ["class", "accuracy ± 95 %", EVIL],
                [
                    ["b", "51.28 ± 0.36", 1],
                    [EVIL, "–", 2],
                    ["a", "9.5", 3],
                    ["class 10", "1,000", 4],
                    ["class 9", "-3", 5],
                ],
                caption=EVIL,
                numeric=(1, 2),
                sortable=True,
            ),
            anchor="numbers",
        ),
        section(
            "Pictures",
            card_filter(
                labels=LABELS, flags={"sure": f"Sure {EVIL}"}, sorts={"-probability": "Surest", "label": "Name"}
            ),
            cards(*shown),
            anchor="pictures",
        ),
        lead=EVIL,
        facts={EVIL: SCRIPT, "word": "w" * 300},
    )
    path = tmp_path_factory.mktemp("pages") / "Äll & <i>.html"
    write_page(path, document)
    return path


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("color_scheme", ["light", "dark"])
def test_a_page_with_everything(check_page, everything, width, color_scheme):
    page = check_page(everything, width=width, color_scheme=color_scheme, keyboard=color_scheme == "light")
    assert page.title() == f"Everything {EVIL}"  # and not "hacked"
    assert page.locator("img[src=x], body script + script, main script").count() == 0
    papers = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (papers == "rgb(253, 253, 252)") == (color_scheme == "light")
    # All type in drawings is at least 10 pixels high, on a phone too.
    sizes = page.evaluate(
        """() => [...document.querySelectorAll(".chart > svg text")].map((e) => {
             const { a, b } = e.getScreenCTM();
             return parseFloat(getComputedStyle(e).fontSize) * Math.hypot(a, b);
           })"""
    )
    assert min(sizes) >= 10, min(sizes)
    # No name leaves its drawing.
    outside = page.evaluate(
        """() => [...document.querySelectorAll(".chart > svg text")].filter((e) => {
             const own = e.getBoundingClientRect(), all = e.closest("svg").getBoundingClientRect();
             return own.left < all.left - 2 || own.right > all.right + 2 || own.bottom > all.bottom + 2;
           }).map((e) => e.textContent)"""
    )
    assert not outside, outside


def test_scripts_that_get_in_are_not_run(browser, tmp_path):
    """Were something not escaped after all, the policy stops it, as Chromium says in its console."""
    path = tmp_path / "injected.html"
    write_page(path, page("Title", Html(EVIL.replace("src=x", "src=data:,") + SCRIPT)))
    opened = browser.new_page()
    refused = []
    opened.on("console", lambda message: refused.append(message.text))
    opened.goto(path.as_uri())
    assert opened.title() == "Title"
    assert len(refused) == 2 and all("Content Security Policy" in text for text in refused), refused
    opened.close()


def test_without_javascript_everything_is_there(check_page, everything):
    page = check_page(everything, width=390, java_script_enabled=False, keyboard=False)
    assert page.locator(".card:visible").count() == 6 and page.locator(".filter:visible, th button").count() == 0


def shown(page):
    return page.locator(".card:visible p").all_inner_texts()


def test_cards_are_filtered_searched_and_sorted_by_keyboard(check_page, everything):
    page = check_page(everything, width=390, keyboard=False)
    files = [f"Übung {i} {EVIL}.jpg" for i in range(6)]
    count = page.locator("output")
    assert shown(page) == files and count.inner_text() == "6 of 6 shown"

    def focus(role):
        for _ in range(60):
            if page.evaluate("document.activeElement.dataset.role ?? null") == role:
                return
            page.keyboard.press("Tab")
        raise AssertionError(f"Tab does not reach {role}")

    focus("label")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")  # the label that is HTML
    assert shown(page) == [files[1], files[4]] and count.inner_text() == "2 of 6 shown"
    focus("flag")
    page.keyboard.press("ArrowDown")
    assert shown(page) == [files[1]]
    focus("reset")
    page.keyboard.press("Enter")
    assert shown(page) == files
    page.keyboard.press("Shift+Tab")  # back to the search
    page.keyboard.type("ÜBUNG 3")
    assert shown(page) == [files[3]] and count.inner_text() == "1 of 6 shown"
    page.keyboard.press("Control+A")
    page.keyboard.type("U\u0308bung 4")  # written with a combining sign, as macOS does
    assert shown(page) == [files[4]]
    focus("reset")
    page.keyboard.press("Space")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Shift+Tab")
    assert page.evaluate("document.activeElement.dataset.role") == "sort"
    page.keyboard.press("ArrowDown")
    assert shown(page) == [files[i] for i in (3, 4, 0, 1, 5, 2)]  # NaN last
    page.keyboard.press("ArrowDown")
    assert shown(page) == [files[i] for i in (1, 4, 0, 3, 2, 5)]  # "<", "Äpfel", "crane"; equal ones as listed
    page.keyboard.press("Home")
    assert shown(page) == files


def test_a_table_is_sorted_by_keyboard(check_page, everything):
    page = check_page(everything, width=1280, keyboard=False)
    rows = page.locator("table[data-sortable] tbody th")
    heads = page.locator("table[data-sortable] thead th")

    def states():
        return [heads.nth(i).get_attribute("aria-sort") for i in range(3)]

    assert states() == [None, None, None]
    page.locator("table[data-sortable] thead button").first.focus()
    page.keyboard.press("Enter")
    assert rows.all_inner_texts() == [EVIL, "a", "b", "class 9", "class 10"] and states() == ["ascending", None, None]
    page.keyboard.press("Space")
    assert rows.all_inner_texts() == ["class 10", "class 9", "b", "a", EVIL] and states() == ["descending", None, None]
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert rows.all_inner_texts() == ["class 9", "a", "b", "class 10", EVIL] and states() == [None, "ascending", None]
    page.keyboard.press("Enter")
    assert rows.all_inner_texts() == ["class 10", "b", "a", "class 9", EVIL]  # a dash is last either way


def test_the_skip_link_comes_first_and_is_seen(check_page, everything):
    page = check_page(everything, width=390, keyboard=False)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.locator(".skip").bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"


def test_nothing_moves_and_print_is_black_on_white(check_page, everything):
    page = check_page(everything, width=1280, keyboard=False, color_scheme="dark")
    moving = """() => [...document.querySelectorAll("*")].map((e) => getComputedStyle(e)).filter((style) =>
      style.scrollBehavior !== "auto" || style.animationName !== "none" || style.transitionDuration !== "0s").length"""
    assert page.evaluate(moving) == 0
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator(".filter:visible, .skip:visible, .contents:visible").count() == 0
