"""Your own pictures in class folders: EfficientNet-Lite0, trained on ImageNet, is fine-tuned to tell them apart.

    python train.py --config=configs/pictures.py --config.data.path=pictures --workdir=runs/pictures
    fsjax train pictures:probe --config.data.path=pictures --workdir=runs/probe
    fsjax predict --run runs/pictures --query many

The folder `pictures` has a folder for each class, pictures/heron/1.jpg, or such folders in pictures/train and
pictures/test. Without a test part a fifth of each class is kept for the test, the same pictures for every seed.
Pictures of any size become 160x160 by random crops and flips; grey ones become colour.

The network's own weights move at a tenth of the rate of the new classifier's. `probe` keeps them as they are, and
trains the classifier alone: where there are few pictures of each class, or little time. With fewer than about ten
pictures of each class `fsjax predict --support pictures --query many` needs no training at all.
"""

from ml_collections import ConfigDict

from fsjax.configs.common import base, choose, shrink


def get_config(arg: str = "") -> ConfigDict:
    """The config; variants: probe, and smoke, a few steps of a small network on noise."""
    parts = choose(arg, ("probe", "smoke"))
    config = base()
    config.name = "_".join(["pictures", *(part for part in parts if part != "smoke")])
    config.data.name = "folder"
    config.data.image_size = 160
    config.data.resize = "bicubic"
    config.data.channels = 3
    config.data.normalization = "lite"
    config.data.augment.update(crop="random_resized", flip=True)

    config.model.name = "efficientnet_lite0"
    config.pretrained.network = "efficientnet_lite0"
    config.pretrained.rate = 0.0 if "probe" in parts else 0.1
    config.loss.name = "softmax"

    config.optimizer.name = "adam"
    config.optimizer.learning_rate = 1e-2 if "probe" in parts else 3e-3
    config.schedule.name = "cosine"
    config.train.epochs = 10.0
    config.train.batch_size = 16
    if "smoke" in parts:
        shrink(config, image_shape=(32, 32, 3))
        config.data.image_size = 16
        config.model.efficientnet_lite0.update(stem_width=4, widths=(4, 6), blocks=(1, 1), head_width=8)
        config.pretrained.update(network="", rate=1.0)
    return config
