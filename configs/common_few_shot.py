"""What the few-shot experiments share: the data sets with their class splits, and the recipes of the DC paper.

A config takes a data set's section by its name, `few_shot(config, "fc100")`, and states its method over it.
"""

from ml_collections import ConfigDict

from configs.common import shrink

DATASETS = ("fc100", "cifarfs", "mini", "tiny")


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


def episodic(config: ConfigDict, *, steps: int) -> None:
    """Make a config train on episodes in place: no batch size, and as many steps, rate drops along with them."""
    config.train.batch_size = 0
    config.train.steps = steps
    config.schedule.boundaries = tuple(steps * part // 100 for part in (50, 75, 90))


def smoke(config: ConfigDict, size: int) -> None:
    """Make a few-shot config its `:smoke` variant in place: four steps of a narrow network on random images."""
    on_episodes = config.train.batch_size == 0
    shrink(config, image_shape=(size, size, 3), num_classes=20, images_per_class=16)
    config.data.class_split.update(name="share", validation=0.25, test=0.25)
    config.data.image_size = 0
    config.data.path = ""
    config.data.base_holdout = 6
    config.model.resnet12.widths = (4, 4, 8, 8)
    if on_episodes:
        config.train.batch_size = 0
        config.episodes.update(way=(3,), shot=(2,), query=(3,), per_step=1)
    config.few_shot.update(shots=(2, 1), query=(3,), tasks=20, implant_tasks=4)
    config.few_shot.validation.update(shot=(2,), query=(3,), tasks=10)


def _cifar(config: ConfigDict) -> None:
    config.data.name = "cifar100"  # all of TFDS's: 600 images a class
    config.data.train_split = "train+test"
    config.data.test_split = ""
    config.data.base_holdout = 60
    config.data.augment.pad = 4
    # Lifchitz et al. 2019 on FC100: 12,500 iterations of 512, Adam; the rest is not given (METHODS §2.1).
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
    # Lifchitz et al. 2019: 8,000 iterations of 200, SGD with Nesterov momentum; the rest is not given (METHODS §2.1).
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
