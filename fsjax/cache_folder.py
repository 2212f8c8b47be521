"""Where this user's machine keeps what can be made again: decoded data sets, compiled programs.

Internal: no part of the public interface.
"""

import os
from pathlib import Path

_OFF = ("off", "0", "none")


def cache_folder() -> Path | None:
    """`$FSJAX_CACHE`, or `fsjax` in `$XDG_CACHE_HOME` or `~/.cache`; None for "off", "0", "none", or no home."""
    chosen = os.environ.get("FSJAX_CACHE", "")
    if chosen.lower() in _OFF:
        return None
    folder = Path(chosen or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "fsjax")
    try:
        return folder.expanduser().absolute()
    except RuntimeError:  # of a user that the machine does not know
        return None
