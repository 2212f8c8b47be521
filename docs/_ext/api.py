"""The API reference: `<!-- api: fsjax.losses -->` on a page stands for all public modules of that package.

Docstrings here are plain text with code in backticks. autodoc reads them as reStructuredText, to which a `*`, a `|` or
an `x_` outside of code is a mark: they are masked first.
"""

import importlib
import pkgutil
import re

from docutils import nodes
from sphinx.application import Sphinx

_MARK = re.compile(r"<!-- api: ([\w.]+) -->")
_OF_FLAX = re.compile(r",? ?parent: [^=]*= <flax[^>]*>, name: str \| None = None")
_RAISED = re.compile(r"^( *)Raises:\n((?:\1  .*(?:\n|$))+)", flags=re.M)
_CODE = re.compile(r"(``[^`]+``|`[^`]+`)")


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect all of it."""
    app.connect("source-read", _fill_in)
    app.connect("autodoc-process-docstring", _mask, priority=100)  # before napoleon
    app.connect("autodoc-process-signature", _without_flax)
    app.connect("autodoc-skip-member", _skip)
    app.connect("doctree-read", _with_dashes)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _fill_in(app: Sphinx, page: str, source: list[str]) -> None:
    source[0] = _MARK.sub(lambda found: reference(found[1]), source[0])


def reference(name: str) -> str:
    """The directives for a module, or for a package and the public modules in it, a section each."""
    module = importlib.import_module(name)
    path = getattr(module, "__path__", None)
    inner = [] if path is None else sorted(m.name for m in pkgutil.iter_modules(path) if not m.name.startswith("_"))
    return "\n\n".join(_section(part) for part in [name, *(f"{name}.{m}" for m in inner)])


def _section(name: str) -> str:
    options = ":members:\n:show-inheritance:\n:ignore-module-all:"  # each thing once, where it is defined
    return f"## {name}\n\n```{{eval-rst}}\n.. automodule:: {name}\n" + _indented(options) + "\n```"


def _indented(text: str) -> str:
    return "\n".join(f"   {line}" for line in text.split("\n"))


def _without_flax(
    app: Sphinx, what: str, name: str, obj: object, options: object, signature: str | None, returned: str | None
) -> tuple[str | None, str | None]:
    """Signatures without the two fields that flax gives to every module."""
    return signature and _OF_FLAX.sub("", signature), returned


def _skip(app: Sphinx, what: str, name: str, obj: object, skip: bool, options: object) -> bool | None:
    """Leave out the method that flax gives to every dataclass."""
    return True if name == "replace" else None


def _with_dashes(app: Sphinx, doctree: nodes.document) -> None:
    """A dash between a parameter and its meaning: Sphinx leaves two hyphens to its smart quotes, which are off."""
    for text in list(doctree.findall(nodes.Text)):
        if text == " -- ":
            text.parent.replace(text, nodes.Text(" – "))


def _mask(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    # autodoc takes the indentation off the examples of a module, all of whose other lines have none.
    text = str(obj.__doc__) if what == "module" else "\n".join(lines)
    lines[:] = masked(text.rstrip(), examples=what == "module").split("\n")


def masked(text: str, *, examples: bool = False) -> str:
    """A docstring as reStructuredText that shows what the docstring says.

    Args:
      text: of the docstring.
      examples: whether all that is indented is an example, and not only what follows a colon.
    """
    blocks = re.split(r"(\n[ ]*\n)", _RAISED.sub(_hanging, text))
    for number in range(0, len(blocks), 2):
        indented = all(line.startswith("    ") for line in blocks[number].split("\n"))
        before = blocks[number - 2] if number else ""
        if indented and before.endswith(":"):
            blocks[number - 2] += ":"
        elif indented and examples:
            blocks[number] = f"::\n\n{blocks[number]}"
        else:
            blocks[number] = _masked_text(blocks[number])
    return "".join(blocks)


def _hanging(found: re.Match[str]) -> str:
    """A list of what is raised with its further lines indented, without which napoleon takes them for others."""
    start = f"{found[1]}  "
    lines = [line if re.match(rf"{start}[A-Z]\w+: ", line) else f"  {line}" for line in found[2].splitlines()]
    return f"{found[1]}Raises:\n" + "\n".join(lines) + ("\n" if found[2].endswith("\n") else "")


def _masked_text(text: str) -> str:
    parts = _CODE.split(text)
    for number, part in enumerate(parts):
        if part.startswith("`"):
            # Literals must not begin or end with a space, nor touch a letter.
            after = parts[number + 1][:1] if number + 1 < len(parts) else ""
            before = parts[number - 1][-1:] if number else ""
            code = re.sub(r"\s+", " ", part.strip("`")).strip()
            parts[number] = ("\\ " if before.isalnum() else "") + f"``{code}``" + ("\\ " if after.isalnum() else "")
        else:
            parts[number] = re.sub(r"(\\|\*|\||_(?!\w))", r"\\\1", part)
    return "".join(parts)
