"""ICU loss on MNIST, the paper's 2-D and 100-D networks (Zhu & Yu, "Intra-class uncertainty loss function").

    python train.py --config=configs/icu_mnist.py --workdir=runs/mnist_2d                # 4 conv + 2 FC, 2-D features
    python train.py --config=configs/icu_mnist.py:100d --workdir=runs/mnist_100d         # 5 conv + 1 FC, 100-D
    python train.py --config=configs/icu_mnist.py --workdir=runs/mnist_softmax --config.loss.name=softmax

Table 1, test accuracy in %:   softmax (baseline)  center       L-Softmax    L-GM         ICU
  2-D                          98.18 ± 0.01        98.55 ±.01   98.70 ±.02   98.83 ±.01   99.04 ±.01
  100-D                        99.32 ± 0.01        99.53 ±.01   99.57 ±.01   99.61 ±.01   99.66 ±.01

Of the paper: Adam, learning rate 0.01, weight decay 0.001 (L2), batch 128, batch norm. Ours, where it is silent:
widths (see `fsjax.models.convnet`), 30 epochs, the rate x0.1 at epochs 15 and 25 ("initial learning rate"), no
augmentation, 3,000 training images for validation. The 2-D features are drawn into features.png, as in Fig. 2.
Measured, 4 epochs instead of 30, a CPU core, about 11 minutes each, one seed: 2-D softmax 98.14, ICU 98.59.
"""

from fsjax.configs.common import base, choose, shrink


def get_config(arg: str = ""):
    """The config; variants `:2d` (default) and `:100d`, and `:smoke` for a few steps on random images."""
    parts = choose(arg, ("2d", "100d", "smoke"))
    wide = "100d" in parts
    config = base()
    config.name = "icu_mnist_100d" if wide else "icu_mnist_2d"
    config.data.name = "mnist"
    config.data.validation = 0.05

    config.model.name = "mnist_100d" if wide else "mnist_2d"
    config.loss.name = "icu"
    config.figures.scatter = not wide

    config.optimizer.name = "adam"
    config.optimizer.learning_rate = 0.01
    config.optimizer.weight_decay = 0.001
    config.schedule.name = "step"
    config.schedule.boundaries = (15.0, 25.0)

    config.train.epochs = 30.0
    config.train.batch_size = 128
    config.train.eval_every = 450
    config.train.checkpoint_every = 450
    if "smoke" in parts:
        shrink(config, image_shape=(28, 28, 1), num_classes=10)
    return config
