"""The reference of the `fsjax` command, made from the parsers: `<!-- commands -->` stands for it on a page."""

import argparse
import re

from sphinx.application import Sphinx

MARK = "<!-- commands -->"
_CODE = re.compile(r"(`[^`]*`)")
_FLAG = re.compile(r"(?<![\w`-])(--[a-z][\w-]*)(?![^`]*`[^`]*(?:`[^`]*`[^`]*)*$)")  # outside of code


def setup(app: Sphinx) -> dict[str, bool]:
    """Put the reference into the page that asks for it."""
    app.connect("source-read", _fill_in)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _fill_in(app: Sphinx, page: str, source: list[str]) -> None:
    if MARK in source[0]:
        source[0] = source[0].replace(MARK, reference())


def reference() -> str:
    """All commands in Markdown, a section each: what the module says of the command, and its arguments."""
    from fsjax.cli import COMMANDS, command

    parts = []
    for name in COMMANDS:
        module, parser = command(name), argparse.ArgumentParser(prog=f"fsjax {name}")
        module.add_arguments(parser)
        parts += [f"## fsjax {name}", explanation(module.__doc__ or ""), arguments(parser)]
    return "\n\n".join(parts)


def explanation(docstring: str) -> str:
    """A command's docstring in Markdown: indented lines are examples, all else is text."""
    parts = []
    for block in re.split(r"\n\s*\n", docstring.strip()):
        if all(line.startswith("    ") for line in block.split("\n")):
            lines = [line.removeprefix("    ") for line in block.split("\n")]
            language = "sh" if lines[0].startswith(("fsjax ", "python ")) else "text"
            parts.append("\n".join([f"```{language}", *lines, "```"]))
        else:
            parts.append(as_text(block))
    return "\n\n".join(parts)


def arguments(parser: argparse.ArgumentParser) -> str:
    """The arguments of a parser as a list in Markdown."""
    items = []
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction) or action.help == argparse.SUPPRESS:
            continue
        known = "{" + ",".join(map(str, action.choices)) + "}" if action.choices else ""
        metavar = " ".join(action.metavar) if isinstance(action.metavar, tuple) else action.metavar
        value = "" if action.nargs == 0 else metavar or known or action.dest.upper()
        more = " ..." if action.nargs in ("+", "*") and value else ""
        flags = ", ".join(action.option_strings)
        name = f"{flags} {value}{more}".strip() if flags else f"{metavar or action.dest}{more}"
        needed = " (must be given)" if flags and action.required else ""
        values = action.help % {**vars(action), "prog": parser.prog} if action.help else known
        items.append(f"- `{name}`: {as_text(values)}{needed}" if values else f"- `{name}`{needed}")
    return "\n".join(items)


def as_text(text: str) -> str:
    """Plain text with code in backticks as Markdown: what else Markdown would read as marks is shown as it is."""
    parts = _CODE.split(_FLAG.sub(r"`\1`", text))
    return "".join(part if part.startswith("`") else re.sub(r"([\\*_<>\[\]#|~$])", r"\\\1", part) for part in parts)
