"""Prototypical networks (Snell et al. 2017) with the ResNet-12 of the DC paper, on a data set of few-shot learning.

    python train.py --config=configs/proto.py:fc100 --workdir=runs/proto_fc100
    python train.py --config=configs/proto.py:tiny,1shot,cosine --workdir=runs/proto_tiny_cosine
    python train.py --config=configs/proto.py:mini --workdir=runs/proto_mini --config.data.path=~/mini_imagenet

Data sets, named first: fc100, cifarfs, mini, tiny. "proto_fc100:cosine" is "proto:fc100,cosine".

PN with ResNet-12 as TADAM reports it, 1-, 5- and 10-shot: FC100 37.80 ± 0.40, 53.30 ± 0.50, 58.70 ± 0.40; miniImageNet
56.50 ± 0.4, 74.20 ± 0.2, 78.60 ± 0.4. There are no figures for cifarfs and tiny.

Snell et al.'s recipe: Adam at 1e-3, halved every 2,000 episodes, 20-way 5-shot or 30-way 1-shot training episodes
with 15 queries; 20,000 episodes [ours].
The full recipes were not run here; reduced ones of fc100 and tiny were: see docs/results.md and
benchmarks/studies/few_shot.py. There is no copy of miniImageNet here: its layouts are tested on small trees.
"""

from ml_collections import ConfigDict

from fsjax.configs.common import base
from fsjax.configs.common_few_shot import DATASETS, IMAGE_SIZES, choose_dataset, few_shot, smoke, snell

__all__ = ["DATASETS", "get_config"]


def get_config(arg: str = "") -> ConfigDict:
    """The config; `:smoke` takes a few steps on noise.

    Args:
      arg: the data set; then none: squared Euclidean distance, 20-way 5-shot episodes. "cosine": the cosine, its scale
        learned from 10; "1shot": 30-way 1-shot episodes; "susana": the mean of cross-entropy, Proto-Triplet and ICNN on
        the support images, "SuSana Distancia"'s losses with the options of its code.
    """
    dataset, parts = choose_dataset("proto", arg, ("cosine", "1shot", "susana", "smoke"))
    config = base()
    config.name = "_".join([f"proto_{dataset}", *(part for part in parts if part != "smoke")])
    few_shot(config, dataset)
    config.method.name = "prototypical"
    if "cosine" in parts:
        config.method.prototypical.update(similarity="cosine", tau=10.0, learn_tau=True)
    if "susana" in parts:
        config.method.prototypical.losses = ("cross_entropy", "proto_triplet", "icnn")
    snell(config, one_shot="1shot" in parts)
    if "smoke" in parts:
        smoke(config, IMAGE_SIZES[dataset])
    return config
