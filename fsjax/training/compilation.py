"""Compiled programs are kept on disk, so that the same run starts faster the next time."""

import logging
import os
from typing import Any

import jax

from fsjax.cache_folder import cache_folder
from fsjax.training.workdir import try_to_write

logger = logging.getLogger("fsjax")

# What compiles faster is compiled again: reading it would take about as long.
_MIN_SECONDS = 0.5


def keep_compiled() -> None:
    """Have jax keep what it compiles in a folder of the user, `~/.cache/fsjax/xla`; call it before the first compile.

    `FSJAX_CACHE` names another folder than `~/.cache/fsjax`, and FSJAX_CACHE=off keeps nothing; jax's own settings
    (`JAX_COMPILATION_CACHE_DIR`, `JAX_ENABLE_COMPILATION_CACHE`, and those of the thresholds) stand above it. A folder
    that cannot be written costs a warning, and nothing is kept. Of several processes jax has the first one alone write
    there: on other hosts, without that folder on a shared file system, everything is compiled at each start.
    """
    place = cache_folder()
    config: Any = jax.config  # its options are attributes that its type does not name
    if config.jax_compilation_cache_dir or not config.jax_enable_compilation_cache or place is None:
        return
    folder = place / "xla"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try_to_write(folder)
    except OSError as error:
        logger.warning(
            "compiled programs are not kept: %s cannot be written (%s); FSJAX_CACHE=FOLDER names another, "
            "FSJAX_CACHE=off none",
            folder,
            error.strerror or error,
        )
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", _MIN_SECONDS)
