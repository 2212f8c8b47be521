"""The commands that README, CONTRIBUTING, docs/ and the docstrings of commands and configs show, as they stand."""

import ast
import itertools
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md")] + sorted((ROOT / "docs").rglob("*.md"))
MODULES = [
    *sorted((ROOT / "fsjax" / "cli").glob("*.py")),
    *sorted(path for path in (ROOT / "configs").glob("*.py") if not path.name.startswith(("_", "common"))),
    ROOT / "train.py",
]
SHELLS = ("sh", "bash", "console", "shell", "shell-session")
# In a docstring: an indented `fsjax ...` (prose that begins with the word is not), and `python train.py ...`.
IN_DOCSTRING = re.compile(r"(?: {4}(?:\w+=\S+ )*fsjax [a-z]| *(?:\w+=\S+ )*python (?:-m )?[\w/.]+)")


@dataclass(frozen=True)
class Command:
    """One command: where it stands, its text, variables before it, its words, and the file behind `>`."""

    where: str
    text: str
    env: tuple[str, ...]
    words: tuple[str, ...]
    target: str = ""

    def __str__(self) -> str:
        return shlex.join([*self.env, *self.words])


@dataclass(frozen=True)
class Block:
    """Commands that are read, and run, one after the other: of a fenced block, or of a docstring."""

    where: str
    commands: tuple[Command, ...]


def fences(page: Path) -> Iterator[tuple[str, list[tuple[int, str]]]]:
    """The fenced blocks of a page: language, and numbered lines."""
    language, lines, mark = "", [], ""
    for number, line in enumerate(page.read_text().splitlines(), 1):
        fence = re.match(r" *(```+|~~~+) *\{?([\w-]*)", line)
        if fence and not mark:
            mark, language, lines = fence[1], fence[2], []
        elif fence and fence[1].startswith(mark) and not fence[2]:
            yield language, lines
            mark = ""
        elif mark:
            lines.append((number, line))


def docstring(module: Path) -> list[tuple[int, str]]:
    """The numbered lines of a module's docstring; a continued line's own ones are joined to it later."""
    first = next(iter(ast.parse(module.read_text()).body), None)
    if not (isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)):
        return []
    return list(enumerate(str(first.value.value).splitlines(), first.lineno))


def joined(lines: list[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Lines with those that continue them."""
    rest = iter(lines)
    for number, line in rest:
        while line.rstrip().endswith("\\"):
            line = line.rstrip()[:-1] + next(rest, (0, ""))[1].strip()
        yield number, line


def parsed(where: str, text: str) -> Iterator[Command]:
    """The commands of a line, as a shell divides it."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars="&|;<>")
    lexer.whitespace_split = True
    for between, part in itertools.groupby(lexer, lambda word: word in ("&&", ";", "||", "|")):
        if between:
            continue
        words = list(part)
        target = words[words.index(">") + 1] if ">" in words else ""
        words = words[: words.index(">")] if ">" in words else words
        env = tuple(itertools.takewhile(lambda word: re.match(r"[A-Z_]+=", word), words))
        program, *arguments = words[len(env) :] or ["export"]
        env = tuple(variable for variable in env if not variable.endswith("=..."))  # the reader's own
        program = program.removeprefix(".venv/bin/").replace("python3", "python")
        yield Command(where, " ".join(text.split()), env, (program, *arguments), target)


def blocks() -> list[Block]:
    """All of them."""
    found = []
    for page in PAGES:
        name = str(page.relative_to(ROOT))
        for language, lines in fences(page):
            if language in SHELLS:
                if language.startswith(("console", "shell-")):  # "$ command", and what it prints
                    lines = [(number, line.strip()[2:]) for number, line in lines if line.strip().startswith("$ ")]
                found.append(_block(name, lines))
    for module in MODULES:
        lines = [pair for pair in joined(docstring(module)) if IN_DOCSTRING.match(pair[1])]
        found.append(_block(str(module.relative_to(ROOT)), lines))
    return [block for block in found if block.commands]


def _block(file: str, lines: list[tuple[int, str]]) -> Block:
    commands = [
        command
        for number, line in joined(lines)
        if line.strip() and not line.strip().startswith("#")
        for command in parsed(f"{file}:{number}", line)
    ]
    return Block(f"{file}:{lines[0][0]}" if lines else file, tuple(commands))
