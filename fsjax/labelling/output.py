"""Files in a folder, all of them whole or none."""

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from fsjax.errors import UserError


@contextlib.contextmanager
def writable_folder(folder: Path) -> Iterator[None]:
    """Make a folder, and see that files can be written to it, before anything is computed.

    What is not there yet is made; where the work inside fails, that goes again.

    Raises:
      UserError: where it cannot be made, or written to.
    """
    made = []
    try:
        for path in (*reversed(folder.parents), folder):
            if not path.exists():
                path.mkdir()
                made.append(path)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        _remove(made)
        raise UserError(f"files cannot be written to {folder}: {error.strerror}; choose another folder") from error
    try:
        yield
    except BaseException:
        _remove(made)
        raise


def write_together(folder: Path, documents: Mapping[str, str]) -> None:
    """Write texts to files of a folder, in UTF-8; first all of them under other names, then each takes its own.

    Raises:
      UserError: if one of them cannot be written; then none has changed.
    """
    written: dict[str, Path] = {}
    try:
        for name, text in documents.items():
            handle, temporary = tempfile.mkstemp(dir=folder, prefix=".", suffix=f".{name}")
            written[name] = Path(temporary)
            with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
                file.write(text)
            # A temporary file is for its owner alone, and these are for whom the folder is for.
            written[name].chmod(0o666 & ~_umask())
        for name, path in written.items():
            path.replace(folder / name)
    except OSError as error:
        for path in written.values():
            path.unlink(missing_ok=True)
        raise UserError(f"{folder / name} cannot be written: {error.strerror}; choose another folder") from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _remove(made: list[Path]) -> None:
    for path in reversed(made):
        with contextlib.suppress(OSError):  # something was put there meanwhile
            path.rmdir()
