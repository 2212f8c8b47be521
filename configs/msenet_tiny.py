"""MSENet on tiny_imagenet_fs: prototypes at five depths of a ResNet-18, with attention and trained stage weights.

    python train.py --config=configs/msenet_tiny.py --workdir=runs/msenet_tiny
    python train.py --config=configs/msenet_tiny.py:ends,no_attention --workdir=runs/msenet_tiny_ends

"Enhancing Few-Shot Classification through Learnable Multi-Scale Embedding and Attention Mechanisms" has no figures for
these classes. Its own, 64.46 (1 shot) and 84.42 (5 shots) on miniImageNet, are of a ResNet-18 that starts from weights
trained on ImageNet, whose classes are miniImageNet's: they are not of novel classes, and this config starts from none.

Its released script: 30-way episodes of 15 queries, Adam at 1e-4 (5e-3 for the stage weights), 360 episodes from those
weights. From scratch, the recipe here is that of configs/proto.py, with one rate for all. It was not run here.
"""

from ml_collections import ConfigDict

from fsjax.configs.common import base, choose
from fsjax.configs.common_few_shot import IMAGE_SIZES, few_shot, smoke, snell


def get_config(arg: str = "") -> ConfigDict:
    """The config; `:smoke` takes a few steps on noise.

    Args:
      arg: none: the depths of the released code, with attention. "ends": the ends of the four stages; "no_attention":
        its maps as they are; "1shot": 30-way 1-shot episodes.
    """
    parts = choose(arg, ("ends", "no_attention", "1shot", "smoke"))
    config = base()
    config.name = "_".join(["msenet_tiny", *(part for part in parts if part != "smoke")])
    few_shot(config, "tiny")
    config.model.name = "resnet18"
    config.method.name = "msenet"
    config.method.msenet.stages = "ends" if "ends" in parts else "released"
    config.method.msenet.attention = "no_attention" not in parts
    snell(config, one_shot="1shot" in parts)
    if "smoke" in parts:
        smoke(config, IMAGE_SIZES["tiny"])
    return config
