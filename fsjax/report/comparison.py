"""The section of paired comparisons: what the images or tasks of two runs have in common cancels."""

import itertools
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

from fsjax.evaluation.few_shot.intervals import KINDS
from fsjax.evaluation.few_shot.paired import pairs
from fsjax.evaluation.few_shot.statistics import Interval, paired_difference
from fsjax.pages import Html, section, table
from fsjax.report.classified import Classified
from fsjax.report.tasks import Tasked
from fsjax.report.wording import difference, note, percent, task_of

T = TypeVar("T")
# Up to so many runs, each with each; of more, each with the first.
_ALL = 5


def comparison(classified: Sequence[Classified], tasked: Sequence[Tasked]) -> Html | str:
    """The section; why there is none."""
    if len(classified) < 2 and len(tasked) < 2:
        return "it needs two runs whose images or tasks were evaluated."
    rows, apart = _by_image(classified)
    task_rows, task_apart = _by_task(tasked)
    apart += task_apart
    parts: list[Any] = []
    if rows:
        header = [
            "Runs",
            "Accuracies, %",
            "Difference, points ± new images",
            "Images",
            "Only the first right",
            "Only the second",
        ]
        parts.append(table(header, rows, caption="Paired by image", numeric=range(2, 6)))
    if task_rows:
        new = [f"± {words}" for words in KINDS.values()]
        header = ["Runs", "Tasks of", "Accuracies, %", "Difference, points ± tasks", *new, "Tasks", "Episodes"]
        parts.append(table(header, task_rows, caption="Paired by task", numeric=range(3, 7)))
    if apart:
        parts.append(note(f"Not paired, since they are of other images or classes: {'; '.join(apart)}."))
    if not rows and not task_rows:
        return f"no two of the runs were evaluated on the same images or tasks ({'; '.join(apart)})."
    parts.insert(
        0,
        note(
            "First minus second, with 95 % intervals of the mean difference: what other images of the same classes "
            "would change, of tasks also what other tasks of the same images would, and other classes with their "
            "images. One that leaves out 0 tells the two checkpoints apart on such images or classes. What another "
            "seed of training would change is in none."
        ),
    )
    return section("Paired comparison", parts, anchor="comparison")


def couples(found: Sequence[T]) -> list[tuple[T, T]]:
    """Each with each, or of many each with the first."""
    if len(found) <= _ALL:
        return list(itertools.combinations(found, 2))
    return [(found[0], other) for other in found[1:]]


def _by_image(found: Sequence[Classified]) -> tuple[list[list[Any]], list[str]]:
    rows, apart = [], []
    for first, second in couples(found):
        if not first.same_images(second):
            apart.append(f"{first.name} and {second.name}")
            continue
        a, b = first.right, second.right
        rows.append(
            [
                f"{first.name} − {second.name}",
                f"{percent(a.mean())} and {percent(b.mean())}",
                _words(paired_difference(a, b)),
                f"{len(a):,}",
                int(np.sum(a & ~b)),
                int(np.sum(b & ~a)),
            ]
        )
    return rows, apart


def _by_task(found: Sequence[Tasked]) -> tuple[list[list[Any]], list[str]]:
    rows, apart = [], []
    for first, second in couples(found):
        of_both = [
            [
                f"{first.name} − {second.name}",
                f"{task_of(a.facts)}, {a.facts['classes']} classes",
                f"{percent(a.facts['accuracy'])} and {percent(b.facts['accuracy'])}",
                _words(found.tasks),
                *(percent(found.half_widths[name]) for name in KINDS),
                f"{found.tasks.count:,}",
                a.facts["episodes"],
            ]
            for a, b, found in pairs(first.figures, second.figures)
        ]
        rows += of_both
        if not of_both:
            apart.append(f"{first.name} and {second.name}")
    return rows, apart


def _words(interval: Interval) -> str:
    return difference(interval.mean, interval.half_width)
