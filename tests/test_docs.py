"""The documentation: what it names exists, and its Python runs. Its commands: tests/test_documented_commands.py."""

import importlib
import re
import sys
import textwrap
import types
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(
    (ROOT / "docs").rglob("*.md")
)
# What stands for something in the words of the pages: `--config.model.NAME.pool`.
_PLACEHOLDER = re.compile(r"[A-Z_]+")
# Endings by which `data.json` is known for a file and no option.
_FILES = ("safetensors", "csv", "html", "json", "jsonl", "md", "npz", "png", "py")


@cache
def fences(page):
    """The fenced blocks of a page: language and code."""
    return re.findall(r"^ *```(\S*)\n(.*?)^ *```", page.read_text(), flags=re.M | re.S)


@cache
def text(page):
    """A page without its fenced blocks."""
    return re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.M | re.S)


def codes(page):
    """What stands in backticks in the text of a page."""
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", text(page))]


def section(page, title):
    """The text below a heading, up to the next one of its rank or above."""
    found = re.search(rf"^(#+) {re.escape(title)}$(.*?)(?=^#{{1,2}} |^\1 |\Z)", page.read_text(), flags=re.M | re.S)
    assert found, f"{page.name} has no heading {title!r}"
    return found[2]


def name_of(page):
    return str(page.relative_to(ROOT))


by_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


# Links


