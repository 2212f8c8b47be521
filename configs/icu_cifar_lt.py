"""ICU loss on long-tailed CIFAR-10 and CIFAR-100 with ResNet-32 (Zhu & Yu, Table 2).

    python train.py --config=configs/icu_cifar_lt.py --workdir=runs/lt                       # CIFAR-10, ratio 100
    python train.py --config=configs/icu_cifar_lt.py:cifar100,50 --workdir=runs/lt100_50
    python train.py --config=configs/icu_cifar_lt.py --workdir=runs/lt_cb --config.loss.name=class_balanced

Table 2, top-1 test accuracy in %:   CIFAR-100-LT            CIFAR-10-LT
  ratio                              100     50      10      100     50      10
  L-GM                               37.3    41.7    57.9    72.0    77.1    87.3
  focal                              38.4    44.3    55.8    70.4    76.7    86.7
  mixup                              39.5    45.0    58.0    73.1    77.8    87.1
  class-balanced                     39.6    45.2    58.0    74.6    79.3    87.1
  ICU                                39.8    45.4    58.8    73.4    79.2    87.7

Class-balanced overtakes softmax only late at its default, beta 0.9999; for shorter trainings, and for CIFAR-100-LT,
give it --config.loss.class_balanced.beta=0.99.
Class i keeps int(n_max * ratio^(-i/(C-1))) training images, drawn without replacement by the seed; the test data
stay balanced. Of the released config: the BBN variant of ResNet-32, SGD momentum 0.9, learning rate 0.02, 5 epochs
of warm-up, x0.01 at epochs 120 and 160 of 200, batch 64, weight decay 5e-4. Ours: padded crops and flips. There is
no validation split, so that the counts are the protocol's: the last step is scored. Many/medium/few-shot accuracy
(over 100, 20 to 100, under 20 training images per class) is in result.json.
CIFAR-10 could not be had here. Measured with a small network, 8 epochs, on CIFAR-100 at ratio 100, 3 seeds, 3 minutes
each on a CPU core: softmax 15.72, ICU 16.46 (see docs/results.md and benchmarks/studies/icu.py); nothing in full.
"""

from fsjax.configs.common import base, choose, shrink


def get_config(arg: str = ""):
    """The config; variants cifar10 (default) | cifar100, 100 (default) | 50 | 10, and smoke: `:cifar100,50,smoke`."""
    parts = choose(arg, ("cifar10", "cifar100", "100", "50", "10", "smoke"))
    name = "cifar100" if "cifar100" in parts else "cifar10"
    ratio = next((int(part) for part in parts if part.isdigit()), 100)
    config = base()
    config.name = f"icu_{name}_lt{ratio}"
    config.data.name = name
    config.data.longtail_ratio = float(ratio)
    config.data.validation = 0.0
    config.data.augment.update(crop="pad", pad=4, flip=True)

    config.model.name = "resnet32_bbn"
    config.loss.name = "icu"

    config.optimizer.learning_rate = 0.02
    config.optimizer.momentum = 0.9
    config.optimizer.weight_decay = 5e-4
    config.schedule.name = "step"
    config.schedule.warmup = 5.0
    config.schedule.boundaries = (120.0, 160.0)
    config.schedule.factor = 0.01

    config.train.epochs = 200.0
    config.train.batch_size = 64
    if "smoke" in parts:
        config.model.resnet32_bbn.update(width=4, blocks=(1, 1, 2))
        classes = 10 if name == "cifar10" else 100
        shrink(config, image_shape=(32, 32, 3), num_classes=classes, images_per_class=ratio)
    return config
