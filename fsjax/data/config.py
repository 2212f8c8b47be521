"""The fields of `config.data`, their defaults, and the checks on them."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from fsjax.data.augment_config import AugmentConfig, check_augmentation
from fsjax.data.errors import DataError
from fsjax.data.fields import check_choice, parse_fields

FITS = ("crop", "stretch")
NORMALIZATIONS = ("dataset", "half", "imagenet", "none")
MEMORY = ("auto", "arrays", "stream")
BACKENDS = ("host", "device")
NO_CACHE = "off"
ON_ERROR = ("raise", "skip")
RESIZE = ("bilinear", "bicubic", "lanczos", "box")


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
class PlantedConfig:
    """The pictures of the source "planted": one digit each, at a known place among clutter.

    Attributes:
      size: side of the square pictures, in pixels.
      smallest, largest: the longer side of a digit's tight box, in pixels.
      stretch: whether height and width are in that range each, so that digits are as often broad as they are high.
      clutter: number of fragments of other digits.
      train, test: number of pictures; their digits are different scans.
      seed: of all of it, apart from the run's.
    """

    size: int = 64
    smallest: int = 18
    largest: int = 36
    stretch: bool = False
    clutter: int = 12
    train: int = 4000
    test: int = 1000
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class DrawingsConfig:
    """The pictures of the source "drawings": random classes, drawn by this program.

    Attributes:
      size: side of the square pictures, in pixels.
      classes: how many.
      train, test: number of pictures of each class; under a class split, which puts them together, test may be 0.
      seed: of all of it, apart from the run's.
    """

    size: int = 64
    classes: int = 500
    train: int = 40
    test: int = 10
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class ClassSplitConfig:
    """Which classes are for training, which for validation and which are the novel ones of the test.

    Nothing here depends on the run's seed: all runs are tested on the same classes.

    Attributes:
      name: "" (off: every split holds all classes), a split of the package ("fc100", "cifar_fs",
        "mini_imagenet", "tiny_imagenet_fs", "omniglot", "fscil_cifar100"), the path of a JSON file of the same shape,
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
        handed on), "cub", "cars" and "aircraft" (the folders of these sets as they are unpacked), "planted" (digits
        at known places, no download), "drawings" (made by this program, no download), "fake" (noise, to try things
        out), or the name of a TFDS data set, such as "cifar100".
      path: of "folder", "csv", "cub", "cars" and "aircraft" the root; of a TFDS data set its data_dir or a prepared
        folder (`.../cifar100/3.0.2`); empty is TFDS's own place, `TFDS_DATA_DIR` or `~/tensorflow_datasets`.
      image_key, label_key: the features of a TFDS data set that are used.
      box_key: its feature of one box an image, read where there is such a one; "" reads no boxes, of any source.
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
      keep_test: under a class split, whether the test part of the source stays one: its images of base classes then
        take the place of those of `base_holdout`, those of novel classes are the test, and shots of class-incremental
        sessions are drawn from the novel classes' training images.
      clusters: of appearance, of the training images, for losses that weight images by how common theirs is: "" (none),
        "class" (the classes are the clusters), an .npz file of `fsjax cluster`, or an .npy file of one integer for each
        image of the training split as it is loaded; a run restored for evaluation does not read it.
      longtail_ratio: largest over smallest class size of the long-tailed training subset; 0 is off.
      label_noise: share of the training labels, those of the validation part among them, that are made wrong at random,
        by the run's seed; test labels stay.
      image_size: side of the square images to which all are brought; 0 leaves images as they are.
      fit: how pictures come to that size, in evaluation and (but for random_resized crops) in training: "crop" (the
        centred square; with random_resized crops 87.5 % of it) or "stretch" (the whole picture, whatever its aspect).
      resize: the filter of that, antialiased: "bilinear", "bicubic", "lanczos" or "box", as pillow has them.
      channels: 1 or 3; 0 leaves them as they are (folders: 3).
      augment: see `AugmentConfig`.
      normalization: "dataset" (mean 0 and variance 1 a channel over the training split), "half" ((x-128)/128),
        "imagenet" (the mean and deviation of ImageNet's colour images, as pretrained networks expect), "none" (x/255).
      memory: "arrays" (decoded once, kept in memory), "stream" (read and decoded as needed), or "auto".
      backend: "host" (batches are made by tf.data) or "device" (images are kept in the memory of the device, and drawn
        and varied inside the compiled step; TensorFlow is not needed). With "device" images are arrays, whatever their
        size, and what only the host does is refused.
      cache: a folder in which data sets are kept decoded (see `fsjax.data.cache`), "off" for none, or "" for
        `$FSJAX_CACHE/data`, or `~/.cache/fsjax/data` (FSJAX_CACHE=off: none). Streams do not use it. "" makes no such
        images of noise ("fake"), nor for a part of a data set (limit.train), nor, with backend "host", of what is
        decoded in a second or does not lie in memory.
      on_error: for unreadable images, "raise" or "skip"; skipping reads every image once before training.
      limit: see `LimitConfig`.
      fake: see `FakeConfig`.
      planted: see `PlantedConfig`.
      drawings: see `DrawingsConfig`.
    """

    name: str = "digits"
    path: str = ""
    image_key: str = "image"
    label_key: str = "label"
    box_key: str = "bbox"
    train_split: str = "train"
    test_split: str = "test"
    test_fraction: float = 0.2
    validation: float = 0.0
    class_split: ClassSplitConfig = ClassSplitConfig()
    base_holdout: int = 0
    keep_test: bool = False
    clusters: str = ""
    longtail_ratio: float = 0.0
    label_noise: float = 0.0
    image_size: int = 0
    fit: str = "crop"
    resize: str = "bilinear"
    channels: int = 0
    augment: AugmentConfig = AugmentConfig()  # noqa: RUF009 (frozen; ruff does not see that across modules)
    normalization: str = "dataset"
    memory: str = "auto"
    backend: str = "host"
    cache: str = ""
    on_error: str = "raise"
    limit: LimitConfig = LimitConfig()
    fake: FakeConfig = FakeConfig()
    planted: PlantedConfig = PlantedConfig()
    drawings: DrawingsConfig = DrawingsConfig()


def default_config() -> dict[str, Any]:
    """Every field with its default, as nested dicts."""
    return dataclasses.asdict(DataConfig())


def parse_config(config: Mapping[str, Any]) -> DataConfig:
    """The checked config of a mapping; what it leaves out keeps its default.

    Raises:
      UserError: for an unknown key, or a value of the wrong type or out of range, with what is valid.
    """
    parsed = parse_fields(DataConfig, config, "data")
    check_augmentation(parsed.augment)
    check_choice("data.normalization", parsed.normalization, NORMALIZATIONS)
    check_choice("data.memory", parsed.memory, MEMORY)
    check_choice("data.backend", parsed.backend, BACKENDS)
    check_choice("data.on_error", parsed.on_error, ON_ERROR)
    check_choice("data.channels", parsed.channels, (0, 1, 3))
    check_choice("data.resize", parsed.resize, RESIZE)
    check_choice("data.fit", parsed.fit, FITS)
    for name in ("validation", "test_fraction", "label_noise"):
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
    _check_fit(parsed)
    _check_backend(parsed)
    return parsed


def _check_backend(parsed: DataConfig) -> None:
    """Raise a `DataError` for what only the host does, with the backend "device"."""
    if parsed.backend == "host":
        return
    if parsed.memory == "stream":
        raise DataError(
            'data.memory="stream" decodes images as they are needed, but data.backend="device" keeps all of them: set '
            'memory="auto", or backend="host"'
        )
    names = ("rotate", "brightness", "contrast", "saturation", "lighting")
    on_host = {name: value for name in names if (value := getattr(parsed.augment, name))}
    if parsed.augment.crop == "random_resized":
        on_host["crop"] = parsed.augment.crop
    if on_host:
        shown = ", ".join(f"{name}={value!r}" for name, value in on_host.items())
        raise DataError(
            f'data.augment: {shown} is done on the host: set data.backend="host", or do without; data.backend="device" '
            'can do crop="pad", flip, cutout and mixup'
        )


def _check_fit(parsed: DataConfig) -> None:
    """Raise a `DataError` for a size of images, and ways to get there, that do not go together."""
    if parsed.fit == "stretch" and not parsed.image_size:
        raise DataError('data.fit="stretch" has no effect without data.image_size: set that, or fit="crop"')
    if parsed.augment.crop == "random_resized":
        if parsed.memory == "arrays":
            raise DataError(
                'data.augment.crop="random_resized" crops full images; with data.memory="arrays" they are '
                'kept at image_size: use memory="stream" or "auto", or crop="pad"'
            )
        if not parsed.image_size:
            raise DataError('data.augment.crop="random_resized" needs data.image_size, such as 224')
        if parsed.fit == "stretch":
            # Its crops keep the aspect of things to within 4/3, in training; stretched evaluation would not.
            raise DataError(
                'data.augment.crop="random_resized" trains on parts of pictures at about their own aspect, data.fit='
                '"stretch" evaluates on whole pictures at another one: use fit="crop", or crop="pad" or "none"'
            )


def _check_class_split(config: DataConfig) -> None:
    """Raise a `DataError` for a class split, or fields beside it, that cannot be meant."""
    split = config.class_split
    if not split.name:
        if config.base_holdout:
            raise DataError(
                f"data.base_holdout={config.base_holdout} keeps images of base classes out of training, but there is "
                "no class split: set data.class_split.name, or data.base_holdout=0"
            )
        if config.keep_test:
            raise DataError(
                "data.keep_test keeps the test part of data whose classes are divided, but there is no class split: "
                "set data.class_split.name, or data.keep_test=False"
            )
        return
    if config.keep_test and config.base_holdout:
        raise DataError(
            f"data.base_holdout={config.base_holdout} and data.keep_test both say which images of the base classes are "
            "kept out of training: set data.base_holdout=0 to take those of the source's test part"
        )
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
