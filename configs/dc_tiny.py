"""Dense classification on tiny_imagenet_fs (Lifchitz et al., CVPR 2019).

    python train.py --config=configs/dc_tiny.py --workdir=runs/dc_tiny
    python train.py --config=configs/dc_tiny.py:gap --workdir=runs/gap_tiny
    fsjax evaluate runs/dc_tiny --classes novel base both --pooling all --shots 5

No figures in the paper: 60 classes of Tiny ImageNet (32 base, 8 validation, 20 novel) at 64x64. The recipe is
miniImageNet's.

8,000 iterations of 200, SGD with Nesterov momentum, scale from 10 [paper]; rate 0.1, x0.1 at 50, 75 and 90 %,
momentum 0.9, L2 5e-4, 6-pixel padded crops, flips [ours].
The full recipe was not run here; a reduced one was: see docs/results.md and benchmarks/studies/few_shot.py.
"""

from fsjax.configs.common_few_shot import dense_classification


def get_config(arg: str = ""):
    """The config; variants: gap, gmp, flatten, linear, imprinted, wide, c128f, and smoke, a few steps on noise."""
    return dense_classification("dc_tiny", "tiny", arg)
