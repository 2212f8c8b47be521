"""ICU loss on CIFAR-100 with the VGG-13 of the L-GM recipe (Zhu & Yu; the recipe is Wan et al.'s, CVPR 2018).

    python train.py --config=configs/icu_cifar100.py --workdir=runs/icu
    python train.py --config=configs/icu_cifar100.py --workdir=runs/lgm --config.loss.name=lgm

Table 1 and 3, test accuracy in %:   softmax (baseline)  center       L-Softmax    L-GM         ICU
  CIFAR-100, VGG-13                  74.39 ± 0.07        75.15 ±.06   75.17 ±.05   76.06 ±.08   77.80 ±.08
  ICU without margins 76.52, with alpha alone 77.06, with gamma alone 77.37, with both 77.80

Of the recipe: 5x96, pool, 4x192, pool, 4x384 convolutions with batch norm, global average pool; SGD with Nesterov
momentum 0.9, learning rate 0.1, x0.1 at 60k and 90k of 120k steps, batch 128, weight decay 5e-4, 4-pixel padded
crops, flips, pixels (x - 128) / 128. Ours: 5 % of the training images choose the checkpoint.
The full recipe is 86 PFLOP (about 5 minutes on an H100 by arithmetic; over a week on 2 cores) and was not run here.
Measured with a small network, 2,230 steps of 64, 3 seeds, 4 minutes each on a CPU core: softmax 32.08 ± 0.78, center
31.97 ± 1.34, L-GM 2.55 ± 1.40, ICU 32.42 ± 1.06 (see docs/results.md and benchmarks/studies/icu.py).
"""

from fsjax.configs.common import base, choose, shrink


def get_config(arg: str = ""):
    """The config; `:smoke` takes a few steps on random images."""
    config = base()
    config.name = "icu_cifar100"
    config.data.name = "cifar100"
    config.data.validation = 0.05
    config.data.augment.update(crop="pad", pad=4, flip=True)
    config.data.normalization = "half"

    config.model.name = "vgg13"
    config.model.vgg13.update(widths=(96, 192, 384), convs=(5, 4, 4))
    config.loss.name = "icu"
    config.loss.lgm.alpha_double_every = 5000  # 0.1, 0.2, then 0.3, as in L-GM's own CIFAR-100 settings

    config.optimizer.learning_rate = 0.1
    config.optimizer.momentum = 0.9
    config.optimizer.nesterov = True
    config.optimizer.weight_decay = 5e-4
    config.schedule.name = "step"
    config.schedule.unit = "steps"
    config.schedule.boundaries = (60_000, 90_000)

    config.train.steps = 120_000
    config.train.batch_size = 128
    if "smoke" in choose(arg, ("smoke",)):
        config.model.vgg13.update(widths=(8, 8, 16), convs=(1, 1, 1))
        shrink(config, image_shape=(32, 32, 3), num_classes=100)
    return config
