"""The options of `config.data`."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from fsjax.data.errors import DataError
from fsjax.data.pipeline.augment_config import AugmentConfig
from fsjax.options import option, read, section
from fsjax.options.training import SEED

NO_CACHE = "off"
BACKENDS = ("host", "device")
RESIZE = ("bilinear", "bicubic", "lanczos", "box")
_SHARE: dict[str, Any] = {"at_least": 0, "below": 1}
_COUNT: dict[str, Any] = {"at_least": 0, "at_most": 10**9}
_SIDE: dict[str, Any] = {"at_least": 1, "at_most": 10_000}  # of images, in pixels


@dataclasses.dataclass(frozen=True)
class LimitConfig:
    """Examples to which splits are cut for a quick run, classes as even as they allow; 0 is all."""

    train: int = option(0, "of the training split; 0: all", **_COUNT)
    test: int = option(0, "of the test split; 0: all", **_COUNT)


@dataclasses.dataclass(frozen=True)
class FakeConfig:
    """The noise images of the source "fake": their shape, and how many of them."""

    height: int = option(32, "in pixels", **_SIDE)
    width: int = option(32, "in pixels", **_SIDE)
    channels: int = option(3, "1 is grey, 3 is colours", choices=(1, 3))
    num_classes: int = option(10, "how many classes", at_least=2, at_most=10**6)
    train: int = option(100, "images for training", at_least=1, at_most=10**9)
    test: int = option(50, "images for the test; 0: no test part", **_COUNT)


@dataclasses.dataclass(frozen=True)
class PlantedConfig:
    """The pictures of the source "planted": one digit each, at a known place among clutter.

    The digits of the training and of the test part are different scans.
    """

    size: int = option(64, "side of the square pictures, in pixels", at_least=6, at_most=10_000)
    smallest: int = option(
        18, "the longer side of a digit's tight box is at least this, in pixels", at_least=6, at_most=10_000
    )
    largest: int = option(36, "and at most this", at_least=6, at_most=10_000)
    stretch: bool = option(False, "whether height and width are in that range each: as often broad as high")
    clutter: int = option(12, "fragments of other digits", at_least=0, at_most=10_000)
    train: int = option(4000, "pictures for training", at_least=1, at_most=10**9)
    test: int = option(1000, "pictures for the test", **_COUNT)
    seed: int = option(0, "of all of it, apart from the run's", **SEED)

    def check_rules(self, at: str) -> None:
        """Raise a `DataError` for sizes that do not rise."""
        if not self.smallest <= self.largest <= self.size:
            raise DataError(
                f"{at}smallest={self.smallest}, {at}largest={self.largest} and {at}size={self.size}: largest must be "
                "at least smallest, and size at least largest"
            )


@dataclasses.dataclass(frozen=True)
class DrawingsConfig:
    """The pictures of the source "drawings": random classes, drawn by this program."""

    size: int = option(64, "side of the square pictures, in pixels", at_least=16, at_most=256)
    classes: int = option(500, "how many classes", at_least=2, at_most=10**6)
    train: int = option(40, "pictures of each class for training", at_least=1, at_most=10**6)
    test: int = option(
        10, "of each class for the test; 0 under a class split, which puts them together", at_least=0, at_most=10**6
    )
    seed: int = option(0, "of all of it, apart from the run's", **SEED)


@dataclasses.dataclass(frozen=True)
class ClassSplitConfig:
    """Which classes are for training, which for validation and which are the novel ones of the test.

    Nothing here depends on the run's seed: all runs are tested on the same classes. The name is a split of the package
    ("fc100", "cifar_fs", "mini_imagenet", "tiny_imagenet_fs", "omniglot", "fscil_cifar100"), the path of a JSON file of
    the same shape, `{"train": [class names], "val": [...], "test": [...]}`, or "share".
    """

    name: str = option(
        "", "a split of the package, a JSON file of lists, or share; empty: every split holds all classes"
    )
    validation: float = option(0.16, "of share: share of the classes for validation, rounded (a half up)", **_SHARE)
    test: float = option(0.2, "of share: share of the classes that are novel, rounded (a half up)", above=0, below=1)
    seed: int = option(0, "of share: of the draw of the classes", **SEED)
    allow_missing: bool = option(False, "do without classes that the lists name and the data lack, instead of refusing")

    def check_rules(self, at: str) -> None:
        """Raise a `DataError` for shares that leave no classes for training."""
        if self.validation + self.test >= 1:
            raise DataError(
                f"{at}validation={self.validation:g} and {at}test={self.test:g} are shares of the classes: together "
                "they must be below 1"
            )


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """What `config.data` may hold.

    Names: "digits" (scikit-learn's, no download), "folder", "csv" (images with lists, as miniImageNet is handed on),
    "cub", "cars" and "aircraft" (the folders of these sets as they are unpacked), "planted" (digits at known places, no
    download), "drawings" (made by this program, no download), "fake" (noise, to try things out), or the name of a TFDS
    data set, such as "cifar100". The path of a TFDS data set is its data_dir or a prepared folder
    (`.../cifar100/3.0.2`); empty is TFDS's own place, `TFDS_DATA_DIR` or `~/tensorflow_datasets`. Its splits are any
    TFDS expression, such as "train[:50%]"; those of a folder are subfolders.

    The part of `test_fraction` does not depend on the run's seed, so that test accuracies compare; that of `validation`
    does. Under a class split all parts of the source are put together and divided by class, both are without meaning,
    and images of `base_holdout` are the same for every seed. With `keep_test` its images of base classes take their
    place, those of novel classes are the test, and shots of class-incremental sessions are drawn from the novel
    classes' training images.

    Clusters are "class" (the classes are the clusters), an .npz file of `fsjax cluster`, or an .npy file of one integer
    for each image of the training split as it is loaded; a run restored for evaluation does not read it.

    With the backend "device" images are arrays, whatever their size, kept in the memory of the device, and drawn and
    varied inside the compiled step; TensorFlow is not needed, and what only the host does is refused. The cache is a
    folder in which data sets are kept decoded (see `fsjax.data.store.cache`), or empty for `$FSJAX_CACHE/data`, or
    `~/.cache/fsjax/data` (FSJAX_CACHE=off: none). Streams do not use it. Empty makes no such images of noise ("fake"),
    nor for a part of a data set (limit.train), nor, with the backend "host", of what is decoded in a second or does not
    lie in memory.
    """

    name: str = option("", "a source, or a data set of tensorflow_datasets: fsjax data --help lists them")
    path: str = option("", "TFDS data_dir or prepared folder; root of folder, csv, cub, cars or aircraft")
    image_key: str = option("image", "the TFDS feature of the image", filled=True)
    label_key: str = option("label", "the TFDS feature of the class", filled=True)
    box_key: str = option("bbox", "the TFDS feature of one box per image, where there is one; empty: read no boxes")
    train_split: str = option("train", "a TFDS split, or a subfolder", filled=True)
    test_split: str = option("test", "likewise; empty: the test part is taken from the training split")
    test_fraction: float = option(0.2, "that part, as a share of each class, of sources without a test part", **_SHARE)
    validation: float = option(
        0.0, "share of the training split that selects the checkpoint; 0: the last is taken", **_SHARE
    )
    class_split: ClassSplitConfig = ClassSplitConfig()
    base_holdout: int = option(
        0,
        "under a class split: images of each base class kept out of training to evaluate these",
        at_least=0,
        at_most=10**6,
    )
    keep_test: bool = option(
        False, "under a class split: the source's test part stays one, for sessions of new classes"
    )
    clusters: str = option("", "of training images, for dataset_equity: class, or a file of fsjax cluster; empty: none")
    longtail_ratio: float = option(
        0.0, "largest over smallest class of the training split; 0: as it is", at_least=1, at_most=1e6, or_=(0,)
    )
    label_noise: float = option(
        0.0, "share of the training labels that are made wrong at random, to study that", **_SHARE
    )
    image_size: int = option(
        0, "side of the square images to which all are brought; 0: as they are", at_least=0, at_most=10_000
    )
    fit: str = option(
        "crop",
        "how: the centred square (with random_resized crops 87.5 % of it), or the whole picture",
        choices=("crop", "stretch"),
    )
    share: float | None = option(
        None,
        "of the shorter side that the centred square keeps; None: 87.5 % with random_resized crops, else all of it",
        at_least=0.01,
        at_most=1,
    )
    resize: str = option("bilinear", "the filter of that, antialiased, as pillow has them", choices=RESIZE)
    channels: int = option(0, "1 or 3; 0: as they are (folders: 3)", choices=(0, 1, 3))
    augment: AugmentConfig = AugmentConfig()  # noqa: RUF009 (frozen; ruff does not see that across modules)
    normalization: str = option(
        "dataset",
        "its own mean and deviation, (x-128)/128, ImageNet's mean and deviation, EfficientNet-Lite's (x-127)/128, or "
        "x/255",
        choices=("dataset", "half", "imagenet", "lite", "none"),
    )
    memory: str = option(
        "auto",
        "images are decoded once, or as they are needed, or as their size asks for",
        choices=("auto", "arrays", "stream"),
    )
    backend: str = option("host", "batches by tf.data, or by the device out of its memory", choices=BACKENDS)
    cache: str = option("", "folder of decoded data sets; empty: a user's own; off: none")
    on_error: str = option(
        "raise", "of unreadable images; skip reads every image once before training", choices=("raise", "skip")
    )
    limit: LimitConfig = LimitConfig()
    fake: FakeConfig = FakeConfig()
    planted: PlantedConfig = PlantedConfig()
    drawings: DrawingsConfig = DrawingsConfig()

    def check_rules(self, at: str) -> None:
        """Raise a `DataError` for options that do not go together."""
        _check_class_split(self)
        _check_fit(self)
        _check_backend(self)


def default_config() -> dict[str, Any]:
    """Every field with its default, as nested dicts."""
    return section(DataConfig).defaults()


def parse_config(config: Mapping[str, Any]) -> DataConfig:
    """The checked config of a mapping; what it leaves out keeps its default.

    Raises:
      UserError: for an unknown key, or a value of the wrong type or out of range, with what is valid.
    """
    return read(DataConfig, config, "config.data")


def _check_backend(parsed: DataConfig) -> None:
    """Raise a `DataError` for what only the host does, with the backend "device"."""
    if parsed.backend == "host":
        return
    if parsed.memory == "stream":
        raise DataError(
            'config.data.memory="stream" decodes images as they are needed, but data.backend="device" keeps all of '
            'them: set memory="auto", or backend="host"'
        )
    names = ("rotate", "brightness", "contrast", "saturation", "lighting")
    on_host = {name: value for name in names if (value := getattr(parsed.augment, name))}
    if parsed.augment.crop == "random_resized":
        on_host["crop"] = parsed.augment.crop
    if on_host:
        shown = ", ".join(f"{name}={value!r}" for name, value in on_host.items())
        raise DataError(
            f'config.data.augment: {shown} is done on the host: set data.backend="host", or do without; '
            'data.backend="device" can do crop="pad", flip, cutout and mixup'
        )


def _check_fit(parsed: DataConfig) -> None:
    """Raise a `DataError` for a size of images, and ways to get there, that do not go together."""
    if parsed.fit == "stretch" and not parsed.image_size:
        raise DataError('config.data.fit="stretch" has no effect without data.image_size: set that, or fit="crop"')
    if parsed.augment.crop == "random_resized":
        if parsed.memory == "arrays":
            raise DataError(
                'config.data.augment.crop="random_resized" crops full images; with data.memory="arrays" they are '
                'kept at image_size: use memory="stream" or "auto", or crop="pad"'
            )
        if not parsed.image_size:
            raise DataError('config.data.augment.crop="random_resized" needs data.image_size, such as 224')
        if parsed.fit == "stretch":
            # Its crops keep the aspect of things to within 4/3, in training; stretched evaluation would not.
            raise DataError(
                'config.data.augment.crop="random_resized" trains on parts of pictures at about their own aspect, '
                'data.fit="stretch" evaluates on whole pictures at another one: use fit="crop", or crop="pad" or "none"'
            )


def _check_class_split(config: DataConfig) -> None:
    """Raise a `DataError` for a class split, or fields beside it, that cannot be meant."""
    split = config.class_split
    if not split.name:
        if config.base_holdout:
            raise DataError(
                f"config.data.base_holdout={config.base_holdout} keeps images of base classes out of training, but "
                "there is no class split: set data.class_split.name, or data.base_holdout=0"
            )
        if config.keep_test:
            raise DataError(
                "config.data.keep_test keeps the test part of data whose classes are divided, but there is no class "
                "split: set data.class_split.name, or data.keep_test=False"
            )
        return
    if config.keep_test and config.base_holdout:
        raise DataError(
            f"config.data.base_holdout={config.base_holdout} and data.keep_test both say which images of the base "
            "classes are kept out of training: set data.base_holdout=0 to take those of the source's test part"
        )
    if config.validation:
        raise DataError(
            f"config.data.validation={config.validation:g} would take images of the training classes, but the "
            f"validation classes of data.class_split.name={split.name!r} select the checkpoint: set data.validation=0"
        )
