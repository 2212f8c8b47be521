"""MSENet on tiny_imagenet_fs: prototypes at five depths of a ResNet-18, with attention and trained stage weights.

    python train.py --config=configs/msenet_tiny.py --workdir=runs/msenet_tiny
    python train.py --config=configs/msenet_tiny.py:ends,no_attention --workdir=runs/msenet_tiny_ends

"Enhancing Few-Shot Classification through Learnable Multi-Scale Embedding and Attention Mechanisms" has no figures for
these classes. Its own, 64.46 (1 shot) and 84.42 (5 shots) on miniImageNet, are of a ResNet-18 that starts from weights
trained on ImageNet, whose classes are miniImageNet's: they are not of novel classes, and this config starts from none.

Its released script: 30-way episodes of 15 queries, Adam at 1e-4 (5e-3 for the stage weights), 360 episodes from those
weights. From scratch, the recipe here is that of configs/proto_tiny.py, with one rate for all. It was not run here.
"""

from fsjax.configs.common_few_shot import msenet


def get_config(arg: str = ""):
    """The config; variants: ends, no_attention, 1shot, and smoke, a few steps on noise."""
    return msenet("msenet_tiny", "tiny", arg)