@cache
def anchors(page):
    """The anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", text(page), flags=re.M)
    if "<!-- commands -->" in text(page):
        from fsjax.cli import COMMANDS

        titles += [f"fsjax {name}" for name in COMMANDS]
    return {re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-") for title in titles}


@by_page
def test_links_lead_somewhere(page):
    words = re.sub(r"`[^`]*`", "", text(page))
    for target in re.findall(r"\]\(([^)\s]+)\)", words):
        if target.startswith(("https://", "http://")):
            continue
        path, _, anchor = target.partition("#")
        to = (page.parent / path) if path else page
        assert to.exists(), f"{name_of(page)}: {target}"
        assert not anchor or anchor in anchors(to), f"{name_of(page)}: {target}; there are: {sorted(anchors(to))}"


@by_page
def test_paths_in_the_text_exist(page):
    made = {
        f for other in PAGES for _, code in fences(other) for f in re.findall(r"^# ([\w/]+\.py)$", code, flags=re.M)
    }
    for code in codes(page):
        if re.fullmatch(r"(fsjax|tests|configs|benchmarks|docs)/[\w./-]+", code):
            assert (ROOT / code).exists() or code in made, f"{name_of(page)}: {code}"


# Readings

READINGS = ROOT / "docs" / "readings.md"
SOURCES_OF_TEXT = [
    path
    for folder in ("fsjax", "configs", "tests", "benchmarks", "docs", "notebooks", "findings")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in (".py", ".md", ".json", ".ipynb", ".sh", ".css", ".js") and path != Path(__file__)
] + [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "pyproject.toml", "train.py")]


def test_nothing_points_to_a_file_that_is_not_here():
    """A section sign is of none of our pages, and of no paper that is cited."""
    for path in SOURCES_OF_TEXT:
        found = re.search(r"\b(METHODS|DESIGN)(\.md|\W*§|-style|'s)|§", path.read_text(encoding="utf-8"))
        assert not found, f"{name_of(path)}: {found[0]!r} is of no file of the repository"


def cited(path):
    """The headings of docs/readings.md that a file cites: docs/readings.md, "Implants"."""
    words = re.sub(r"\s+(# +)?", " ", path.read_text(encoding="utf-8"))
    found = re.findall(r'readings\.md, "([^"]+)"', words)
    assert len(found) == len(re.findall(r"readings\.md, ", words)), f"{name_of(path)}: cite a heading in quotes"
    return found


def test_cited_readings_are_there():
    titles = re.findall(r"^#{2,3} (.*)$", READINGS.read_text(encoding="utf-8"), flags=re.M)
    assert len(titles) == len(set(titles))
    citations = {name_of(path): cited(path) for path in SOURCES_OF_TEXT if path.suffix == ".py"}
    for name, headings in citations.items():
        assert set(headings) <= set(titles), f"{name}: {set(headings) - set(titles)}; there are: {titles}"
    assert sum(map(len, citations.values())) > 30


# Options


def known(tree, path):
    """Whether a dotted path leads to something in nested dicts; capitals stand for any key."""
    if not path:
        return True
    if not isinstance(tree, dict):
        return False
    keys = list(tree) if _PLACEHOLDER.fullmatch(path[0]) else [key for key in tree if key == path[0]]
    return any(known(tree[key], path[1:]) for key in keys)


@pytest.fixture(scope="module")
def tree():
    """The keys of all configs."""
    from fsjax.configs.common import base

    return base().to_dict()


@pytest.mark.parametrize("page", [p for p in PAGES if p.name != "adding.md"], ids=name_of)
def test_options_exist(page, tree):
    named = re.findall(r"\bconfig\.((?:\w+\.)*\w+)(?!\w*\()", page.read_text())
    for code in codes(page):
        found = re.fullmatch(r"(\w+(?:\.\w+)+)(?:=.*)?", code)
        if found and found[1].split(".")[0] in tree:
            named.append(found[1])
    for name in named:
        path = name.split(".")
        if path[-1] not in _FILES:
            assert known(tree, path), f"{name_of(page)}: config.{name}"


def shown(text, option):
    """Whether an option is in backticks in a text, alone, with a value, or behind its section."""
    return re.search(rf"`(?:--)?(?:config\.[\w.]+\.)?{option}(?:=[^`]*)?`", text)


def test_every_loss_is_explained_with_its_options(tree):
    from fsjax.losses import LOSSES

    page = ROOT / "docs" / "losses.md"
    for name in LOSSES:
        for option in tree["loss"][name]:
            assert shown(section(page, name), option), f"losses.md, {name}: {option}"


def test_every_method_is_explained_with_its_options(tree):
    from fsjax.methods import METHODS

    page = ROOT / "docs" / "methods.md"
    for name in METHODS:
        for option in tree["method"][name]:
            assert shown(section(page, name), option), f"methods.md, {name}: {option}"


def test_every_network_is_listed_with_its_options(tree):
    from fsjax.models import MODELS

    rows = [line for line in text(ROOT / "docs" / "networks.md").splitlines() if line.startswith("| `")]
    for name in MODELS:
        row = next((row for row in rows if f"`{name}`" in row.split("|")[1]), None)
        assert row, f"networks.md: {name}"
        for option in tree["model"][name]:
            assert f"`{option}`" in row, f"networks.md, {name}: {option}"


def test_all_of_the_data_is_explained(tree):
    from fsjax.data.class_splits import packaged
    from fsjax.data.sources import SOURCES

    page = (ROOT / "docs" / "data.md").read_text()
    for name in (*SOURCES, *packaged()):
        assert f"`{name}`" in page, f"data.md: {name}"
    for name in (*tree["data"], *tree["data"]["augment"], *tree["data"]["class_split"]):
        assert re.search(rf"`[^`]*\b{name}\b[^`]*`", page), f"data.md: {name}"


# Commands


def _pictures(folder, classes, count):
    """Folders of pictures of noise."""
    draw = np.random.default_rng(len(classes))
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(draw.integers(0, 256, (16, 16, 3), np.uint8)).save(folder / name / f"{number}.png")


@by_page
def test_commands_in_the_text_exist(page):
    from fsjax.cli import COMMANDS, command, parser

    flags = {}
    for code in codes(page):
        words = code.split()
        if words[0] == "fsjax" and len(words) > 1 and not words[1].startswith("-") and words[1] != "COMMAND":
            assert words[1] in COMMANDS, f"{name_of(page)}: {code}"
            if words[1] not in flags:
                own = parser(words[1])
                flags[words[1]] = own._subparsers._group_actions[0].choices[words[1]]._option_string_actions
                assert command(words[1]).__doc__
            for word in words[2:]:
                assert not word.startswith("--") or word.split("=")[0] in flags[words[1]], f"{name_of(page)}: {code}"
        if code.startswith("python -m benchmarks.") and "..." not in code:
            source = (ROOT / f"{words[2].replace('.', '/')}.py").read_text().replace("-", "_")
            for word in words[3:]:
                flag = word.split("=")[0].removeprefix("--").replace("-", "_")
                assert not word.startswith("--") or re.search(rf"\b_*{flag}\b", source), f"{name_of(page)}: {code}"


# Python


@by_page
def test_python_compiles(page):
    for language, code in fences(page):
        if language in ("python", "py"):
            compile(code, name_of(page), "exec")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["README.md", "docs/quickstart.md", "docs/evaluation.md", "docs/your_pictures.md"])
def test_python_runs(name, few_shot_runs, tmp_path, monkeypatch, capsys):
    (tmp_path / "runs").mkdir()
    for run, made in {"icu": "gap", "digits": "gap", "dc": "implants"}.items():
        (tmp_path / "runs" / run).symlink_to(few_shot_runs[made])
    monkeypatch.chdir(tmp_path)
    _pictures(tmp_path / "few", ["heron", "stork"], 2)
    _pictures(tmp_path, ["many"], 2)
    images = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), np.uint8)
    space = {"images": images, "support_images": images[:4]}
    blocks = [code for language, code in fences(ROOT / name) if language == "python" and "training.run(" not in code]
    assert blocks
    for code in blocks:
        exec(compile(code, name, "exec"), space)
    if "guesses" in space:
        assert len(space["guesses"]) == 6 and set(space["guesses"]) <= {"crane", "torch"}


TABLES = {  # of docs/adding.md: a file, and what its lines go into
    "fsjax/options/losses.py": ("fsjax.options.losses", "LOSSES"),
    "fsjax/options/models.py": ("fsjax.options.models", "MODELS"),
    "fsjax/options/methods.py": ("fsjax.options.methods", "METHODS"),
    "fsjax/data/sources/__init__.py": ("fsjax.data.sources", "SOURCES"),
}


@pytest.mark.slow
def test_what_is_added_trains(tmp_path, monkeypatch, capsys):
    """The worked examples of docs/adding.md, all together: their files, their lines in the tables, their config."""
    import fsjax
    from fsjax.training import run

    blocks = fences(ROOT / "docs" / "adding.md")
    space = {}
    files = [code for language, code in blocks if language == "python" and code.startswith("# ")]
    assert len(files) == 6
    _with_lines(blocks, space, monkeypatch, "fsjax/options")
    for code in sorted(files, key=lambda code: code.startswith("# configs")):
        name = code.split("\n")[0].removeprefix("# ").removesuffix(".py").replace("/", ".")
        module = types.ModuleType(name)
        if name.startswith("configs"):
            _with_lines(blocks, space, monkeypatch, "fsjax/data")
        monkeypatch.setitem(sys.modules, name, module)
        exec(compile(code, name, "exec"), module.__dict__)
        space |= {**vars(module), name.rpartition(".")[2]: module}
        if name.startswith("tests"):
            module.test_formula()
    result = run(space["get_config"](), tmp_path / "run")
    assert result["test"]["accuracy"] > 0.9  # 1/4 by chance
    assert "confidence" in (tmp_path / "run" / "metrics.jsonl").read_text()
    opened = fsjax.restore(tmp_path / "run")
    assert opened.method.rule(opened.params).similarity == "squared_euclid"
    pictures = opened.splits().test
    for code in (code for language, code in blocks if language == "python" and not code.startswith("# ")):
        exec(
            compile(code, "docs/adding.md", "exec"),
            {"run": opened, "images": pictures.images, "labels": pictures.labels},
        )
    assert "worst class: " in capsys.readouterr().out


def _with_lines(blocks, space, monkeypatch, room):
    """The lines that the page adds to the tables of a room, and the classes of options before these."""
    for code in (code for language, code in blocks if language == "diff"):
        file = code.split(",")[0].removeprefix("# ")
        if not file.startswith(room):
            continue
        module, table = TABLES[file]
        added = textwrap.dedent("\n".join(re.findall(r"^\+(.*)$", code, flags=re.M)))
        classes, _, line = added.rpartition("\n")
        names = {**vars(importlib.import_module(module)), **space}
        exec(compile(classes, file, "exec"), names)
        [(key, value)] = eval("{" + line.strip() + "}", names).items()
        monkeypatch.setitem(getattr(sys.modules[module], table), key, value)
        for name in re.findall(r"^class (\w+)", classes, flags=re.M):
            monkeypatch.setattr(sys.modules[module], name, names[name], raising=False)
