"""Metrics that an evaluation has where they are asked for: `config.eval.metrics`.

A metric is a function of the sums of `fsjax.evaluation.metrics.classification_sums` over all of a split, as NumPy
arrays, and of the training examples of each class, `[classes]`. It returns a number.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fsjax.errors import UserError, unknown
from fsjax.options.metrics import METRICS


def chosen(names: Sequence[str], sums: Mapping[str, Any], class_counts: Sequence[int] | None) -> dict[str, float]:
    """The metrics of these names.

    Args:
      names: of `METRICS`.
      sums: see `fsjax.evaluation.metrics.summarize`.
      class_counts: likewise.

    Raises:
      UserError: for an unknown name, and a metric that returns no number.
    """
    found = {}
    for name in names:
        if name not in METRICS:
            raise unknown("metric, of fsjax and of plug-ins that are here,", name, METRICS)
        value = METRICS[name].load()(sums, class_counts)
        if np.ndim(value) or not np.isreal(value):
            raise UserError(f"the metric {name!r} must return a number, not {type(value).__name__}")
        found[name] = float(value)
    return found


def worst_class_accuracy(sums: Mapping[str, Any], class_counts: Sequence[int] | None) -> float:
    """The least of the classes' own accuracies, of classes that have examples."""
    return float(class_accuracies(sums).min())


def geometric_mean_accuracy(sums: Mapping[str, Any], class_counts: Sequence[int] | None) -> float:
    """The geometric mean of the classes' own accuracies (Kubat & Matwin 1997, there of two classes); 0 if one is 0."""
    found = class_accuracies(sums)
    return float(np.exp(np.log(found).mean())) if found.all() else 0.0


def class_accuracies(sums: Mapping[str, Any]) -> np.ndarray:
    """float64 `[present]`, of the classes that have examples, in order."""
    correct, count = (np.asarray(sums[key], np.int64) for key in ("correct", "count"))
    return correct[count > 0] / count[count > 0]
