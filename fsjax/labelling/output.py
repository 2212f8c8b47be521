"""Files in a folder, all of them whole or none."""

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from fsjax.errors import UserError
from fsjax.files import try_to_write, write_files


@contextlib.contextmanager
def writable_folder(folder: Path, names: Iterable[str] = ()) -> Iterator[None]:
    """Make a folder, and see that files can be written to it, before anything is computed.

    What is not there yet is made; where the work inside fails, that goes again.

    Args:
      folder: where.
      names: of files that will be written there.

    Raises:
      UserError: where it cannot be made, or written to, or one of the files is a folder.
    """
    for name in names:
        if os.path.isdir(folder / name):
            raise UserError(f"{folder / name} is a folder, and a file is to be written there; choose another folder")
    made = []
    try:
        for path in (*reversed(folder.parents), folder):
            if not path.exists():
                path.mkdir()
                made.append(path)
        try_to_write(folder)
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
      UserError: if one of them cannot be written. Each file is then whole, the old one or the new one; all are the old
        ones, except where taking a name fails after another was taken.
    """
    write_files({folder / name: text for name, text in documents.items()})


def _remove(made: list[Path]) -> None:
    for path in reversed(made):
        with contextlib.suppress(OSError):  # something was put there meanwhile
            path.rmdir()
