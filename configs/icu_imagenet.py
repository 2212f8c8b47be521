"""ICU loss on ImageNet (ILSVRC 2012) with ResNet-101 (Zhu & Yu, Table 1).

    python train.py --config=configs/icu_imagenet.py --workdir=runs/imagenet --config.data.path=/data/tfds

Table 1, accuracy in %:    softmax (baseline)   center             L-GM               ICU
  top-1                    76.50 ± 0.2          76.55 ± 0.2        76.65 ± 0.2        77.10 ± 0.2
  top-5                    92.45 ± 0.08         92.79 ± 0.08       92.84 ± 0.08       93.29 ± 0.08

Of the paper: 100 epochs, batch 256, learning rate 0.01, 0.001 from epoch 50, 0.0001 from epoch 75, weight decay 5e-4,
no dropout. Ours, where it is silent: SGD with momentum 0.9, random resized crops of 224 pixels and flips, 1 % of the
training images for validation; TFDS's "validation" split, the 50,000 images that the paper scores, is the test data.
TFDS cannot download ImageNet for you: its page on imagenet2012 says which files to fetch by hand. Written and tried on
random images only: the data could not be had here.
"""

from fsjax.configs.common import base, choose, shrink


def get_config(arg: str = ""):
    """The config; `:smoke` takes a few steps of a small ResNet on random images."""
    config = base()
    config.name = "icu_imagenet"
    config.data.name = "imagenet2012"
    config.data.test_split = "validation"
    config.data.image_size = 224
    config.data.validation = 0.01
    config.data.augment.update(crop="random_resized", flip=True)

    config.model.name = "resnet101"
    config.loss.name = "icu"

    config.optimizer.learning_rate = 0.01
    config.optimizer.momentum = 0.9
    config.optimizer.weight_decay = 5e-4
    config.schedule.name = "step"
    config.schedule.boundaries = (50.0, 75.0)

    config.train.epochs = 100.0
    config.train.batch_size = 256
    config.train.eval_every = 5000
    if "smoke" in choose(arg, ("smoke",)):
        config.model.resnet101.update(width=8, blocks=(1, 1, 1, 1))
        config.data.image_size = 64
        shrink(config, image_shape=(80, 72, 3), num_classes=1000)
    return config
