"""What the few-shot experiments share: the data sets with their class splits, and how the DC paper trains on them.

A config takes a data set's section by its name, `few_shot(config, "fc100")`, and states its method over it.
"""

from ml_collections import ConfigDict

from fsjax.configs.common import choose, shrink

DATASETS = ("fc100", "cifarfs", "mini", "tiny")
IMAGE_SIZES = {"fc100": 32, "cifarfs": 32, "mini": 84, "tiny": 64}


def choose_dataset(family: str, arg: str, variants: tuple[str, ...]) -> tuple[str, list[str]]:
    """The data set that a config's argument begins with, `:fc100,a,b`, and its other parts, see `common.choose`.

    Args:
      family: the recipe's name, for the message.
      arg: what stands behind the colon, comma-separated.
      variants: what may stand behind the data set.
    """
    dataset, _, rest = (arg or "").partition(",")
    if dataset not in DATASETS:
        raise ValueError(
            f"{family} is trained on one of several data sets: name it first, as in {family}:{DATASETS[0]}; there are: "
            + ", ".join(DATASETS)
        )
    return dataset, choose(rest, variants)


def few_shot(config: ConfigDict, dataset: str) -> None:
    """Set data, network, optimizer and protocol of a data set in place.

    Args:
      config: what `configs.common.base` gives.
      dataset: of `DATASETS`.
    """
    {"fc100": _fc100, "cifarfs": _cifarfs, "mini": _mini, "tiny": _tiny}[dataset](config)
    config.data.augment.crop = "pad"
    config.data.augment.flip = True
    config.model.name = "resnet12"
    config.model.resnet12.update(activation="swish", pool_padding="valid")
    config.schedule.name = "step"  # x0.1 at 50 %, 75 % and 90 % of the steps
    config.schedule.unit = "steps"
    config.schedule.boundaries = tuple(config.train.steps * part // 100 for part in (50, 75, 90))
    config.few_shot.shots = (5, 1, 10)
    config.few_shot.query = (30,)
    config.few_shot.classes = ("novel", "base", "both")


def snell(config: ConfigDict, *, one_shot: bool) -> None:
    """The episodes and the recipe of Snell et al. 2017."""
    # FC100 and miniImageNet have base classes enough for both; Tiny ImageNet's 32 too.
    config.episodes.update(way=(30,) if one_shot else (20,), shot=(1,) if one_shot else (5,), query=(15,), per_step=1)
    config.optimizer.update(name="adam", learning_rate=1e-3, weight_decay=0.0)
    episodic(config, steps=20_000)
    config.schedule.factor = 0.5
    config.schedule.boundaries = tuple(range(2_000, 20_000, 2_000))
    config.few_shot.validation.shot = config.episodes.shot
    config.few_shot.shots = (1, 5, 10) if one_shot else (5, 1, 10)


def episodic(config: ConfigDict, *, steps: int) -> None:
    """Make a config train on so many steps of episodes in place: no batch size, and rate drops at their places."""
    config.train.update(batch_size=0, steps=steps, epochs=0.0)
    config.schedule.boundaries = tuple(steps * part // 100 for part in (50, 75, 90))


def smoke(config: ConfigDict, size: int) -> None:
    """Make a few-shot config its `:smoke` variant in place: four steps of a narrow network on random images."""
    on_episodes = config.train.batch_size == 0
    shrink(config, image_shape=(size, size, 3), num_classes=20, images_per_class=16)
    config.data.class_split.update(name="share", validation=0.25, test=0.25)
    config.data.image_size = 0
    config.data.path = ""
    config.data.base_holdout = 6
    # Two stages instead of four: nearly all of the time goes into compilation.
    config.model.resnet12.widths = (4, 8 + (config.model.resnet12.widths[-1] > 512))
    config.model.c128f.widths = (4, 8)
    config.model.resnet18.update(width=4, blocks=(1, 1, 1, 1))
    config.method.implants.steps = 5
    if on_episodes:
        config.train.batch_size = 0
        config.episodes.update(way=(3,), shot=(2,), query=(3,), per_step=1)
    config.few_shot.update(shots=(2,), query=(3,), tasks=20, implant_tasks=2)
    config.few_shot.validation.update(way=(5,), shot=(2,), query=(3,), tasks=10)


def _cifar(config: ConfigDict) -> None:
    config.data.name = "cifar100"  # all of TFDS's: 600 images per class
    config.data.train_split = "train+test"
    config.data.test_split = ""
    config.data.base_holdout = 60
    config.data.augment.pad = 4
    # Lifchitz et al. 2019 on FC100: 12,500 iterations of 512, Adam; the rest is not given:
    # docs/readings.md, "Dense classification".
    config.optimizer.name = "adam"
    config.optimizer.learning_rate = 1e-3
    config.optimizer.weight_decay = 5e-4
    config.loss.cosine.tau_init = 100.0
    config.train.steps = 12_500
    config.train.batch_size = 512


def _fc100(config: ConfigDict) -> None:
    config.data.class_split.name = "fc100"
    _cifar(config)


def _cifarfs(config: ConfigDict) -> None:
    config.data.class_split.name = "cifar_fs"
    _cifar(config)


def _mini(config: ConfigDict) -> None:
    # --config.data.path: a folder with the class folders of the wnids, or with their parts train, val and test; for
    # the layout of images/ and train.csv, val.csv, test.csv add --config.data.name=csv.
    config.data.name = "folder"
    config.data.class_split.name = "mini_imagenet"
    config.data.image_size = 84
    config.data.resize = "bilinear"
    config.data.base_holdout = 60
    config.data.augment.pad = 8
    # Lifchitz et al. 2019: 8,000 iterations of 200, SGD with Nesterov momentum; the rest is not given:
    # docs/readings.md, "Dense classification".
    config.optimizer.name = "sgd"
    config.optimizer.learning_rate = 0.1
    config.optimizer.momentum = 0.9
    config.optimizer.nesterov = True
    config.optimizer.weight_decay = 5e-4
    config.loss.cosine.tau_init = 10.0
    config.train.steps = 8_000
    config.train.batch_size = 200


def _tiny(config: ConfigDict) -> None:
    # 60 of Tiny ImageNet's classes (32 base, 8 validation, 20 novel) at 64x64; no paper's: miniImageNet's recipe.
    _mini(config)
    config.data.name = "tiny_imagenet_fs"
    config.data.train_split = "train+validation"
    config.data.test_split = ""
    config.data.class_split.name = "tiny_imagenet_fs"
    config.data.image_size = 0
    config.data.base_holdout = 50
    config.data.augment.pad = 6
