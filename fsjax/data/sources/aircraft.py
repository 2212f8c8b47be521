"""FGVC-Aircraft in its own folder (TFDS does not have it): 100 variants, by the 2013b division."""

from pathlib import Path
from typing import Any

import numpy as np

from fsjax.data.config import DataConfig
from fsjax.data.errors import DataError
from fsjax.data.sources.listed import (
    find_root,
    keyed_lines,
    numbers,
    paths_of,
    picture_part,
    some,
    text_lines,
    values_of,
)
from fsjax.data.sources.source import Part, Source

# Height of the credit line at the bottom of each picture, which the data's README asks to remove.
FOOTER = 20
_LISTS = {"train": "images_variant_trainval.txt", "test": "images_variant_test.txt"}
_BOXES = "images_box.txt"
_ORIGIN = (
    "fgvc-aircraft-2013b.tar.gz is at https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/; unpack it, and give its "
    "folder data, or one above"
)


def load(config: DataConfig) -> Source:
    """The folder `data` of fgvc-aircraft-2013b (Maji et al. 2013): `config.path`, or a folder above it.

    `images_variant_trainval.txt` (for training) and `images_variant_test.txt` have a line per image: the name of its
    file in `images/`, without the suffix, and its variant, one of `variants.txt`. `images_box.txt` has its box, xmin,
    ymin, xmax and ymax in pixels; the first pixel is 1 and the last one belongs to the box, so that the box reaches
    from xmin - 1 to xmax. The last 20 rows of each picture, a credit line, are cut off.

    Raises:
      DataError: for a folder, lists or images that are not whole, and lines that are not what they must be.
    """
    folders = ("", "data", "fgvc-aircraft-2013b", "fgvc-aircraft-2013b/data")
    needed = ("images", *_LISTS.values(), "variants.txt", *((_BOXES,) if config.box_key else ()))
    root = find_root(config, folders, needed, _ORIGIN)
    variants = tuple(text_lines(root / "variants.txt"))
    boxes = keyed_lines(root / _BOXES) if config.box_key else None
    images = {split: keyed_lines(root / name) for split, name in _LISTS.items()}
    both = [name for name in images["train"] if name in images["test"]]
    if both:
        raise DataError(
            f"{len(both)} images are listed for training and for test: {some(both)}. Leave them in one list"
        )
    parts: dict[str, Any] = {
        split: _part(root, split, variant_of, variants, boxes, config) for split, variant_of in images.items()
    }
    notes = (f"FGVC-Aircraft of {root}, variants; the last {FOOTER} rows of each picture, a credit line, are cut off",)
    return Source(name="aircraft", class_names=variants, notes=notes, **parts)


def _part(
    root: Path,
    split: str,
    variant_of: dict[str, str],
    variants: tuple[str, ...],
    boxes: dict[str, str] | None,
    config: DataConfig,
) -> Part:
    names = list(variant_of)
    label_of = {variant: label for label, variant in enumerate(variants)}
    unknown = [f"{name} ({variant})" for name, variant in variant_of.items() if variant not in label_of]
    if unknown:
        raise DataError(f"{root / _LISTS[split]}: variants.txt lacks the variants of {some(unknown)}")
    edges = None
    if boxes is not None:
        xmin, ymin, xmax, ymax = numbers(names, values_of(names, boxes, root / _BOXES), 4, root / _BOXES).T
        edges = np.stack([ymin - 1, xmin - 1, ymax, xmax], axis=1)
    paths = paths_of(root / "images", [f"{name}.jpg" for name in names])
    labels = np.array([label_of[variant] for variant in variant_of.values()], np.int32)
    return picture_part(paths, labels, config, edges=edges, footer=FOOTER)
