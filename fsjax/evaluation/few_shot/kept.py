"""What is kept of scored tasks: their classes and images, and which queries were classified rightly."""

import dataclasses
import functools
from collections.abc import Mapping

import numpy as np

from fsjax.data import ClassTable, EpisodeDigest

# The index arrays of tasks.
_INDICES = ("classes", "support", "query")


@dataclasses.dataclass(frozen=True, eq=False)
class TaskScores:
    """The result of many tasks.

    Attributes:
      classes: int32 `[tasks, way]`, the classes of each task; -1 is padding.
      support: int16 or int32 `[tasks, way, shot]`, positions of their support images; likewise.
      query: the same `[tasks, way, queries]` of their queries.
      right: bool `[tasks, way, queries]`, which of them were classified rightly; False of padding.
      images: int32 `[classes]`, images of each class of the data that the tasks are drawn from.
      new: bool `[classes]`, which of them stand for others: those that the network was not trained on.
      episodes: hash of the tasks.
    """

    classes: np.ndarray
    support: np.ndarray
    query: np.ndarray
    right: np.ndarray
    images: np.ndarray
    new: np.ndarray
    episodes: str

    @property
    def num_classes(self) -> int:
        """Of the data that the tasks are drawn from."""
        return len(self.images)

    @functools.cached_property
    def hits(self) -> np.ndarray:
        """int64 `[tasks, way]`, queries of each class of a task that were classified rightly."""
        return self.right.sum(2, dtype=np.int64)

    @functools.cached_property
    def queries(self) -> np.ndarray:
        """int64 `[tasks, way]`, queries of each class of a task."""
        return (self.query >= 0).sum(2, dtype=np.int64)

    @functools.cached_property
    def accuracy(self) -> np.ndarray:
        """float64 `[tasks]`, the share of each task's queries that were classified rightly."""
        return self.hits.sum(1) / self.queries.sum(1)

    @functools.cached_property
    def correct(self) -> np.ndarray:
        """int64 `[classes]`, queries of each class over all tasks that were classified rightly."""
        return self._by_class(self.hits)

    @functools.cached_property
    def count(self) -> np.ndarray:
        """int64 `[classes]`, queries of each class over all tasks."""
        return self._by_class(self.queries)

    def _by_class(self, numbers: np.ndarray) -> np.ndarray:
        total, present = np.zeros(self.num_classes, np.int64), self.classes >= 0
        np.add.at(total, self.classes[present], numbers[present])
        return total


class Tally:
    """Keeps tasks as they come, and which of their queries each of several rules classifies rightly."""

    def __init__(self, table: ClassTable, num_rules: int) -> None:
        self._images = np.asarray(table.count)
        # 2 bytes an image where they suffice: with the answers, 10,000 tasks of 100 images are 3 MB instead of 5.
        self._dtype = np.int16 if self._images.sum() <= np.iinfo(np.int16).max else np.int32
        self._tasks: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._right: list[list[np.ndarray]] = [[] for _ in range(num_rules)]
        self._digest = EpisodeDigest()

    def add(self, classes: np.ndarray, support: np.ndarray, query: np.ndarray, hits: list[np.ndarray]) -> None:
        """Add a chunk of tasks: index arrays as in `fsjax.data.Episodes`, and by rule hits `[tasks, way, query]`."""
        self._tasks.append((classes, support.astype(self._dtype), query.astype(self._dtype)))
        for kept, of_rule in zip(self._right, hits, strict=True):
            kept.append(of_rule & (query >= 0))
        self._digest.update(classes, support, query)

    def scores(self) -> list[TaskScores]:
        """All of them, by rule; the index arrays are shared."""
        classes, support, query = (np.concatenate(arrays) for arrays in zip(*self._tasks, strict=True))
        new = np.ones(len(self._images), bool)
        return [
            TaskScores(classes, support, query, np.concatenate(right), self._images, new, self._digest.hash)
            for right in self._right
        ]


def arrays_of(scores: TaskScores, name: str) -> dict[str, np.ndarray]:
    """The arrays of a figure's tasks for an `.npz` file, in few bytes; `scores_of` reads them.

    Figures on the same tasks share "tasks_HASH_classes", "tasks_HASH_support" and "tasks_HASH_query": positions among
    the images that the tasks are drawn from, -1 is padding.

    Args:
      scores: of the tasks.
      name: of the figure, before "_right" (8 queries a byte, by `numpy.packbits`), "_images" and "_new".
    """
    tasks = {f"tasks_{scores.episodes}_{part}": _small(getattr(scores, part)) for part in _INDICES}
    own = {"right": np.packbits(scores.right), "images": scores.images, "new": scores.new}
    return tasks | {f"{name}_{part}": array for part, array in own.items()}


def scores_of(arrays: Mapping[str, np.ndarray], name: str, episodes: str) -> TaskScores | None:
    """The tasks of a figure; None of a file of before they were kept.

    Args:
      arrays: of the file.
      name: of the figure.
      episodes: the hash of its tasks.

    Raises:
      ValueError: for arrays that do not fit each other.
    """
    if f"{name}_right" not in arrays:
        return None
    classes, support, query = (arrays[f"tasks_{episodes}_{part}"] for part in _INDICES)
    images, new = arrays[f"{name}_images"], arrays[f"{name}_new"]
    right = np.unpackbits(arrays[f"{name}_right"], count=query.size).reshape(query.shape).astype(bool)
    if support.shape[:2] != classes.shape or query.shape[:2] != classes.shape or new.shape != images.shape:
        raise ValueError(f"the tasks of figure {name} and their images do not fit")
    if classes.max() >= len(images) or max(support.max(), query.max()) >= images.sum():
        raise ValueError(f"the tasks of figure {name} have classes or images that there are not")
    return TaskScores(classes.astype(np.int32), support, query, right, images, new, episodes)


def _small(index: np.ndarray) -> np.ndarray:
    """The same integers in as few bytes as hold them."""
    most = int(index.max(initial=0))
    return index.astype(next(dtype for dtype in (np.int8, np.int16, np.int32) if most <= np.iinfo(dtype).max))
