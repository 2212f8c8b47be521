"""The examples of a split: images in memory, or read as they are needed."""

import dataclasses
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from fsjax.data import random
from fsjax.data.errors import DataError
from fsjax.data.pictures import CENTRE, centre_crop, random_resized_crop
from fsjax.data.sources import Part

_NAMED = 10
_CHUNK = 256


@dataclasses.dataclass(frozen=True)
class ArrayExamples:
    """A split in memory.

    Attributes:
      images: uint8 `[n, height, width, channels]`.
      labels: int32 `[n]`.
    """

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def gather(self, positions: np.ndarray) -> np.ndarray:
        """The images at these positions, uint8 `[len(positions), height, width, channels]`."""
        return self.images[positions]


@dataclasses.dataclass(frozen=True)
class StreamExamples:
    """A split whose images are read and decoded as needed.

    Attributes:
      part: where they are read from.
      image_size: side to which they are resized; 0 leaves them as they are.
      share: of the shorter side that the centre crop keeps.
      image_shape: what `image` gives.
    """

    part: Part
    image_size: int
    share: float
    image_shape: tuple[int, int, int]

    def __len__(self) -> int:
        return len(self.part)

    @property
    def labels(self) -> np.ndarray:
        """int32 `[n]`."""
        return self.part.labels

    def image(self, position: int, crop_key: random.Key | None = None) -> np.ndarray:
        """One image, uint8 `image_shape`: its centre crop, or the random resized crop of a key.

        Raises:
          DataError: for an image that cannot be read, or is of another size than the others.
        """
        item = self.part.items[position]
        image = read_item(self.part, item)
        if crop_key is not None:
            return random_resized_crop(image, self.image_size, crop_key)
        image = fit(image, self.image_size, self.share)
        if image.shape != self.image_shape:
            raise size_error(self.part.locate(item), image.shape, "the others", self.image_shape)
        return image


Examples = ArrayExamples | StreamExamples


def share_kept(crop: str) -> float:
    """The share of the shorter side that centre crops keep, given the crop used in training."""
    return CENTRE if crop == "random_resized" else 1.0


def fit(image: np.ndarray, image_size: int, share: float) -> np.ndarray:
    """The centre crop of an image at `image_size`; 0 leaves it as it is."""
    return centre_crop(image, image_size, share) if image_size else image


def read_item(part: Part, item: int) -> np.ndarray:
    """An image of a part; raises a `DataError` that names it where it cannot be read."""
    try:
        return part.read(item)
    except DataError:
        raise
    except Exception as error:
        # Pillow and its codecs raise almost anything for a broken file; a decompression bomb comes here too.
        raise DataError(
            f"{part.locate(item)} cannot be read as an image: {error or type(error).__name__}"
        ) from error


def size_error(first: str, first_shape: tuple, second: str, second_shape: tuple) -> DataError:
    """For two images of different shapes where all must be alike."""
    return DataError(
        f"images differ in size: {first} is {first_shape[0]}×{first_shape[1]}, {second} "
        f"{second_shape[0]}×{second_shape[1]} (height × width); set data.image_size to bring all to one size"
    )


def load_arrays(part: Part, image_size: int, share: float) -> ArrayExamples:
    """Reads and decodes a whole part, in threads.

    Raises:
      DataError: naming up to ten images that cannot be read, or two of different sizes.
    """
    first = fit(read_item(part, part.items[0]), image_size, share)
    images = np.empty((len(part), *first.shape), np.uint8)
    odd: dict[int, tuple] = {}

    def load(position: int) -> None:
        image = fit(read_item(part, part.items[position]), image_size, share)
        if image.shape == first.shape:
            images[position] = image
        else:
            odd[position] = image.shape

    raise_unreadable(part, failures(load, len(part)))
    if odd:
        position = min(odd)
        raise size_error(
            part.locate(part.items[0]), first.shape, part.locate(part.items[position]), odd[position]
        )
    return ArrayExamples(images=images, labels=part.labels)


def failures(work: Callable[[int], None], count: int) -> dict[int, DataError]:
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


def raise_unreadable(part: Part, failed: dict[int, DataError]) -> None:
    """Raise one `DataError` that names the unreadable images, if there are any."""
    if failed:
        named = "\n  ".join(str(error) for error in list(failed.values())[:_NAMED])
        more = f"\n  and {len(failed) - _NAMED} more" if len(failed) > _NAMED else ""
        raise DataError(
            f"{len(failed)} of {len(part)} images cannot be read; mend or remove them, or set "
            f'data.on_error="skip":\n  {named}{more}'
        )


def without_unreadable(part: Part) -> tuple[Part, str]:
    """The part without the images that cannot be read, and a note that names them ("" for none)."""
    failed = failures(lambda position: read_item(part, part.items[position]), len(part))
    if not failed:
        return part, ""
    if len(failed) == len(part):
        raise_unreadable(part, failed)
    named = ", ".join(part.locate(part.items[position]) for position in list(failed)[:_NAMED])
    more = ", …" if len(failed) > _NAMED else ""
    kept = np.setdiff1d(np.arange(len(part)), list(failed))
    return part.take(kept), f"skipped {len(failed)} of {len(part)} images that cannot be read: {named}{more}"
