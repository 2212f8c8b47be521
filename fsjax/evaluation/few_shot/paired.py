"""Two figures on the same few-shot tasks, paired task by task: their difficulty, which they share, cancels."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from fsjax.evaluation.few_shot.intervals import Intervals, paired_intervals, without_tasks
from fsjax.evaluation.few_shot.protocol import Figure
from fsjax.evaluation.few_shot.reconstructed import PARTS, QUERIES
from fsjax.evaluation.few_shot.statistics import Interval, paired_difference

_SAME = ("data", "classes", "way", "shot", "query", "episodes", "reconstructed")


def pairs(first: Sequence[Figure], second: Sequence[Figure]) -> Iterator[tuple[Figure, Figure, Intervals]]:
    """Every figure of the first with every one of the second on the same tasks, and their difference."""
    for a in first:
        for b in second:
            if same_tasks(a.facts, b.facts):
                yield a, b, difference(a, b)


def difference(first: Figure, second: Figure) -> Intervals:
    """The paired difference of two figures on the same tasks, the second of which is subtracted."""
    if first.scores is None or second.scores is None:
        why = "which queries were right is not in the .npz file of an earlier fsjax: evaluate anew"
        return without_tasks(paired_difference(first.accuracy, second.accuracy), why)
    return paired_intervals(first.scores, second.scores)


def same_tasks(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """Whether two figures are of the same tasks, given their facts."""
    # The hash is of positions: other classes of the same sizes would have the same.
    names = [figure["per_class"].keys() for figure in (first, second)]
    same = names[0] == names[1] and all(first.get(name) == second.get(name) for name in _SAME)
    return same and same_content(first, second) is not False


def same_content(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool | None:
    """Whether all pixels of the images of two files are the same, by their digests; None where that cannot be told.

    It cannot where pictures came to another size, and where one file is of before there were digests. Without one in
    both the images are taken for the same: those of a run's own data, which the name of the data tells.
    """
    if "content" not in first and "content" not in second:
        return True
    if first.get("view") != second.get("view"):
        return None
    return bool(first.get("content") == second.get("content"))


def differences_by_kind(first: Figure, second: Figure) -> dict[str, Interval]:
    """The paired differences on base and on novel queries, and by the number of base classes in the task.

    Args:
      first, second: figures on the same tasks, the second of which is subtracted.

    Returns:
      The differences over the tasks that have such queries, by "base queries", "novel queries" and "with 0 base
      classes", ...; those that no task has are left out, and all are where a figure does not know them.
    """
    if not {*PARTS} <= first.parts.keys() & second.parts.keys():
        return {}
    found = {}
    for name in QUERIES:
        of_first, of_second = first.parts[name], second.parts[name]
        there = np.isfinite(of_first) & np.isfinite(of_second)
        found[name.replace("_", " ")] = of_first[there], of_second[there]
    numbers = first.parts["base_classes"]
    for number in np.unique(numbers):
        there = numbers == number
        found[f"with {number} base class{'' if number == 1 else 'es'}"] = first.accuracy[there], second.accuracy[there]
    return {what: paired_difference(*accuracies) for what, accuracies in found.items() if len(accuracies[0])}
