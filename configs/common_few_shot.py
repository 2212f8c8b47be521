"""What the few-shot experiments share: the data sets with their class splits, and the recipes of the DC paper.

A config takes a data set's section by its name, `few_shot(config, "fc100")`, and states its method over it.
"""

from ml_collections import ConfigDict

from fsjax.configs.common import base, choose, shrink

DATASETS = ("fc100", "cifarfs", "mini", "tiny")
IMAGE_SIZES = {"fc100": 32, "cifarfs": 32, "mini": 84, "tiny": 64}


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


DENSE_VARIANTS = ("gap", "gmp", "flatten", "linear", "imprinted", "wide", "c128f", "smoke")


def dense_classification(name: str, dataset: str, arg: str) -> ConfigDict:
    """Stage 1 of Lifchitz et al. 2019 with its baselines.

    Args:
      name: of the experiment.
      dataset: of `DATASETS`.
      arg: none: dense classification. "gap", "gmp", "flatten": a cosine classifier of the pooled or flattened maps,
        Eq. 6
        to 8; "linear": softmax over a linear classifier of averaged maps; "imprinted": imprinted weights; "wide": the
        last block widened by the 16 channels that implants have; "c128f": Gidaris & Komodakis' small network.
    """
    parts = choose(arg, DENSE_VARIANTS)
    if len({"gap", "gmp", "flatten", "linear", "imprinted"} & set(parts)) > 1 or {"wide", "c128f"} <= set(parts):
        raise ValueError(f"the variants {arg!r} exclude each other")
    config = base()
    config.name = "_".join([name, *(part for part in parts if part != "smoke")])
    few_shot(config, dataset)
    config.method.name = "dense"
    config.loss.name = "cosine"
    if {"gap", "gmp", "flatten", "linear", "imprinted"} & set(parts):
        config.method.name = "imprinted" if "imprinted" in parts else "classification"
        config.loss.name = "softmax" if "linear" in parts else "cosine"
    pool = next((part for part in parts if part in ("gap", "gmp", "flatten")), "gap")
    config.model.resnet12.pool = config.model.c128f.pool = pool
    if "wide" in parts:
        config.model.resnet12.widths = (64, 128, 256, 528)
    if "c128f" in parts:
        config.model.name = "c128f"
        config.model.c128f.last_relu = "linear" in parts  # none with Gidaris & Komodakis' cosine classifier
    if "smoke" in parts:
        smoke(config, IMAGE_SIZES[dataset])
    return config


def implants(name: str, dataset: str, arg: str) -> ConfigDict:
    """Dense classification, and implants for each task at the test."""
    choose(arg, ("smoke",))
    config = dense_classification(name, dataset, arg)
    config.method.name = "implants"
    config.few_shot.classes = ("novel",)
    return config


def prototypical(name: str, dataset: str, arg: str) -> ConfigDict:
    """Prototypical networks with the recipe of Snell et al. 2017: Adam at 1e-3, halved every 2,000 episodes.

    Args:
      name: of the experiment.
      dataset: of `DATASETS`.
      arg: none: squared Euclidean distance, 20-way 5-shot episodes. "cosine": the cosine, its scale learned from 10;
        "1shot": 30-way 1-shot episodes; "susana": the mean of cross-entropy, Proto-Triplet and ICNN on the support
        images, "SuSana Distancia"'s losses with the options of its code.
    """
    parts = choose(arg, ("cosine", "1shot", "susana", "smoke"))
    config = base()
    config.name = "_".join([name, *(part for part in parts if part != "smoke")])
    few_shot(config, dataset)
    config.method.name = "prototypical"
    if "cosine" in parts:
        config.method.prototypical.update(similarity="cosine", tau=10.0, learn_tau=True)
    if "susana" in parts:
        config.method.prototypical.losses = ("cross_entropy", "proto_triplet", "icnn")
    _snell(config, one_shot="1shot" in parts)
    if "smoke" in parts:
        smoke(config, IMAGE_SIZES[dataset])
    return config


def msenet(name: str, dataset: str, arg: str) -> ConfigDict:
    """MSENet with a ResNet-18 from scratch, on the episodes and with the recipe of `prototypical`.

    Args:
      name: of the experiment.
      dataset: of `DATASETS`.
      arg: none: the depths of the released code, with attention. "ends": the ends of the four stages; "no_attention":
        its maps as they are; "1shot": 30-way 1-shot episodes.
    """
    parts = choose(arg, ("ends", "no_attention", "1shot", "smoke"))
    config = base()
    config.name = "_".join([name, *(part for part in parts if part != "smoke")])
    few_shot(config, dataset)
    config.model.name = "resnet18"
    config.method.name = "msenet"
    config.method.msenet.stages = "ends" if "ends" in parts else "released"
    config.method.msenet.attention = "no_attention" not in parts
    _snell(config, one_shot="1shot" in parts)
    if "smoke" in parts:
        smoke(config, IMAGE_SIZES[dataset])
    return config


def _snell(config: ConfigDict, *, one_shot: bool) -> None:
    """The episodes and the recipe of Snell et al. 2017."""
    # FC100 and miniImageNet have base classes enough for both; Tiny ImageNet's 32 too.
    config.episodes.update(way=(30,) if one_shot else (20,), shot=(1,) if one_shot else (5,), query=(15,), per_step=1)
    config.optimizer.update(name="adam", learning_rate=1e-3, weight_decay=0.0)
    episodic(config, steps=20_000)
    config.schedule.factor = 0.5
    config.schedule.boundaries = tuple(range(2_000, 20_000, 2_000))
    config.few_shot.validation.shot = config.episodes.shot
    config.few_shot.shots = (1, 5, 10) if one_shot else (5, 1, 10)


def meta_baseline(name: str, dataset: str, arg: str) -> ConfigDict:
    """Meta-Baseline (Chen et al. 2021) with the settings of its code; see docs/readings.md, "Recipe of AFLM".

    Args:
      name: of the experiment.
      dataset: of `DATASETS`.
      arg: "classifier": the first stage, softmax over a linear classifier, 100 epochs. None: the second, 20 epochs
        of 200
        steps of 4 episodes, from the encoder of `config.start_from`.
    """
    parts = choose(arg, ("classifier", "smoke"))
    config = base()
    config.name = "_".join([name, *(part for part in parts if part != "smoke")])
    few_shot(config, dataset)
    config.model.resnet12.activation = "leaky"
    config.optimizer.update(name="sgd", learning_rate=0.1, momentum=0.9, nesterov=False, weight_decay=5e-4)
    if "classifier" in parts:
        config.method.name = "classification"
        config.loss.name = "softmax"
        config.train.update(steps=0, epochs=100.0, batch_size=128)
        config.schedule.update(unit="epochs", boundaries=(90.0,))
    else:
        config.method.name = "meta_baseline"
        config.optimizer.learning_rate = 1e-3
        config.episodes.update(way=(5,), shot=(5,), query=(15,), per_step=4)
        episodic(config, steps=4_000)
        config.schedule.name = "constant"
    if "smoke" in parts:
        smoke(config, IMAGE_SIZES[dataset])
    return config


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
    # Two stages in the place of four: nearly all of the time goes into compilation.
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
