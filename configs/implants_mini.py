"""Dense classification and implants on miniImageNet (Lifchitz et al. 2019, Sec. 3.2).

    python train.py --config=configs/implants_mini.py --workdir=runs/implants_mini --config.data.path=~/mini_imagenet
    fsjax evaluate runs/dc_mini --implants --tasks 5000 --shots 5 10     # the same, beside a run of dc_mini

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
Table 3, miniImageNet, 5-shot; stage-2 support/query, then test queries by GAP, GMP, DC:
  GMP/GMP 79.03 78.92 79.04   GMP/DC 79.06 79.37 79.15   GAP/GAP 79.62 74.57 79.77   GAP/DC 79.56 74.58 79.52

Training is that of dc_mini.py. At the test, 16 filters beside each 3x3 convolution of the last block are trained for
each task: 50 steps of AdamW, scale 10 [paper]; rate 1e-3, decay 5e-4, one step an epoch, batch norm on the support
[ours].
Not run here: there is no copy of miniImageNet. The data are tested on small trees in its layouts.
"""

from fsjax.configs.common_few_shot import implants


def get_config(arg: str = ""):
    """The config; `:smoke` takes a few steps on noise."""
    return implants("implants_mini", "mini", arg)
