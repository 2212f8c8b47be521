"""Meta-Baseline on CIFAR-FS (Chen et al. 2021): a classifier, then episodes.

    python train.py --config=configs/metabaseline_cifarfs.py:classifier --workdir=runs/classifier_cifarfs
    python train.py --config=configs/metabaseline_cifarfs.py --workdir=runs/metabaseline_cifarfs \\
        --config.start_from=runs/classifier_cifarfs

The paper has no figures for it.

First stage: 100 epochs of 128, SGD with momentum 0.9 at 0.1, x0.1 at epoch 90, L2 5e-4, linear classifier, leaky
ReLU 0.1.
Second: 20 epochs of 200 steps of 4 episodes, 5-way 5-shot 15-query, SGD at 1e-3, the cosine's scale learned from 10.
Not run here beyond its smoke variant.
"""

from fsjax.configs.common_few_shot import meta_baseline


def get_config(arg: str = ""):
    """The config of the second stage; `:classifier` is the first, and `smoke` takes a few steps on noise."""
    return meta_baseline("metabaseline_cifarfs", "cifarfs", arg)
