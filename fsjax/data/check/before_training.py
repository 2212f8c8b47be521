"""The check of the data before training, in words."""

import hashlib

import numpy as np

from fsjax.data.examples import ArrayExamples, Examples
from fsjax.data.info import DataInfo
from fsjax.data.load import Splits

_NAMED = 5


def describe(splits: Splits) -> str:
    """Classes, counts, sizes, normalisation, and what looks odd, in a few lines.

    Under a class split also which tasks the validation, the novel and the held-out base images allow.
    """
    info = splits.info
    counts = np.array(info.class_counts)
    height, width, channels = info.image_shape
    size = f"{height}×{width}, " + ("grey" if channels == 1 else "colour")
    parts = ", ".join(f"{count:,} {split}" for split, count in info.counts.items())
    base = "base " if info.few_shot else ""
    lines = [
        f"{info.name}: {info.num_classes} {base}classes ({_some(info.class_names)}), images {size}",
        f"  examples: {parts}",
        *(_tasks(splits) if info.few_shot else ()),
        f"  training examples per class: {counts.min():,} to {counts.max():,}, median {np.median(counts):,g}"
        + (f", imbalance {counts.max() / counts.min():.3g}" if counts.min() else ""),
        f"  normalised by mean {_numbers(info.mean)} and deviation {_numbers(info.std)} (of images in 0..1)",
        *_boxes(splits),
        *(f"  {note}" for note in splits.notes),
        *(f"  note: {oddity}" for oddity in _oddities(splits)),
    ]
    return "\n".join(lines)


def _tasks(splits: Splits) -> list[str]:
    """Classes of the splits that tasks are drawn from, and the largest tasks that they allow."""
    lines = []
    kinds = {"validation": "validation", "test": "novel", "base": "held-out base", "support": "novel (for shots)"}
    for split, kind in kinds.items():
        examples = getattr(splits, split)
        if examples is None:
            continue
        names = _classes(splits.info, split)
        counts = np.bincount(examples.labels, minlength=len(names))
        smallest = int(counts.argmin())
        least, most = int(counts[smallest]), int(counts.max())
        lines.append(
            f"  {len(names)} {kind} classes ({_some(names)}) of {_range(least, most)} images: tasks of up to "
            f"{len(names)} ways, and shots + queries of up to {least:,}"
            + (f" ({names[smallest]!r} has the fewest)" if least < most else "")
        )
    return lines


def _boxes(splits: Splits) -> list[str]:
    """Which splits have boxes, and how many of them evaluation does not see."""
    given = {name: getattr(splits, name) for name in splits.info.counts}
    boxed = [name for name, examples in given.items() if examples.has_boxes]
    if not boxed:
        return []
    lines = [f"  one box per image: {', '.join(boxed)}"]
    for name in boxed:
        # Of a stream that is cut, the boxes are known only after a look into each file.
        if not isinstance(given[name], ArrayExamples) and given[name].view.cuts:
            continue
        unseen = int(np.isnan(given[name].boxes).any(axis=1).sum())
        if unseen:
            lines.append(
                f"  note: of {unseen:,} {name} images there is no box to be seen: it is none, or the centre crop cuts "
                'all of it off (data.fit="stretch" would keep it)'
            )
    return lines


def _classes(info: DataInfo, split: str) -> tuple[str, ...]:
    """The classes that the labels of a split number."""
    novel = info.test_classes
    own = {"validation": info.validation_classes, "test": novel, "support": novel}.get(split, ())
    return own if info.few_shot and own else info.class_names


def _oddities(splits: Splits) -> list[str]:
    info = splits.info
    odd = []
    empty = np.array(info.class_names)[np.array(info.class_counts) == 0]
    if len(empty):
        odd.append(f"{len(empty)} classes without training examples: {_some(empty)}")
    if splits.test is None:
        odd.append("there is no test split" + (": none of its classes is in the data" if info.few_shot else ""))
    known = _digests(splits.train)
    for split in ("validation", "test", "base", "support"):
        examples = getattr(splits, split)
        if examples is None:
            continue
        names = np.array(_classes(info, split))
        absent = names[np.bincount(examples.labels, minlength=len(names)) == 0]
        if len(absent):
            odd.append(f"{len(absent)} classes without {split} examples: {_some(absent)}")
        shared = sum(_digest(image) in known for image in examples.images) if known else 0
        if shared:
            odd.append(f"{shared:,} {split} images are also training images, pixel by pixel")
    return odd


def _digests(examples: Examples) -> set[bytes]:
    """Of all images of a split; only of one in memory, where it is cheap."""
    return {_digest(image) for image in examples.images} if isinstance(examples, ArrayExamples) else set()


def _digest(image: np.ndarray) -> bytes:
    return hashlib.blake2b(image.data, digest_size=16).digest()


def _range(least: int, most: int) -> str:
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def _some(names: np.ndarray | tuple[str, ...]) -> str:
    return ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.4f}" for value in values)
