"""The examples of a split: images in memory, or read as they are needed."""

import dataclasses
import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from fsjax.data.errors import DataError
from fsjax.data.pictures import random_resized_crop
from fsjax.data.sources import Part
from fsjax.data.view import View

# Decoded images lie in memory up to this size, unless `data.memory` says otherwise.
ARRAYS_BYTES = 2 * 10**9
_NAMED = 10
_CHUNK = 256


@dataclasses.dataclass(frozen=True)
class ArrayExamples:
    """A split in memory.

    Attributes:
      images: uint8 `[n, height, width, channels]`.
      labels: int32 `[n]`.
      boxes: float32 `[n, 4]`, one box per image: ymin, xmin, ymax, xmax in 0..1 of `images`, NaN where the centre crop
        holds nothing of it; None for data without boxes.
    """

    images: np.ndarray
    labels: np.ndarray
    boxes: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def has_boxes(self) -> bool:
        """Whether there is a box for each image."""
        return self.boxes is not None

    def gather(self, positions: np.ndarray) -> np.ndarray:
        """The images at these positions, uint8 `[len(positions), height, width, channels]`."""
        return self.images[positions]


@dataclasses.dataclass(frozen=True)
class StreamExamples:
    """A split whose images are read and decoded as needed.

    Attributes:
      part: where they are read from.
      view: how they come to the network's size.
      reference: the shape that all images must have.
    """

    part: Part
    view: View
    reference: "Reference"

    def __len__(self) -> int:
        return len(self.part)

    @property
    def labels(self) -> np.ndarray:
        """int32 `[n]`."""
        return self.part.labels

    @property
    def has_boxes(self) -> bool:
        """Whether there is a box for each image; no file is looked at."""
        return self.part.boxes is not None

    @functools.cached_property
    def boxes(self) -> np.ndarray | None:
        """float32 `[n, 4]` in 0..1 of the images as evaluation sees them, NaN and None as of `ArrayExamples`.

        Where a centre crop decides on them and the pictures' sizes are not known, the first use looks at the head of
        each file.
        """
        if self.part.boxes is None:
            return None
        return self.view.boxes(self.part.boxes, _sizes(self.part) if self.view.cuts else None)

    def image(self, position: int, crop: np.ndarray | None = None) -> np.ndarray:
        """One image, uint8 of the reference's shape: as evaluation sees it, or the random resized crop of these draws.

        Raises:
          DataError: for an image that cannot be read, or is of another size than the others.
        """
        item = self.part.items[position]
        image = read_item(self.part, item)
        if crop is not None:
            return random_resized_crop(image, self.view.image_size, crop, resize=self.view.resize)
        image = image if self.part.viewed else self.view.image(image)
        self.reference.check(image, self.part, item)
        return image


Examples = ArrayExamples | StreamExamples


def images_at(examples: Examples, positions: np.ndarray) -> np.ndarray:
    """The images at positions `[n]` of a split, uint8 `[n, height, width, channels]`, as evaluation sees them."""
    if isinstance(examples, ArrayExamples):
        return examples.gather(positions)
    images = np.empty((len(positions), *examples.reference.shape), np.uint8)
    for row, position in enumerate(positions):
        images[row] = examples.image(int(position))
    return images


@dataclasses.dataclass(frozen=True)
class Reference:
    """The shape that all images must have, and the image that has it, in words."""

    shape: tuple[int, int, int]
    name: str

    def check(self, image: np.ndarray, part: Part, item: int) -> None:
        """Raise a `DataError` that names both images if this one has another size."""
        if image.shape != self.shape:
            (height, width), (other_height, other_width) = self.shape[:2], image.shape[:2]
            raise DataError(
                f"images differ in size: {self.name} is {height}×{width}, {part.locate(item)} "
                f"{other_height}×{other_width} (height × width); set data.image_size to bring all to one size"
            )


def find_reference(part: Part, image_size: int) -> Reference:
    """The reference of a data set: `image_size`, its source's, or the first image that can be read."""
    if image_size:
        return Reference((image_size, image_size, part.channels), "data.image_size")
    if part.image_shape is not None:
        return Reference(part.image_shape, "the source's images")
    failed = {}
    for position, item in enumerate(part.items):
        try:
            return Reference(read_item(part, item).shape, part.locate(item))
        except DataError as error:
            failed[position] = error
    raise unreadable(part, failed)


