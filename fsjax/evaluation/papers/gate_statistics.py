"""How gates vary over channels, images and tasks, and whether they follow the share of base classes in a task."""

import dataclasses
from statistics import NormalDist
from typing import Any

import numpy as np

from fsjax.errors import UserError
from fsjax.evaluation.few_shot.statistics import mean_interval

_QUANTILES = (5, 25, 50, 75, 95)
# Two-sided 95 % of a normal, as in `fsjax.evaluation.few_shot.statistics`: tasks are many.
_Z = 1.96
_LEVEL = 0.05
PERMUTATIONS = 200


@dataclasses.dataclass(frozen=True, eq=False)
class TaskClasses:
    """The classes of tasks, and which classes are base ones.

    Attributes:
      classes: int `[tasks, way]`; -1 is padding.
      is_base: bool `[classes]`.
    """

    classes: np.ndarray
    is_base: np.ndarray

    @property
    def base_classes(self) -> np.ndarray:
        """How many of each task's classes are base ones, int `[tasks]`."""
        return np.sum(self.is_base[self.classes] & (self.classes >= 0), axis=1)

    def shares(self, is_base: np.ndarray) -> np.ndarray:
        """The share of each task's classes that are base ones, float64 `[..., tasks]`, given `[..., classes]` bools."""
        present = self.classes >= 0
        # By counts of classes in tasks: many labellings are then one product.
        counts = np.zeros((len(self.classes), self.is_base.size))
        np.add.at(counts, (np.nonzero(present)[0], self.classes[present]), 1.0)
        return is_base.astype(np.float64) @ (counts / present.sum(axis=1, keepdims=True)).T


def task_means(gates: np.ndarray, support: np.ndarray) -> np.ndarray:
    """The gates of tasks: the mean over the support images.

    Args:
      gates: float `[images, c]`.
      support: int `[tasks, way, shot]`, positions of images; -1 is padding.

    Returns:
      float64 `[tasks, c]`.
    """
    support = support.reshape(len(support), -1)
    real = support >= 0
    found = np.empty((len(support), gates.shape[1]))
    for task, (index, is_real) in enumerate(zip(support, real, strict=True)):
        found[task] = gates[index[is_real]].mean(axis=0, dtype=np.float64)
    return found


def spread(gates: np.ndarray, of_tasks: np.ndarray) -> dict[str, Any]:
    """How gates vary.

    Args:
      gates: `[images, c]`.
      of_tasks: `[tasks, c]`, see `task_means`.

    Returns:
      "mean" of the gates; "std_channels", the deviation of the channels' means; "std_images" and "std_tasks", the
      deviation within a channel over images and over tasks, averaged over the channels; "quantiles" of the tasks'
      gates over tasks and channels, by per cent.
    """
    quantiles = np.percentile(of_tasks, _QUANTILES)
    return {
        "channels": gates.shape[1],
        "mean": float(gates.mean(dtype=np.float64)),
        "std_channels": float(gates.mean(axis=0, dtype=np.float64).std()),
        "std_images": float(gates.std(axis=0, dtype=np.float64).mean()),
        "std_tasks": float(of_tasks.std(axis=0).mean()),
        "quantiles": {str(q): float(value) for q, value in zip(_QUANTILES, quantiles, strict=True)},
    }


def by_base_classes(of_tasks: np.ndarray, base_classes: np.ndarray) -> list[dict[str, Any]]:
    """The mean gate by the number of base classes in the task.

    Args:
      of_tasks: `[tasks, c]`.
      base_classes: int `[tasks]`.

    Returns:
      For each number that occurs: "base_classes", "gate" (the mean over tasks and channels), "interval" (the half width
      of its 95 % interval over tasks, which share classes; None for one task), and "tasks".
    """
    means, rows = of_tasks.mean(axis=1), []
    for number in np.unique(base_classes):
        found = mean_interval(means[base_classes == number])
        width = found.half_width if found.count > 1 else None
        rows.append({"base_classes": int(number), "gate": found.mean, "interval": width, "tasks": found.count})
    return rows


