"""ICU loss on CIFAR-10 with ResNet-18 (Zhu & Yu, "Intra-class uncertainty loss function for classification").

    python train.py --config=configs/icu_cifar10.py --workdir=runs/cifar10
    python train.py --config=configs/icu_cifar10.py --workdir=runs/cifar10_lgm --config.loss.name=lgm

Table 1, test accuracy in %:   softmax (baseline)  center       L-Softmax    L-GM         ICU
  CIFAR-10, ResNet-18          93.41 ± 0.05        94.06 ±.02   93.95 ±.04   93.99 ±.05   94.38 ±.05

Of the paper: Adam, learning rate 0.01, weight decay 0.001 (L2), batch 256. Ours, where it is silent: 200 epochs,
the rate x0.1 at epochs 100 and 150, 4-pixel padded crops and flips, 5 % of the training images for validation.
Not run here: CIFAR-10 could not be had on the machine this was made on.
"""

from fsjax.configs.common import base, choose, shrink


def get_config(arg: str = ""):
    """The config; `:smoke` takes a few steps on random images."""
    config = base()
    config.name = "icu_cifar10"
    config.data.name = "cifar10"
    config.data.validation = 0.05
    config.data.augment.update(crop="pad", pad=4, flip=True)

    config.model.name = "resnet18_cifar"
    config.loss.name = "icu"

    config.optimizer.name = "adam"
    config.optimizer.learning_rate = 0.01
    config.optimizer.weight_decay = 0.001
    config.schedule.name = "step"
    config.schedule.boundaries = (100.0, 150.0)

    config.train.epochs = 200.0
    config.train.batch_size = 256
    if "smoke" in choose(arg, ("smoke",)):
        config.model.resnet18_cifar.update(width=8, blocks=(1, 1, 1, 1))
        shrink(config, image_shape=(32, 32, 3), num_classes=10)
    return config
