"""From a config to the splits of a run."""

import dataclasses
import hashlib
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from fsjax.data import random, subsets
from fsjax.data.by_class import Classes, divide, hold_out
from fsjax.data.clusters import cluster_shares
from fsjax.data.config import DataConfig, parse_config
from fsjax.data.errors import DataError
from fsjax.data.examples import (
    ARRAYS_BYTES,
    Examples,
    StreamExamples,
    find_reference,
    load_arrays,
    without_unreadable,
)
from fsjax.data.info import DataInfo
from fsjax.data.noise import with_noise
from fsjax.data.normalization import mean_and_deviation
from fsjax.data.pictures import CENTRE
from fsjax.data.pipeline.augment_config import check_images, in_words
from fsjax.data.sources import Part, Source, absolute, check_labels, checked_boxes
from fsjax.data.store import cache
from fsjax.data.view import View

# Of every choice that must not depend on the run: test parts, statistics of a sample.
FIXED_SEED = 0


@dataclasses.dataclass(frozen=True)
class Splits:
    """The data of a run.

    Attributes:
      train, validation, test: the examples; None for a split that there is not. Under a class split those of
        the base, the validation and the novel classes, each with labels of its own from 0.
      info: facts about them.
      notes: what a user should know of how they were read and chosen.
      base: images of the base classes that were kept out of training (`data.base_holdout` or `data.keep_test`),
        labelled as `train`.
      support: training images of the novel classes, labelled as `test` (`data.keep_test`): only shots of
        class-incremental sessions are drawn from them.
      items: int64 `[n]`, which image of the source each of `train` is.
      cluster_shares: float32 `[n]` of `train`, the share of it that is in the image's cluster (`data.clusters`); None
        without clusters.
    """

    train: Examples
    validation: Examples | None
    test: Examples | None
    info: DataInfo
    notes: tuple[str, ...] = ()
    base: Examples | None = None
    support: Examples | None = None
    items: np.ndarray | None = None
    cluster_shares: np.ndarray | None = None


def load_splits(config: Mapping[str, Any], *, seed: int, keep: bool = True) -> Splits:
    """The splits that `config.data` describes.

    In this order: the source is read and checked; a test part is taken out where it has none; the training
    split is made long-tailed; it is limited; some of its labels are made wrong; the validation part is taken out of
    what remains.

    With a class split (`config.data.class_split`), all parts of the source are put together and divided by class
    instead: `train` holds the base classes, `validation` and `test` the others, each with labels of its own;
    `data.base_holdout` images of each base class become `base`; then the training split is made long-tailed, and
    it and the test split are limited. With `data.keep_test` the source's own test part takes the place of these, and
    the novel classes' training images become `support`. Classes and images of all but `train` do not depend on the
    seed.

    Args:
      config: a mapping of the fields of `DataConfig`; what it leaves out keeps its default.
      seed: the run's: of the long tail, the limit of the training split, and the validation part.
      keep: whether images that are not decoded yet may be kept so, where the config has a place for them.

    Raises:
      UserError: naming what is wrong with the config or the data, and the way out.
    """
    parsed = parse_config(config)
    source = cache.load(parsed, view_of(parsed), keep=keep)
    notes = list(source.notes)
    parts, classes = chosen_parts(source, parsed, seed, notes)
    return _splits(parts, source.name, classes, parsed, notes)


def chosen_parts(
    source: Source, parsed: DataConfig, seed: int, notes: list[str]
) -> tuple[dict[str, Part], dict[str, tuple[str, ...]]]:
    """The parts of the splits, before an image of them is read (unless unreadable ones are to be skipped).

    Args:
      source: the data set.
      parsed: what to choose from it.
      seed: the run's.
      notes: appended to.

    Returns:
      The parts by split; and the class names of "train", and under a class split of "validation" and "test".

    Raises:
      UserError: as `load_splits`.
    """
    if len(source.class_names) < 2:
        raise DataError(f"{source.name} has one class only; there is nothing to classify")
    parts = {split: part for split in ("train", "validation", "test") if (part := getattr(source, split)) is not None}
    for split, part in parts.items():
        if not len(part):
            raise DataError(f"the {split} split of {source.name} holds no examples")
        check_labels(part, len(source.class_names))
        parts[split], note = checked_boxes(part)
        notes += [f"{split}: {note}"] if note else []
    classes = {"train": source.class_names}
    if parsed.class_split.name:
        parts, classes = divide(dataclasses.replace(source, **parts), parsed, notes)
    if parsed.on_error == "skip":
        for split, part in parts.items():
            parts[split], note = without_unreadable(part)
            notes += [f"{split}: {note}"] if note else []
    choose = _choose_by_class if parsed.class_split.name else _choose
    return choose(parts, source.name, classes, parsed, seed, notes), classes


def _choose(
    parts: dict[str, Part], name: str, classes: Classes, config: DataConfig, seed: int, notes: list[str]
) -> dict[str, Part]:
    """The parts of the run, out of those of the source; says in `notes` what was chosen."""
    names = classes["train"]
    train, test, validation = parts["train"], parts.get("test"), parts.get("validation")
    if test is None and config.test_fraction:
        rest, taken = subsets.stratified(
            train.labels, share=config.test_fraction, class_names=names, seed=FIXED_SEED, stream=random.TEST,
            field="data.test_fraction",
        )  # fmt: skip
        notes.append(f"the test part is {config.test_fraction:g} of each class, the same for every seed")
        train, test = train.take(rest), train.take(taken)
    train = _cut_training(train, names, config, seed, notes)
    if test is not None:
        test = _limit(test, "test", config.limit.test, len(names), FIXED_SEED, notes)
    if config.validation:
        if validation is not None:
            raise DataError(
                f"{name} has a validation part of its own; data.validation={config.validation:g} "
                "would take another one: set it to 0"
            )
        rest, taken = subsets.stratified(
            train.labels, share=config.validation, class_names=names, seed=seed, stream=random.VALIDATION,
            field="data.validation",
        )  # fmt: skip
        notes.append(f"the validation part is {config.validation:g} of each training class, drawn with seed {seed}")
        train, validation = train.take(rest), train.take(taken)
    chosen = {"train": train, "validation": validation, "test": test}
    return {split: part for split, part in chosen.items() if part is not None}


