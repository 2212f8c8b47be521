"""Meta-Baseline (Chen et al. 2021): a classifier, then episodes; on a data set of few-shot learning.

    python train.py --config=configs/metabaseline.py:tiny,classifier --workdir=runs/classifier_tiny
    python train.py --config=configs/metabaseline.py:tiny --workdir=runs/metabaseline_tiny \\
        --config.start_from=runs/classifier_tiny

Data sets, named first: fc100, cifarfs, mini, tiny. "metabaseline_tiny:classifier" is "metabaseline:tiny,classifier".

The paper, miniImageNet: 63.17 ± 0.23 (1-shot), 79.26 ± 0.17 (5-shot); its classifier alone 58.91 ± 0.23, 77.76 ± 0.17.

First stage: 100 epochs of 128, SGD with momentum 0.9 at 0.1, x0.1 at epoch 90, L2 5e-4, linear classifier, leaky
ReLU 0.1.
Second: 20 epochs of 200 steps of 4 episodes, 5-way 5-shot 15-query, SGD at 1e-3, the cosine's scale learned from 10.
The full recipes were not run here; reduced ones of fc100 and tiny were: see docs/results.md and
benchmarks/studies/few_shot.py. There is no copy of miniImageNet here: its layouts are tested on small trees.
"""

from ml_collections import ConfigDict

from fsjax.configs.common import base
from fsjax.configs.common_few_shot import DATASETS, IMAGE_SIZES, choose_dataset, episodic, few_shot, smoke

__all__ = ["DATASETS", "get_config"]


def get_config(arg: str = "") -> ConfigDict:
    """The config, by its code (docs/readings.md, "Recipe of AFLM"); `:smoke` takes a few steps on noise.

    Args:
      arg: the data set; then "classifier": the first stage, softmax over a linear classifier, 100 epochs. None: the
        second, 20 epochs of 200 steps of 4 episodes, from the encoder of `config.start_from`.
    """
    dataset, parts = choose_dataset("metabaseline", arg, ("classifier", "smoke"))
    config = base()
    config.name = "_".join([f"metabaseline_{dataset}", *(part for part in parts if part != "smoke")])
    few_shot(config, dataset)
    config.model.resnet12.activation = "leaky"
    config.optimizer.update(name="sgd", learning_rate=0.1, momentum=0.9, nesterov=False, weight_decay=5e-4)
    if "classifier" in parts:
        config.method.name = "classification"
        config.loss.name = "softmax"
        config.train.update(steps=0, epochs=100.0, batch_size=128)
        config.schedule.update(unit="epochs", boundaries=(90.0,))
    else:
        config.method.name = "meta_baseline"
        config.optimizer.learning_rate = 1e-3
        config.episodes.update(way=(5,), shot=(5,), query=(15,), per_step=4)
        episodic(config, steps=4_000)
        config.schedule.name = "constant"
    if "smoke" in parts:
        smoke(config, IMAGE_SIZES[dataset])
    return config
