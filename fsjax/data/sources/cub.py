"""Caltech-UCSD Birds-200-2011 in its own folder, for when the links of TFDS's `caltech_birds2011` are dead."""

from typing import Any

import numpy as np

from fsjax.data.config import DataConfig
from fsjax.data.errors import DataError
from fsjax.data.sources.listed import find_root, keyed_lines, numbers, paths_of, picture_part, some, values_of
from fsjax.data.sources.source import Source

_NEEDED = ("images", "images.txt", "image_class_labels.txt", "train_test_split.txt", "classes.txt")
_BOXES = "bounding_boxes.txt"
_ORIGIN = (
    "CUB_200_2011.tgz is at https://www.vision.caltech.edu/datasets/cub_200_2011/ "
    "(https://data.caltech.edu/records/65de6-vp158); unpack it"
)


def load(config: DataConfig) -> Source:
    """The folder CUB_200_2011 as it is unpacked (Wah et al. 2011): `config.path`, or the folder that holds it.

    Its lists have a line per image, which begins with the image's number: the file below `images/` (images.txt), the
    number of its class (image_class_labels.txt; classes.txt names them), 1 for training or 0 for test
    (train_test_split.txt), and its box (bounding_boxes.txt): x, y, width and height in pixels; x and y begin at 0.

    Raises:
      DataError: for a folder, lists or images that are not whole, and lines that are not what they must be.
    """
    root = find_root(config, ("", "CUB_200_2011"), (*_NEEDED, *((_BOXES,) if config.box_key else ())), _ORIGIN)
    files, classes = keyed_lines(root / "images.txt"), keyed_lines(root / "classes.txt")
    images = list(files)

    def listed(name: str) -> list[str]:
        return values_of(images, keyed_lines(root / name), root / name)

    label_of = {number: label for label, number in enumerate(sorted(classes, key=lambda n: (len(n), n)))}
    numbered = listed("image_class_labels.txt")
    unknown = [image for image, number in zip(images, numbered, strict=True) if number not in label_of]
    if unknown:
        raise DataError(f"{root / 'image_class_labels.txt'}: classes.txt lacks the classes of images {some(unknown)}")
    training = np.array(listed("train_test_split.txt"))
    if not np.isin(training, ("0", "1")).all():
        raise DataError(f"{root / 'train_test_split.txt'} must say 1 (training) or 0 (test) of each image")
    edges = None
    if config.box_key:
        x, y, width, height = numbers(images, listed(_BOXES), 4, root / _BOXES).T
        edges = np.stack([y, x, y + height, x + width], axis=1)
    paths = np.array(paths_of(root / "images", list(files.values())))
    labels = np.array([label_of[number] for number in numbered], np.int32)
    parts: dict[str, Any] = {
        split: picture_part(
            paths[training == flag].tolist(),
            labels[training == flag],
            config,
            edges=None if edges is None else edges[training == flag],
        )
        for split, flag in (("train", "1"), ("test", "0"))
    }
    names = tuple(classes[number] for number in label_of)
    return Source(name="cub", class_names=names, notes=(f"CUB-200-2011 of {root}",), **parts)
