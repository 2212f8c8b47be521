"""Labels pictures by an export: one line per file with its name, label, probability, and similarity to the label.

    python FOLDER photo.jpg ...

Internal: no part of the public interface.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence

import numpy as np

from .layout import ExportError
from .loading import load
from .model import Exported

_USAGE = """usage: python FOLDER photo.jpg ...

FOLDER is an export. Prints one line per picture: file, label, probability, similarity (this needs pillow)."""


def main(argv: Sequence[str] | None = None) -> int:
    """Print one line per picture file: its name, label, probability, and largest similarity.

    Probabilities are of classes: there is none ("-") of "none of these". Where the loss's own rule scores, there is no
    similarity. Characters that cannot be printed, tabs and line breaks too, are escaped.

    Returns:
      0; 3 if some of the files cannot be read, which are named on stderr and left out; 2 if all of them, and for
      anything else that the user can set right.
    """
    for stream in (sys.stdout, sys.stderr):
        # Names hold what an encoding such as ASCII has not.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    files = sys.argv[1:] if argv is None else list(argv)
    if not files or files[0].startswith("-"):
        print(_USAGE)
        return 0 if files in (["-h"], ["--help"]) else 2
    broken = 0
    try:
        model = load()
        for file in files:
            try:
                print("\t".join([_printable(file), *_described(model, file)]))
            except ExportError as error:
                print(f"error: {_printable(str(error))}", file=sys.stderr)
                broken += 1
    except ExportError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0 if not broken else 2 if broken == len(files) else 3


def _described(model: Exported, file: str) -> list[str]:
    """The label of a picture file, its probability and its similarity, as text."""
    (label,), (shares,), (similarity,), (rejected,) = model.classify(model.open_pictures([file]))
    share = "-" if rejected else f"{shares.max():.3f}"
    return [_printable(label), share, *([] if np.isnan(similarity) else [f"{similarity:.4g}"])]


def _printable(text: str) -> str:
    """On one line: what cannot be printed is escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
