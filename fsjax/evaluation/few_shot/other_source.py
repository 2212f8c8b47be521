"""Another source of pictures than a run's own, as its network takes them: for evaluation across data sets."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from fsjax import data
from fsjax.errors import UserError
from fsjax.evaluation.few_shot.class_pools import ClassPool

# Of the run's `config.data`: how pictures come to the network's size.
_VIEW = ("fit", "resize", "share")


@dataclasses.dataclass(frozen=True, eq=False)
class OtherSource:
    """Pictures of another source.

    Attributes:
      splits: their test split holds the images of `part`, as those of novel classes; normalised for the run's network.
      part: the images that are evaluated, of classes that have some.
      split: the split that they are.
      config: `config.data` that was read.
    """

    splits: data.Splits
    part: ClassPool
    split: str
    config: Mapping[str, Any]

    def labels_in(self, class_names: tuple[str, ...]) -> np.ndarray | None:
        """The labels among these classes, int32 `[n]`; None unless all classes are of them, by name."""
        if not set(self.part.class_names) <= set(class_names):
            return None
        number = {name: label for label, name in enumerate(class_names)}
        return np.array([number[name] for name in self.part.class_names], np.int32)[self.part.labels]


def source_config(own: Mapping[str, Any], info: data.DataInfo, name: str, path: str) -> ConfigDict:
    """A config with the `data` of another source, whose pictures come to the network's size as the run's own do.

    Args:
      own: the run's `config.data`.
      info: of the run's data.
      name: of the source, as `config.data.name`.
      path: as `config.data.path`.

    Raises:
      UserError: for a network of images that are no squares, unless the source's are of the same size.
    """
    height, width, channels = info.image_shape
    config = data.default_config() | {name: own[name] for name in _VIEW if name in own}
    # Crops at random decide how much of a picture its evaluation sees.
    config["augment"] = config["augment"] | {"crop": dict(own.get("augment", {})).get("crop", "none")}
    if config["augment"]["crop"] != "random_resized":
        config["augment"]["crop"] = "none"
    config |= {
        "name": name,
        "path": path,
        "channels": channels,
        "image_size": height if height == width else 0,
        "fit": config["fit"] if height == width else "crop",
        "test_fraction": 0.0,
        "normalization": "none",
        "cache": "off",
    }
    return ConfigDict({"data": config})


def load_other(config: Mapping[str, Any], info: data.DataInfo, *, split: str = "") -> OtherSource:
    """The pictures of a source that are evaluated.

    Args:
      config: the `data` of `source_config`, maybe changed.
      info: of the run's data.
      split: "train", "validation" or "test"; "": the novel classes of a class split, else the source's test part where
        it has one, else all of it.

    Raises:
      UserError: if it cannot be read, has no such split, or its images are of another size.
    """
    splits = data.load_splits(config, seed=0, keep=False)
    if splits.info.image_shape != info.image_shape:
        own, other = ("×".join(map(str, x.image_shape)) for x in (info, splits.info))
        raise UserError(f"this network takes images of {own} (height × width × channels), and {other} were read")
    split = split or ("test" if splits.test is not None else "train")
    examples = getattr(splits, split, None)
    if examples is None:
        raise UserError(f"{splits.info.name} has no {split} split; it has: {', '.join(splits.info.counts)}")
    novel = {"validation": splits.info.validation_classes, "test": splits.info.test_classes}.get(split, ())
    examples = data.watched(examples)
    part = _present(examples, novel or splits.info.class_names, f"the classes of {splits.info.name}")
    changed = dataclasses.replace(
        splits.info, mean=info.mean, std=info.std, test_classes=part.class_names, validation_classes=()
    )
    splits = dataclasses.replace(splits, info=changed, test=part.examples, validation=None, base=None, support=None)
    return OtherSource(splits, part, split, config)


def _present(examples: data.Examples, names: Iterable[str], where: str) -> ClassPool:
    """The images with labels among the classes that have some."""
    names = tuple(names)
    there = np.flatnonzero(np.bincount(examples.labels, minlength=len(names)))
    new = np.zeros(len(names), np.int32)
    new[there] = np.arange(len(there))
    labels = new[examples.labels]
    if isinstance(examples, data.ArrayExamples):
        examples = dataclasses.replace(examples, labels=labels)
    else:
        examples = dataclasses.replace(examples, part=dataclasses.replace(examples.part, labels=labels))
    return ClassPool(examples, tuple(names[i] for i in there), where, {})
