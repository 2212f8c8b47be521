"""Seconds of what is repeated, each run waited for."""

import functools
import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax

# Of a run in one stretch, at least.
_TURNS = 10


def timed(function: Callable[[], Any]) -> float:
    """Seconds until the function's result is there."""
    start = time.perf_counter()
    jax.block_until_ready(function())
    return time.perf_counter() - start


def in_turns(functions: Sequence[Callable[[int], Any]], *, repeats: int, seconds: float) -> list[list[float]]:
    """Seconds of one turn of each function, by run.

    Args:
      functions: of a number of turns; each is called once before the clock runs, and then with as many turns as take
        `seconds`. They take turns, so that what else the machine does hits all.
      repeats: runs of each.
      seconds: of a run, at least.

    Returns:
      For each function the seconds of a turn in each run.
    """
    turns = []
    for function in functions:
        jax.block_until_ready(function(1))  # compiles
        one = timed(functools.partial(function, 1))
        turns.append(max(1, math.ceil(seconds / max(one, 1e-6))))
    found: list[list[float]] = [[] for _ in functions]
    for _, (number, function) in itertools.product(range(repeats), enumerate(functions)):
        spent = timed(functools.partial(function, turns[number]))
        found[number].append(spent / turns[number])
    return found


def in_one_stretch(turns: Iterator[Any], *, repeats: int, seconds: float) -> list[float]:
    """Seconds of one turn of what has a store that fills whenever nothing is taken from it, by run.

    The runs follow each other without a pause, and a first one of the same length, which is not counted, empties the
    store: what one run takes is made while it lasts.

    Args:
      turns: each `next` is a turn.
      repeats: runs that are counted.
      seconds: of a run, at least.
    """
    found = []
    last = time.perf_counter()
    for _ in range(1 + repeats):
        begun, taken = last, 0
        while taken < _TURNS or last - begun < seconds:
            next(turns)
            taken, last = taken + 1, time.perf_counter()
        found.append((last - begun) / taken)
    return found[1:]


def in_words(seconds: Sequence[float]) -> dict[str, Any]:
    """The figures of some runs: their median, the fastest and the slowest, and how many they are."""
    return {
        "seconds": statistics.median(seconds),
        "seconds_range": [min(seconds), max(seconds)],
        "repeats": len(seconds),
    }
