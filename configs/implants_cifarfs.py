"""Dense classification and implants on CIFAR-FS (Lifchitz et al. 2019, Sec. 3.2).

    python train.py --config=configs/implants_cifarfs.py --workdir=runs/implants_cifarfs
    fsjax evaluate runs/dc_cifarfs --implants --tasks 5000 --shots 5 10     # the same, beside a run of dc_cifarfs

No figures in the paper; the recipe is that of FC100.

Training is that of dc_cifarfs.py. At the test, 16 filters beside each 3x3 convolution of the last block are trained for
each task: 50 steps of AdamW, scale 10 [paper]; rate 1e-3, decay 5e-4, one step an epoch, batch norm on the support
[ours].
Not run here beyond its smoke variant.
"""

from fsjax.configs.common_few_shot import implants


def get_config(arg: str = ""):
    """The config; `:smoke` takes a few steps on noise."""
    return implants("implants_cifarfs", "cifarfs", arg)
