"""What a source gives: named classes, and parts whose images are read one at a time."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from fsjax.data.errors import DataError


@dataclasses.dataclass(frozen=True)
class Part:
    """One split of a source, its labels known, its images not read yet.

    Attributes:
      labels: int32 `[n]`.
      read: item of the source -> uint8 image `[height, width, channels]`; may be called from several threads.
      locate: item -> where it is from, in words, for messages.
      items: int64 `[n]`, what `read` is called with.
      channels: of all images.
      image_shape: (height, width, channels) where all images of the source are known to have it.
      boxes: float32 `[n, 4]`, one box per image: ymin, xmin, ymax, xmax in 0..1 of what `read` gives; None for a part
        without boxes.
      size: item -> (height, width) of what `read` gives, at less cost; None where only `read` tells.
      viewed: whether `read` gives images as the network sees them already; `image_shape` and `size` are still those of
        the pictures that they were made of.
      images: of a part that is viewed, what `read` gives by item, uint8 `[m, height, width, channels]`; None where they
        are not one array.
    """

    labels: np.ndarray
    read: Callable[[int], np.ndarray]
    locate: Callable[[int], str]
    items: np.ndarray
    channels: int
    image_shape: tuple[int, int, int] | None = None
    boxes: np.ndarray | None = None
    size: Callable[[int], tuple[int, int]] | None = None
    viewed: bool = False
    images: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, positions: np.ndarray) -> "Part":
        """The part with only the examples at these positions."""
        boxes = None if self.boxes is None else self.boxes[positions]
        return dataclasses.replace(self, labels=self.labels[positions], items=self.items[positions], boxes=boxes)

    def relabelled(self, new: np.ndarray) -> "Part":
        """The part with label `new[label]` instead of each label."""
        return dataclasses.replace(self, labels=new[self.labels].astype(np.int32))

    def size_of(self, item: int) -> tuple[int, int]:
        """Height and width of an item's image; raises what `read` raises."""
        return self.read(item).shape[:2] if self.size is None else self.size(item)


@dataclasses.dataclass(frozen=True)
class Source:
    """A data set before a config's choices.

    Attributes:
      name: of the data set.
      class_names: by label.
      train, validation, test: its parts; None for those that it does not have.
      notes: what a user should know of how it was read.
      version: of data that TFDS prepared, such as "cifar100/3.0.2"; "" where nothing tells.
    """

    name: str
    class_names: tuple[str, ...]
    train: Part
    validation: Part | None = None
    test: Part | None = None
    notes: tuple[str, ...] = ()
    version: str = ""


def array_part(images: np.ndarray, labels: np.ndarray, where: str) -> Part:
    """A part of images in memory, uint8 `[n, height, width, channels]`."""
    return Part(
        labels=labels.astype(np.int32),
        read=images.__getitem__,
        locate=lambda item: f"example {item} of {where}",
        items=np.arange(len(images)),
        channels=images.shape[-1],
        image_shape=images.shape[1:],
    )


def merged(parts: Sequence[Part]) -> Part:
    """One part of the examples of several, which follow each other; its items are 0, 1, ...

    It has boxes if all of them have.
    """
    if len(parts) == 1:
        return parts[0]
    items = np.concatenate([part.items for part in parts])
    owner = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    shapes = {part.image_shape for part in parts}
    return Part(
        labels=np.concatenate([part.labels for part in parts]),
        read=lambda item: parts[owner[item]].read(items[item]),
        locate=lambda item: parts[owner[item]].locate(items[item]),
        items=np.arange(len(items)),
        channels=parts[0].channels,
        image_shape=shapes.pop() if len(shapes) == 1 else None,
        boxes=None if any(part.boxes is None for part in parts) else np.concatenate([part.boxes for part in parts]),
        size=lambda item: parts[owner[item]].size_of(items[item]),
        viewed=all(part.viewed for part in parts),
    )


def check_labels(part: Part, num_classes: int) -> None:
    """Raise a `DataError` that names the first examples whose label is no class."""
    bad = np.flatnonzero((part.labels < 0) | (part.labels >= num_classes))
    if len(bad):
        named = "; ".join(f"{part.locate(part.items[i])}: label {part.labels[i]}" for i in bad[:10])
        raise DataError(
            f"{len(bad)} labels outside 0..{num_classes - 1}, the {num_classes} classes: {named}. "
            "Choose a split whose examples are labelled, or correct the labels"
        )


def checked_boxes(part: Part) -> tuple[Part, str]:
    """The part with its boxes cut off at the borders of the pictures, and a note ("" for none).

    Boxes without any area inside the picture, and what is no box at all, become NaN, and the note names the first: they
    serve the evaluation of localization alone, and are no reason not to classify the pictures.
    """
    if part.boxes is None:
        return part, ""
    boxes = part.boxes.clip(0, 1)
    # Written so that NaN, which no comparison holds for, is bad too.
    bad = np.flatnonzero(~(boxes[:, 2:] > boxes[:, :2]).all(axis=1))
    if not len(bad):
        return dataclasses.replace(part, boxes=boxes), ""
    boxes[bad] = np.nan
    named = "; ".join(f"{part.locate(part.items[i])}: {part.boxes[i].tolist()}" for i in bad[:10])
    return dataclasses.replace(part, boxes=boxes), (
        f"{len(bad)} of {len(part)} boxes (ymin, xmin, ymax, xmax in 0..1) hold nothing of their pictures, and are "
        f"passed over: {named}{'; …' if len(bad) > 10 else ''}"
    )
