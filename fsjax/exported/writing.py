"""An export's folder: written as a whole or not at all.

Internal: no part of the public interface.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import pictures
from .layout import CLASSES, COMMAND, FACTS, FEATURES, LOGITS, PACKAGE, WEIGHTS, ExportError, KnownClass, classes_file

_TOP_LEVEL = (FACTS, FEATURES, LOGITS, WEIGHTS, CLASSES, COMMAND, PACKAGE)
_COMMAND = b'''"""Labels pictures: python FOLDER photo.jpg ..."""

import sys

from exported.command import main

sys.exit(main())
'''


def write_folder(
    folder: str | os.PathLike[str], facts: Mapping[str, Any], files: Mapping[str, bytes], classes: Sequence[KnownClass]
) -> None:
    """Write an export with its command and reader; one that is there is replaced, as a whole or not at all.

    Args:
      folder: its parent folders are made.
      facts: for export.json; the names of the classes and the files' checksums are put in.
      files: all but the classes'.
      classes: in order.

    Raises:
      ExportError: if the folder holds anything else, or cannot be written.
    """
    folder = Path(folder).expanduser().absolute()
    files = {**files, CLASSES: classes_file(classes)}
    check_target(folder)
    sums = {name: {"sha256": hashlib.sha256(x).hexdigest(), "bytes": len(x)} for name, x in files.items()}
    facts = {**facts, "classes": [c.name for c in classes], "files": sums}
    everything = {
        **files,
        FACTS: (json.dumps(facts, indent=1, ensure_ascii=False) + "\n").encode(),
        **_program(),
    }
    try:
        replaced = folder.exists()
        folder.parent.mkdir(parents=True, exist_ok=True)
        # In a folder that is there: one may be allowed to write in it, and not beside it.
        where = folder if replaced else folder.parent
        with tempfile.TemporaryDirectory(prefix=".export-", dir=where) as temporary:
            fresh, old = Path(temporary) / "fresh", Path(temporary) / "old"
            fresh.mkdir()
            for name, content in everything.items():
                (fresh / name).parent.mkdir(exist_ok=True)
                (fresh / name).write_bytes(content)
            if replaced:
                old.mkdir()
                _replace(folder, fresh, old)
            else:
                fresh.rename(folder)
    except OSError as error:
        raise ExportError(f"{folder} cannot be written: {error}") from error


def _program() -> dict[str, bytes]:
    """The files that read and run an export, by their place in it."""
    modules = {*Path(__file__).parent.glob("*.py"), Path(pictures.picture_files.__file__)}
    return {COMMAND: _COMMAND, **{f"{PACKAGE}/{path.name}": path.read_bytes() for path in modules}}


def _replace(folder: Path, fresh: Path, old: Path) -> None:
    """Put fresh files into the place of a folder's, which go to `old`, or stay where they are if that fails."""
    moved: list[tuple[Path, Path]] = []
    try:
        for source, target in ((folder, old), (fresh, folder)):
            for path in sorted(path for path in source.iterdir() if path.name in _TOP_LEVEL):
                path.rename(target / path.name)
                moved.append((path, target / path.name))
    except BaseException:
        for path, there in reversed(moved):
            there.rename(path)
        raise


def check_target(folder: Path) -> None:
    """Raise an `ExportError` unless an export can be written here without losing anything but an export."""
    try:
        if not folder.exists():
            return
        if not folder.is_dir():
            raise ExportError(f"{folder} is a file: name a folder")
        others = sorted(path.name for path in folder.iterdir() if path.name not in {*_TOP_LEVEL, "__pycache__"})
        if (folder / PACKAGE).exists():
            found = {path.name for path in (folder / PACKAGE).iterdir()} - {"__pycache__"}
            others += sorted(f"{PACKAGE}/{name}" for name in found if f"{PACKAGE}/{name}" not in _program())
    except OSError as error:
        raise ExportError(f"{folder} cannot be written: {error}") from error
    if others:
        raise ExportError(
            f"{folder} holds {others[0]!r}{' and others' if others[1:] else ''}, which no export does, and would be "
            "replaced: name an empty folder, a new one, or an export"
        )
