"""Prototypical networks on miniImageNet (Snell et al. 2017) with the ResNet-12 of the DC paper.

    python train.py --config=configs/proto_mini.py --workdir=runs/proto_mini --config.data.path=~/mini_imagenet
    python train.py --config=configs/proto_mini.py:1shot,cosine --workdir=runs/proto_mini_cosine \\
        --config.data.path=~/mini_imagenet

PN with ResNet-12 on miniImageNet, as TADAM reports it: 56.50 ± 0.4 (1-shot), 74.20 ± 0.2 (5-shot), 78.60 ± 0.4
(10-shot).

Snell et al.'s recipe: Adam at 1e-3, halved every 2,000 episodes, 20-way 5-shot or 30-way 1-shot training episodes
with 15 queries; 20,000 episodes [ours].
Not run here: there is no copy of miniImageNet. The data are tested on small trees in its layouts.
"""

from fsjax.configs.common_few_shot import prototypical


def get_config(arg: str = ""):
    """The config; variants: cosine, 1shot, and smoke, a few steps on noise."""
    return prototypical("proto_mini", "mini", arg)
