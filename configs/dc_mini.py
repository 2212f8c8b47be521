"""Dense classification on miniImageNet (Lifchitz et al., CVPR 2019).

    python train.py --config=configs/dc_mini.py --workdir=runs/dc_mini --config.data.path=~/mini_imagenet
    python train.py --config=configs/dc_mini.py:gap --workdir=runs/gap_mini --config.data.path=~/mini_imagenet
    fsjax evaluate runs/dc_mini --classes novel base both --pooling all --shots 5

Table 4, 5-way accuracy on novel classes in %, 10,000 tasks (5,000 with implants), 30 queries per class:
                          1-shot         5-shot         10-shot
  GAP      (:gap)         58.61 ± 0.18   76.40 ± 0.13   80.76 ± 0.11
  DC                      62.53 ± 0.19   78.95 ± 0.13   82.66 ± 0.11
  DC + WIDE (:wide)       61.73 ± 0.19   78.25 ± 0.14   82.03 ± 0.12
  DC + IMP (implants_)    -              79.77 ± 0.19   83.83 ± 0.16
Table 1 (queries by GMP where DC trained, else GAP): C128F GAP (:gap,c128f) 54.28 / 71.60 / 76.92, C128F DC (:c128f)
49.84 / 69.64 / 74.61, ResNet-12 DC 61.26 / 79.01 / 83.04.
Table 2, 5-shot, support/query GMP/GMP, GMP/DC, GAP/GAP, GAP/DC:
  GAP-trained  base 63.55 77.17 79.37 77.15   novel 72.25 70.71 76.40 73.28   both 37.74 38.65 56.25 54.80
  DC-trained   base 79.28 80.67 80.61 80.70   novel 79.01 77.93 78.55 78.95   both 42.45 57.98 67.53 67.78

8,000 iterations of 200, SGD with Nesterov momentum, scale from 10 [paper]; rate 0.1, x0.1 at 50, 75 and 90 %,
momentum 0.9, L2 5e-4, 8-pixel padded crops, flips [ours].
Not run here: there is no copy of miniImageNet. The data are tested on small trees in its layouts.
"""

from fsjax.configs.common_few_shot import dense_classification


def get_config(arg: str = ""):
    """The config; variants: gap, gmp, flatten, linear, imprinted, wide, c128f, and smoke, a few steps on noise."""
    return dense_classification("dc_mini", "mini", arg)
