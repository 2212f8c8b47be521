"""The folder of a run: made, tried, and guarded against a second config."""

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fsjax.errors import UserError
from fsjax.training.records import write_json

# What may differ when a run is continued: where it runs, where its data lie, and what it shows meanwhile.
_FREE = ("parallel.", "data.path", "data.memory", "train.progress")


def prepare(workdir: str | Path, config: Mapping[str, Any], *, write: bool) -> Path:
    """Make the folder, try that it can be written, and store the config or compare it with the one there.

    Args:
      workdir: the run's folder.
      config: the config as plain JSON-able values.
      write: False on all processes but one.

    Returns:
      The folder's absolute path.

    Raises:
      UserError: if the folder cannot be written, its disk is full, or it holds a run of another config.
    """
    path = Path(workdir).expanduser().absolute()
    if not write:
        return path
    try:
        path.mkdir(parents=True, exist_ok=True)
        _try_to_write(path)
        stored = path / "config.json"
        if stored.exists():
            _compare(path, json.loads(stored.read_text()), json.loads(json.dumps(config)))
        else:
            write_json(stored, config)
    except OSError as error:
        raise cannot_write(path, error) from error
    return path


def cannot_write(path: Path, error: OSError) -> UserError:
    """The error for a folder that cannot be written, with the space left on its disk."""
    parent = next(p for p in (path, *path.parents) if p.exists())
    free = shutil.disk_usage(parent).free
    return UserError(
        f"cannot write the workdir {path}: {error.strerror or error} ({free / 2**20:,.0f} MiB free on its disk); "
        "choose another with --workdir, or make room: the same command then continues the run"
    )


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn the many errors that a full or read-only disk gives into one in words.

    TensorStore and TensorBoard's writer raise types of their own, known by their text alone.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        texts = [str(e) for e in (error, error.__cause__, error.__context__) if e is not None]
        for number in (errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT):
            if any(os.strerror(number) in text for text in texts):
                raise cannot_write(path, OSError(number, os.strerror(number))) from error
        raise


def _try_to_write(path: Path) -> None:
    probe = path / ".probe"
    # A megabyte: an empty file can be made on a full disk.
    probe.write_bytes(b"\0" * 2**20)
    probe.unlink()


def _compare(path: Path, there: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    old, new = _flat(there), _flat(here)
    keys = sorted(k for k in old.keys() | new.keys() if not k.startswith(_FREE) and old.get(k) != new.get(k))
    if keys:
        shown = "; ".join(
            f"{k} is {old.get(k, 'absent')!r} there and {new.get(k, 'absent')!r} here" for k in keys[:8]
        )
        more = f"; and {len(keys) - 8} more" if len(keys) > 8 else ""
        raise UserError(
            f"the workdir {path} holds a run of another config: {shown}{more}. Give this run another --workdir, "
            "or remove that folder"
        )


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
