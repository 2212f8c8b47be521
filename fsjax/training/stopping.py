"""SIGTERM and Ctrl-C: the run saves and stops after the step it is at, in all of its processes after the same one."""

import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import Any

from fsjax.training.watch import Watch


@contextlib.contextmanager
def stop_signals(watch: Watch | None) -> Iterator[Callable[[], int]]:
    """Take SIGTERM and Ctrl-C as wishes to stop; a second one ends the process as it would have without this.

    Args:
      watch: over the other processes; None in a run of one.

    Yields:
      To be called after each dispatch, by all processes alike: the signal to stop for, or 0.
    """
    received: list[int] = []

    def handle(number: int, _: Any) -> None:
        received.append(number)
        signal.signal(number, previous[number])
        if watch is not None:
            watch.ask_to_stop(number)

    previous: dict[int, Any] = {}
    with contextlib.suppress(ValueError):  # not the main thread: the caller handles signals
        for caught in (signal.SIGTERM, signal.SIGINT):
            previous[caught] = signal.signal(caught, handle)
    try:
        yield watch.stop_reached if watch is not None else lambda: received[0] if received else 0
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
