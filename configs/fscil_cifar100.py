"""Few-shot class-incremental learning on CIFAR-100: 60 base classes, then 8 sessions of 5-way 5-shot (TEEN).

    python train.py --config=configs/fscil_cifar100.py --workdir=runs/fscil_cifar100
    fsjax sessions runs/fscil_cifar100 --alpha 0.5 0.1 --out sessions.md

Accuracy in % over all classes seen so far, as a leaderboard quotes Wang et al. 2023 (their paper was not at hand):
74.92 in session 0 (the base classes), 52.64 in session 8, 63.10 on average over the sessions.

ResNet-20 of width 16, SGD at 0.1 with a cosine schedule over 600 epochs of batches of 256, L2 5e-4, cosine classifier
of scale 16, TEEN's alpha 0.1 [released code]; the scale is learned here from there. Theirs has automatic augmentation
and cutout, and takes the epoch of the best test accuracy: here padded crops and flips, and the last step. Their shots
are one fixed draw; here there are as many as `--seeds` says.
The full recipe was not run here; a reduced one: see benchmarks/studies/fscil.py and docs/results.md.
"""

from fsjax.configs.common_fscil import finished, incremental


def get_config(arg: str = ""):
    """The config; `:smoke` takes a few steps on noise."""
    config = incremental("fscil_cifar100", arg)
    config.data.name = "cifar100"
    config.data.class_split.name = "fscil_cifar100"
    config.data.augment.pad = 4
    config.model.name = "resnet32"
    config.model.resnet32.blocks = (3, 3, 3)
    config.loss.cosine.tau_init = 16.0
    config.train.epochs = 600.0
    config.train.batch_size = 256
    return finished(config, arg, size=32)
