"""Training as a process: it meets the others of its run, and ends so that they learn of it."""

import contextlib
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import jax

from fsjax.errors import UserError
from fsjax.training.connect import connect, leave

# Of a process that was interrupted from the keyboard, as shells have it.
_INTERRUPTED = 130


def start(train: Callable[[], Any], **processes: Any) -> None:
    """Meet the other processes, train, and print a `UserError` in one line.

    Args:
      train: what to do once the others are met.
      **processes: the arguments of `fsjax.training.connect.connect`.
    """
    with _user_errors():
        connect(**processes)
        train()


@contextlib.contextmanager
def _user_errors() -> Iterator[None]:
    try:
        yield
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        leave(2)
    except KeyboardInterrupt:
        print("interrupted at once: the same command continues the run from its last checkpoint", file=sys.stderr)
        leave(_INTERRUPTED)
    except Exception:
        if not jax.distributed.is_initialized():
            raise
        traceback.print_exc()
        leave(1)
