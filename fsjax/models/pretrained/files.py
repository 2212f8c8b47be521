"""Files of weights: where they are, what they hold, and their arrays. Nothing is unpickled.

Converted weights are not kept: to read and convert a ResNet-101's 179 MB took 0.16 to 0.43 s (2 cores, busy with other
work), and converted ones would have to be read too. What is downloaded, the hub's own cache keeps.
"""

import contextlib
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes  # noqa: F401  (NumPy knows the name "bfloat16", which safetensors asks it for, from this import on)
import numpy as np

from fsjax.errors import UserError
from fsjax.models.pretrained import hub

# Files that only unpickling opens, or may.
_PICKLES = (".pth", ".pt", ".bin", ".ckpt", ".pkl", ".pickle", ".tar", ".npy", ".npz")
# NumPy's names of dtypes; those that are not here are refused by the file's.
_DTYPES = {"F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64", "I8": "int8", "U8": "uint8"}


class Stored(NamedTuple):
    """An array of a file, before it is read: `shape`, and `dtype`, NumPy's name or else the file's."""

    shape: tuple[int, ...]
    dtype: str


def find(name: str) -> Path:
    """The file of this path or hub name, downloaded if need be.

    Args:
      name: a path, "timm/resnet101.tv_in1k", "timm/resnet101.tv_in1k@REVISION" or "hf://timm/resnet101.tv_in1k". A
        file of this path goes before a hub's name.

    Raises:
      UserError: if there is no such file, it is not in the format safetensors, or it cannot be downloaded.
    """
    if name.startswith(hub.PREFIX):
        return hub.download(name)
    path = Path(name).expanduser()
    if path.suffix.lower() in _PICKLES:
        raise UserError(
            f"{name}: a {path.suffix} file is a pickle, or may hold one, and unpickling runs what is in it: only "
            f".safetensors is read. Where PyTorch is installed, this converts it: {_conversion(path)}"
        )
    if path.is_file():
        return path
    if hub.is_name(name) and path.suffix != ".safetensors":
        return hub.download(name)
    what = "is a folder" if path.is_dir() else "there is no such file"
    raise UserError(f"{name}: {what}; give the path of a .safetensors file, or a hub's name such as {hub.EXAMPLE}")


def architecture_of(path: Path) -> str:
    """The network that the config.json beside a file of weights names, as timm has them; "" where none does."""
    config = path.with_name(hub.CONFIG)
    found = hub.read_json(config).get("architecture") if config.is_file() else ""
    return found if isinstance(found, str) else ""


def _conversion(path: Path) -> str:
    """A command that makes a .safetensors file of a state dict."""
    load = f"torch.load({path.name!r}, map_location='cpu', weights_only=True)"
    return f'python -c "import torch, safetensors.torch as s; s.save_file({load}, {path.stem + ".safetensors"!r})"'


def shapes(path: Path) -> dict[str, Stored]:
    """Shapes and dtypes of a file's arrays by name; reads the header alone.

    Raises:
      UserError: for a file that cannot be read, or is no whole .safetensors file.
    """
    with _opened(path) as file:
        slices = {name: file.get_slice(name) for name in file.keys()}
        return {
            name: Stored(tuple(part.get_shape()), _DTYPES.get(part.get_dtype(), part.get_dtype()))
            for name, part in slices.items()
        }


def read(path: Path, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Arrays of these names, of the dtypes that `shapes` gives NumPy's names of; raises as `shapes`."""
    with _opened(path) as file:
        return {name: file.get_tensor(name) for name in names}


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    from safetensors import SafetensorError, safe_open  # here: a run that starts from no weights does without

    try:
        with safe_open(path, framework="numpy") as file:
            yield file
    except SafetensorError as error:
        raise UserError(f"{path} is no .safetensors file, or is damaged or cut off ({error}): get it anew") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error


def sha256(path: Path) -> str:
    """The file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
