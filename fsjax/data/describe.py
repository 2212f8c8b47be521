"""The check of the data before training, in words."""

import hashlib

import numpy as np

from fsjax.data.examples import ArrayExamples, Examples
from fsjax.data.load import Splits

_NAMED = 5


def describe(splits: Splits) -> str:
    """Classes, counts, sizes, normalisation, and what looks odd, in a few lines."""
    info = splits.info
    counts = np.array(info.class_counts)
    height, width, channels = info.image_shape
    size = f"{height}×{width}, " + ("grey" if channels == 1 else "colour")
    parts = ", ".join(f"{count:,} {split}" for split, count in info.counts.items())
    lines = [
        f"{info.name}: {info.num_classes} classes ({_some(info.class_names)}), images {size}",
        f"  examples: {parts}",
        f"  training examples a class: {counts.min():,} to {counts.max():,}, median {np.median(counts):,g}"
        + (f", imbalance {counts.max() / counts.min():.3g}" if counts.min() else ""),
        f"  normalised by mean {_numbers(info.mean)} and deviation {_numbers(info.std)} (of images in 0..1)",
        *(f"  {note}" for note in splits.notes),
        *(f"  note: {oddity}" for oddity in _oddities(splits)),
    ]
    return "\n".join(lines)


def _oddities(splits: Splits) -> list[str]:
    info = splits.info
    names = np.array(info.class_names)
    odd = []
    empty = names[np.array(info.class_counts) == 0]
    if len(empty):
        odd.append(f"{len(empty)} classes without training examples: {_some(empty)}")
    if splits.test is None:
        odd.append("there is no test split")
    for split in ("validation", "test"):
        examples = getattr(splits, split)
        if examples is None:
            continue
        absent = names[np.bincount(examples.labels, minlength=len(names)) == 0]
        if len(absent):
            odd.append(f"{len(absent)} classes without {split} examples: {_some(absent)}")
        shared = _shared(splits.train, examples)
        if shared:
            odd.append(f"{shared:,} {split} images are also training images, pixel by pixel")
    return odd


def _shared(train: Examples, other: Examples) -> int:
    """How many images of a split are also in the training split; only in memory, where it is cheap."""
    if not isinstance(train, ArrayExamples) or not isinstance(other, ArrayExamples):
        return 0
    known = {_digest(image) for image in train.images}
    return sum(_digest(image) in known for image in other.images)


def _digest(image: np.ndarray) -> bytes:
    return hashlib.blake2b(image, digest_size=16).digest()


def _some(names: np.ndarray | tuple[str, ...]) -> str:
    return ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.4f}" for value in values)
