"""The fields of `config.data`, their defaults, and the checks on them."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from fsjax.data.errors import DataError
from fsjax.errors import unknown

CROPS = ("none", "pad", "random_resized")
NORMALIZATIONS = ("dataset", "half", "none")
MEMORY = ("auto", "arrays", "stream")
ON_ERROR = ("raise", "skip")
RESIZE = ("bilinear", "bicubic", "lanczos", "box")


@dataclasses.dataclass(frozen=True)
class AugmentConfig:
    """How training images are varied.

    Attributes:
      crop: "pad" (black border of `pad` pixels, then a random crop of the old size), "random_resized" (a
        random 8-100 % of the area at aspect ratio 3/4-4/3, resized to `image_size`) or "none".
      pad: width in pixels of the border of crop "pad".
      flip: mirror left-right with probability 1/2.
      mixup: alpha of mixup's Beta(alpha, alpha) (Zhang et al. 2018); 0 is off.
    """

    crop: str = "none"
    pad: int = 0
    flip: bool = False
    mixup: float = 0.0


@dataclasses.dataclass(frozen=True)
class LimitConfig:
    """Examples to which splits are cut for a quick run, classes as even as they allow; 0 is all."""

    train: int = 0
    test: int = 0


@dataclasses.dataclass(frozen=True)
class FakeConfig:
    """The noise images of the source "fake": their shape, and how many of them."""

    height: int = 32
    width: int = 32
    channels: int = 3
    num_classes: int = 10
    train: int = 100
    test: int = 50


@dataclasses.dataclass(frozen=True)
class ClassSplitConfig:
    """Which classes are for training, which for validation and which are the novel ones of the test.

    Nothing here depends on the run's seed: all runs are tested on the same classes.

    Attributes:
      name: "" (off: every split holds all classes), a split of the package ("fc100", "cifar_fs",
        "mini_imagenet", "tiny_imagenet_fs", "omniglot"), the path of a JSON file of the same shape,
        `{"train": [class names], "val": [...], "test": [...]}`, or "share".
      validation, test: of "share", the shares of the classes; their numbers are rounded (a half up).
      seed: of "share", of the draw of the classes.
      allow_missing: do without classes that the lists name and the data lack, instead of refusing.
    """

    name: str = ""
    validation: float = 0.16
    test: float = 0.2
    seed: int = 0
    allow_missing: bool = False


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """What `config.data` may hold; README and `describe` use the same words.

    Attributes:
      name: "digits" (scikit-learn's, no download), "folder", "csv" (images with lists, as miniImageNet is
        handed on), "fake" (noise, to try things out), or the name of a TFDS data set, such as "cifar100".
      path: of "folder" and "csv" the root; of a TFDS data set its data_dir or a prepared folder (`.../cifar100/3.0.2`);
        empty is TFDS's own place, `TFDS_DATA_DIR` or `~/tensorflow_datasets`.
      image_key, label_key: the features of a TFDS data set that are used.
      train_split, test_split: the TFDS splits (any TFDS expression, such as "train[:50%]"), or the subfolders
        of a folder. An empty test_split takes the test part from the training split.
      test_fraction: that part, as a share of each class, where the source has no test part of its own. The
        choice does not depend on the run's seed, so that test accuracies compare. Without meaning under a
        class split, where the test part is the novel classes.
      validation: share of the training split, of each class, that is held out to select checkpoints, by the
        run's seed; 0 is none, and must be under a class split, which has validation classes.
      class_split: see `ClassSplitConfig`. All parts of the source are then put together and divided by class.
      base_holdout: under a class split, images of each base class that are kept out of training to evaluate the
        base classes, the same for every seed; 0 is none.
      longtail_ratio: largest over smallest class size of the long-tailed training subset; 0 is off.
      image_size: side of the square images to which all are resized and cropped; 0 leaves images as they are.
      resize: the filter of that, antialiased: "bilinear", "bicubic", "lanczos" or "box", as pillow has them.
      channels: 1 or 3; 0 leaves them as they are (folders: 3).
      augment: see `AugmentConfig`.
      normalization: "dataset" (mean 0 and variance 1 a channel over the training split), "half" ((x-128)/128)
        or "none" (x/255).
      memory: "arrays" (decoded once, kept in memory), "stream" (read and decoded as needed), or "auto".
      on_error: for unreadable images, "raise" or "skip"; skipping reads every image once before training.
      limit: see `LimitConfig`.
      fake: see `FakeConfig`.
    """

    name: str = "digits"
    path: str = ""
    image_key: str = "image"
    label_key: str = "label"
    train_split: str = "train"
    test_split: str = "test"
    test_fraction: float = 0.2
    validation: float = 0.0
    class_split: ClassSplitConfig = ClassSplitConfig()
    base_holdout: int = 0
    longtail_ratio: float = 0.0
    image_size: int = 0
    resize: str = "bilinear"
    channels: int = 0
    augment: AugmentConfig = AugmentConfig()
    normalization: str = "dataset"
    memory: str = "auto"
    on_error: str = "raise"
    limit: LimitConfig = LimitConfig()
    fake: FakeConfig = FakeConfig()


def default_config() -> dict[str, Any]:
    """Every field with its default, as nested dicts."""
    return dataclasses.asdict(DataConfig())


def parse_config(config: Mapping[str, Any]) -> DataConfig:
    """The checked config of a mapping; what it leaves out keeps its default.

    Raises:
      UserError: for an unknown key, or a value of the wrong type or out of range, with what is valid.
    """
    parsed = _parse(DataConfig, config, "data")
    check_augmentation(parsed.augment)
    _check_choice("data.normalization", parsed.normalization, NORMALIZATIONS)
    _check_choice("data.memory", parsed.memory, MEMORY)
    _check_choice("data.on_error", parsed.on_error, ON_ERROR)
    _check_choice("data.channels", parsed.channels, (0, 1, 3))
    _check_choice("data.resize", parsed.resize, RESIZE)
    for name in ("validation", "test_fraction"):
        share = getattr(parsed, name)
        if not 0 <= share < 1:
            raise DataError(f"data.{name}={share} is not a share of the training split: it must be in [0, 1)")
    if parsed.longtail_ratio != 0 and parsed.longtail_ratio < 1:
        raise DataError(f"data.longtail_ratio={parsed.longtail_ratio} must be 0 (off) or at least 1")
    for name, value in (("image_size", parsed.image_size), ("limit.train", parsed.limit.train),
                        ("limit.test", parsed.limit.test), ("base_holdout", parsed.base_holdout),
                        ("class_split.seed", parsed.class_split.seed)):  # fmt: skip
        if value < 0:
            raise DataError(f"data.{name}={value} must not be negative")
    _check_class_split(parsed)
    if parsed.augment.crop == "random_resized":
        if parsed.memory == "arrays":
            raise DataError(
                'data.augment.crop="random_resized" crops full images; with data.memory="arrays" they are '
                'kept at image_size: use memory="stream" or "auto", or crop="pad"'
            )
        if not parsed.image_size:
            raise DataError('data.augment.crop="random_resized" needs data.image_size, such as 224')
    return parsed


def _check_class_split(config: DataConfig) -> None:
    """Raise a `DataError` for a class split, or fields beside it, that cannot be meant."""
    split = config.class_split
    if not split.name:
        if config.base_holdout:
            raise DataError(
                f"data.base_holdout={config.base_holdout} keeps images of base classes out of training, but there is "
                "no class split: set data.class_split.name, or data.base_holdout=0"
            )
        return
    if config.validation:
        raise DataError(
            f"data.validation={config.validation:g} would take images of the training classes, but the validation "
            f"classes of data.class_split.name={split.name!r} select the checkpoint: set data.validation=0"
        )
    if split.name == "share" and not (split.validation >= 0 < split.test and split.validation + split.test < 1):
        raise DataError(
            f"data.class_split.validation={split.validation:g} and data.class_split.test={split.test:g} are shares of "
            "the classes: they must not be negative, test must be above 0, and together they must be below 1"
        )


def parse_augmentation(augmentation: Mapping[str, Any]) -> AugmentConfig:
    """The checked augmentation of a mapping, as `parse_config` for `config.data.augment`."""
    parsed = _parse(AugmentConfig, augmentation, "data.augment")
    check_augmentation(parsed)
    return parsed


def check_augmentation(augment: AugmentConfig) -> None:
    """Raise a `UserError` for an augmentation that cannot be meant."""
    _check_choice("data.augment.crop", augment.crop, CROPS)
    if augment.pad < 0:
        raise DataError(f"data.augment.pad={augment.pad} must not be negative")
    if augment.pad and augment.crop != "pad":
        raise DataError(
            f'data.augment.pad={augment.pad} has no effect with crop="{augment.crop}": set crop="pad", or pad=0'
        )
    if augment.mixup < 0:
        raise DataError(f"data.augment.mixup={augment.mixup} is the alpha of Beta(alpha, alpha): 0 (off) or more")


def _check_choice(name: str, value: object, choices: tuple) -> None:
    if value not in choices:
        raise DataError(f"{name}={value!r} is not one of {', '.join(map(repr, choices))}")


def _parse(kind: type, values: Mapping[str, Any], where: str) -> Any:
    """A dataclass of a mapping; numbers are converted where nothing is lost."""
    fields = {field.name: field for field in dataclasses.fields(kind)}
    parsed = {}
    for name, value in dict(values).items():
        if name not in fields:
            raise unknown(f"key of config.{where}", name, fields)
        default = fields[name].default
        if dataclasses.is_dataclass(default):
            if dataclasses.is_dataclass(value):
                value = dataclasses.asdict(value)
            if not isinstance(value, Mapping) and not hasattr(value, "items"):
                raise DataError(f"config.{where}.{name}={value!r} must hold fields, not a value")
            parsed[name] = _parse(type(default), value, f"{where}.{name}")
        else:
            parsed[name] = _convert(type(default), value, f"{where}.{name}")
    return kind(**parsed)


def _convert(kind: type, value: Any, where: str) -> Any:
    if isinstance(value, bool) == (kind is bool):
        if isinstance(value, kind):
            return value
        if kind in (int, float) and isinstance(value, (int, float)) and kind(value) == value:
            return kind(value)
        if kind is str and hasattr(value, "__fspath__"):
            return str(value)
    raise DataError(f"config.{where}={value!r} is a {type(value).__name__}; it must be a {kind.__name__}")
