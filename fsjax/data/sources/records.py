"""Random access to TFRecord files, without TensorFlow.

A record is its length (8 bytes, little-endian), a checksum of the length (4), the content, and a checksum of
the content (4). One pass finds where each record lies; from then on any record is one read.
"""

import contextlib
import hashlib
import json
import os
import struct
import zipfile
from collections.abc import Callable, Iterator, Sequence
from typing import IO

import numpy as np

from fsjax.cache_folder import cache_folder
from fsjax.data.errors import DataError

_HEADER, _FOOTER = 12, 4
_CHUNK = 1 << 20
# Scans of more than this are kept: reading all of ImageNet takes minutes.
CACHED_BYTES = 10**9
# Of the layout of kept scans: to be counted up when it changes.
_KEPT = 2

Extract = Callable[[bytes], Sequence[float]]


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


def scan(instructions: list[tuple[str, int, int]], extract: Extract, *, what: str) -> tuple[RecordFiles, np.ndarray]:
    """Finds the named records, and some numbers in each of them.

    Scans of large files are kept in the user's cache folder until the files change.

    Args:
      instructions: `(file, skip, take)`: which records of which files.
      extract: a record's content -> the numbers, as many for each record.
      what: what the numbers are, to tell one kept scan from another.

    Returns:
      The records, and float64 `[n, numbers]` what was extracted from each; whole numbers below 2**53 are exact.

    Raises:
      DataError: for a file that is missing, cut off, damaged, or holds fewer records than it should.
    """
    files = [str(file) for file, _, _ in instructions]
    try:
        stats = [(stat.st_size, stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns) for stat in map(os.stat, files)]
        if sum(size for size, *_ in stats) < CACHED_BYTES:
            where, values = _read(instructions, extract)
        else:
            key = json.dumps([_KEPT, *([str(f), s, t] for f, s, t in instructions), *stats, what])
            where, values = _cached(key, lambda: _read(instructions, extract))
    except OSError as error:
        raise DataError(f"{error.filename or 'a record file'} cannot be read: {error.strerror or error}") from error
    return RecordFiles(files, where), values


def _read(instructions: list[tuple[str, int, int]], extract: Extract) -> tuple[np.ndarray, np.ndarray]:
    """Places and values of the records, by one pass over the files."""
    where, values = [], []
    for number, (file, skip, take) in enumerate(instructions):
        with open(file, "rb", buffering=_CHUNK) as stream:
            for record, length in _lengths(stream, skip + take, file):
                if record < skip:
                    stream.seek(length + _FOOTER, os.SEEK_CUR)
                    continue
                where.append((number, stream.tell(), length))
                content = stream.read(length + _FOOTER)
                if len(content) < length + _FOOTER:
                    raise DataError(f"{file} is cut off: it ends inside record {record}")
                try:
                    values.append(extract(content[:length]))
                except Exception as error:
                    # The parser's errors share no class; which record it was is what helps.
                    raise DataError(f"{file}: record {record} is damaged: {error}") from error
    return np.array(where, np.int64).reshape(-1, 3), np.array(values, np.float64).reshape(len(values), -1)


def _lengths(stream: IO[bytes], count: int, file: str) -> Iterator[tuple[int, int]]:
    """Number and length of each of the first `count` records; the caller moves the stream past each."""
    for record in range(count):
        header = stream.read(_HEADER)
        if len(header) < _HEADER:
            raise DataError(f"{file} is cut off: it holds {record} records, of {count} that are needed")
        yield record, struct.unpack_from("<Q", header)[0]


def _cached(key: str, compute: Callable[[], tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """What `compute` returns, kept under the key where the user's cache folder can be written."""
    folder = cache_folder()
    if folder is None:
        return compute()
    path = folder / f"records-{hashlib.sha256(key.encode()).hexdigest()[:32]}.npz"
    # A file that is not there, or is damaged, is written anew; each array of it has a checksum.
    with contextlib.suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile), np.load(path) as kept:
        return kept["where"], kept["values"]
    where, values = compute()
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.npz")
        np.savez(partial, where=where, values=values)
        partial.replace(path)
    return where, values
