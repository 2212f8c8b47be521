"""Tasks of base and novel classes together, seen by kind: base queries, novel queries, and how many classes are base.

"Reconstructed" tasks draw their classes from the novel and from base classes (`fsjax.data.reconstructed`). What a
network knows from training should help with base queries; whether it costs on novel ones, one accuracy cannot tell.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fsjax.evaluation.few_shot.kept import TaskScores
from fsjax.evaluation.few_shot.statistics import mean_interval

# The accuracies over a part of a task's queries.
QUERIES = ("base_queries", "novel_queries")
# What `by_task` gives.
PARTS = (*QUERIES, "base_classes")


def by_task(scores: TaskScores, is_base: np.ndarray) -> dict[str, np.ndarray]:
    """What each task's base and novel queries give.

    Args:
      scores: of the tasks.
      is_base: bool `[classes]`.

    Returns:
      "base_queries" and "novel_queries", float64 `[tasks]`: the accuracy over the queries of base and of novel classes,
      NaN in a task without any; "base_classes", int64 `[tasks]`: how many of the task's classes are base.
    """
    present = scores.classes >= 0
    base = present & is_base[scores.classes]  # -1, padding, reads the last class, and is not present
    accuracy = [_accuracy(scores, of_kind) for of_kind in (base, present & ~base)]
    return {**dict(zip(QUERIES, accuracy, strict=True)), "base_classes": base.sum(1)}


def _accuracy(scores: TaskScores, chosen: np.ndarray) -> np.ndarray:
    """Accuracy of each task over the queries of some of its classes, bool `[tasks, way]`; NaN for none."""
    hits, queries = (np.where(chosen, numbers, 0).sum(1) for numbers in (scores.hits, scores.queries))
    return np.divide(hits, queries, out=np.full(len(hits), np.nan), where=queries > 0)


def facts(accuracy: np.ndarray, parts: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The means over tasks by kind, as JSON types.

    Args:
      accuracy: `[tasks]`, over all queries of each task.
      parts: what `by_task` gave.

    Returns:
      "base_queries" and "novel_queries", each `{"accuracy", "interval", "tasks"}` over the tasks that have such
      queries; "by_base_classes", a list of the same with "base_classes", the number of base classes in the task, for
      each number that occurs. The interval of one task, and the accuracy of none, is None.
    """
    of_queries = {name: _summary(parts[name]) for name in QUERIES}
    numbers = np.unique(parts["base_classes"])
    groups = [{"base_classes": int(n), **_summary(accuracy[parts["base_classes"] == n])} for n in numbers]
    return {**of_queries, "by_base_classes": groups}


def _summary(values: np.ndarray) -> dict[str, Any]:
    """The mean of the values that are numbers, with its interval."""
    values = values[np.isfinite(values)]
    interval = mean_interval(values) if len(values) else None
    return {
        "accuracy": interval.mean if interval else None,
        "interval": interval.half_width if interval and interval.count > 1 else None,
        "tasks": len(values),
    }


def in_words(figure: Mapping[str, Any]) -> str:
    """The accuracies by kind: "base queries 71.20, novel queries 55.31, with 0, 1, 2 base classes 50.02, ..."."""
    queries = ", ".join(f"{name.replace('_', ' ')} {_percent(figure[name])}" for name in QUERIES)
    groups: Sequence[Mapping[str, Any]] = figure["by_base_classes"]
    numbers = ", ".join(str(group["base_classes"]) for group in groups)
    return f"{queries}, with {numbers} base classes {', '.join(map(_percent, groups))}"


def _percent(summary: Mapping[str, Any]) -> str:
    return "–" if summary["accuracy"] is None else f"{100 * summary['accuracy']:.2f}"
