"""One published file in PyTorch's format of before 1.6: a pickle, and storages behind it. Read without PyTorch.

A pickle can run what its author likes. So only a file whose SHA-256 stands in fsjax's source is looked into, and then
by an unpickler that knows four names. Every other file of this format is refused, see `fsjax.models.pretrained.files`.
"""

import collections
import hashlib
import io
import pickle
import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fsjax.errors import UserError

# What the format begins with, each pickled by itself: a magic number, and the version of the protocol.
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_STORAGES: dict[str, np.dtype] = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


class _Tensor(NamedTuple):
    """A view of a storage, in elements."""

    storage: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _rebuild_tensor(storage: str, offset: int, shape: tuple, strides: tuple, *_: Any) -> _Tensor:
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


class _Unpickler(pickle.Unpickler):
    """Knows the names that a state dict of float32 and int64 tensors has, and no others."""

    KNOWN = {  # noqa: RUF012 (never changed)
        ("collections", "OrderedDict"): collections.OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
        **{("torch", name): name for name in _STORAGES},
    }

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream, encoding="utf-8")
        self.storages: dict[str, tuple[np.dtype, int]] = {}

    def find_class(self, module: str, name: str) -> Any:
        """The four names, of which two are mere words here."""
        try:
            return self.KNOWN[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it names {module}.{name}") from None

    def persistent_load(self, pid: Any) -> str:
        """A storage's key; the dtype and the number of its elements are kept."""
        kind, dtype, key, _, count, view = pid
        if kind != "storage" or view is not None:
            raise pickle.UnpicklingError(f"it has a persistent id {pid!r}")
        self.storages[key] = _STORAGES[dtype], int(count)
        return str(key)


def read(path: Path, *, sha256: str, way_out: str) -> dict[str, np.ndarray]:
    """The arrays of a published file, by name.

    Args:
      path: of the file.
      sha256: of the published one, in hexadecimal.
      way_out: what to do about a file that is another one, for the message.

    Returns:
      float32 and int64 arrays.

    Raises:
      UserError: for a file that cannot be read, or has another SHA-256: nothing is unpickled then.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error}): {way_out}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise UserError(
            f"{path} ({len(content):,} bytes) is damaged, cut off or another file: its SHA-256 is {found}, and that of "
            f"the published one {sha256}; {way_out}"
        )
    return parse(content)


def parse(content: bytes) -> dict[str, np.ndarray]:
    """The arrays of a file's content, whose digest has been compared.

    Raises:
      pickle.UnpicklingError: for another name than the four, or another format.
      ValueError: for a tensor that reaches beyond its storage, or storages beyond the file.
    """
    stream = io.BytesIO(content)
    head = [_Unpickler(stream).load() for _ in range(3)]
    if head[:2] != [_MAGIC, _PROTOCOL] or not head[2].get("little_endian"):
        raise pickle.UnpicklingError(f"it begins with {head}, and not as PyTorch's format of before 1.6")
    unpickler = _Unpickler(stream)
    tensors = unpickler.load()
    arrays = {}
    for key in _Unpickler(stream).load():
        dtype, count = unpickler.storages[key]
        (stored,) = struct.unpack("<q", stream.read(8))
        if stored != count:
            raise ValueError(f"storage {key} has {stored} elements, and its tensors say {count}")
        arrays[key] = np.frombuffer(content, dtype, count, stream.tell())
        stream.seek(count * dtype.itemsize, io.SEEK_CUR)
    return {name: _strided(arrays[tensor.storage], tensor) for name, tensor in tensors.items()}


def _strided(storage: np.ndarray, tensor: _Tensor) -> np.ndarray:
    """The tensor as an array of its own, in the order of its dimensions."""
    last = tensor.offset + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.strides, strict=True))
    if tensor.offset < 0 or min((*tensor.strides, 0)) < 0 or last >= len(storage):
        raise ValueError(f"a tensor of {tensor.shape} and strides {tensor.strides} reaches beyond its storage")
    strides = [s * storage.itemsize for s in tensor.strides]
    view = np.lib.stride_tricks.as_strided(storage[tensor.offset :], tensor.shape, strides, writeable=False)
    return np.ascontiguousarray(view).reshape(tensor.shape)
