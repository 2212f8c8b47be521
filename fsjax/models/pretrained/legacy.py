"""PyTorch's files of before 1.6, read without PyTorch: only files whose digest is known, and only arrays.

Such a file is five pickles and the bytes of the arrays. Unpickling runs what a file names, so two guards stand before
it: the SHA-256 is compared with the one that our source states, and no name is looked up but the four that a state
dict needs.
"""

import collections
import hashlib
import io
import pickle
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fsjax.errors import UserError

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_DTYPES = {"FloatStorage": "<f4", "LongStorage": "<i8"}


class _Storage(NamedTuple):
    """The numbers behind one or several arrays, which follow after the pickles."""

    key: str
    dtype: str
    count: int


class _Array(NamedTuple):
    """An array as a view of a storage; `offset` and `strides` in elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_legacy(path: Path, *, sha256: str) -> dict[str, np.ndarray]:
    """The arrays of a state dict.

    Args:
      path: of the file.
      sha256: the digest, in hexadecimal, of the one file that this may be.

    Returns:
      float32 and int64 arrays by name, contiguous.

    Raises:
      UserError: for a file that cannot be read, or is another.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise UserError(
            f"{path} is not the file of weights that is known here, or is damaged or cut off: its {len(content):,} "
            f"bytes have the SHA-256 {found}, not {sha256}; install its package anew"
        )
    return _parse(content)


def _parse(content: bytes) -> dict[str, np.ndarray]:
    """The arrays of the bytes of a file; raises a ValueError or `pickle.UnpicklingError` for others."""
    file = io.BytesIO(content)
    if (_load(file), _load(file)) != (_MAGIC, _PROTOCOL):
        raise ValueError("not a PyTorch file of before 1.6")
    if not _load(file)["little_endian"]:
        raise ValueError("written on a big-endian machine")
    arrays: dict[str, _Array] = _load(file)
    numbers = {}
    storages = {array.storage.key: array.storage for array in arrays.values()}
    for key in _load(file):
        dtype = np.dtype(storages[key].dtype)
        (count,) = np.frombuffer(file.read(8), "<i8")
        if count != storages[key].count:
            raise ValueError(f"storage {key} has {count} numbers, and its arrays are of {storages[key].count}")
        numbers[key] = np.frombuffer(file.read(count * dtype.itemsize), dtype)
    return {name: _view(array, numbers[array.storage.key]) for name, array in arrays.items()}


def _view(array: _Array, numbers: np.ndarray) -> np.ndarray:
    """The array itself: of any strides, not contiguous in the file, some are."""
    last = array.offset + sum((n - 1) * step for n, step in zip(array.shape, array.strides, strict=True))
    if min((array.offset, *array.strides, *array.shape)) < 0 or last >= len(numbers):
        raise ValueError(f"an array of shape {array.shape} reaches outside of its {len(numbers)} numbers")
    strides = [step * numbers.itemsize for step in array.strides]
    return np.ascontiguousarray(np.lib.stride_tricks.as_strided(numbers[array.offset :], array.shape, strides))


class _Unpickler(pickle.Unpickler):
    """Knows the four names that a state dict of floats and counters has."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, strides, *_: _Array(storage, offset, shape, strides)
        if module == "torch" and name in _DTYPES:
            return name
        raise pickle.UnpicklingError(f"{module}.{name} is not looked up")

    def persistent_load(self, pid: Any) -> _Storage:
        _, kind, key, _, count, view = pid
        if view is not None:
            raise pickle.UnpicklingError("a storage that is a part of another")
        return _Storage(key, _DTYPES[kind], count)


def _load(file: io.BytesIO) -> Any:
    return _Unpickler(file).load()
