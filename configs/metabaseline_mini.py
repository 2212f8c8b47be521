"""Meta-Baseline on miniImageNet (Chen et al. 2021): a classifier, then episodes.

    python train.py --config=configs/metabaseline_mini.py:classifier --workdir=runs/classifier_mini \\
        --config.data.path=~/mini_imagenet
    python train.py --config=configs/metabaseline_mini.py --workdir=runs/metabaseline_mini \\
        --config.start_from=runs/classifier_mini --config.data.path=~/mini_imagenet

The paper: 63.17 ± 0.23 (1-shot), 79.26 ± 0.17 (5-shot); its classifier alone 58.91 ± 0.23, 77.76 ± 0.17.

First stage: 100 epochs of 128, SGD with momentum 0.9 at 0.1, x0.1 at epoch 90, L2 5e-4, linear classifier, leaky
ReLU 0.1.
Second: 20 epochs of 200 steps of 4 episodes, 5-way 5-shot 15-query, SGD at 1e-3, the cosine's scale learned from 10.
Not run here: there is no copy of miniImageNet. The data are tested on small trees in its layouts.
"""

from fsjax.configs.common_few_shot import meta_baseline


def get_config(arg: str = ""):
    """The config of the second stage; `:classifier` is the first, and `smoke` takes a few steps on noise."""
    return meta_baseline("metabaseline_mini", "mini", arg)