def read_item(part: Part, item: int) -> np.ndarray:
    """An image of a part; raises a `DataError` that names it where it cannot be read."""
    return _asked(part, item, part.read)


def _sizes(part: Part) -> np.ndarray:
    """int64 `[n, 2]`, height and width of all images of a part, read in threads where they are not known."""
    if part.image_shape is not None:
        return np.tile(np.array(part.image_shape[:2]), (len(part), 1))
    sizes = np.empty((len(part), 2), np.int64)

    def look(position: int) -> None:
        sizes[position] = _asked(part, part.items[position], part.size_of)

    failed = failures(look, len(part))
    if failed:
        raise unreadable(part, failed)
    return sizes


def _asked(part: Part, item: int, question: Callable[[int], Any]) -> Any:
    """What a part answers about an item; raises a `DataError` that names the item where it cannot be read."""
    try:
        return question(item)
    except DataError:
        raise
    except Exception as error:
        # Pillow and its codecs raise almost anything for a broken file; a decompression bomb comes here too.
        raise DataError(f"{part.locate(item)} cannot be read as an image: {error or type(error).__name__}") from error


def load_arrays(part: Part, view: View, reference: Reference) -> ArrayExamples:
    """Reads and decodes a whole part, in threads; one that is decoded already, and not cut, stays where it is.

    Raises:
      DataError: naming up to ten images that cannot be read, or two of different sizes.
    """
    if part.images is not None:
        whole = np.array_equal(part.items, np.arange(len(part.images)))
        images = part.images if whole else part.images[part.items]
        boxes = None if part.boxes is None else view.boxes(part.boxes, _sizes(part) if view.cuts else None)
        return ArrayExamples(images=images, labels=part.labels, boxes=boxes)
    images = np.empty((len(part), *reference.shape), np.uint8)
    sizes = np.empty((len(part), 2), np.int64)
    others: dict[int, np.ndarray] = {}

    def load(position: int) -> None:
        picture = read_item(part, part.items[position])
        sizes[position] = part.size_of(part.items[position]) if part.viewed else picture.shape[:2]
        image = picture if part.viewed else view.image(picture)
        if image.shape == reference.shape:
            images[position] = image
        else:
            others[position] = image

    failed = failures(load, len(part))
    if failed:
        raise unreadable(part, failed)
    if others:
        position = min(others)
        reference.check(others[position], part, part.items[position])
    boxes = None if part.boxes is None else view.boxes(part.boxes, sizes)
    return ArrayExamples(images=images, labels=part.labels, boxes=boxes)


def failures(work: Callable[[int], object], count: int) -> dict[int, DataError]:
    """Calls `work` with 0..count-1 in threads; the `DataError`s by number, in order."""

    def chunk(start: int) -> dict[int, DataError]:
        failed = {}
        for position in range(start, min(start + _CHUNK, count)):
            try:
                work(position)
            except DataError as error:
                failed[position] = error
        return failed

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        parts = list(pool.map(chunk, range(0, count, _CHUNK)))
    return {position: error for part in parts for position, error in part.items()}


def unreadable(part: Part, failed: dict[int, DataError]) -> DataError:
    """One error that counts the unreadable images of a part, and names the first of them."""
    named = "\n  ".join(str(error) for error in list(failed.values())[:_NAMED])
    more = f"\n  and {len(failed) - _NAMED} more" if len(failed) > _NAMED else ""
    return DataError(
        f"{len(failed)} of {len(part)} images cannot be read; mend or remove them, or set "
        f'data.on_error="skip":\n  {named}{more}'
    )


def without_unreadable(part: Part) -> tuple[Part, str]:
    """The part without the images that cannot be read, and a note that names them ("" for none)."""
    failed = failures(lambda position: read_item(part, part.items[position]), len(part))
    if not failed:
        return part, ""
    if len(failed) == len(part):
        raise unreadable(part, failed)
    named = ", ".join(part.locate(part.items[position]) for position in list(failed)[:_NAMED])
    more = ", …" if len(failed) > _NAMED else ""
    kept = np.setdiff1d(np.arange(len(part)), list(failed))
    return part.take(kept), f"skipped {len(failed)} of {len(part)} images that cannot be read: {named}{more}"
