"""Compiled programs are kept on disk, so that the same run starts faster the next time."""

import contextlib
import logging
import os
import stat
from pathlib import Path
from typing import Any

import jax

from fsjax.cache_folder import cache_folder
from fsjax.files import try_to_write

logger = logging.getLogger("fsjax")

# What compiles faster is compiled again: reading it would take about as long.
_MIN_SECONDS = 0.5
# All that is kept; a network's programs take some 10 MB.
_MOST_BYTES = 4 * 2**30


def keep_compiled() -> None:
    """Have jax keep what it compiles in a folder of the user, `~/.cache/fsjax/xla`; call it before the first compile.

    `FSJAX_CACHE` names another folder than `~/.cache/fsjax`, and FSJAX_CACHE=off keeps nothing; jax's own settings
    (`JAX_COMPILATION_CACHE_DIR`, `JAX_ENABLE_COMPILATION_CACHE`, and those of the thresholds) stand above it. A folder
    that cannot be written, or that others may write to (what lies there is run), costs a warning, and nothing is kept.
    Of what has not been read for longest, as much is removed as is over 4 GiB. Of several processes jax has the first
    one alone write there: on other hosts, without that folder on a shared file system, everything is compiled at each
    start.
    """
    place = cache_folder()
    config: Any = jax.config  # its options are attributes that its type does not name
    if config.jax_compilation_cache_dir or not config.jax_enable_compilation_cache or place is None:
        return
    folder = place / "xla"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # whatever the umask leaves to the group
        try_to_write(folder)
        why = _writers(folder)
        _remove_oldest(folder)
    except OSError as error:
        why = f"cannot be written ({error.strerror or error})"
    if why:
        logger.warning(
            "compiled programs are not kept: %s %s; FSJAX_CACHE=FOLDER names another, FSJAX_CACHE=off none", folder, why
        )
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", _MIN_SECONDS)


def _writers(folder: Path) -> str:
    """Who else may write to a folder, in words; "" for nobody."""
    if not hasattr(os, "geteuid"):  # Windows has other rights
        return ""
    status = folder.stat()
    if status.st_uid not in (os.geteuid(), 0):
        return "belongs to another user, whose programs would be run"
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return "can be written by others, whose programs would be run (chmod go-w)"
    return ""


def _remove_oldest(folder: Path) -> None:
    """Remove the files that have not been read for longest until the rest is of `_MOST_BYTES`."""
    files = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_file(follow_symlinks=False):
                status = entry.stat(follow_symlinks=False)
                files.append((max(status.st_atime, status.st_mtime), status.st_size, entry.path))
    over = sum(size for _, size, _ in files) - _MOST_BYTES
    for _, size, path in sorted(files):
        if over <= 0:
            break
        with contextlib.suppress(OSError):  # another process was faster
            os.unlink(path)
        over -= size
