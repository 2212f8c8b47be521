"""Random access to TFRecord files, without TensorFlow.

A record is its length (8 bytes, little-endian), a checksum of the length (4), the content, and a checksum of the
content (4). One pass finds where each record lies; from then on any record is one read.
"""

import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from fsjax.data.errors import DataError

_HEADER, _FOOTER = 12, 4
_CHUNK = 1 << 20


class RecordFiles:
    """The records of some TFRecord files, by number.

    Attributes:
      files: the paths.
      where: `[n, 3]` int64: file, offset and length of each record's content.
    """

    def __init__(self, files: list[str], where: np.ndarray):
        self.files = files
        self.where = where

    def __len__(self) -> int:
        return len(self.where)

    def __getitem__(self, record: int) -> bytes:
        file, offset, length = (int(x) for x in self.where[record])
        with open(self.files[file], "rb", buffering=0) as stream:
            stream.seek(offset)
            content = stream.read(length)
        if len(content) != length:
            raise DataError(f"{self.files[file]} is cut off: it ends inside a record at byte {offset}")
        return content


def scan(
    instructions: Iterable[tuple[str, int, int]], extract: Callable[[bytes], Any]
) -> tuple[RecordFiles, list[Any]]:
    """Reads the named records once, in order.

    Args:
      instructions: `(file, skip, take)`: which records of which files.
      extract: a record's content -> what is to be kept of it.

    Returns:
      The records, and what was kept of each.

    Raises:
      DataError: for a file that is missing, cut off, or holds fewer records than it should.
    """
    files, where, kept = [], [], []
    for file, skip, take in instructions:
        files.append(str(file))
        last = skip + take
        try:
            with open(file, "rb", buffering=_CHUNK) as stream:
                for number in range(last):
                    header = stream.read(_HEADER)
                    if len(header) < _HEADER:
                        raise DataError(
                            f"{file} is cut off: it holds {number} records, of {last} that are needed"
                        )
                    (length,) = struct.unpack_from("<Q", header)
                    if number < skip:
                        stream.seek(length + _FOOTER, 1)
                        continue
                    where.append((len(files) - 1, stream.tell(), length))
                    content = stream.read(length + _FOOTER)
                    if len(content) < length + _FOOTER:
                        raise DataError(f"{file} is cut off: it ends inside record {number}")
                    kept.append(extract(content[:length]))
        except OSError as error:
            raise DataError(f"{file} cannot be read: {error.strerror or error}") from error
    return RecordFiles(files, np.array(where, np.int64).reshape(-1, 3)), kept


def fingerprint(files: Iterable[str]) -> list[tuple[str, int, int]]:
    """Path, size and time of change of each file: whether a scan of it still holds."""
    stats = [(str(file), Path(file).stat()) for file in files]
    return [(file, stat.st_size, stat.st_mtime_ns) for file, stat in stats]
