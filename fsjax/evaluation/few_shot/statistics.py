"""Means over tasks with 95 % intervals, and paired differences of two methods on the same tasks."""

import dataclasses

import numpy as np
from scipy.special import stdtrit

from fsjax.errors import UserError

# Two-sided 95 % of a normal: tasks are many (docs/readings.md, "Tasks and intervals"), so Student's t would give
# the same three digits.
_Z = 1.96


@dataclasses.dataclass(frozen=True)
class Interval:
    """A mean over tasks.

    Attributes:
      mean: of the tasks.
      half_width: of the 95 % confidence interval, `1.96 · deviation / sqrt(n)`.
      deviation: standard deviation of the tasks, with n - 1.
      count: n.
    """

    mean: float
    half_width: float
    deviation: float
    count: int

    def __str__(self) -> str:
        return f"{100 * self.mean:.2f} ± {100 * self.half_width:.2f}"


def mean_interval(values: np.ndarray) -> Interval:
    """The mean of values `[n]`, one per task, with its 95 % interval; NaN half-width for a single task."""
    values = np.asarray(values, np.float64)
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
    return Interval(float(np.mean(values)), _Z * deviation / len(values) ** 0.5, deviation, len(values))


def student_interval(values: np.ndarray) -> Interval:
    """As `mean_interval`, by Student's t: for a few values `[n]`, such as those of seeds."""
    found = mean_interval(values)
    quantile = float(stdtrit(found.count - 1, 0.975)) if found.count > 1 else float("nan")
    return dataclasses.replace(found, half_width=quantile * found.deviation / found.count**0.5)


def wilson_interval(hits: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a share of `hits` among `count` (Wilson 1927): within 0 and 1, also of few or of all."""
    share, weight = hits / count, _Z**2 / count
    centre = (share + weight / 2) / (1 + weight)
    half_width = (weight * share * (1 - share) + weight**2 / 4) ** 0.5 / (1 + weight)
    return max(centre - half_width, 0.0), min(centre + half_width, 1.0)


def paired_difference(first: np.ndarray, second: np.ndarray) -> Interval:
    """The mean of `first - second` task by task: what the tasks have in common, their difficulty, cancels.

    Args:
      first, second: `[n]` accuracies of two methods on the same tasks in the same order.

    Raises:
      UserError: for different numbers of tasks.
    """
    if len(first) != len(second):
        raise UserError(f"{len(first)} and {len(second)} tasks cannot be paired: evaluate both on the same episodes")
    return mean_interval(np.asarray(first, np.float64) - np.asarray(second, np.float64))


def harmonic_mean(first: float, second: float) -> float:
    """`2ab / (a + b)`, 0 where both are: high only where both are."""
    return 2 * first * second / (first + second) if first + second else 0.0
