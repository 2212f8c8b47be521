"""Random numbers handed out one after the other, for what needs a number of them that it finds out on the way."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fsjax.data import random

# Counters a reserve: enough for nearly every drawing, and one call of threefry.
_RESERVE = 64
# Counters that belong to one number: far more than anything takes.
_COUNTERS = 2**20


class Dice:
    """The draws of one thing, such as picture 17: a function of a key and its number, whatever was drawn before."""

    def __init__(self, key: random.Key, number: int) -> None:
        self._key, self._next = key, int(number) * _COUNTERS
        self._shares: list[float] = []

    def words(self, count: int) -> np.ndarray:
        """`count` new uint32, from counters of their own."""
        counters = -(-count // 2)
        drawn = random.bits(self._key, self._next + np.arange(counters))
        self._next += counters
        return np.stack(drawn, axis=1).reshape(-1)[:count]

    def uniform(self, low: float, high: float) -> float:
        """A float in [low, high)."""
        if not self._shares:
            self._shares = random.uniform(self.words(2 * _RESERVE)).tolist()
        return low + (high - low) * self._shares.pop()

    def integer(self, low: int, high: int) -> int:
        """An integer of low..high, both included."""
        return low + int(self.uniform(0, 1) * (high - low + 1))

    def chance(self, share: float) -> bool:
        """True with this probability."""
        return self.uniform(0, 1) < share

    def choice(self, options: Sequence[Any]) -> Any:
        """One of the options, all equally likely."""
        return options[self.integer(0, len(options) - 1)]

    def uniforms(self, low: float, high: float, *shape: int) -> np.ndarray:
        """float64 of this shape in [low, high)."""
        return low + (high - low) * np.array([self.uniform(0, 1) for _ in range(int(np.prod(shape)))]).reshape(shape)
