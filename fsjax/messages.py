"""What fsjax says while it works, on a terminal.

Internal: no part of the public interface.
"""

import logging
import sys

import absl.logging


def show_messages() -> None:
    """Print what fsjax says, a line per message, on stderr; of orbax and others warnings only."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    ours = logging.getLogger("fsjax")
    ours.setLevel(logging.INFO)
    ours.handlers, ours.propagate = [handler], False
    absl.logging.set_verbosity(absl.logging.WARNING)
