"""A source divided by its classes: base classes to train on, others to validate and to test on."""

from collections.abc import Sequence

import numpy as np

from fsjax.data import random
from fsjax.data.class_splits import load_class_split
from fsjax.data.config import DataConfig
from fsjax.data.errors import DataError
from fsjax.data.sources import Part, Source, merged

Classes = dict[str, tuple[str, ...]]

# With `data.keep_test`: of base and of novel classes, the parts of their training and of their test images.
_KEPT = {"train": ("train", "base"), "test": ("support", "test")}


def divide(source: Source, config: DataConfig, notes: list[str]) -> tuple[dict[str, Part], Classes]:
    """The parts of a source by class, with labels 0, 1, ... in each; says in `notes` what was chosen.

    All parts of the source are put together first: with other classes in each part, its own division into
    training and test images means nothing. With `data.keep_test` it stays: learning novel classes one after the other
    is tested on all classes seen so far, on the images of the source's test part.

    Args:
      source: what `load_source` gave.
      config: with a class split.
      notes: appended to.

    Returns:
      Parts and class names by "train" (the base classes), "validation" (where there are such classes) and
      "test" (the novel ones). Labels follow the order of the lists. With `data.keep_test`, "train" and "test" are of
      the source's training and of its test part, and there are "base", the base classes' test images, and "support",
      the novel classes' training images.

    Raises:
      UserError: as `load_class_split`; for `data.keep_test` of a source without a test part.
    """
    if config.keep_test and source.test is None:
        raise DataError(
            f"data.keep_test keeps the test part of {source.name}, which has none: name it in data.test_split, or set "
            "data.keep_test=False and data.base_holdout above 0"
        )
    tested = 0 if source.test is None else len(source.test)
    whole = merged([part for part in (source.train, source.validation, source.test) if part is not None])
    counts = np.bincount(whole.labels, minlength=len(source.class_names))
    labels, said = load_class_split(config.class_split, source.class_names, counts)
    notes += said
    parts, classes = {}, {}
    for name, chosen in labels.items():
        if not len(chosen):
            continue
        new = np.full(len(source.class_names), -1, np.int32)
        new[chosen] = np.arange(len(chosen), dtype=np.int32)
        positions = np.flatnonzero(new[whole.labels] >= 0)
        classes[name] = tuple(source.class_names[label] for label in chosen)
        pieces = {name: positions}
        if config.keep_test and name in _KEPT:
            # The source's test part is the last of those that were put together.
            is_test = positions >= len(whole) - tested
            pieces = dict(zip(_KEPT[name], (positions[~is_test], positions[is_test]), strict=True))
        for piece, taken in pieces.items():
            if not len(taken):
                raise DataError(
                    f"data.keep_test leaves the {piece} part of {source.name} without images: set it to False"
                )
            parts[piece] = whole.take(taken).relabelled(new)
    return parts, classes


def hold_out(part: Part, count: int, class_names: Sequence[str], *, seed: int) -> tuple[Part, Part]:
    """Two parts: what stays for training, and `count` images of each class, drawn with this seed.

    Raises:
      DataError: for a class that would keep no image.
    """
    taken = []
    for label, name in enumerate(class_names):
        members = np.flatnonzero(part.labels == label)
        if len(members) <= count:
            raise DataError(
                f"data.base_holdout={count} leaves base class {name!r} without training images: it has "
                f"{len(members)}; set data.base_holdout below that"
            )
        key = random.fold(random.key(seed), random.HOLDOUT, label)
        taken.append(members[random.permutation(key, len(members))[:count]])
    held = np.sort(np.concatenate(taken))
    rest = np.setdiff1d(np.arange(len(part)), held, assume_unique=True)
    return part.take(rest), part.take(held)
