"""The folder of a run: made, tried, and guarded against a second config."""

import contextlib
import errno
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fsjax.config import options
from fsjax.errors import UserError
from fsjax.files import BusyError, CannotWriteError, absolute_path, locked, try_to_write, write_json
from fsjax.run_folder import read_json, read_result
from fsjax.training import hosts
from fsjax.version import __version__

_LOCK, _TOKEN = ".lock", ".token"
# The inode of the lock of each folder that this process holds, by path.
_HELD: dict[Path, int] = {}
# Seconds that a shared file system may take to show what another host wrote.
_SHARED_WITHIN = 30.0
# What may differ when a run is continued: where it runs, where its data lie, and what it shows meanwhile.
_FREE = ("parallel.", "model.remat", "data.path", "data.memory", "data.backend", "data.cache", "train.progress")
# Of these, what may differ between the processes of one run.
_OWN = ("data.path", "data.cache", "data.memory", "train.progress")
_SMALLER_BATCH = (
    "the device's memory does not hold this batch: try --config.model.remat=True, a smaller --config.train.batch_size, "
    "or divide it with --config.train.accumulate; on episodes, a smaller --config.episodes.per_step or query (and "
    "--config.eval.batch_size); --config.data.backend=host keeps the images out of it"
)
_TOO_MANY_FILES = "too many files open: raise its limit (ulimit -n 4096), and the same command continues the run"


def finished(workdir: str | Path, config: Mapping[str, Any]) -> dict[str, Any] | None:
    """The result of a run of this config that is complete; None if there is none. Writes nothing.

    Raises:
      UserError: if the folder holds a run of another config, or its result is damaged.
    """
    path = _absolute(workdir)
    _refuse_another(path, config=config)
    return read_result(path)


@contextlib.contextmanager
def prepared(workdir: str | Path, config: Mapping[str, Any], data: Mapping[str, Any]) -> Iterator[Path]:
    """Make the folder, try that it can be written, store what the run is of, and keep others out meanwhile.

    Args:
      workdir: the run's folder.
      config: the config.
      data: the description of the data, as `DataInfo.to_json` gives it.

    Yields:
      The folder's absolute path.

    Raises:
      UserError: if the folder cannot be written, its disk is full, another process is at work in it, or it
        holds a run of another config or of other data.
    """
    path = _absolute(workdir)
    with contextlib.ExitStack() as stack:
        token = hosts.by_first(lambda: _prepare(path, stack, config=config, data=data))
        _check_shared(path, token)
        stack.enter_context(readable_errors(path))
        yield path


def _absolute(workdir: str | Path) -> Path:
    """The absolute path of a run's folder."""
    if re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+:/", str(workdir)):
        raise UserError(
            f"--workdir={workdir} is the address of a store, and a run is written to a folder: mount the store, and "
            "give the folder where it is"
        )
    return absolute_path(workdir, what="--workdir")


def _prepare(path: Path, stack: contextlib.ExitStack, **facts: Mapping[str, Any]) -> str:
    """What the first process does for all: the lock stays until `stack` is left. A text that the others look for."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        try_to_write(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    token = secrets.token_hex(8)
    with readable_errors(path):
        stack.enter_context(_locked(path, token))
        _refuse_another(path, **facts)
        for what, value in facts.items():
            write_json(path / f"{what}.json", _plain(value))
    return token


def _check_shared(path: Path, token: str) -> None:
    """Raise a `UserError` if this process sees another folder than the first, which left the token there."""
    deadline = time.monotonic() + _SHARED_WITHIN
    while not hosts.is_first():
        with contextlib.suppress(OSError):
            if (path / _TOKEN).read_text() == token:
                break
        if time.monotonic() > deadline:
            raise UserError(
                f"the workdir {path} of process 0 is not seen here: the processes of a run need one on a shared file "
                "system; give all of them the same --workdir there"
            )
        time.sleep(0.1)


def common_facts(config: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a config that all processes of a run must share, by dotted name."""
    return {key: value for key, value in _flat(_plain(config)).items() if key not in _OWN} | {"fsjax": __version__}


def cannot_write(path: Path, error: OSError) -> UserError:
    """The error for a folder that cannot be written, with the space left on its disk."""
    parent = next(p for p in (path, *path.parents) if p.exists())
    free = shutil.disk_usage(parent).free
    return UserError(
        f"cannot write the workdir {path}: {error.strerror or error} ({free / 2**20:,.0f} MiB free on its disk); "
        "choose another with --workdir, or make room: the same command then continues the run"
    )


