"""How far an accuracy over tasks would move with other tasks, other images of the same classes, and other classes.

Tasks are drawn from a fixed pool of images and classes, and the interval over tasks knows nothing else: with more tasks
it shrinks to nothing. What another pool would give is seen by leaving out of this one a class, or an image, at a time
(the jackknife: Miller 1974; of statistics that are means over all tasks of a pool, U-statistics: Arvesen 1969).
Nothing is drawn or classified anew for that, since every replicate is a weighted mean over the tasks that are there:

- Without class c a task is drawn from C - 1 classes. Of the tasks of k classes the share C / (C - k) weighs those that
  avoid c, and the others count nothing.
- Without image i of a class of n, a query's chance to be right depends on its own image and the support images alone, k
  of which are of that class: n / (n - k) weighs those that avoid i. So a query that is left out takes its own answer
  with it, and no other one.

The tasks are finitely many, which adds to the variance of replicates as well: it is known from how the tasks' own
contributions scatter, and subtracted (as Wager, Hastie & Efron 2014 do for bagged predictors).
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from scipy.special import stdtrit

from fsjax.evaluation.few_shot.kept import TaskScores
from fsjax.evaluation.few_shot.statistics import Interval, paired_difference

# By name in `Intervals.half_widths` and in a figure's facts, after "interval_".
KINDS = {"new_images": "new images", "new_classes": "new classes"}
# So few classes say too little of how others would differ.
FEWEST_CLASSES = 5
# What the tasks add is not subtracted further than to this many degrees of freedom: the rest would be noise.
_FEWEST_DEGREES = 4.0
# Tasks that are counted at once: temporary arrays do not grow with their number.
_CHUNK = 4096
# Queries of a class's mean that the mean over all classes counts for, where a class is in few tasks.
_PRIOR = 60.0


@dataclasses.dataclass(frozen=True)
class Intervals:
    """A mean over tasks, of accuracies or of paired differences, with its 95 % intervals.

    Attributes:
      tasks: of the mean over other tasks of the same images.
      half_widths: by `KINDS`, of the mean over tasks of other images of the same classes, and of other classes with
        their images; what other tasks would change is in them. None: not known.
      not_known: why, in words, by `KINDS`.
    """

    tasks: Interval
    half_widths: Mapping[str, float | None]
    not_known: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The entries of a figure's facts: "interval" over tasks, "interval_new_images", ..., and "not_known"."""
        found = {f"interval_{name}": self.half_widths[name] for name in KINDS}
        more = {"not_known": dict(self.not_known)} if self.not_known else {}
        return {"interval": self.tasks.half_width, **found, **more}

    def __str__(self) -> str:
        return in_words(self.to_json())


def in_words(facts: Mapping[str, Any]) -> str:
    """The intervals of a figure: "± 0.20 tasks, ± 0.61 new images, new classes not known (...)".

    Args:
      facts: what `Intervals.to_json` gives.
    """
    widths = [(KINDS[name], facts.get(f"interval_{name}")) for name in KINDS]
    known = [f"± {100 * width:.2f} {of}" for of, width in widths if width is not None]
    words = [word for word in (tasks_in_words(facts["interval"]), *known) if word]
    reasons: dict[str, list[str]] = {}
    for name, why in facts.get("not_known", {}).items():
        reasons.setdefault(why, []).append(KINDS[name])
    return ", ".join([*words, *(f"{' and '.join(of)} not known ({why})" for why, of in reasons.items())])


def tasks_in_words(half_width: float) -> str:
    """ "± 0.20 tasks"; nothing of one task, which has no interval."""
    return f"± {100 * half_width:.2f} tasks" if np.isfinite(half_width) else ""


def without_tasks(interval: Interval, why: str) -> Intervals:
    """The interval over tasks alone; why there are no others."""
    return Intervals(interval, dict.fromkeys(KINDS), dict.fromkeys(KINDS, why))


def intervals_of(interval: Interval, scores: TaskScores, minus: TaskScores | None = None) -> Intervals:
    """The intervals of scored tasks.

    Args:
      interval: of the mean over tasks.
      scores: of the tasks.
      minus: of another method on the same tasks, which is subtracted query by query.
    """
    found: dict[str, float | None] = {}
    reasons = {}
    variance = interval.deviation**2 / interval.count
    for name, part in (("new_images", _of_images), ("new_classes", _of_classes)):
        replicates = "there is one task only" if interval.count < 2 else part(scores, minus)
        if isinstance(replicates, str):
            found[name], reasons[name] = None, replicates
        else:
            found[name] = max(replicates.half_width(variance), interval.half_width)
    return Intervals(interval, found, reasons)


def paired_intervals(first: TaskScores, second: TaskScores) -> Intervals:
    """The mean of `first - second` over the same tasks, with its intervals."""
    return intervals_of(paired_difference(first.accuracy, second.accuracy), first, second)


@dataclasses.dataclass(frozen=True)
class _Replicates:
    """The jackknife of a mean over tasks.

    Attributes:
      variance: of the mean, seen in the replicates.
      of_tasks: the part of it that is there since the tasks are finitely many.
      degrees: of freedom.
    """

    variance: float
    of_tasks: float
    degrees: int

    def half_width(self, variance_of_mean: float) -> float:
        """Of the 95 % interval, given the variance that the tasks' number gives the mean itself."""
        # The estimate of the variance scatters as one of all of `variance`, also after the subtraction: what remains
        # has fewer degrees of freedom (Satterthwaite 1946).
        if not self.variance:
            return 0.0
        least = min(_FEWEST_DEGREES, self.degrees)
        remaining = max(self.variance - self.of_tasks + variance_of_mean, self.variance * (least / self.degrees) ** 0.5)
        degrees = self.degrees * min(remaining / self.variance, 1.0) ** 2
        return float(stdtrit(degrees, 0.975)) * remaining**0.5