def slopes(of_tasks: np.ndarray, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least squares of gates against the share of base classes: what a task of base classes only has more.

    Args:
      of_tasks: `[tasks, c]`.
      shares: `[..., tasks]`.

    Returns:
      The slopes and their standard errors, as if tasks were independent: `[..., c]` each.
    """
    x = shares - shares.mean(axis=-1, keepdims=True)
    y = of_tasks - of_tasks.mean(axis=0)
    squares = np.sum(x**2, axis=-1)[..., None]
    found = x @ y / squares
    residual = np.maximum(np.sum(y**2, axis=0) - found**2 * squares, 0.0)
    return found, np.sqrt(residual / (len(y) - 2) / squares)


def follows_base_share(of_tasks: np.ndarray, tasks: TaskClasses, *, seed: int = 0) -> dict[str, Any]:
    """Whether gates depend on the share of base classes in the task, with the class as the unit.

    A gate is a function of one image, and a task's gate the mean over its support images. So it moves with the task
    only as its images do: the slope is the difference between images of base and of novel classes, and tasks, which
    share these few classes, are no independent evidence of it. Any other two groups of classes differ as well. So the
    same numbers are computed with the labels "base" and "novel" permuted among the classes: a p-value is the share of
    200 permutations, and of the truth, that come to as much. Intervals and tests over tasks take the classes as given.

    Args:
      of_tasks: `[tasks, c]`.
      tasks: their classes.
      seed: of the permutations.

    Returns:
      "slope", of the mean over channels: "value"; "interval", both ends, 95 %, over tasks; "permuted", both ends of the
      middle 95 % of permutations; "p_value".
      "channels_that_follow": "share" of channels whose own slope is not 0 at 5 % after Bonferroni's correction, over
      tasks; "permuted", its mean over permutations; "p_value"; "share_by_class", of channels whose slope is further
      from 0, in standard errors, than that of any channel is in 95 % of the permutations.

    Raises:
      UserError: for fewer than 3 tasks, and for tasks that all have the same share of base classes.
    """
    if len(of_tasks) < 3:
        raise UserError(f"{len(of_tasks)} tasks have no slope: draw at least 3")
    rng = np.random.default_rng(seed)
    labels = np.stack([tasks.is_base, *(rng.permutation(tasks.is_base) for _ in range(PERMUTATIONS))])
    shares = tasks.shares(labels)
    if np.any(np.ptp(shares, axis=1) < 1e-9):
        raise UserError(
            f"all {len(of_tasks)} tasks have the same share of base classes: draw more tasks, or tasks of fewer ways "
            f"than the {len(tasks.is_base)} classes that there are"
        )
    means, errors = (part[:, 0] for part in slopes(of_tasks.mean(axis=1, keepdims=True), shares))
    return {
        "slope": {
            "value": float(means[0]),
            "interval": [float(means[0] - _Z * errors[0]), float(means[0] + _Z * errors[0])],
            "permuted": [float(end) for end in np.percentile(means[1:], (2.5, 97.5))],
            "p_value": _p_value(np.abs(means)),
        },
        "channels_that_follow": _channels_that_follow(*slopes(of_tasks, shares)),
    }


def _channels_that_follow(found: np.ndarray, errors: np.ndarray) -> dict[str, float]:
    """See `follows_base_share`; `[1 + permutations, c]` slopes and their errors, the truth first."""
    # A channel that never moves has neither a slope nor an error.
    scores = np.abs(np.divide(found, errors, out=np.zeros_like(found), where=errors > 0))
    critical = NormalDist().inv_cdf(1 - _LEVEL / 2 / found.shape[1])
    share = np.mean(scores > critical, axis=1)
    of_any = np.quantile(scores[1:].max(axis=1), 1 - _LEVEL, method="higher")
    return {
        "share": float(share[0]),
        "permuted": float(share[1:].mean()),
        "p_value": _p_value(share),
        "share_by_class": float(np.mean(scores[0] > of_any)),
    }


def _p_value(values: np.ndarray) -> float:
    """The share of the values that are at least the first one's; equal ones may differ by rounding."""
    return float(np.mean(values >= values[0] * (1 - 1e-9)))