@contextlib.contextmanager
def readable_errors(path: Path) -> Iterator[None]:
    """Turn the many errors that a full disk or device gives into one in words.

    TensorStore, TensorBoard's writer and XLA raise types of their own, known by their text alone.
    """
    try:
        with full_memory(_SMALLER_BATCH):
            yield
    except CannotWriteError as error:
        check_in_place(path)
        if isinstance(error.__cause__, OSError):
            raise cannot_write(path, error.__cause__) from error
        raise
    except UserError:
        raise
    except Exception as error:
        check_in_place(path)
        number = _of_disk(error)
        if number == errno.EMFILE:
            raise UserError(f"this process has {_TOO_MANY_FILES}") from error
        if number:
            raise cannot_write(path, OSError(number, os.strerror(number))) from error
        raise


@contextlib.contextmanager
def full_memory(message: str) -> Iterator[None]:
    """Turn the error of a device whose memory is full into a `UserError` of this message."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        # TensorStore says RESOURCE_EXHAUSTED of a full disk, too, and XLA only INTERNAL of the memory of a CPU.
        full = any(words in text for text in _texts(error) for words in ("RESOURCE_EXHAUSTED", "Out of memory"))
        if full and not _of_disk(error):
            raise UserError(message) from error
        raise


def _of_disk(error: BaseException) -> int:
    """The number of what the system said against writing a file, of an error that tells of it; 0 for others."""
    texts = _texts(error)
    numbers = (errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT, errno.EMFILE)
    return next((number for number in numbers if any(os.strerror(number) in text for text in texts)), 0)


def _texts(error: BaseException) -> list[str]:
    """What an error says, and all those that it came from."""
    found, following = [], [error]
    while following:
        seen = following.pop()
        found.append(str(seen))
        following += [e for e in (seen.__cause__, seen.__context__) if e is not None]
        if len(found) > 100:
            break
    return found


@contextlib.contextmanager
def _locked(path: Path, token: str) -> Iterator[None]:
    """Keep a second run out of the folder; the system frees the lock whatever ends this one.

    The token is written beside it, for the other processes of the run.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(path / _LOCK, wait=False))
        except BusyError as error:
            raise UserError(
                f"another process is at work in the workdir {path}; wait for it, or use another --workdir"
            ) from error
        (path / _TOKEN).write_text(token)
        _HELD[path] = (path / _LOCK).stat().st_ino
        try:
            yield
        finally:
            del _HELD[path]


def check_in_place(path: Path) -> None:
    """Raise a `UserError` if a run's folder is no longer the one that it began in; for the process that writes.

    Otherwise orbax would make a new one, with the checkpoints to come and nothing else.
    """
    if not _in_place(path):
        raise UserError(
            f"the workdir {path} was removed, moved or replaced while the run went on: it stops here, and nothing more "
            "is written"
        )


def _in_place(path: Path) -> bool:
    """Whether the folder is the one that this process has locked, if it has."""
    try:
        return path not in _HELD or (path / _LOCK).stat().st_ino == _HELD[path]
    except OSError:
        return False


def _has_begun(path: Path) -> bool:
    """Whether there is anything to lose: a run that failed before its first step may be given another config."""
    metrics = path / "metrics.jsonl"
    return any(path.glob("checkpoints/*/*")) or (metrics.exists() and metrics.stat().st_size > 0)


def _refuse_another(path: Path, **facts: Mapping[str, Any]) -> None:
    """Compare what a run is of ("config", "data") with what the run that began in the folder stored of itself."""
    for what, here in facts.items():
        stored = path / f"{what}.json"
        if not (_has_begun(path) and stored.exists()):
            continue
        old = _flat(read_json(stored, "remove it, or use another --workdir"))
        new = _flat(_plain(here))
        free: tuple[str, ...] = ()
        if what == "config":
            # A run that was begun before an option was known did what is its default.
            old = {key: value for key, value in _flat(_plain(options().defaults())).items() if key in new} | old
            free = (*_FREE, *_not_chosen(old, new))
        keys = [k for k in sorted(old.keys() | new.keys()) if not k.startswith(free) and old.get(k) != new.get(k)]
        if keys:
            shown = "; ".join(f"{k} is {_short(old.get(k))} there and {_short(new.get(k))} here" for k in keys[:8])
            more = f"; and {len(keys) - 8} more" if len(keys) > 8 else ""
            raise UserError(
                f"the workdir {path} holds a run of another {what}: {shown}{more}. Give this run another --workdir, "
                "or remove that folder"
            )


def _not_chosen(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Sections of options that neither run reads: those of the methods, losses and networks that are not theirs."""
    unread = []
    for section in ("method", "loss", "model"):
        names = {key.split(".")[1] for key in (*old, *new) if key.startswith(f"{section}.") and key.count(".") > 1}
        chosen = {flat.get(f"{section}.name") for flat in (old, new)}
        unread += [f"{section}.{name}." for name in sorted(names - chosen)]
    return unread


def _short(value: Any) -> str:
    text = "absent" if value is None else repr(value)
    return text if len(text) < 80 else f"{text[:77]}…"


def _plain(tree: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON gives it back: lists for tuples."""
    return json.loads(json.dumps(tree))


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
