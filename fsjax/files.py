"""Paths that users give; and files written whole or not at all, and whether one can be before anything is computed.

Internal: no part of the public interface.
"""

import contextlib
import io
import json
import os
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fsjax.errors import UserError, one_line


class CannotWriteError(UserError):
    """A file that the system, its `__cause__`, does not let write."""


class BusyError(Exception):
    """Another process has the lock."""


def absolute_path(path: str | Path, *, what: str) -> Path:
    """The absolute path of a text, "~" being the home folder.

    Args:
      path: as the user gave it.
      what: it is, for the message.

    Raises:
      UserError: for a text that can be no path here: none, too long, with a NUL in it, of an unknown user.
    """
    try:
        if not str(path) or "\0" in str(path):
            raise ValueError("it holds a NUL" if str(path) else "it is empty")
        found = Path(path).expanduser().absolute()
        found.exists()
        return found
    except (OSError, RuntimeError, ValueError) as error:
        shown = one_line(str(path))
        shown = shown if len(shown) <= 80 else f"{shown[:77]}…"
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UserError(f"{what} {shown!r} is no path: {reason}") from error


def parse_json(text: str | bytes, **options: Any) -> Any:
    """`json.loads` with these options, which raises a `ValueError` also for brackets within brackets, too many."""
    try:
        return json.loads(text, **options)
    except RecursionError as error:
        raise ValueError("brackets within brackets, too many") from error


def write_files(contents: Mapping[Path, str | bytes]) -> None:
    """Write files, text in UTF-8: first all of them under other names, then each takes its own.

    Where one of them cannot be written, a full disk say, none has changed; only a failure between two renames, after
    all of them were written, can leave the first one new and the others old.

    Args:
      contents: by path; links are followed.

    Raises:
      UserError: naming the file that cannot be written.
    """
    waiting: dict[Path, Path] = {}
    path = Path()
    try:
        for path, content in contents.items():
            whole = Path(os.path.realpath(path))
            if whole.is_dir():
                raise IsADirectoryError(0, "it is a folder")
            waiting[whole] = whole.with_name(f".{secrets.token_hex(8)}.tmp")
            with waiting[whole].open("xb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
        for whole, temporary in waiting.items():
            path = whole
            temporary.replace(whole)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        for temporary in waiting.values():
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def write_file(path: Path, content: str | bytes) -> None:
    """Write one file whole or not at all: see `write_files`."""
    write_files({path: content})


def write_json(path: Path, value: Any) -> None:
    """Write JSON whole or not at all: see `write_files`."""
    write_file(path, json.dumps(value, indent=2) + "\n")


def as_npz(**arrays: Any) -> bytes:
    """The bytes of an `.npz` file of these arrays, compressed."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def check_writable(path: Path, *, what: str = "") -> None:
    """Raise a `UserError` for a file that cannot be written.

    Args:
      path: of the file.
      what: instead of the path in messages, such as "--out=a.json".
    """
    folder = Path(os.path.realpath(path)).parent
    if not folder.is_dir():
        raise UserError(f"{what or path}: there is no folder {folder if path.is_symlink() else path.parent}")
    if path.is_dir():
        raise UserError(f"{what or path} is a folder: give the name of a file")
    try:
        try_to_write(folder)
    except OSError as error:
        raise cannot_write(path, error) from error


def try_to_write(folder: Path) -> None:
    """Raise an `OSError` where nothing can be written."""
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"\0" * 2**20)  # an empty file can be made on a full disk
        file.flush()


@contextlib.contextmanager
def locked(path: Path, *, wait: bool) -> Iterator[bool]:
    """Keep other processes out; the system frees the lock whatever ends this one.

    Args:
      path: of the file that is locked; it is made, and stays.
      wait: for another process that has the lock.

    Yields:
      Whether this process is alone: some file systems have no locks.

    Raises:
      BusyError: if another process has the lock, and `wait` is False.
      OSError: where the file cannot be made.
    """
    import filelock

    path.open("a").close()
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(filelock.FileLock(path, timeout=-1 if wait else 0, is_singleton=False))
            alone = True
        except filelock.Timeout as error:
            raise BusyError(str(error)) from error
        except (OSError, NotImplementedError):
            alone = False
        yield alone


def cannot_write(path: Path, error: OSError) -> CannotWriteError:
    """What to tell of a file that the system does not let write."""
    return CannotWriteError(
        f"{path} cannot be written: {error.strerror or error}; choose another place, or make room there"
    )