def _of_classes(scores: TaskScores, minus: TaskScores | None) -> _Replicates | str:
    """The replicates without a class each; why there are none."""
    new, tasks = scores.new, len(scores.classes)
    total = int(new.sum())
    if not total:
        return "the network was trained on these classes"
    chosen = (scores.classes >= 0) & new[scores.classes]  # -1, padding, reads the last class, and is not chosen
    ways = chosen.sum(1)
    if ways.max() >= total:
        return f"a task can have all {total} classes"
    if total < FEWEST_CLASSES:
        return f"there are {total} classes only"
    accuracy = scores.accuracy - (0 if minus is None else minus.accuracy)
    # Tasks of as many classes are compared with each other: how many there are is not what a class brings.
    of_way = np.bincount(ways, weights=accuracy) / np.maximum(np.bincount(ways), 1)
    rest = accuracy - of_way[ways]
    weighted = rest * total / (total - ways)
    sums = np.bincount(
        scores.classes[chosen], weights=np.broadcast_to(weighted[:, None], chosen.shape)[chosen], minlength=len(new)
    )[new]
    left_out = (np.sum(rest * ways / (total - ways)) - sums) / tasks
    factor = (total - 1) / total
    squares = rest**2 * ways * total / (total - ways)
    variance = factor * float(np.sum(left_out**2))
    return _Replicates(variance, _of_tasks(factor * float(np.sum(squares)), variance, tasks), total - 1)


def _of_images(scores: TaskScores, minus: TaskScores | None) -> _Replicates | str:
    """The replicates without an image each; why there are none."""
    least = int(scores.images[np.unique(scores.classes[scores.classes >= 0])].min())
    if least < scores.support.shape[2] + 2:
        return f"a class has {least} images only"
    tasks, classes = len(scores.classes), scores.num_classes
    sums, label = np.zeros(int(scores.images.sum())), np.zeros(int(scores.images.sum()), np.int64)
    squares = 0.0
    for part in _contributions(scores, minus):
        for index, values in ((part.support, part.of_support), (part.query, part.of_query)):
            real = index >= 0
            sums += np.bincount(index[real], weights=values[real], minlength=len(sums))
            label[index[real]] = np.broadcast_to(part.classes[..., None], index.shape)[real]
        squares += part.squares
    sums /= tasks
    images = np.maximum(scores.images, 1)
    of_class, squared = (np.bincount(label, weights=x, minlength=classes) for x in (sums, sums**2))
    variance = float(np.sum((images - 1) / images * (squared - of_class**2 / images)))
    return _Replicates(max(variance, 0.0), _of_tasks(squares, variance, tasks), int(np.sum(images - 1)))


def _of_tasks(squares: float, variance: float, tasks: int) -> float:
    """What the tasks' number adds to a jackknife's variance, given the sum over tasks of their own sums of squares."""
    return (squares / tasks - variance) / (tasks - 1)


@dataclasses.dataclass(frozen=True, eq=False)
class _Contributions:
    """What each image of some tasks contributes to the accuracy, beyond the mean image of its class.

    Attributes:
      classes, support, query: as of `TaskScores`.
      of_support, of_query: float64, by image.
      squares: the sum over tasks of the squares about the class's mean, as the jackknife weighs them.
    """

    classes: np.ndarray
    support: np.ndarray
    query: np.ndarray
    of_support: np.ndarray
    of_query: np.ndarray
    squares: float


def _contributions(scores: TaskScores, minus: TaskScores | None) -> Iterator[_Contributions]:
    """Those of all tasks, chunk by chunk."""
    right, count = _sums_by_class(scores, minus)
    for start in range(0, len(scores.classes), _CHUNK):
        part = slice(start, start + _CHUNK)
        classes, support, query = scores.classes[part], scores.support[part], scores.query[part]
        real, shots = query >= 0, (support >= 0).sum(2)
        # Of padding whatever is finite: it counts nowhere.
        images = np.where(classes >= 0, scores.images[classes], scores.images.max())
        answers = _answers(scores, minus, part)
        # A class's other tasks say what its queries come to in any: what is beyond them is due to the images. It makes
        # the scatter smaller, and changes no expectation.
        own_sum, own_count = answers.sum(2, where=real), real.sum(2)
        mean = (right[classes] - own_sum + _PRIOR * right.sum() / count.sum()) / (count[classes] - own_count + _PRIOR)
        rest = np.where(real, answers - mean[..., None], 0) / real.sum((1, 2))[:, None, None]
        of_queries = rest.sum(2)
        of_others = of_queries.sum(1, keepdims=True) - of_queries
        without_support, without_both = images / (images - shots), images / (images - shots - 1)
        each = without_support * of_others + without_both * of_queries
        of_query = without_both[..., None] * rest
        total, squared = shots * each + of_query.sum(2), shots * each**2 + (of_query**2).sum(2)
        squares = float(np.sum((images - 1) / images * (squared - total**2 / images)))
        of_support = np.broadcast_to(each[..., None], support.shape)
        yield _Contributions(classes, support, query, of_support, of_query, squares)


def _answers(scores: TaskScores, minus: TaskScores | None, part: slice) -> np.ndarray:
    """Whether queries are right, float64 `[tasks, way, query]`; of two methods the difference."""
    answers = scores.right[part].astype(np.float64)
    return answers if minus is None else answers - minus.right[part]


def _sums_by_class(scores: TaskScores, minus: TaskScores | None) -> tuple[np.ndarray, np.ndarray]:
    """The sum of answers and their number, float64 `[classes]`."""
    right = scores.correct - (0 if minus is None else minus.correct)
    return right.astype(np.float64), scores.count.astype(np.float64)
