"""Dense classification on FC100 (Lifchitz et al., CVPR 2019).

    python train.py --config=configs/dc_fc100.py --workdir=runs/dc_fc100
    python train.py --config=configs/dc_fc100.py:gap --workdir=runs/gap_fc100
    fsjax evaluate runs/dc_fc100 --classes novel base both --pooling all --shots 5

Table 5, 5-way accuracy on novel classes in %, 10,000 tasks (5,000 with implants), 30 queries per class:
                          1-shot         5-shot         10-shot
  GAP      (:gap)         41.02 ± 0.17   56.63 ± 0.16   61.65 ± 0.15
  DC                      42.04 ± 0.17   57.05 ± 0.16   61.91 ± 0.16
  DC + IMP (implants_)    -              57.63 ± 0.23   62.91 ± 0.22
  PN / TADAM (reported)   37.80 / 40.10  53.30 / 56.10  58.70 / 61.60

12,500 iterations of 512, Adam, scale from 100 [paper]; rate 1e-3, x0.1 at 50, 75 and 90 %, L2 5e-4, 4-pixel padded
crops, flips [ours].
The full recipe was not run here; a reduced one was: see docs/results.md and benchmarks/studies/few_shot.py.
"""

from fsjax.configs.common_few_shot import dense_classification


def get_config(arg: str = ""):
    """The config; variants: gap, gmp, flatten, linear, imprinted, wide, c128f, and smoke, a few steps on noise."""
    return dense_classification("dc_fc100", "fc100", arg)
