"""Dense classification on CIFAR-FS (Lifchitz et al., CVPR 2019).

    python train.py --config=configs/dc_cifarfs.py --workdir=runs/dc_cifarfs
    python train.py --config=configs/dc_cifarfs.py:gap --workdir=runs/gap_cifarfs
    fsjax evaluate runs/dc_cifarfs --classes novel base both --pooling all --shots 5

No figures in the paper; the recipe is that of FC100.

12,500 iterations of 512, Adam, scale from 100 [paper]; rate 1e-3, x0.1 at 50, 75 and 90 %, L2 5e-4, 4-pixel padded
crops, flips [ours]. Not run here beyond its smoke variant.
"""

from fsjax.configs.common_few_shot import dense_classification


def get_config(arg: str = ""):
    """The config; variants: gap, gmp, flatten, linear, imprinted, wide, c128f, and smoke, a few steps on noise."""
    return dense_classification("dc_cifarfs", "cifarfs", arg)