def _choose_by_class(
    parts: dict[str, Part], name: str, classes: Classes, config: DataConfig, seed: int, notes: list[str]
) -> dict[str, Part]:
    """As `_choose`, under a class split."""
    chosen, names = dict(parts), classes["train"]
    if config.base_holdout:
        chosen["train"], chosen["base"] = hold_out(parts["train"], config.base_holdout, names, seed=FIXED_SEED)
        notes.append(f"{config.base_holdout} images of each base class are held out, the same for every seed")
    if config.keep_test:
        notes.append("the test images of the source stay apart: base and novel classes are tested on them")
    chosen["train"] = _cut_training(chosen["train"], names, config, seed, notes)
    if "test" in chosen:
        count = len(classes["test"])
        chosen["test"] = _limit(chosen["test"], "test", config.limit.test, count, FIXED_SEED, notes)
    return chosen


def _cut_training(train: Part, names: tuple[str, ...], config: DataConfig, seed: int, notes: list[str]) -> Part:
    """The training part, made long-tailed, limited and mislabelled as the config has it."""
    if config.longtail_ratio > 1:
        train = train.take(subsets.longtail(train.labels, ratio=config.longtail_ratio, class_names=names, seed=seed))
        notes.append(f"long-tailed training split, ratio {config.longtail_ratio:g}, drawn with seed {seed}")
    train = _limit(train, "train", config.limit.train, len(names), seed, notes)
    if config.label_noise:
        labels = with_noise(train.labels, share=config.label_noise, num_classes=len(names), seed=seed)
        notes.append(f"{(labels != train.labels).sum():,} training labels are made wrong, drawn with seed {seed}")
        train = dataclasses.replace(train, labels=labels)
    return train


def _limit(part: Part, split: str, limit: int, num_classes: int, seed: int, notes: list[str]) -> Part:
    if not limit or limit >= len(part):
        return part
    notes.append(f"limited: {limit} of {len(part)} {split} examples, classes as even as they allow")
    return part.take(subsets.limited(part.labels, limit=limit, num_classes=num_classes, seed=seed))


def _splits(parts: dict[str, Part], name: str, classes: Classes, config: DataConfig, notes: list[str]) -> Splits:
    train, view = parts["train"], view_of(config)
    reference = find_reference(train, config.image_size)
    shape = reference.shape
    check_images(config.augment, shape)
    decoded = sum(map(len, parts.values())) * int(np.prod(shape))
    memory = config.memory
    if memory == "auto":
        small = decoded <= ARRAYS_BYTES and config.augment.crop != "random_resized"
        memory = "arrays" if small or config.backend == "device" else "stream"

    examples: dict[str, Examples] = {}
    for split, part in parts.items():
        if memory == "arrays":
            examples[split] = load_arrays(part, view, reference)
        else:
            examples[split] = StreamExamples(part, view, reference)
    if config.image_size and (config.augment.crop == "random_resized" or train.image_shape != shape):
        how = "stretched, whatever their aspect," if config.fit == "stretch" else "cropped and resized"
        notes.append(f"images are {how} to {shape[0]}×{shape[1]}, {config.resize} filter, antialiased")
    notes.append(
        f"{decoded / 1e6:,.1f} MB of decoded images "
        + ("in memory" if memory == "arrays" else "read and decoded as needed")
    )
    if in_words(config.augment):
        notes.append(f"training images are varied by {in_words(config.augment)}")
    mean, std = mean_and_deviation(config.normalization, examples["train"], notes)
    info = DataInfo(
        name=name,
        class_names=classes["train"],
        image_shape=(int(shape[0]), int(shape[1]), int(shape[2])),
        counts={split: len(part) for split, part in parts.items()},
        class_counts=tuple(np.bincount(train.labels, minlength=len(classes["train"])).tolist()),
        mean=mean,
        std=std,
        validation_classes=classes.get("validation", ()),
        test_classes=classes.get("test", ()),
        division={split: _division(part, absolute(config.path)) for split, part in parts.items()},
    )
    return Splits(
        train=examples["train"],
        validation=examples.get("validation"),
        test=examples.get("test"),
        info=info,
        notes=tuple(notes),
        base=examples.get("base"),
        support=examples.get("support"),
        items=train.items,
        cluster_shares=cluster_shares(config.clusters, train, source=name),
    )


def _division(part: Part, root: str) -> str:
    """A digest of the names and labels of a part's images."""
    digest, below = hashlib.sha256(), root.rstrip(os.sep) + os.sep
    for item, label in zip(part.items.tolist(), part.labels.tolist(), strict=True):
        name = part.locate(item).removeprefix(below).replace(os.sep, "/")
        digest.update(f"{label} {name}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]


def view_of(config: DataConfig) -> View:
    """How pictures come to the network's size; as in He et al. 2016, less of them after random resized crops."""
    usual = CENTRE if config.augment.crop == "random_resized" else 1.0
    share = usual if config.share is None else config.share
    return View(config.image_size, config.fit, share, config.resize)
