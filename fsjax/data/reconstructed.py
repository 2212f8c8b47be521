"""Novel and base classes in one set to draw tasks from: "reconstructed" data (AFLM, Sec. 4;
docs/readings.md, "Reconstructed data").

Beside the novel classes stand some of the base classes, with images that were kept out of training
(`config.data.base_holdout`). Which base classes is drawn with a seed; the tests and the validation have different ones.
For the packaged class splits they are published in `class_splits/reconstructed`.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from fsjax.data import random
from fsjax.data.class_splits import ClassLists
from fsjax.data.errors import DataError
from fsjax.data.examples import ArrayExamples, Examples, StreamExamples
from fsjax.data.load import Splits
from fsjax.data.sources.source import merged
from fsjax.options.few_shot import ReconstructedOptions


@dataclasses.dataclass(frozen=True, eq=False)
class Reconstructed:
    """Images of novel and of base classes under common labels: 0, 1, ... are the novel ones, the base ones follow.

    Attributes:
      labels: int32 `[n]`; first all images of novel classes, then those of base classes, each in their split's order.
      class_names: by label.
      is_base: bool `[classes]`, by label.
      pieces: the novel and the base split, and the positions in them that were taken.
    """

    labels: np.ndarray
    class_names: tuple[str, ...]
    is_base: np.ndarray
    pieces: tuple[tuple[Examples, np.ndarray], ...]

    @functools.cached_property
    def examples(self) -> Examples:
        """The images: a copy of those in memory, or a stream that reads from both splits."""
        arrays = [(of, positions) for of, positions in self.pieces if isinstance(of, ArrayExamples)]
        if arrays:
            images = np.concatenate([of.images[positions] for of, positions in arrays])
            boxes = [of.boxes[positions] for of, positions in arrays if of.boxes is not None]
            if len(boxes) < len(arrays):
                return ArrayExamples(images=images, labels=self.labels)
            return ArrayExamples(images=images, labels=self.labels, boxes=np.concatenate(boxes))
        streams = [(of, positions) for of, positions in self.pieces if isinstance(of, StreamExamples)]
        part = merged([of.part.take(positions) for of, positions in streams])
        return dataclasses.replace(streams[0][0], part=dataclasses.replace(part, labels=self.labels))


def reconstruct(splits: Splits, part: str, config: ReconstructedOptions) -> Reconstructed:
    """Novel and base classes together.

    Args:
      splits: of a run, with `data.base_holdout` above 0.
      part: "test" (the novel classes, and base ones beside them) or "validation".
      config: how many base classes and images.

    Raises:
      DataError: if there are no such images, or not so many base classes.
    """
    info = splits.info
    names = {"test": info.test_classes, "validation": info.validation_classes}
    novel, base = getattr(splits, part), splits.base
    if novel is None:
        what = "novel" if part == "test" else "validation"
        raise DataError(f"there are no images of the {what} classes: choose a class split that has them")
    if base is None:
        raise DataError(
            "tasks of novel and base classes together need images of the base classes that were kept out of training: "
            "set config.data.base_holdout above 0 and train anew"
        )
    counts = {"novel": len(names["test"]), "validation": len(names["validation"])}
    chosen = choose_base(info.num_classes, config, **counts)
    if not chosen[part]:
        other = "validation" if part == "test" else "test"
        raise DataError(
            f"all {info.num_classes} base classes are the {other} tasks' and none is left for those of the {part}: set "
            f"few_shot.reconstructed.{other}_base below {info.num_classes}"
        )
    count = len(names[part])
    of_novel = _taken(novel.labels, range(count), random.fold(_key(config, random.RECONSTRUCTED_IMAGES), 0), config)
    of_base = _taken(base.labels, chosen[part], random.fold(_key(config, random.RECONSTRUCTED_IMAGES), 1), config)
    # Of a base class, its place among those that were chosen.
    new = np.zeros(info.num_classes, np.int32)
    new[list(chosen[part])] = count + np.arange(len(chosen[part]), dtype=np.int32)
    return Reconstructed(
        labels=np.concatenate([novel.labels[of_novel], new[base.labels[of_base]]]).astype(np.int32),
        class_names=(*names[part], *(info.class_names[label] for label in chosen[part])),
        is_base=np.arange(count + len(chosen[part])) >= count,
        pieces=((novel, of_novel), (base, of_base)),
    )


def choose_base(
    num_base: int, config: ReconstructedOptions, *, novel: int, validation: int
) -> dict[str, tuple[int, ...]]:
    """The base classes that stand beside the novel and beside the validation classes.

    Args:
      num_base: base classes that there are.
      config: how many are wanted, and the seed.
      novel, validation: novel and validation classes that there are, for the numbers that are 0 in the config.

    Returns:
      Labels by part, "test" and "validation", sorted; no label is in both.

    Raises:
      DataError: for more base classes than there are.
    """
    test = config.test_base or min(novel, max(num_base - config.validation_base, 0))
    validation = config.validation_base or min(validation, max(num_base - test, 0))
    if test + validation > num_base:
        raise DataError(
            f"few_shot.reconstructed.test_base={config.test_base} and validation_base={config.validation_base} need "
            f"{test + validation} base classes, {test} for the test and {validation} others for the validation; there "
            f"are {num_base}: lower them, or set one to 0, which is what the other leaves"
        )
    order = random.permutation(_key(config, random.RECONSTRUCTED), num_base).tolist()
    return {
        "test": tuple(sorted(order[:test])),
        "validation": tuple(sorted(order[test : test + validation])),
    }


def published(lists: ClassLists, config: ReconstructedOptions, name: str) -> dict[str, Any]:
    """The classes of a class split's reconstructed data, as JSON types.

    They are those of runs whose data hold all classes of the lists.

    Args:
      lists: of the class split.
      config: the number of base classes, and the seed.
      name: of the class split.
    """
    chosen = choose_base(len(lists.train), config, novel=len(lists.test), validation=len(lists.validation))

    def named(part: str, names: Sequence[str]) -> dict[str, list[str]]:
        return {"novel": list(names), "base": [lists.train[label] for label in chosen[part]]}

    return {
        "source": f"{lists.source}; base classes drawn by fsjax.data.reconstructed.choose_base",
        "split": name,
        "seed": config.seed,
        "images_per_class": config.images,
        "train": list(lists.train),
        "val": named("validation", lists.validation),
        "test": named("test", lists.test),
    }


def _key(config: ReconstructedOptions, stream: int) -> random.Key:
    return random.fold(random.key(config.seed), stream)


def _taken(labels: np.ndarray, classes: Sequence[int], key: random.Key, config: ReconstructedOptions) -> np.ndarray:
    """Sorted positions of these classes' images, at most `config.images` of each; a class's depend on no other."""
    taken = []
    for label in classes:
        members = np.flatnonzero(labels == label)
        if config.images:
            members = members[random.permutation(random.fold(key, label), len(members))[: config.images]]
        taken.append(members)
    return np.sort(np.concatenate(taken))
