"""Meta-Baseline on FC100 (Chen et al. 2021): a classifier, then episodes.

    python train.py --config=configs/metabaseline_fc100.py:classifier --workdir=runs/classifier_fc100
    python train.py --config=configs/metabaseline_fc100.py --workdir=runs/metabaseline_fc100 \\
        --config.start_from=runs/classifier_fc100

The paper has no figures for it.

First stage: 100 epochs of 128, SGD with momentum 0.9 at 0.1, x0.1 at epoch 90, L2 5e-4, linear classifier, leaky
ReLU 0.1.
Second: 20 epochs of 200 steps of 4 episodes, 5-way 5-shot 15-query, SGD at 1e-3, the cosine's scale learned from 10.
The full recipe was not run here; a reduced one was: see docs/results.md and benchmarks/studies/few_shot.py.
"""

from fsjax.configs.common_few_shot import meta_baseline


def get_config(arg: str = ""):
    """The config of the second stage; `:classifier` is the first, and `smoke` takes a few steps on noise."""
    return meta_baseline("metabaseline_fc100", "fc100", arg)
