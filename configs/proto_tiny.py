"""Prototypical networks on tiny_imagenet_fs (Snell et al. 2017) with the ResNet-12 of the DC paper.

    python train.py --config=configs/proto_tiny.py --workdir=runs/proto_tiny
    python train.py --config=configs/proto_tiny.py:1shot,cosine --workdir=runs/proto_tiny_cosine

The paper has no figures for it.

Snell et al.'s recipe: Adam at 1e-3, halved every 2,000 episodes, 20-way 5-shot or 30-way 1-shot training episodes
with 15 queries; 20,000 episodes [ours].
The full recipe was not run here; a reduced one was: see docs/results.md and benchmarks/studies/few_shot.py.
"""

from fsjax.configs.common_few_shot import prototypical


def get_config(arg: str = ""):
    """The config; variants: cosine, 1shot, and smoke, a few steps on noise."""
    return prototypical("proto_tiny", "tiny", arg)
